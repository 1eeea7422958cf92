"""Computes the scores of one model, or the mean scores of several."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from imgstream.errors import BadImage, RunError
from imgstream.evaluation.metrics import softmax
from imgstream.index import ImageIndex
from imgstream.models.forward import forward_of
from imgstream.spec import SampleSpec
from imgstream.stream import Stream
from imgstream.stream.plan import Pipeline


class Member(NamedTuple):
    """A model, with its classes, spec and temperature."""

    model: Any
    """float32 (B, *spec.shape) → logits float32 (B, K)."""
    class_names: list[str]
    spec: SampleSpec
    temperature: float
    """Divisor of the logits."""


class Scored(NamedTuple):
    """A batch with its scores."""

    positions: np.ndarray
    """int64 (B,), in the index."""
    scores: np.ndarray
    """float32 (B, K): probabilities; the mean over the members and, with tta, over an image and its mirror image."""
    bad: list[tuple[int, BadImage]]
    images: np.ndarray
    """float32 (B, H, W, C), as the first member reads them."""


class Scorer:
    """Computes scores by `members`, which must have the same classes; raises RunError otherwise."""

    def __init__(self, members: Sequence[Member], batch_size: int, *, tta: bool = False) -> None:
        self.class_names = members[0].class_names
        for member in members[1:]:
            if sorted(member.class_names) != sorted(self.class_names):
                raise RunError(
                    f"the runs have different classes ({', '.join(self.class_names[:5])} … and {', '.join(member.class_names[:5])} …): "
                    "only runs of the same classes can predict together"
                )
        self.batch_size, self._tta = batch_size, tta
        self._specs = list(dict.fromkeys(member.spec for member in members))
        self._members = [
            (
                forward_of(member.model, self.batch_size),
                np.array([member.class_names.index(name) for name in self.class_names]),
                self._specs.index(member.spec),
                member.temperature,
            )
            for member in members
        ]

    def batches(self, index: ImageIndex, workers: int | None, pipeline: Pipeline) -> Iterator[Scored]:
        """Every batch of the index, in order. Images are decoded once for each different spec, ahead of the models."""
        streams = [Stream(index, spec, batch_size=self.batch_size, workers=workers, pipeline=pipeline) for spec in self._specs]
        for batches in zip(*(stream.traced_batches() for stream in streams), strict=True):
            bad = {position: error for batch in batches for position, error in batch.bad}
            good = [np.array([position not in bad for position in batch.positions.tolist()], bool) for batch in batches]
            images = [batch.images[kept] if not kept.all() else batch.images for batch, kept in zip(batches, good, strict=True)]
            positions = batches[0].positions[good[0]]
            scores = self._scores(images) if len(positions) else np.zeros((0, len(self.class_names)), np.float32)
            yield Scored(positions, scores, list(bad.items()), images[0])

    def _scores(self, images: list[np.ndarray]) -> np.ndarray:
        total = np.zeros((len(images[0]), len(self.class_names)), np.float64)
        count = 0
        for forward, order, spec, temperature in self._members:
            for view in (images[spec], images[spec][:, :, ::-1]) if self._tta else (images[spec],):
                total += softmax(forward(np.ascontiguousarray(view)) / temperature)[:, order]
                count += 1
        return (total / count).astype(np.float32)
