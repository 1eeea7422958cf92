"""What a training step takes and gives, and Keras' own step."""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import numpy as np

from imgstream.training.step.replicas import Replicas
from imgstream.training.step.weight_average import WeightAverage


@dataclasses.dataclass(frozen=True)
class StepResult:
    """What a step gives: numbers that may still be computed on the device. float() of one waits for it."""

    loss: Any
    """Mean loss of the batch, in nats, times the samples' weights."""
    accuracy: Any
    """Share of the batch whose class was right, 0 to 1, whatever the weights."""
    holds: Any = None
    """What must live until the step is done: the batch, where the device reads it from its place."""


class CompiledStep(Protocol):
    """Forward pass, loss, gradients, the update of the weights and of their average."""

    ahead: int
    """How many steps to give the device before the result of the first is read, so that it never waits for Python."""

    def __call__(self, images: np.ndarray, labels: np.ndarray, weights: np.ndarray | None, *, rate: float, share: float) -> StepResult:
        """Take a step on images, float32 (B, H, W, C), labels, float32 (B, K), and weights, float32 (B,), None for ones.

        `rate`: the learning rate. `share`: how far the average moves towards the new weights (WeightAverage.share).
        """

    def sync(self) -> None:
        """Wait, and put what was computed into the variables of the model, its optimizer and the average: before they are used or set."""


class KerasStep:
    """Keras' own step, where there is no faster one: on PyTorch, and on several GPUs with TensorFlow."""

    ahead = 0

    def __init__(self, model: Any, average: WeightAverage, replicas: Replicas) -> None:
        self._model, self._average, self._replicas = model, average, replicas

    def __call__(self, images: np.ndarray, labels: np.ndarray, weights: np.ndarray | None, *, rate: float, share: float) -> StepResult:
        """See CompiledStep."""
        self._model.optimizer.learning_rate = rate
        inputs, targets, shares = self._replicas.spread(images, labels, weights)
        logs = self._model.train_on_batch(inputs, targets, sample_weight=shares, return_dict=True)
        self._average.update(share)
        return StepResult(logs["loss"], logs["accuracy"])

    def sync(self) -> None:
        """See CompiledStep; the variables are always as they should be."""
