"""The moving average of a model's weights: what is evaluated and saved."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

EVERY = 4
"""Steps between updates; the decay is taken to that power, so the average is the same but for its grain."""


class WeightAverage:
    """An exponential moving average over trained weights and BatchNorm statistics alike, so that they fit each other.

    Kept in NumPy, outside the graph: the same on every backend. The average reaches back over a fixed share of the steps done, up to
    `horizon` steps, so that early weights are forgotten.
    """

    def __init__(self, model: Any, horizon: int = 500) -> None:
        self._variables = [v for v in model.weights if str(v.dtype).startswith(("float", "bfloat"))]
        self._horizon = horizon
        self.values = [_array(v) for v in self._variables]
        """float32 arrays, in the order of the model's float weights."""

    def update(self, step: int) -> None:
        """Take in the model's weights after `step` steps; does something every EVERY-th step only."""
        if step % EVERY:
            return
        reach = min(self._horizon, max(2.0, step / 10))
        share = np.float32(1 - (1 - 1 / reach) ** EVERY)
        for value, variable in zip(self.values, self._variables, strict=True):
            value += share * (_array(variable) - value)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """The model with the averaged weights, for the block; then its own again."""
        own = [_array(v) for v in self._variables]
        self._assign(self.values)
        try:
            yield
        finally:
            self._assign(own)

    def _assign(self, values: list[np.ndarray]) -> None:
        for variable, value in zip(self._variables, values, strict=True):
            variable.assign(value)


def _array(variable: Any) -> np.ndarray:
    import keras

    return np.array(keras.ops.convert_to_numpy(variable), np.float32)
