"""What was predicted, row by row, in constant memory: counts, scores, and a sample of each kind of row."""

from __future__ import annotations

import heapq
import math
import os
import random
from collections import Counter
from typing import Any, NamedTuple

import numpy as np

from imgstream.report.charts.figure import chart
from imgstream.report.charts.quality import draw_scores
from imgstream.report.charts.svg import inline_svg

_BINS = 20
_PER_LABEL, _LABELS = 8, 200
_UNSURE, _BAD = 24, 6
_SHOWN_LABELS = 24
_TABLE = 60


class Sampled(NamedTuple):
    """A row that is shown."""

    path: bytes
    label: str | None
    score: float | None
    error: str | None


class Predictions:
    """Counts rows of predictions, and keeps a fair sample of each label, the least sure, and examples of each error."""

    def __init__(self) -> None:
        self.rows = self.no_number = 0
        self.labels: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.histogram = np.zeros(_BINS, np.int64)
        self._sums: Counter[str] = Counter()
        self._of_label: dict[str, list[Sampled]] = {}
        self._of_error: dict[str, list[Sampled]] = {}
        self._unsure: list[tuple[float, int, Sampled]] = []
        self._random = random.Random(0)

    def add(self, path: bytes, label: str | None, score: float | None, error: str | None) -> None:
        """Count one row; `error` is "reason: detail" or None. A score that is no number counts apart."""
        self.rows += 1
        if error is not None:
            reason = error.partition(":")[0]
            self.errors[reason] += 1
            some = self._of_error.setdefault(reason, [])
            if len(some) < _BAD:
                some.append(Sampled(path, None, None, error))
            return
        name = label or ""
        self.labels[name] += 1
        if score is None or not math.isfinite(score):
            self.no_number += 1
            score = None
        else:
            self.histogram[min(_BINS - 1, max(0, int(score * _BINS)))] += 1
            self._sums[name] += score  # type: ignore[assignment]  # a Counter of floats
            if len(self._unsure) < _UNSURE or -self._unsure[0][0] > score:
                keep = heapq.heappush if len(self._unsure) < _UNSURE else heapq.heapreplace
                keep(self._unsure, (-score, self.rows, Sampled(path, name, score, None)))
        self._sample(name, path, score)

    def _sample(self, label: str, path: bytes, score: float | None) -> None:
        """Keep each row of a label with the same chance (Vitter's algorithm R)."""
        if label not in self._of_label and len(self._of_label) >= _LABELS:
            return
        some = self._of_label.setdefault(label, [])
        if len(some) < _PER_LABEL:
            some.append(Sampled(path, label, score, None))
        elif (place := self._random.randrange(self.labels[label])) < _PER_LABEL:
            some[place] = Sampled(path, label, score, None)

    def groups(self) -> list[tuple[str, str, int, list[Sampled]]]:
        """(what, title, rows, those that are shown): the least sure, the bad ones by reason, and the most frequent labels."""
        unsure = [row for *_, row in sorted(self._unsure, key=lambda each: -each[0])]
        found = [("unsure", "Least sure", self.labels.total(), unsure)] if unsure else []
        found += [("error", reason, count, self._of_error[reason]) for reason, count in self.errors.most_common()]
        common = [(label, count) for label, count in self.labels.most_common() if label in self._of_label][:_SHOWN_LABELS]
        return found + [("label", label, count, self._of_label[label]) for label, count in common]

    def values(self) -> dict[str, Any]:
        """The section's values, without images."""
        most = max(self.labels.values(), default=1)
        edges = np.linspace(0, 1, _BINS + 1)
        return {
            "rows": self.rows,
            "bad": self.errors.total(),
            "errors": self.errors.most_common(),
            "no_number": self.no_number,
            "bars": [(label, count, count / most, self._sums[label] / count) for label, count in self.labels.most_common(_TABLE)],
            "labels": len(self.labels),
            "scores": inline_svg(
                chart(lambda axes: draw_scores(axes, self.histogram, None, edges)), "predicted", "Numbers of images by score."
            )
            if self.histogram.any()
            else None,
        }


def place_of(root: str, path: bytes) -> bytes:
    """Where the file of a row lies."""
    return os.path.join(os.fsencode(root), path)
