"""A training step for measurements, with the model as training builds and compiles it."""

from __future__ import annotations

import collections

import numpy as np

from imgstream.spec import SampleSpec
from imgstream.training.settings import DEFAULT_BATCH_SIZE, TrainSettings
from imgstream.training.step.compiled_models import served_model, trained_model
from imgstream.training.step.compiled_step import StepResult
from imgstream.training.step.precision import choose_precision
from imgstream.training.step.replicas import Replicas
from imgstream.training.step.step_selection import new_step
from imgstream.training.step.weight_average import WeightAverage

_RATE = 1e-3


class TrainingStep:
    """A model that is trained only to measure its steps. Raises ModelError when it cannot be built."""

    def __init__(self, settings: TrainSettings, spec: SampleSpec, grows: bool, outputs: int) -> None:
        """`grows`: whether training starts with smaller samples, and so leaves height and width open; `outputs`: classes, 2 or more."""
        self.batch_size, self.outputs = settings.batch_size or DEFAULT_BATCH_SIZE, outputs
        served = served_model(settings, settings.model or "cnn", (None, None, spec.channels) if grows else spec.shape, outputs)
        policy, _ = choose_precision(settings.precision)
        model, replicas = trained_model(served, policy, settings, Replicas([])), Replicas([])
        self._average = WeightAverage(model)
        self._step = new_step(model, self._average, replicas, self.batch_size, spec)
        self._steps = 0
        self._results: collections.deque[StepResult] = collections.deque()

    def step(self, images: np.ndarray, labels: np.ndarray) -> None:
        """Run one step on uint8 (B, H, W, C) pixels and labels, int32 (B,) or float32 (B, K). As in training, it waits only for steps that
        lie further back than the device works ahead.

        A batch that is smaller because of bad files is filled up, so that each step is a whole one.
        """
        self._steps += 1
        rows = np.arange(self.batch_size) % len(images)
        batch = images if len(images) == self.batch_size else images[rows]
        share = self._average.share(self._steps)
        self._results.append(self._step(batch, self._targets(labels)[rows], None, rate=_RATE, share=share))
        while len(self._results) > self._step.ahead:
            _ = self._results.popleft().loss  # waits for it

    def _targets(self, labels: np.ndarray) -> np.ndarray:
        """float32 (B, outputs); no label counts as the first class, as the result of training is not used."""
        if labels.ndim == 2 and labels.shape[1] == self.outputs:
            return labels
        return np.eye(self.outputs, dtype=np.float32)[np.maximum(labels, 0) if labels.ndim == 1 else np.zeros(len(labels), np.int64)]
