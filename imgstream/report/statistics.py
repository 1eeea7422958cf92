"""Figures of quality from what was kept of each image. NumPy only; no K × K matrix, so that there may be any number of classes."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

_Z = 1.959964
"""Quantile of the normal distribution for an interval of 95 %."""
BINS = 10
_STEPS = 100


def wilson(hits: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share of `hits` in `n`, after Wilson (1927); (0, 1) without any."""
    if not n:
        return 0.0, 1.0
    share, z2 = hits / n, _Z**2 / n
    middle = (share + z2 / 2) / (1 + z2)
    half = _Z * math.sqrt(share * (1 - share) / n + z2 / (4 * n)) / (1 + z2)
    return max(0.0, middle - half), min(1.0, middle + half)


@dataclasses.dataclass(frozen=True)
class ClassFigures:
    """How well one class is told from the others."""

    label: int
    n: int
    precision: float
    recall: float
    f1: float


def class_figures(labels: np.ndarray, predicted: np.ndarray, classes: int) -> list[ClassFigures]:
    """The figures of each class that has an image; integer (n,) labels and predictions."""
    n, claimed = np.bincount(labels, minlength=classes), np.bincount(predicted, minlength=classes)
    hits = np.bincount(labels[labels == predicted], minlength=classes)
    return [
        ClassFigures(
            label,
            int(n[label]),
            hits[label] / max(1, claimed[label]),
            hits[label] / n[label],
            2 * hits[label] / (n[label] + claimed[label]),
        )
        for label in np.flatnonzero(n).tolist()
    ]


def confused_pairs(labels: np.ndarray, predicted: np.ndarray, most: int) -> list[tuple[int, int, int]]:
    """(true class, predicted class, images) of the most frequent mistakes."""
    wrong = labels != predicted
    pairs, counts = np.unique(np.stack([labels[wrong], predicted[wrong]]), axis=1, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:most]
    return [(int(pairs[0, i]), int(pairs[1, i]), int(counts[i])) for i in order]


def counts_between(labels: np.ndarray, predicted: np.ndarray, chosen: list[int]) -> np.ndarray:
    """The confusion matrix of the `chosen` classes alone: int64 (len, len), true classes down."""
    place = np.full(int(max(labels.max(initial=0), predicted.max(initial=0), *chosen)) + 1, -1, np.int64)
    place[chosen] = np.arange(len(chosen))
    rows, columns = place[labels], place[predicted]
    inside = (rows >= 0) & (columns >= 0)
    return np.bincount(rows[inside] * len(chosen) + columns[inside], minlength=len(chosen) ** 2).reshape(len(chosen), len(chosen))


def calibration_bins(scores: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(mean score, accuracy, images) in ten equal bins of the score: float, float and int (10,). Scores that are no numbers are left
    out.
    """
    known = np.isfinite(scores)
    scores, right = scores[known].astype(np.float64), right[known]
    at = np.clip(np.ceil(scores * BINS).astype(np.int64) - 1, 0, BINS - 1)
    counts = np.bincount(at, minlength=BINS)
    sums, hits = np.bincount(at, scores, BINS), np.bincount(at, right, BINS)
    return sums / np.maximum(counts, 1), hits / np.maximum(counts, 1), counts


def coverage(scores: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(thresholds, share of images whose score is at least that, accuracy of those): float (101,) each; NaN where none is left."""
    thresholds = np.linspace(0, 1, _STEPS + 1)
    order = np.argsort(np.nan_to_num(scores, nan=-1.0), kind="stable")
    ordered, hits = np.nan_to_num(scores, nan=-1.0)[order], np.concatenate([[0], np.cumsum(right[order])])
    first = np.searchsorted(ordered, thresholds.astype(np.float32))
    kept = len(scores) - first
    with np.errstate(invalid="ignore"):
        return thresholds, kept / max(1, len(scores)), (hits[-1] - hits[first]) / np.where(kept, kept, np.nan)
