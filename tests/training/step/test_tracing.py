from __future__ import annotations

import gc

import keras
import numpy as np
import pytest
import tensorflow as tf

from imgstream.training import TrainSettings
from imgstream.training.step.compiled_models import trained_model
from imgstream.training.step.replicas import Replicas


def network(traced: list[tuple[int | None, ...]] | None = None, *, is_transfer: bool = False) -> keras.Model:
    """For samples of any size; it averages over 9 x 9 places, by which a graph of known shape multiplies instead of dividing."""

    class Tracer(keras.layers.Layer):
        def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
            if traced is not None:
                traced.append(tuple(inputs.shape))
            return inputs

    keras.utils.set_random_seed(0)
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(8, 3, strides=2, use_bias=False)(Tracer()(inputs))
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    served = keras.Model(inputs, keras.layers.Dense(2, name="logits", dtype="float32")(x))
    model = trained_model(served, "float32", TrainSettings(), Replicas([]), is_transfer=is_transfer)
    model.optimizer.learning_rate = 0.01
    return model


def batch(count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(count, size, size, 3)).astype(np.float32), np.eye(2, dtype=np.float32)[rng.integers(0, 2, count)]


def three_steps(model: keras.Model, weights: np.ndarray | None = None) -> list[np.ndarray]:
    for _ in range(3):
        model.train_on_batch(*batch(8, 20), sample_weight=weights)
    return model.get_weights()


@pytest.mark.parametrize(("count", "size"), [(5, 20), (8, 24), (3, 16)])
def test_a_batch_takes_the_same_step_to_the_bit_whatever_batches_came_before_it(count: int, size: int) -> None:
    first, later = network(), network()
    expected = three_steps(first)
    before = [v.numpy() for v in (*later.variables, *later.optimizer.variables)]
    later.train_on_batch(*batch(count, size))
    later.train_on_batch(*batch(8, 20))
    for variable, value in zip((*later.variables, *later.optimizer.variables), before, strict=True):
        variable.assign(value)
    for a, b in zip(expected, three_steps(later), strict=True):
        np.testing.assert_array_equal(a, b)


def test_one_program_takes_batches_of_every_size() -> None:
    traced: list[tuple[int | None, ...]] = []
    model = network(traced)
    traced.clear()
    for count, size in ((8, 20), (5, 20), (1, 20), (8, 24)):
        assert np.isfinite(model.train_on_batch(*batch(count, size), return_dict=True)["loss"])
    assert traced == [(None, None, None, 3)]


def test_weights_of_one_are_no_weights() -> None:
    for a, b in zip(three_steps(network()), three_steps(network(), np.ones(8, np.float32)), strict=True):
        np.testing.assert_array_equal(a, b)


def graphs() -> int:
    """How many TensorFlow graphs are in memory."""
    gc.collect()
    return sum(issubclass(type(each), tf.Graph) for each in gc.get_objects())


@pytest.mark.slow
@pytest.mark.parametrize("is_transfer", [False, True])
def test_a_model_that_is_gone_leaves_no_graph_of_its_steps(is_transfer: bool) -> None:
    before = graphs()
    model = network(is_transfer=is_transfer)
    three_steps(model)
    assert graphs() > before
    del model
    assert graphs() == before
