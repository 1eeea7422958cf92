"""One prediction for every row of an index, in index order, in constant memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from imgstream.errors import BadImage
from imgstream.prediction.forward import Forward
from imgstream.prediction.metrics import softmax
from imgstream.prediction.rows import Prediction, shown
from imgstream.stream import Stream


def predict(model: Any, class_names: Sequence[str], stream: Stream) -> Iterator[Prediction]:
    """Predictions of `model` (logits) over an unshuffled `stream`, bad files too. The stream decodes ahead while the model works."""
    forward, index = Forward(model, stream.batch_size), stream.index
    for batch in stream.traced_batches():
        found: dict[int, Prediction] = {}
        if len(batch.images):
            for position, scores in zip(batch.positions, softmax(forward(batch.images)), strict=True):
                best = int(scores.argmax())
                path = index.relative_bytes(int(position))
                found[int(position)] = Prediction(shown(path), path, class_names[best], float(scores[best]), scores, None)
        for position, error in batch.bad:
            path = index.relative_bytes(position)
            found[position] = Prediction(shown(path), path, None, None, None, _reason(error))
        for position in sorted(found):
            yield found[position]


def _reason(error: BadImage) -> str:
    return f"{error.reason}: {error.detail}"
