"""Computes the features of every image, in order, in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from imgstream.index import ImageIndex
from imgstream.models.forward import Engine, Forward, late
from imgstream.prediction.job import batch_size_for
from imgstream.prediction.rows import shown
from imgstream.spec import SampleSpec
from imgstream.stream import Stream
from imgstream.stream.batch import Batch
from imgstream.stream.plan import Pipeline


@dataclass(frozen=True, slots=True, eq=False)  # eq: comparing arrays has no single answer
class Embedding:
    """The features of one file, or the reason why it has none: features are None exactly when error is not."""

    path: str
    """Relative to the folder, with "/", or as it was given; bytes that are no UTF-8 show as U+FFFD."""
    path_bytes: bytes
    """The same path, exactly."""
    label: str | None
    """The class that its folder or manifest gives."""
    error: str | None
    """"reason: detail", with a reason of errors.REASONS."""
    features: np.ndarray | None
    """float32 (D,)."""


def embed(
    engine: Engine,
    spec: SampleSpec,
    index: ImageIndex,
    *,
    batch_size: int | None = None,
    workers: int | None = None,
    pipeline: Pipeline = "python",
) -> Iterator[Embedding]:
    """One Embedding for every image, in index order, lazily and in constant memory; bad files too, with their reason.

    `engine`: (B, *spec.shape) → (B, D), of what models.features gives. `batch_size`: None for what fits the samples;
    `workers`, `pipeline`: as in Stream.
    """
    size = batch_size_for(spec.shape) if batch_size is None else batch_size
    stream = Stream(index, spec, batch_size=size, workers=workers, pipeline=pipeline, dtype="uint8")
    names = index.label_names

    def label_of(position: int) -> str | None:
        label = int(index.labels_at(np.array([position]))[0])
        return names[label] if label >= 0 else None

    return embed_batches(engine, stream.traced_batches(), size, index.relative_bytes, label_of)


def embed_batches(
    engine: Engine,
    batches: Iterable[Batch],
    batch_size: int,
    path_of: Callable[[int], bytes],
    label_of: Callable[[int], str | None],
    ahead: int | None = None,
) -> Iterator[Embedding]:
    """The features of batches in order, bad files too. `path_of`, `label_of`: functions of a position; `batch_size`: the most images in a
    batch; `ahead`: as in predict.
    """
    forward = Forward(engine, batch_size)
    started = ((batch, forward.start(batch.images) if len(batch.images) else None) for batch in batches)
    for batch, computed in late(started, forward.ahead if ahead is None else ahead):
        features = dict(zip(batch.positions.tolist(), computed(), strict=True)) if computed is not None else {}
        errors = {position: f"{error.reason}: {error.detail}" for position, error in batch.bad}
        for position in sorted([*features, *errors]):
            path = path_of(position)
            yield Embedding(shown(path), path, label_of(position), errors.get(position), features.get(position))
