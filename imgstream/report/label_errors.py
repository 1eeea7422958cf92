"""Finds labels that are probably wrong, by confident learning.

After Northcutt, Jiang and Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels" (2021): each class has a threshold of its
own, the mean score that images of that label have for it, so that a class of which the model is rarely sure does not look wrong throughout.
"""

from __future__ import annotations

import numpy as np


def likely_label_errors(labels: np.ndarray, predicted: np.ndarray, scores: np.ndarray, label_scores: np.ndarray) -> np.ndarray:
    """Positions of images whose label is probably wrong, the likeliest first: int64 (m,).

    `labels`, `predicted`: integer (n,) classes; `scores`, `label_scores`: float (n,), the score of the predicted class and of the label. An
    image is among them when another class than its label scores highest, and at least as high as that class does on average where it is
    the label. They are ordered by how much the label's score is below it. Scores that are no numbers are left out.
    """
    if not len(labels):
        return np.zeros(0, np.int64)
    classes = int(max(labels.max(), predicted.max())) + 1
    known = np.isfinite(label_scores) & np.isfinite(scores)
    sums = np.bincount(labels[known], label_scores[known], classes)
    counts = np.bincount(labels[known], minlength=classes)
    thresholds = np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)
    found = np.flatnonzero(known & (predicted != labels) & (scores >= thresholds[predicted]))
    return found[np.argsort(label_scores[found] - scores[found], kind="stable")]
