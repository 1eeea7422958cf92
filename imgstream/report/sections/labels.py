"""How good a model is on images that may have several labels, and the images that it finds hardest."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from imgstream.evaluation.metrics import sigmoid
from imgstream.evaluation.multi_label import LabelScores, targets_for
from imgstream.index import ImageIndex
from imgstream.index.selection import SEPARATOR
from imgstream.models.forward import Forward, Program
from imgstream.prediction.rows import shown
from imgstream.report.sections.images import SHOWN
from imgstream.report.sections.prediction import Predictions
from imgstream.report.thumbnails import SIDE
from imgstream.report.tiles import Tile, plain_tiles
from imgstream.spec import SampleSpec
from imgstream.stream import Stream

_BATCH_SIZE = 32
_BARS = 3


@dataclasses.dataclass
class MeasuredLabels:
    """What was found out in one pass."""

    index: ImageIndex
    scores: LabelScores
    unlabelled: Predictions
    """The images without labels."""
    hardest: list[tuple[float, int, np.ndarray]]
    """(loss, position in the index, scores) of the SHOWN images of the highest loss, highest first."""
    bad: list[tuple[str, int, list[str]]]
    """(reason, files, examples)."""
    seen: int
    """Number of files that were read, bad ones included."""


def measure_labels(
    model: Any,
    class_names: list[str],
    spec: SampleSpec,
    thresholds: np.ndarray,
    index: ImageIndex,
    *,
    most: int | None = None,
    until: float | None = None,
    workers: int | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> MeasuredLabels:
    """Measure `model`, which gives logits, in a mixed order: on all of `index`, on about `most` images, or until time.monotonic() is
    `until`. Memory: 5 bytes an image and class.
    """
    known = [name in index.class_names for name in class_names]
    found = MeasuredLabels(index, LabelScores(class_names, known), Predictions(), [], [], 0)
    stream = Stream(index, spec, batch_size=_BATCH_SIZE, shuffle=True, workers=workers, dtype="uint8")
    forward, reasons = Forward(Program(model, spec), _BATCH_SIZE), dict[str, list[str]]()
    for batch in stream.traced_batches():
        for position, error in batch.bad:
            reasons.setdefault(error.reason, []).append(shown(index.relative_bytes(position)))
        if len(batch.images):
            logits = forward(batch.images)
            scores, targets = sigmoid(logits), targets_for(batch.labels, index.class_names, class_names)
            labelled = targets[:, 0] >= 0
            found.scores.update(scores[labelled], targets[labelled] > 0)
            losses = np.where(known, np.logaddexp(0, logits) - targets * logits, 0).sum(axis=1)
            rows = zip(losses[labelled].tolist(), batch.positions[labelled].tolist(), scores[labelled], strict=True)
            found.hardest = sorted([*found.hardest, *rows], key=lambda row: row[:2], reverse=True)[:SHOWN]
            for position, own in zip(batch.positions[~labelled].tolist(), scores[~labelled], strict=True):
                found.unlabelled.add(index.relative_bytes(position), _names(own >= thresholds, class_names), float(own.max()), None)
        found.seen += len(batch.positions) + len(batch.bad)
        progress(found.seen)
        if (most is not None and found.seen >= most) or (until is not None and time.monotonic() >= until):
            break
    found.bad = [(reason, len(paths), paths[:5]) for reason, paths in reasons.items()]
    return found


def labels(measured: MeasuredLabels, thresholds: np.ndarray, spec: SampleSpec, workers: int | None) -> dict[str, Any] | None:
    """The section's values; None where no labelled image could be measured."""
    if not measured.scores.images:
        return None
    names = measured.scores.class_names
    tiles = plain_tiles(measured.index, [at for _, at, _ in measured.hardest], spec, side=SIDE, workers=workers)
    return {**measured.scores.report(thresholds), "hardest": [_tile(tiles[at], own, thresholds, names) for _, at, own in measured.hardest]}


def _tile(tile: Tile, scores: np.ndarray, thresholds: np.ndarray, names: list[str]) -> Tile:
    best = np.argsort(-scores, kind="stable")[:_BARS]
    bars = tuple((names[k], float(scores[k])) for k in best)
    return dataclasses.replace(tile, predicted=_names(scores >= thresholds, names) or "(none)", bars=bars)


def _names(chosen: np.ndarray, names: list[str]) -> str:
    """In the order of the classes, as a label has them."""
    return SEPARATOR.join(names[k] for k in np.flatnonzero(chosen))
