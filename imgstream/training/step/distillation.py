"""Distillation: a model learns from the labels and from what other models, its teachers, say of the same pixels.

Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network", 2015; why not Keras' own: docs/decisions/0043-distillation.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from imgstream.errors import ModelError
from imgstream.evaluation.metrics import softmax
from imgstream.models.forward import Forward, Program
from imgstream.runs.run import Run, load_run
from imgstream.spec import SampleSpec


@keras.saving.register_keras_serializable("imgstream")  # a callback may save the model that is trained
class DistillationLoss(keras.losses.Loss):
    """(1 - weight) × the cross-entropy with the labels + weight × temperature² × the divergence from the teacher's softened probabilities.

    Targets are float32 (B, 2 K): the labels, and beside them what Teacher gives. Logits are (B, K).
    """

    def __init__(self, label_smoothing: float, weight: float, temperature: float, **config: Any) -> None:
        super().__init__(**{"name": "distillation", **config})
        self.label_smoothing, self.weight, self.temperature = label_smoothing, weight, temperature

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each image, (B,), in nats."""
        labels, teacher = y_true[:, : y_pred.shape[-1]], y_true[:, y_pred.shape[-1] :]
        hard = keras.losses.categorical_crossentropy(labels, y_pred, from_logits=True, label_smoothing=self.label_smoothing)
        crossed = keras.losses.categorical_crossentropy(teacher, y_pred / self.temperature, from_logits=True)
        entropy = -keras.ops.sum(teacher * keras.ops.log(keras.ops.maximum(teacher, keras.config.epsilon())), axis=-1)
        return (1 - self.weight) * hard + self.weight * self.temperature**2 * (crossed - entropy)

    def get_config(self) -> dict[str, Any]:
        """See keras.losses.Loss.get_config."""
        own = {"label_smoothing": self.label_smoothing, "weight": self.weight, "temperature": self.temperature}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("imgstream")
class LabelAccuracy(keras.metrics.CategoricalAccuracy):
    """keras.metrics.CategoricalAccuracy of the labels in the targets of DistillationLoss."""

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """See keras.metrics.CategoricalAccuracy.update_state."""
        return super().update_state(y_true[:, : y_pred.shape[-1]], y_pred, sample_weight)


def target_width(model: Any) -> int:
    """The number of columns of the targets that the compiled `model` learns from."""
    return int(model.output_shape[-1]) * (2 if isinstance(model.loss, DistillationLoss) else 1)


class Teacher:
    """One or more runs that know the classes of a training. They see the very pixels that the student sees, augmented and in its size,
    enlarged or reduced to their own.
    """

    def __init__(self, runs: Sequence[str], class_names: Sequence[str], spec: SampleSpec, temperature: float) -> None:
        """`class_names` and `spec`: those of the student. `temperature`: what logits are divided by before the softmax.

        Raises RunError when a run cannot be loaded, and ModelError when it lacks a class or takes images of other channels.
        """
        opened = [load_run(path) for path in runs]
        self.temperature = temperature
        self.fingerprints = [run.fingerprint for run in opened]
        """Of the runs, in their order: what a resumed training must find again."""
        self.sizes = [(run.model, run.spec.shape) for run in opened]
        """(model, shape of its samples) of each run, for the plan of the memory."""
        self._members = [(_engine(run, spec), _columns(run, class_names)) for run in opened]
        self._forwards: dict[int, list[Forward]] = {}

    def __call__(self, images: np.ndarray, batch_size: int) -> np.ndarray:
        """uint8 (B, H, W, C) pixels, B at most `batch_size` → float32 (B, K): softened probabilities, the mean over the runs."""
        if batch_size not in self._forwards:
            self._forwards[batch_size] = [Forward(engine, batch_size) for engine, _ in self._members]
        total = sum(
            softmax(forward(images)[:, columns] / self.temperature).astype(np.float64)
            for forward, (_, columns) in zip(self._forwards[batch_size], self._members, strict=True)
        )
        return np.asarray(total / len(self._members), np.float32)


def _engine(run: Run, spec: SampleSpec) -> Program:
    height, width, channels = run.spec.shape
    if channels != spec.channels:
        raise ModelError(
            f"the teacher {run.path} takes images of {channels} channels, not {spec.channels}: train with --channels {channels}"
        )
    if run.spec.levels != spec.levels:
        raise ModelError(
            f"the teacher {run.path} has {_told(run.spec)}, and this training {_told(spec)}: they would see other pixels. Give the same "
            "--levels to both"
        )
    inputs = keras.Input((None, None, channels))
    return Program(keras.Model(inputs, run.model(keras.layers.Resizing(height, width)(inputs))), run.spec)


def _told(spec: SampleSpec) -> str:
    return "no levels" if spec.levels is None else f"the levels {spec.levels[0]:g} to {spec.levels[1]:g}"


def _columns(run: Run, class_names: Sequence[str]) -> np.ndarray:
    """Where the run has each of the classes."""
    if missing := [name for name in class_names if name not in run.class_names]:
        raise ModelError(
            f"the teacher {run.path} does not know the {'class' if len(missing) == 1 else 'classes'} {', '.join(map(repr, missing[:5]))}; "
            f"it knows {', '.join(map(repr, run.class_names[:10]))}. Give a --teacher that was trained on these classes"
        )
    return np.array([run.class_names.index(name) for name in class_names])
