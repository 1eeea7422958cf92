"""Prediction: the result for one file. Every file gets exactly one, in index order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from imgstream.index.selection import SEPARATOR


@dataclass(frozen=True, slots=True, eq=False)  # eq: comparing arrays has no single answer
class Prediction:
    """The prediction for one file, or the reason why it has none: label, score and scores are None exactly when error is not."""

    path: str
    """Relative to the folder, with "/", or as it was given; bytes that are no UTF-8 show as U+FFFD."""
    path_bytes: bytes
    """The same path, exactly."""
    label: str | None
    """The class with the highest score; where an image may have several labels, those whose score reaches its class's threshold, best
    first, joined by "|", or "" for none.
    """
    score: float | None
    """The probability of that class, 0 to 1; where an image may have several labels, of the first of these, or the highest
    of any class where there is none.
    """
    scores: np.ndarray | None
    """float32 (K,): probabilities of all classes, in the order of class_names. They sum to 1, unless an image may have several labels."""
    error: str | None
    """None for a good file, else "reason: detail" with a reason of errors.REASONS."""

    def top_k(self, class_names: Sequence[str], k: int) -> list[tuple[str, float]]:
        """The k best classes.

        Args:
            class_names: The names of the model's classes, as Run.class_names.
            k: Number of classes; all K if K < k.

        Returns:
            (class name, score), best first; of equal scores the lower class index first. [] for a bad file.
        """
        if self.scores is None:
            return []
        best = np.argsort(-self.scores, kind="stable")[:k]
        return [(class_names[i], float(self.scores[i])) for i in best]


@dataclass(frozen=True, slots=True)
class StoredPrediction:
    """One row of a prediction store: a Prediction with the best classes only."""

    path: str
    path_bytes: bytes
    label: str | None
    """The class with the highest score, or "unsure" if that score is too low; or several, as in Prediction."""
    score: float | None
    error: str | None
    ranked: list[tuple[str, float]]
    """(class name, score), best first."""

    @classmethod
    def of(
        cls,
        path: bytes,
        error: str | None,
        ranks: np.ndarray,
        class_names: Sequence[str],
        min_score: float,
        thresholds: np.ndarray | None = None,
    ) -> StoredPrediction:
        """A row from the store's columns: `ranks` has the fields label and score, best first. `thresholds`: float32 (K,) where an image may
        have several labels.
        """
        ranked = [(class_names[label], score) for label, score in ranks.tolist()]
        label, score = ranked[0] if ranked else (None, None)
        if score is not None and thresholds is not None:
            reached = ranks["score"] >= np.maximum(thresholds[ranks["label"]], np.float32(min_score))
            label = SEPARATOR.join(class_names[number] for number in ranks["label"][reached].tolist())
            score = float(ranks["score"][reached][0]) if reached.any() else score
        elif score is not None and min_score and not score >= np.float32(min_score):  # also of a score that is no number
            label = UNSURE
        return cls(shown(path), path, label, score, error, ranked)

    def top_k(self, class_names: Sequence[str], k: int) -> list[tuple[str, float]]:
        """The k best classes, at most as many as are stored."""
        return self.ranked[:k]


def labels_above(scores: np.ndarray, thresholds: np.ndarray, class_names: Sequence[str]) -> str:
    """The classes whose score, float32 (K,), reaches its threshold, best first, joined by "|"."""
    best = np.argsort(-scores, kind="stable")
    return SEPARATOR.join(class_names[number] for number in best[scores[best] >= thresholds[best]].tolist())


UNSURE = "unsure"
"""The label of an image whose best score is below --min-score."""


def shown(path: bytes) -> str:
    """A path as text: bytes that are no UTF-8 as U+FFFD."""
    return path.decode("utf-8", errors="replace")
