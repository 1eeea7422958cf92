"""Computes the features of images on a cluster."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from imgstream.cluster.blocks import blocks_of
from imgstream.cluster.pool import KILLER, Pool
from imgstream.cluster.worker import Compute
from imgstream.embedding.embed import Embedding
from imgstream.errors import BadImage
from imgstream.export import select_engine
from imgstream.index import ImageIndex
from imgstream.models.forward import Forward, late
from imgstream.models.model_files import load_whole
from imgstream.prediction.job import batch_size_for
from imgstream.prediction.rows import shown
from imgstream.spec import SampleSpec
from imgstream.stream import Batch, Stream
from imgstream.stream.plan import Pipeline

_AHEAD = 4
"""Blocks for each worker that may wait for an earlier one: rows are written in order."""


class _Features(NamedTuple):
    """The results of a block; positions are those in the block."""

    positions: np.ndarray
    """int64 (m,): the good images."""
    features: np.ndarray
    """float32 (m, D)."""
    bad: list[tuple[int, BadImage]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class EmbeddingJob:
    """A network, which every worker is sent, and how it is computed."""

    network: bytes
    """A .keras file of the model images → features."""
    spec: SampleSpec
    batch_size: int
    pipeline: Pipeline
    engine: str
    workers: int | None

    @classmethod
    def of(cls, model: Any, spec: SampleSpec, *, pipeline: Pipeline, engine: str, workers: int | None) -> EmbeddingJob:
        """The job of the Keras `model`, float32 (B, *spec.shape) → float32 (B, D)."""
        with tempfile.TemporaryDirectory(prefix="imgstream-") as folder:
            file = Path(folder) / "network.keras"
            model.save(file)
            network = file.read_bytes()
        how: dict[str, Any] = {"pipeline": pipeline, "engine": engine, "workers": workers}
        return cls(network=network, spec=spec, batch_size=batch_size_for(spec.shape), **how)

    def open(self, threads: int) -> Compute:
        """Load the network. Raises ModelError where this machine's Keras cannot, or the engine is not there."""
        with tempfile.TemporaryDirectory(prefix="imgstream-") as folder:
            file = Path(folder) / "network.keras"
            file.write_bytes(self.network)
            model = load_whole(file)
        engine, _ = select_engine(model, self.spec, self.engine, images=0, batch_size=self.batch_size)
        forward = Forward(engine, self.batch_size)

        def started(batch: Batch) -> tuple[Batch, Callable[[], np.ndarray] | None]:
            return batch, forward.start(batch.images) if len(batch.images) else None

        def compute(images: ImageIndex) -> _Features:
            how: dict[str, Any] = {"workers": self.workers or threads, "pipeline": self.pipeline, "dtype": "uint8"}
            batches = Stream(images, self.spec, batch_size=self.batch_size, **how).traced_batches()
            positions, features, bad = [], [], []
            for batch, computed in late(map(started, batches), forward.ahead):
                bad += batch.bad
                if computed is not None:
                    positions.append(batch.positions)
                    features.append(computed())
            none = np.zeros((0, int(model.output_shape[-1])), np.float32)
            return _Features(np.concatenate([np.zeros(0, np.int64), *positions]), np.concatenate([none, *features]), bad)

        return compute


def embed_on(pool: Pool, job: EmbeddingJob, index: ImageIndex) -> Iterator[Embedding]:
    """One Embedding for every image, in index order, as imgstream.embedding.embed gives them. Results that wait for earlier ones are held
    in memory: some blocks for each worker.

    Raises ClusterError as Pool.results does.
    """
    size, names = job.batch_size, index.class_names
    batches = ((at // size, np.arange(at, min(at + size, len(index)))) for at in range(0, len(index), size))
    held: dict[int, tuple[np.ndarray, _Features | None]] = {}
    blocks, position = blocks_of(batches, size, rows=len(index), workers=pool.size), 0
    for block, computed in pool.results(blocks, lambda: len(held) < _AHEAD * pool.size):
        held[int(block.positions[0])] = block.positions, computed
        while position in held:
            positions, found = held.pop(position)
            labels = index.labels_at(positions)
            features = {} if found is None else dict(zip(found.positions.tolist(), found.features, strict=True))
            bad = {0: KILLER} if found is None else dict(found.bad)
            for place, label in enumerate(labels.tolist()):
                path, error = index.relative_bytes(position + place), bad.get(place)
                text = None if error is None else f"{error.reason}: {error.detail}"
                yield Embedding(shown(path), path, names[label] if label >= 0 else None, text, features.get(place))
            position += len(positions)
