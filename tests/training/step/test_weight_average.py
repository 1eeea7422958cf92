from __future__ import annotations

import keras
import numpy as np

from imgstream.training.step.weight_average import EVERY, WeightAverage


def model_with_batchnorm() -> keras.Model:
    inputs = keras.Input((3,))
    return keras.Model(inputs, keras.layers.BatchNormalization()(keras.layers.Dense(2)(inputs)))


def test_the_average_covers_batchnorm_statistics_and_moves_towards_the_weights() -> None:
    model = model_with_batchnorm()
    average = WeightAverage(model, horizon=2)
    assert len(average.values) == len(model.weights) == 6
    for variable in model.weights:
        variable.assign(np.ones(variable.shape))
    before = average.values
    assert [average.share(step) for step in range(1, EVERY)] == [0.0] * (EVERY - 1)
    share = average.share(EVERY)
    assert share == 1 - 0.5**EVERY  # a reach of two steps halves the distance each step
    average.update(share)
    for old, new in zip(before, average.values, strict=True):
        np.testing.assert_allclose(new, old + share * (1 - old), rtol=1e-6)


def test_a_twin_is_given_the_average_and_the_model_keeps_its_own() -> None:
    model, twin = model_with_batchnorm(), model_with_batchnorm()
    average = WeightAverage(model)
    expected = average.values
    for variable in model.weights:
        variable.assign(np.full(variable.shape, 7.0))
    average.assign_to(twin)
    for value, weight in zip(expected, twin.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, value)
    assert all((w == 7).all() for w in model.get_weights())
