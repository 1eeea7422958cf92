from __future__ import annotations

import gc

import keras
import numpy as np
import pytest
import tensorflow as tf

import imgstream as ims
from imgstream.training import TrainSettings
from imgstream.training.step.compiled_models import trained_model
from imgstream.training.step.compiled_step import StepResult
from imgstream.training.step.replicas import Replicas
from imgstream.training.step.step_selection import new_step
from imgstream.training.step.weight_average import WeightAverage


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
    return trained_model(served, "float32", TrainSettings(), Replicas([]), is_transfer=is_transfer)


SPEC = ims.SampleSpec(size=(20, 20), scale="imagenet")


def batch(count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels, uint8, and labels."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, size, size, 3), np.uint8), np.eye(2, dtype=np.float32)[rng.integers(0, 2, count)]


class Steps:
    """The steps of a network, with the average of its weights."""

    def __init__(self, model: keras.Model) -> None:
        self.model, self.average = model, WeightAverage(model)
        self._step = new_step(model, self.average, Replicas([]), 8, SPEC)

    def take(self, count: int, size: int, weights: np.ndarray | None = None, share: float = 0.0) -> StepResult:
        return self._step(*batch(count, size), weights, rate=0.01, share=share)

    def take_three(self, weights: np.ndarray | None = None) -> list[np.ndarray]:
        for _ in range(3):
            self.take(8, 20, weights)
        return self.model.get_weights()


@pytest.mark.parametrize(("count", "size"), [(5, 20), (8, 24), (3, 16)])
def test_a_batch_takes_the_same_step_to_the_bit_whatever_batches_came_before_it(count: int, size: int) -> None:
    expected = Steps(network()).take_three()
    later = Steps(network())
    variables = (*later.model.variables, *later.model.optimizer.variables)
    before = [v.numpy() for v in variables]
    later.take(count, size)
    later.take(8, 20)
    for variable, value in zip(variables, before, strict=True):
        variable.assign(value)
    for a, b in zip(expected, later.take_three(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_one_program_takes_batches_of_every_size() -> None:
    traced: list[tuple[int | None, ...]] = []
    steps = Steps(network(traced))
    traced.clear()
    for count, size in ((8, 20), (5, 20), (1, 20), (8, 24)):
        assert np.isfinite(steps.take(count, size).loss)
    assert traced == [(None, None, None, 3)]


def test_weights_of_one_are_no_weights() -> None:
    for a, b in zip(Steps(network()).take_three(), Steps(network()).take_three(np.ones(8, np.float32)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_step_is_the_one_that_keras_takes_and_its_loss_and_accuracy_are_those_before_it() -> None:
    ours, theirs = Steps(network()), network()
    theirs.optimizer.learning_rate = 0.01
    weights = np.linspace(0, 2, 8).astype(np.float32)
    for _ in range(2):
        found = ours.take(8, 20, weights)
        pixels, labels = batch(8, 20)
        samples = np.empty(pixels.shape, np.float32)
        SPEC.to_float(pixels, samples)
        expected = theirs.train_on_batch(samples, labels, sample_weight=weights, return_dict=True)
        np.testing.assert_allclose([found.loss, found.accuracy], [expected["loss"], expected["accuracy"]], rtol=1e-5)
    for a, b in zip(ours.model.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_the_average_moves_by_its_share_towards_the_weights_after_the_step() -> None:
    steps = Steps(network())
    before = steps.average.values
    steps.take(8, 20)
    for a, b in zip(before, steps.average.values, strict=True):
        np.testing.assert_array_equal(a, b)
    steps.take(8, 20, share=0.25)
    for old, new, weight in zip(before, steps.average.values, steps.model.get_weights(), strict=True):
        np.testing.assert_allclose(new, old + 0.25 * (weight - old), rtol=1e-5, atol=1e-7)


def graphs() -> int:
    """How many TensorFlow graphs are in memory."""
    gc.collect()
    return sum(issubclass(type(each), tf.Graph) for each in gc.get_objects())


@pytest.mark.slow
@pytest.mark.parametrize("is_transfer", [False, True])
def test_a_model_that_is_gone_leaves_no_graph_of_its_steps(is_transfer: bool) -> None:
    before = graphs()
    steps = Steps(network(is_transfer=is_transfer))
    steps.take_three()
    assert graphs() > before
    del steps
    assert graphs() == before
