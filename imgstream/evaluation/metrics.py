"""Softmax, and the metrics of a classifier from its confusion matrix. NumPy only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

FIGURES = ("precision", "recall", "f1")
"""The metrics of each class."""


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of `logits` (..., K) along the last axis, float32 of the same shape; computed in float64, safe for any finite
    float32.
    """
    shifted = np.asarray(logits, np.float64)
    powers = np.exp(shifted - shifted.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), np.float32)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Probabilities of `logits`, each by itself: float32 of the same shape, computed in float64."""
    return np.asarray(np.exp(-np.logaddexp(0, -np.asarray(logits, np.float64))), np.float32)


def scores_of(logits: np.ndarray, *, multi_label: bool) -> np.ndarray:
    """float32 (B, K): the softmax of `logits`, or where an image may have several labels, their sigmoid."""
    return sigmoid(logits) if multi_label else softmax(logits)


class ConfusionMatrix:
    """How often each true class was predicted as each class; memory K², whatever the number of images."""

    def __init__(self, class_names: Sequence[str]) -> None:
        self.class_names = list(class_names)
        self.counts = np.zeros((len(self.class_names), len(self.class_names)), np.int64)
        """int64 (K, K): rows are the true class, columns the predicted one."""

    def update(self, labels: np.ndarray, predicted: np.ndarray) -> None:
        """Count a batch: integer (B,) true and predicted class indices, 0 to K - 1. Raises ValueError for others, and counts none."""
        labels, predicted = np.asarray(labels), np.asarray(predicted)
        if labels.ndim != 1 or labels.shape != predicted.shape:
            raise ValueError(f"labels and predicted must be one integer an image; got shapes {labels.shape} and {predicted.shape}")
        for name, classes in (("labels", labels), ("predicted", predicted)):
            wrong = classes[(classes < 0) | (classes >= len(self.class_names))]
            if wrong.size:
                raise ValueError(f"{name} must be 0 to {len(self.class_names) - 1}; got {wrong[0]}. Leave unlabelled images (-1) out")
        np.add.at(self.counts, (labels, predicted), 1)

    @property
    def accuracy(self) -> float:
        """The share of images whose class was predicted correctly, 0 to 1; 0.0 without images."""
        return _ratio(self.counts.trace(), self.counts.sum())

    def report(self) -> dict[str, Any]:
        """Values that JSON can hold: accuracy, images, class_names, per_class {name: precision, recall, f1, n}, macro_average,
        confusion_matrix.

        n is the number of images of the class. What was not measured is None: the three metrics of a class without an image, the accuracy
        of no images. The precision of a class that has images and was never predicted is 0.0, as in scikit-learn. macro_average is the
        unweighted mean over the measured classes, with their number as `classes`.
        """
        per_class: dict[str, dict[str, float | int | None]] = {}
        for i, name in enumerate(self.class_names):
            hits, n, claimed = self.counts[i, i], self.counts[i].sum(), self.counts[:, i].sum()
            figures = (_ratio(hits, claimed), _ratio(hits, n), _ratio(2 * hits, n + claimed)) if n else (None, None, None)
            per_class[name] = {**dict(zip(FIGURES, figures, strict=True)), "n": int(n)}
        measured = [figures for figures in per_class.values() if figures["n"]]
        means = {key: float(np.mean([figures[key] for figures in measured])) if measured else None for key in FIGURES}
        return {
            "accuracy": self.accuracy if measured else None,
            "images": int(self.counts.sum()),
            "class_names": self.class_names,
            "per_class": per_class,
            "macro_average": {**means, "classes": len(measured)},
            "confusion_matrix": self.counts.tolist(),
        }


def _ratio(part: np.integer[Any], whole: np.integer[Any]) -> float:
    return int(part) / int(whole) if whole else 0.0
