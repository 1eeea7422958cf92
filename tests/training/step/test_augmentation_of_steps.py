"""Layers of Keras that change whole batches on the device, just before the step."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import imgstream as ims
from imgstream.augment import resolve
from imgstream.errors import AugmentError, OptionError
from imgstream.training import TrainSettings, dry_run
from imgstream.training.step.compiled_models import trained_model
from imgstream.training.step.replicas import Replicas
from imgstream.training.step.step_selection import augmentation_of_steps, new_step
from imgstream.training.step.weight_average import WeightAverage
from tests.training.step.test_jax_step import on_jax

layers = keras.layers
SPEC = ims.SampleSpec(size=(8, 12), scale="unit")
LABELS = np.eye(2, dtype=np.float32)[np.arange(6) % 2]


def in_steps(augment: Any, seed: int = 0, replicas: Replicas | None = None) -> Any:
    return augmentation_of_steps(resolve(augment), seed, [SPEC.shape], replicas or Replicas([]))


class Seen(layers.Layer):
    """Keeps the samples that the model is given."""

    def __init__(self, **config: Any) -> None:
        super().__init__(**config)
        self.samples = self.add_weight(shape=(6, *SPEC.shape), initializer="zeros", trainable=False, name="seen")

    def compute_output_shape(self, shape: Any) -> Any:
        return shape

    def call(self, inputs: Any) -> Any:
        count = keras.ops.shape(inputs)[0]
        self.samples.assign(keras.ops.concatenate([inputs, self.samples[count:]]))
        return inputs


def samples_of_steps(augment: Any, images: np.ndarray, numbers: list[int], spec: ims.SampleSpec = SPEC) -> list[np.ndarray]:
    """What the model sees of `images` in the steps of these numbers."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input(SPEC.shape)
    x = layers.GlobalAveragePooling2D()(Seen()(inputs))
    model = trained_model(keras.Model(inputs, layers.Dense(2, name="logits")(x)), "float32", TrainSettings(), Replicas([]))
    step = new_step(model, WeightAverage(model), Replicas([]), 6, spec, in_steps(augment))
    found = []
    for number in numbers:
        step(images, LABELS[: len(images)], None, rate=0.0, share=0.0, number=number)
        step.sync()
        found.append(keras.ops.convert_to_numpy(model.layers[1].samples)[: len(images)].copy())
    return found


def ramps(dtype: type = np.uint8) -> np.ndarray:
    """Six images that grow brighter from left to right, and each is another."""
    rows = np.arange(12)[None, None, :, None] * 10 + np.arange(6)[:, None, None, None]
    return np.broadcast_to(rows * (1 if dtype == np.uint8 else 257), (6, *SPEC.shape)).astype(dtype)


def test_each_image_of_a_batch_is_flipped_or_not_before_it_is_scaled() -> None:
    images = ramps()
    plain, flipped = images / np.float32(255), images[:, :, ::-1] / np.float32(255)
    are_flipped = []
    for samples in samples_of_steps(layers.RandomFlip("horizontal"), images, [0, 1, 2, 3]):
        for sample, one, other in zip(samples, plain, flipped, strict=True):
            is_plain = np.allclose(sample, one, atol=1e-6)
            assert is_plain or np.allclose(sample, other, atol=1e-6)
            are_flipped.append(not is_plain)
    assert 4 < sum(are_flipped) < 20  # of 24


def test_what_is_drawn_follows_from_the_seed_and_the_number_of_the_step_alone() -> None:
    first, second, again = samples_of_steps(layers.RandomBrightness(0.3), ramps(), [3, 4, 3])
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, second)
    one, other = (in_steps(layers.RandomBrightness(0.3), seed).numbers(3) for seed in (0, 1))
    assert not np.array_equal(one, other)


def test_a_short_batch_is_augmented_too_and_its_values_are_cut_off_at_white() -> None:
    (found,) = samples_of_steps(layers.RandomBrightness((0.8, 0.8)), ramps()[:4], [0])
    np.testing.assert_allclose(found, np.minimum(ramps()[:4] + 204.0, 255) / 255, atol=1e-6)


@pytest.mark.slow
def test_a_layer_sees_0_to_255_of_deep_pixels_and_of_channels_that_are_turned_round_after_it() -> None:
    brighter = layers.RandomBrightness((0.2, 0.2))
    deep = ims.SampleSpec(size=(8, 12), scale="unit", levels=(0, 4095))
    (found,) = samples_of_steps(brighter, ramps(np.uint16), [0], spec=deep)
    np.testing.assert_allclose(found, (ramps() + 51) / 255, atol=1e-6)
    red = np.zeros((6, *SPEC.shape), np.uint8)
    red[..., 0] = 100
    (found,) = samples_of_steps(layers.RandomGrayscale(1.0), red, [0], spec=ims.SampleSpec(size=(8, 12), scale="caffe"))
    grey = found + np.float32([103.939, 116.779, 123.68])
    np.testing.assert_allclose(grey, 100 * 0.2989, atol=0.1)


@pytest.mark.parametrize(
    ("augment", "error", "message"),
    [
        ("standard", OptionError, "for layers of Keras, such as --augment layers.keras: standard"),
        (None, OptionError, "none is computed on the CPU"),
        ([layers.RandomFlip(), layers.MixUp()], AugmentError, "MixUp mixes labels too, which is done on the CPU alone"),
        (layers.AugMix(), AugmentError, "AugMix draws its chains in Python"),
        (layers.RandomCrop(4, 4), AugmentError, r"makes images of \(4, 4, 3\) out of \(8, 12, 3\)"),
    ],
)
def test_what_no_step_can_do_is_refused(augment: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        in_steps(augment)


def test_a_layer_that_cannot_be_compiled_is_refused() -> None:
    class OfNumpy(layers.Layer):
        def call(self, images: Any) -> Any:
            return np.asarray(images)[..., ::-1]

    with pytest.raises(AugmentError, match="OfNumpy cannot be compiled into the training step"):
        in_steps(OfNumpy())


def test_other_backends_and_several_devices_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    several = Replicas([])
    several._count = 2
    with pytest.raises(OptionError, match="several GPUs with TensorFlow"):
        in_steps(layers.RandomFlip(), replicas=several)
    several.processes = 2
    with pytest.raises(OptionError, match="several processes"):
        in_steps(layers.RandomFlip(), replicas=several)
    policy = resolve(layers.RandomFlip())
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(OptionError, match="Keras computes with torch"):
        augmentation_of_steps(policy, 0, [], Replicas([]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"augment_on": "gpu"}, "cpu or device; got 'gpu'"),
        ({"augment_on": "device", "teacher": "run"}, "teacher and augment_on device do not go together"),
        ({"augment_on": "device", "head_only": True}, "head_only and augment_on device do not go together"),
    ],
)
def test_options_that_contradict_it_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        TrainSettings(**options)


def options() -> dict[str, Any]:
    augment = [layers.RandomFlip("horizontal"), layers.RandomRotation(0.1), layers.RandomErasing()]
    return {"size": (32, 32), "batch_size": 8, "epochs": 2, "augment": augment, "augment_on": "device", "pipeline": "python"}


@pytest.mark.slow
@pytest.mark.usefixtures("small_cnn")
def test_a_run_stopped_in_mid_epoch_and_resumed_equals_an_undisturbed_one_to_the_bit(two_classes: Path, tmp_path: Path) -> None:
    def interrupt(status: Any) -> None:
        if status.step == 5 and status.validation is None:
            signal.raise_signal(signal.SIGINT)

    undisturbed = ims.train(two_classes, out=tmp_path / "a", **options())
    with pytest.raises(KeyboardInterrupt):
        ims.train(two_classes, out=tmp_path / "b", report=interrupt, **options())
    assert ims.load_run(tmp_path / "b").state["state"] == "interrupted"
    resumed = ims.train(two_classes, out=tmp_path / "b", resume=True, **options())
    for a, b in zip(undisturbed.model.get_weights(), resumed.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert "augment_on: device\n" in (tmp_path / "a/train.yaml").read_text()


@pytest.mark.slow
@pytest.mark.usefixtures("small_cnn")
def test_a_dry_run_tells_where_images_are_augmented(two_classes: Path, tmp_path: Path) -> None:
    planned = dry_run(two_classes, out=tmp_path / "run", **options())
    assert planned is not None
    assert planned.to_json()["augment_on"] == "device"


ON_JAX = """
import keras, numpy as np
from tests.training.step.test_augmentation_of_steps import layers, ramps, samples_of_steps

images = ramps()
first, second, again = samples_of_steps(layers.RandomFlip("horizontal"), images, [3, 4, 3])
np.testing.assert_array_equal(first, again)
assert not np.array_equal(first, second)
for sample, image in zip(first, images / np.float32(255)):
    assert np.allclose(sample, image, atol=1e-6) or np.allclose(sample, image[:, ::-1], atol=1e-6)
(turned,) = samples_of_steps(layers.RandomRotation(0.2), images[:4], [0])
assert turned.shape == (4, 8, 12, 3)
print(keras.backend.backend())
"""


@pytest.mark.slow
def test_on_jax_it_is_a_part_of_the_program() -> None:
    pytest.importorskip("jax", reason="the backend of this test")
    assert on_jax(ON_JAX) == "jax"
