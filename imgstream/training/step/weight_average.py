"""The moving average of a model's weights, which is evaluated and saved."""

from __future__ import annotations

from typing import Any

import numpy as np

EVERY = 4
"""Steps between updates; the decay is raised to that power, so that the average is nearly the same."""


class WeightAverage:
    """An exponential moving average of trained weights and of BatchNorm statistics, so that they fit each other.

    Kept in NumPy, outside the graph: the same on every backend. The average reaches back over a fixed share of the steps done, up to
    `horizon` steps, so that early weights are forgotten.
    """

    def __init__(self, model: Any, horizon: int = 500) -> None:
        self._variables = floats(model)
        self._horizon = horizon
        self.values = [_array(v) for v in self._variables]
        """float32 arrays, in the order of the model's float weights."""

    def update(self, step: int) -> None:
        """Update the average with the model's weights after `step` steps; only every EVERY-th step has an effect."""
        if step % EVERY:
            return
        reach = min(self._horizon, max(2.0, step / 10))
        share = np.float32(1 - (1 - 1 / reach) ** EVERY)
        for value, variable in zip(self.values, self._variables, strict=True):
            value += share * (_array(variable) - value)

    def assign_to(self, model: Any) -> None:
        """Assign the averaged weights to `model`, a twin of the averaged one."""
        for value, variable in zip(self.values, floats(model), strict=True):
            variable.assign(value)


def floats(model: Any) -> list[Any]:
    """The weights that are averaged: trained ones and BatchNorm statistics, without integers."""
    return [v for v in model.weights if str(v.dtype).startswith(("float", "bfloat"))]


def _array(variable: Any) -> np.ndarray:
    import keras

    return np.array(keras.ops.convert_to_numpy(variable), np.float32)
