"""Makes one prediction for every image, in order, in constant memory."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from imgstream.evaluation.metrics import scores_of
from imgstream.models.forward import Engine, Forward, late
from imgstream.prediction.rows import Prediction, labels_above, shown
from imgstream.stream.batch import Batch

Waiting = Callable[[int], contextlib.AbstractContextManager[None]]
"""A context manager for the number of rows done so far: entered while a batch is waited for, left before its predictions are given."""


def predict(
    engine: Engine,
    class_names: Sequence[str],
    batches: Iterable[Batch],
    path_of: Callable[[int], bytes],
    *,
    batch_size: int,
    temperature: float = 1.0,
    thresholds: np.ndarray | None = None,
    ahead: int | None = None,
    waiting: Waiting = lambda done: contextlib.nullcontext(),
) -> Iterator[Prediction]:
    """Predictions for batches in order, bad files included. Scores are softmax(logits / `temperature`), of the logits that `engine` gives;
    with `thresholds`, float32 (K,), where an image may have several labels, sigmoid(logits / `temperature`).

    `path_of`: position → path; `batch_size`: the most images in a batch; `ahead`: how many batches may be taken before a batch's
    predictions are given, None for what the device wants. A stream's batches are decoded ahead while the model computes.
    """
    forward, done = Forward(engine, batch_size), 0
    started = ((batch, forward.start(batch.images) if len(batch.images) else None) for batch in batches)
    rest = late(started, forward.ahead if ahead is None else ahead)
    while True:
        found: dict[int, Prediction] = {}
        with waiting(done):
            if (computed := next(rest, None)) is None:
                return
            batch, logits = computed
            scored = scores_of(logits() / temperature, multi_label=thresholds is not None) if logits is not None else ()
        for position, scores in zip(batch.positions.tolist(), scored, strict=True):
            best = int(scores.argmax())
            path = path_of(position)
            label, score = class_names[best], float(scores[best])
            if thresholds is not None:
                label, reached = labels_above(scores, thresholds, class_names), scores >= thresholds
                score = float(scores[reached].max()) if reached.any() else score
            found[position] = Prediction(shown(path), path, label, score, scores, None)
        for position, error in batch.bad:
            path = path_of(position)
            found[position] = Prediction(shown(path), path, None, None, None, f"{error.reason}: {error.detail}")
        done += len(found)
        for position in sorted(found):
            yield found[position]
