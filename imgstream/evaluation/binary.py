"""How well the scores of one of two classes separate it from the other: ROC AUC, average precision, thresholds."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class OperatingPoint(NamedTuple):
    """What is reached when images with a score of at least `threshold` are taken for the positive class."""

    threshold: float
    precision: float
    recall: float


class BinaryScores:
    """The scores of the positive class, and whether each image is of it. Memory: 5 bytes an image."""

    def __init__(self, positive: str) -> None:
        self.positive = positive
        """Name of the positive class."""
        self._scores: list[np.ndarray] = []
        self._truth: list[np.ndarray] = []

    def update(self, scores: np.ndarray, truth: np.ndarray) -> None:
        """Add a batch: float32 (B,) scores, 0 to 1, and bool (B,)."""
        self._scores.append(np.asarray(scores, np.float32))
        self._truth.append(np.asarray(truth, bool))

    @property
    def roc_auc(self) -> float | None:
        """The probability that an image of the class scores higher than one of the other, a tie counting half; None where either has no
        image.
        """
        _, hits, false = self._counts()
        if not len(hits) or not hits[-1] or not false[-1]:
            return None
        recall, fallout = np.concatenate([[0], hits / hits[-1]]), np.concatenate([[0], false / false[-1]])
        return float(np.trapezoid(recall, fallout))

    @property
    def average_precision(self) -> float | None:
        """The mean of the precision at each image of the class, without interpolation, as in scikit-learn; None without such an image."""
        _, hits, false = self._counts()
        if not len(hits) or not hits[-1]:
            return None
        return float((np.diff(hits, prepend=0) * hits / (hits + false)).sum() / hits[-1])

    def at_precision(self, wanted: float) -> OperatingPoint | None:
        """The point of the highest recall among those whose precision is at least `wanted`; None where there is none."""
        return self._best(lambda precision, recall: (precision >= wanted, recall))

    def at_recall(self, wanted: float) -> OperatingPoint | None:
        """The point of the highest precision among those whose recall is at least `wanted`; None without an image of the class."""
        return self._best(lambda precision, recall: (recall >= wanted, precision))

    def at_best_f1(self) -> OperatingPoint | None:
        """The point of the highest F1; its threshold lies half-way to the next lower score. None without an image of the class."""
        thresholds, hits, false = self._counts()
        if not len(hits) or not hits[-1]:
            return None
        best = int((2 * hits / (hits + false + hits[-1])).argmax())
        below = thresholds[best + 1] if best + 1 < len(thresholds) else 0.0
        threshold = float(np.float32((float(thresholds[best]) + float(below)) / 2))
        return OperatingPoint(threshold, float(hits[best] / (hits[best] + false[best])), float(hits[best] / hits[-1]))

    def counts_at(self, threshold: float) -> tuple[int, int, int]:
        """Of the images with a score of at least `threshold`, how many are of the class, and how many there are; and all of the class."""
        thresholds, hits, false = self._counts()
        taken = int((thresholds >= np.float32(threshold)).sum())
        if not taken:
            return 0, 0, int(hits[-1]) if len(hits) else 0
        return int(hits[taken - 1]), int(hits[taken - 1] + false[taken - 1]), int(hits[-1])

    def report(self) -> dict[str, Any]:
        """Values that JSON can hold: positive, roc_auc, average_precision."""
        return {"positive": self.positive, "roc_auc": self.roc_auc, "average_precision": self.average_precision}

    def _best(self, criterion: Any) -> OperatingPoint | None:
        thresholds, hits, false = self._counts()
        if not len(hits) or not hits[-1]:
            return None
        precision, recall = hits / (hits + false), hits / hits[-1]
        allowed, value = criterion(precision, recall)
        if not allowed.any():
            return None
        best = int(np.where(allowed, value, -1.0).argmax())  # of equal ones the first, with the highest threshold
        return OperatingPoint(float(thresholds[best]), float(precision[best]), float(recall[best]))

    def _counts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """float32 (n,) distinct scores, highest first, and int64 (n,) images of the class, and of the other, that score at least so."""
        if not self._scores:
            return np.zeros(0, np.float32), np.zeros(0, np.int64), np.zeros(0, np.int64)
        scores, truth = np.concatenate(self._scores), np.concatenate(self._truth)
        order = np.argsort(-scores, kind="stable")
        scores, truth = scores[order], truth[order]
        last = np.flatnonzero(np.append(scores[1:] != scores[:-1], True)) if len(scores) else np.zeros(0, np.int64)
        hits = np.cumsum(truth)[last]
        return scores[last], hits, last + 1 - hits
