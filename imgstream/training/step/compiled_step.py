"""What a training step takes and gives, and Keras' own step."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, Protocol

import keras
import numpy as np

from imgstream.models.scaling import scaled
from imgstream.spec import SampleSpec
from imgstream.training.step.replicas import Replicas
from imgstream.training.step.weight_average import WeightAverage


@dataclasses.dataclass(frozen=True)
class StepResult:
    """What a step gives. Its numbers may still be computed on the device; reading one waits for it."""

    numbers: Any
    """Loss and accuracy, an array of the backend: both are read at once."""
    holds: Any = None
    """What must live until the step is done: the batch, where the device reads it from its place."""

    @functools.cached_property
    def _read(self) -> list[float]:
        found: list[float] = np.asarray(self.numbers, np.float32).tolist()
        return found

    @property
    def loss(self) -> float:
        """Mean loss of the batch, in nats, times the samples' weights."""
        return self._read[0]

    @property
    def accuracy(self) -> float:
        """Share of the batch whose class was right, 0 to 1, whatever the weights; with several labels an image, of all its classes."""
        return self._read[1]


class CompiledStep(Protocol):
    """Forward pass, loss, gradients, the update of the weights and of their average."""

    ahead: int
    """How many steps to give the device before the result of the first is read, so that it never waits for Python."""
    compiles_for_each_size: bool
    """Whether images of another height and width need another program, which takes as long to compile as the first."""

    def __call__(
        self, images: np.ndarray, labels: np.ndarray, weights: np.ndarray | None, *, rate: float, share: float, number: int = 0
    ) -> StepResult:
        """Take a step on images, (B, H, W, C): pixels, or float32 that are scaled already; labels, float32 (B, K), or the targets (B, 2 K)
        of a DistillationLoss; and weights, float32 (B,), None for ones.

        `rate`: the learning rate. `share`: how far the average moves towards the new weights (WeightAverage.share).
        `number`: how many steps were taken before, by which what is drawn on the device is keyed.
        """

    def sync(self) -> None:
        """Wait, and put what was computed into the variables of the model, its optimizer and the average: before they are used or set."""


class KerasStep:
    """Keras' own step, where there is no faster one: on PyTorch, and on several GPUs with TensorFlow."""

    ahead = 0
    compiles_for_each_size = False

    def __init__(self, model: Any, average: WeightAverage, replicas: Replicas, spec: SampleSpec) -> None:
        self._model, self._average, self._replicas, self._spec = model, average, replicas, spec

    def __call__(
        self, images: np.ndarray, labels: np.ndarray, weights: np.ndarray | None, *, rate: float, share: float, number: int = 0
    ) -> StepResult:
        """See CompiledStep."""
        self._model.optimizer.learning_rate = rate
        samples = scaled(keras.ops.convert_to_tensor(images), self._spec)
        inputs, targets, shares = self._replicas.spread(samples, labels, weights)
        logs = self._model.train_on_batch(inputs, targets, sample_weight=shares, return_dict=True)
        self._average.update(share)
        return StepResult([float(logs["loss"]), float(logs["accuracy"])])

    def sync(self) -> None:
        """See CompiledStep; the variables are always as they should be."""
