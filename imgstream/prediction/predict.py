"""Makes one prediction for every image, in order, in constant memory."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from imgstream.evaluation.metrics import softmax
from imgstream.models.forward import forward_of
from imgstream.prediction.rows import Prediction, shown
from imgstream.stream.batch import Batch

Waiting = Callable[[int], contextlib.AbstractContextManager[None]]
"""A context manager for the number of rows done so far: entered while a batch is waited for, left before its predictions are given."""


def predict(
    model: Any,
    class_names: Sequence[str],
    batches: Iterable[Batch],
    path_of: Callable[[int], bytes],
    *,
    batch_size: int,
    temperature: float = 1.0,
    waiting: Waiting = lambda done: contextlib.nullcontext(),
) -> Iterator[Prediction]:
    """Predictions of `model`, which gives logits, for batches in order, bad files included. Scores are softmax(logits / `temperature`).

    `path_of`: position → path; `batch_size`: the most images in a batch. A stream's batches are decoded ahead while the model computes.
    """
    forward, rest, done = forward_of(model, batch_size), iter(batches), 0
    while True:
        found: dict[int, Prediction] = {}
        with waiting(done):
            if (batch := next(rest, None)) is None:
                return
            scored = softmax(forward(batch.images) / temperature) if len(batch.images) else ()
        for position, scores in zip(batch.positions.tolist(), scored, strict=True):
            best = int(scores.argmax())
            path = path_of(position)
            found[position] = Prediction(shown(path), path, class_names[best], float(scores[best]), scores, None)
        for position, error in batch.bad:
            path = path_of(position)
            found[position] = Prediction(shown(path), path, None, None, None, f"{error.reason}: {error.detail}")
        done += len(found)
        for position in sorted(found):
            yield found[position]
