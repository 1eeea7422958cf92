from __future__ import annotations

import keras
import numpy as np
import pytest

from imgstream.training import TrainSettings
from imgstream.training.step.compiled_models import served_model, trained_model
from imgstream.training.step.optimizers import new_optimizer
from imgstream.training.step.replicas import Replicas

IMAGES = np.random.default_rng(0).normal(size=(8, 32, 32, 3)).astype(np.float32)
LABELS = np.eye(2, dtype=np.float32)[np.arange(8) % 2]


def pair(policy: str = "float32", **options: bool) -> tuple[keras.Model, keras.Model]:
    settings = TrainSettings(label_smoothing=0.0)
    served = served_model(settings, "cnn", (32, 32, 3), 2)
    return served, trained_model(served, policy, settings, Replicas([]), **options)


def test_the_trained_model_has_the_served_ones_weights_in_its_order_and_gives_its_logits() -> None:
    served, trained = pair()
    assert [tuple(w.shape) for w in served.weights] == [tuple(w.shape) for w in trained.weights]
    for a, b in zip(served.get_weights(), trained.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(served.predict_on_batch(IMAGES), trained.predict_on_batch(IMAGES), atol=1e-5)


@pytest.mark.parametrize(
    "widths", [pytest.param((8,), id="one block"), pytest.param((32, 64, 128, 256), id="as it is", marks=pytest.mark.slow)]
)
def test_a_step_with_the_fused_kernel_is_the_step_that_keras_own_layers_take(
    widths: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgstream.models.cnn.WIDTHS", widths)
    served, trained = pair()
    assert {type(layer).__name__ for layer in trained.layers if "Norm" in type(layer).__name__} == {"FusedBatchNormalization"}
    served.compile(new_optimizer("float32"), keras.losses.CategoricalCrossentropy(from_logits=True), metrics=["categorical_accuracy"])
    for _ in range(2):
        expected = served.train_on_batch(IMAGES, LABELS)
        found = trained.train_on_batch(IMAGES, LABELS)
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    for a, b in zip(served.weights, trained.weights, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), atol=2e-4, err_msg=a.path)


def test_mixed_precision_keeps_weights_and_logits_in_float32() -> None:
    served, trained = pair("mixed_bfloat16")
    assert {str(w.dtype) for w in trained.trainable_weights} == {"float32"}
    assert {layer.compute_dtype for layer in trained.layers if isinstance(layer, keras.layers.Conv2D)} == {"bfloat16"}
    assert trained.layers[-1].compute_dtype == "float32"
    assert trained.predict_on_batch(IMAGES).dtype == np.float32
    assert {layer.compute_dtype for layer in served.layers} == {"float32"}


def test_a_backbone_learns_at_a_tenth_of_the_heads_rate() -> None:
    trained = pair(is_transfer=True)[1]
    shares = dict(zip((v.path for v in trained.trainable_variables), trained.optimizer.shares, strict=True))
    assert {shares.pop(v.path) for v in trained.get_layer("logits").trainable_variables} == {1.0}
    assert set(shares.values()) == {0.1}


@pytest.fixture(scope="module")
def application() -> tuple[keras.Model, keras.Model]:
    """A network of keras.applications, as it is served and as it is trained."""
    settings = TrainSettings()
    served = served_model(settings, "MobileNetV3Small", (32, 32, 3), 2)
    return served, trained_model(served, "mixed_bfloat16", settings, Replicas([]))


def test_a_network_of_keras_applications_is_cloned_so_too(application: tuple[keras.Model, keras.Model]) -> None:
    served, trained = application
    assert [tuple(w.shape) for w in served.weights] == [tuple(w.shape) for w in trained.weights]
    assert {type(layer).__name__ for layer in trained.layers if "Norm" in type(layer).__name__} == {"FusedBatchNormalization"}
    assert trained.get_layer("logits").compute_dtype == "float32"


@pytest.mark.slow
def test_a_network_of_keras_applications_is_trained_so_too(application: tuple[keras.Model, keras.Model]) -> None:
    _, trained = application
    assert np.isfinite(trained.train_on_batch(IMAGES, LABELS, return_dict=True)["loss"])
