"""The moving average of a model's weights, which is evaluated and saved."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

EVERY = 4
"""Steps between updates; the decay is raised to that power, so that the average is nearly the same."""


class WeightAverage:
    """An exponential moving average of trained weights and of BatchNorm statistics, so that they fit each other.

    It lies beside the weights, in float32 variables of Keras, where a compiled step updates it. It reaches back over a fixed share of the
    steps done, up to `horizon` steps, so that early weights are forgotten.
    """

    def __init__(self, model: Any, horizon: int = 500) -> None:
        self._horizon = horizon
        self.weights = floats(model)
        """The variables that are averaged."""
        self.averages = [keras.Variable(_array(v), dtype="float32", trainable=False) for v in self.weights]
        """Their averages, in the same order."""

    def share(self, step: int) -> float:
        """How far the averages move towards the weights after `step` steps, 0 to 1: 0 but for every EVERY-th step."""
        if step % EVERY:
            return 0.0
        reach = min(self._horizon, max(2.0, step / 10))
        return 1 - (1 - 1 / reach) ** EVERY

    def update(self, share: float) -> None:
        """Move the averages by `share` towards the weights: for steps whose program does not do so itself."""
        if share:
            for average, weight in zip(self.averages, self.weights, strict=True):
                value = _array(average)
                average.assign(value + np.float32(share) * (_array(weight) - value))

    @property
    def values(self) -> list[np.ndarray]:
        """The averages as new float32 arrays, in the order of the model's float weights."""
        return [_array(v) for v in self.averages]

    @values.setter
    def values(self, values: list[np.ndarray]) -> None:
        for average, value in zip(self.averages, values, strict=True):
            average.assign(value)

    def assign_to(self, model: Any) -> None:
        """Assign the averaged weights to `model`, a twin of the averaged one."""
        for average, variable in zip(self.averages, floats(model), strict=True):
            variable.assign(_array(average))  # a copy: on JAX, the step gives the memory of an average away


def floats(model: Any) -> list[Any]:
    """The weights that are averaged: trained ones and BatchNorm statistics, without integers."""
    return [v for v in model.weights if str(v.dtype).startswith(("float", "bfloat"))]


def _array(variable: Any) -> np.ndarray:
    return np.array(keras.ops.convert_to_numpy(variable), np.float32)
