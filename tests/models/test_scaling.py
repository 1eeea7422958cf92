from __future__ import annotations

import keras
import numpy as np
import pytest

import imgstream as ims
from imgstream.models.forward import Forward, Program, late
from imgstream.models.scaling import scaled


@pytest.mark.parametrize(("scale", "channels"), [("unit", 3), ("unit", 1), ("signed", 3), ("imagenet", 3), ("caffe", 3), ("raw", 3)])
def test_pixels_become_the_values_that_a_stream_of_floats_gives(scale: str, channels: int) -> None:
    spec = ims.SampleSpec(size=(4, 5), scale=scale, channels=channels)
    pixels = np.random.default_rng(0).integers(0, 256, (3, *spec.shape), np.uint8)
    expected = np.empty(pixels.shape, np.float32)
    spec.to_float(pixels, expected)
    found = np.asarray(scaled(keras.ops.convert_to_tensor(pixels), spec))
    np.testing.assert_array_equal(found, expected)


def test_floats_are_scaled_already() -> None:
    samples = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype(np.float32)
    found = np.asarray(scaled(keras.ops.convert_to_tensor(samples), ims.SampleSpec(size=(4, 4), scale="caffe")))
    np.testing.assert_array_equal(found, samples)


def test_a_program_gives_the_same_logits_for_pixels_and_for_their_samples() -> None:
    spec = ims.SampleSpec(size=(4, 5), scale="imagenet")
    inputs = keras.Input(spec.shape)
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(inputs)))
    pixels = np.random.default_rng(0).integers(0, 256, (3, *spec.shape), np.uint8)
    samples = np.empty(pixels.shape, np.float32)
    spec.to_float(pixels, samples)
    forward = Forward(Program(model, spec), 4)
    np.testing.assert_array_equal(forward(pixels), forward(samples))
    np.testing.assert_allclose(forward(pixels), model.predict_on_batch(samples), atol=1e-6)
    model.layers[-1].kernel.assign(model.layers[-1].kernel * 2)
    np.testing.assert_allclose(forward(pixels), model.predict_on_batch(samples), atol=1e-6)  # of the weights that it has now


def test_late_items_are_the_same_in_the_same_order_each_after_the_next_few_are_made() -> None:
    made: list[int] = []

    def items() -> object:
        for number in range(4):
            made.append(number)
            yield number

    assert [(item, len(made)) for item in late(items(), 2)] == [(0, 3), (1, 4), (2, 4), (3, 4)]
    assert list(late(range(3), 0)) == [0, 1, 2]
