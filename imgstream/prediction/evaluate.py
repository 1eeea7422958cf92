"""A model against labelled images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from imgstream.errors import DatasetError
from imgstream.prediction.forward import Forward
from imgstream.prediction.metrics import ConfusionMatrix, softmax
from imgstream.stream import Stream

Progress = Callable[[int], None]
"""Called with the number of rows done so far."""


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What came of it."""

    confusion: ConfusionMatrix
    loss: float
    """Mean cross-entropy of the evaluated images, in nats."""
    skipped: list[tuple[str, str]]
    """(path, reason) of the files that were left out as bad."""
    unknown_classes: list[str]
    """Folders that are no class of the model: their images were left out."""

    @property
    def accuracy(self) -> float:
        """Share of the evaluated images whose class was found, 0 to 1."""
        return self.confusion.accuracy

    def report(self) -> dict[str, Any]:
        """JSON-ready: ConfusionMatrix.report, with loss, skipped (a count) and unknown_classes."""
        return {
            **self.confusion.report(),
            "loss": self.loss,
            "skipped": len(self.skipped),
            "unknown_classes": self.unknown_classes,
        }


def evaluate(
    model: Any, class_names: Sequence[str], stream: Stream, *, max_batches: int | None = None, progress: Progress | None = None
) -> Evaluation:
    """Run `model` (logits) over a labelled stream. Classes are matched by name, so the stream's index may have fewer, more or others.

    `max_batches` stops early: with a shuffled stream that is a fair sample. Raises DatasetError when no image belongs to the model's
    classes.
    """
    names = list(class_names)
    to_model = np.array([names.index(n) if n in names else -1 for n in stream.index.class_names], np.int64)
    unknown = [n for n in stream.index.class_names if n not in names]
    if not (to_model >= 0).any():
        raise DatasetError(
            f"no image under {stream.index.root} lies in a folder named for one of the model's classes ({', '.join(names[:20])}); "
            f"found {', '.join(unknown[:20]) or 'no class folders'}"
        )
    forward, confusion = Forward(model, stream.batch_size), ConfusionMatrix(names)
    losses, rows = 0.0, 0
    for batch in stream.traced_batches():
        labels = np.where(batch.labels >= 0, to_model[batch.labels], -1)
        rows += len(labels) + len(batch.bad)
        if (known := labels >= 0).any():
            scores = softmax(forward(batch.images))[known]
            confusion.update(labels[known], scores.argmax(axis=1))
            losses -= float(np.log(np.maximum(scores[np.arange(len(scores)), labels[known]], 1e-12)).sum())
        if progress is not None:
            progress(rows)
        if max_batches is not None and batch.number + 1 >= max_batches:
            break
    return Evaluation(confusion, losses / max(1, int(confusion.counts.sum())), stream.skipped, unknown)
