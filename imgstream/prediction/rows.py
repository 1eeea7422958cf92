"""Prediction: what one file came to. Every file gets exactly one, in index order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, eq=False)  # eq: comparing arrays has no single answer
class Prediction:
    """One file's prediction, or why it has none: label, score and scores are None exactly when error is not."""

    path: str
    """Relative to the folder, with "/", or as it was given; bytes that are no UTF-8 show as U+FFFD."""
    path_bytes: bytes
    """The same path, exactly."""
    label: str | None
    """The class with the highest score."""
    score: float | None
    """That class's softmax probability, 0 to 1."""
    scores: np.ndarray | None
    """float32 (K,): softmax probabilities of all classes, in the order of class_names."""
    error: str | None
    """"reason: detail", the reason one of errors.REASONS."""

    def top_k(self, class_names: Sequence[str], k: int) -> list[tuple[str, float]]:
        """The k best (class name, score), best first, all K when K < k; of equal scores the lower class index first. [] for a bad file."""
        if self.scores is None:
            return []
        best = np.argsort(-self.scores, kind="stable")[:k]
        return [(class_names[i], float(self.scores[i])) for i in best]
