"""Runs both pipelines over the same files and compares them value by value."""

from __future__ import annotations

import dataclasses
import heapq
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from imgstream.augment import OperationPreset, Preset
from imgstream.stream.batch import Batch
from imgstream.stream.stream import Stream

_LISTED = 10
_TOLERANCE = 1e-3  # of a level: float32 arithmetic in other orders


class Skip(NamedTuple):
    """A file that only one pipeline can read, or that the two skip for different reasons."""

    path: str
    python: str
    """"reason: detail", or "" where the file is read."""
    tf: str


class Changed(NamedTuple):
    """An image whose predicted class depends on the pipeline that reads it: class numbers and their scores."""

    path: str
    python: int
    tf: int
    python_score: float
    tf_score: float


@dataclasses.dataclass
class ParityResult:
    """What the comparison found. Differences are in levels; a pixel has 256 of them."""

    augment: str
    most: float | None
    """The largest difference allowed in any value; None for the user's own augmentations, which may amplify any difference."""
    most_on_average: float | None
    images: int = 0
    by_tensorflow: int = 0
    """Images that TensorFlow decoded; both pipelines read the others by the reference decoder."""
    values: int = 0
    total: float = 0.0
    largest: float = 0.0
    at_levels: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(5, np.int64))
    """Number of values that differ by 0, 1, 2, 3 and more levels, rounded."""
    worst: list[tuple[float, str]] = dataclasses.field(default_factory=list)
    """(largest difference, path) of the images that differ most."""
    over: int = 0
    """Images with a difference above `most`."""
    skipped: int = 0
    skips: list[Skip] = dataclasses.field(default_factory=list)
    lost: list[str] = dataclasses.field(default_factory=list)
    """Files that one pipeline neither gives nor skips."""
    labels: int = 0
    """Rows whose label or position in the batch differs."""
    changed: list[Changed] = dataclasses.field(default_factory=list)
    score: float = 0.0
    """The largest difference in the score of any class."""

    @property
    def mean(self) -> float:
        """The mean difference of all values, in levels."""
        return self.total / max(1, self.values)

    @property
    def agrees(self) -> bool:
        """Whether everything lies within the bounds. Changed predictions do not count: they follow from differences within the bounds."""
        mean_holds = self.most_on_average is None or self.mean <= self.most_on_average
        return not (self.over or self.skips or self.lost or self.labels) and mean_holds

    def to_json(self) -> dict[str, Any]:
        """The result as values that JSON can hold."""
        return {
            "augment": self.augment,
            "agrees": self.agrees,
            "images": self.images,
            "by_tensorflow": self.by_tensorflow,
            "largest_difference": round(self.largest, 4),
            "mean_difference": round(self.mean, 6),
            "largest_allowed": self.most,
            "mean_allowed": self.most_on_average,
            "values_at_levels": self.at_levels.tolist(),
            "images_over": self.over,
            "worst": [{"path": path, "difference": round(difference, 4)} for difference, path in self.worst],
            "skipped": self.skipped,
            "skips_that_differ": [skip._asdict() for skip in self.skips],
            "lost": self.lost,
            "labels_that_differ": self.labels,
        }


def compare(
    stream: Stream,
    predict: Callable[[np.ndarray], np.ndarray] | None = None,
    progress: Callable[[int], None] | None = None,
) -> ParityResult:
    """Compare both pipelines over all of `stream`, batch by batch, in constant memory.

    `predict`: float32 (B, H, W, C) → scores float32 (B, K), to find predictions that change. `progress`: called with the rows done so far.
    """
    augmentation = stream.augmentation
    is_smooth = isinstance(augmentation, Preset) and not isinstance(augmentation, OperationPreset)  # solarize makes 255 of one level
    most, mean = (1.0, None) if augmentation is None else (3.0, 0.1) if is_smooth else (None, None)
    found = ParityResult(augmentation.name if augmentation is not None else "none", most, mean)
    python, tf = stream.replace(pipeline="python"), stream.replace(pipeline="tf")
    for a, b in zip(python.traced_batches(), tf.traced_batches(), strict=True):
        _compare(found, stream, a, b, predict)
        if progress is not None:
            progress(found.images + found.skipped)
    found.by_tensorflow = tf.decoded_by_tensorflow
    found.worst.sort(reverse=True)
    return found


def _compare(found: ParityResult, stream: Stream, a: Batch, b: Batch, predict: Callable[[np.ndarray], np.ndarray] | None) -> None:
    path = stream.index.path
    bad_a, bad_b = ({position: f"{e.reason}: {e.detail}" for position, e in batch.bad} for batch in (a, b))
    found.skipped += len(bad_a)
    for position in sorted(bad_a.keys() | bad_b.keys()):
        if bad_a.get(position) != bad_b.get(position):
            found.skips.append(Skip(path(position), bad_a.get(position, ""), bad_b.get(position, "")))
    for batch, bad in ((a, bad_a), (b, bad_b)):
        rows = set(a.positions.tolist()) | set(b.positions.tolist()) | bad_a.keys() | bad_b.keys()
        found.lost += [path(position) for position in sorted(rows - set(batch.positions.tolist()) - bad.keys())]
    both, at_a, at_b = np.intersect1d(a.positions, b.positions, return_indices=True)
    order = np.argsort(at_a)
    both, at_a, at_b = both[order], at_a[order], at_b[order]
    if not len(both):
        return
    found.labels += int((~np.isclose(a.labels[at_a], b.labels[at_b], atol=1e-6)).any(axis=tuple(range(1, a.labels.ndim))).sum())
    found.labels += int((at_b != np.sort(at_b)).sum())
    gain, _ = stream.spec.affine()
    levels = np.abs(a.images[at_a] - b.images[at_b]) / gain
    largest = levels.max(axis=(1, 2, 3))
    found.images += len(both)
    found.values += levels.size
    found.total += float(levels.sum(dtype=np.float64))
    found.largest = max(found.largest, float(largest.max()))
    found.at_levels += np.bincount(np.minimum(np.rint(levels), 4).astype(np.int64).ravel(), minlength=5)
    if found.most is not None:
        found.over += int((largest > found.most + _TOLERANCE).sum())
    for position, difference in zip(both.tolist(), largest.tolist(), strict=True):
        heapq.heappush(found.worst, (difference, path(position)))
        if len(found.worst) > _LISTED:
            heapq.heappop(found.worst)
    if predict is None:
        return
    scores_a, scores_b = predict(a.images[at_a]), predict(b.images[at_b])
    found.score = max(found.score, float(np.abs(scores_a - scores_b).max()))
    best_a, best_b = scores_a.argmax(axis=1), scores_b.argmax(axis=1)
    for i in np.flatnonzero(best_a != best_b).tolist():
        scores = float(scores_a[i, best_a[i]]), float(scores_b[i, best_b[i]])
        found.changed.append(Changed(path(int(both[i])), int(best_a[i]), int(best_b[i]), *scores))
