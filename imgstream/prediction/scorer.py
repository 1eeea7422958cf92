"""Computes the scores of one model, or the mean scores of several."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from imgstream.errors import BadImage, RunError
from imgstream.evaluation.metrics import scores_of
from imgstream.index import ImageIndex
from imgstream.models.forward import Engine, Forward, late
from imgstream.spec import SampleSpec
from imgstream.stream import Batch, Stream
from imgstream.stream.plan import Pipeline


class Member(NamedTuple):
    """A model, with its classes, spec and temperature."""

    engine: Engine
    """(B, *spec.shape) → logits (B, K)."""
    class_names: list[str]
    spec: SampleSpec
    temperature: float
    """Divisor of the logits."""
    thresholds: np.ndarray | None = None
    """float32 (K,): from which score on an image is of a class, where it may have several labels."""


class Scored(NamedTuple):
    """A batch with its scores."""

    positions: np.ndarray
    """int64 (B,), in the index."""
    scores: np.ndarray
    """float32 (B, K): probabilities, the mean over the members and, with tta, over an image and its mirror image."""
    bad: list[tuple[int, BadImage]]
    images: np.ndarray
    """uint8 (B, H, W, C): pixels, as the first member reads them."""


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
            if (member.thresholds is None) != (members[0].thresholds is None):
                raise RunError("some of the runs give an image one label, and others several: only runs of one kind can predict together")
        self.batch_size, self._tta = batch_size, tta
        self._multi_label = members[0].thresholds is not None
        pixels = [dataclasses.replace(member.spec, scale="raw") for member in members]  # scaling is the programs' work
        self._specs = list(dict.fromkeys(pixels))
        self._members = [
            (
                Forward(member.engine, self.batch_size),
                np.array([member.class_names.index(name) for name in self.class_names]),
                self._specs.index(spec),
                member.temperature,
            )
            for member, spec in zip(members, pixels, strict=True)
        ]

    def batches(self, index: ImageIndex, workers: int | None, pipeline: Pipeline) -> Iterator[Scored]:
        """Every batch of the index, in order. Images are decoded once for each different size, fit and so on, ahead of the models."""
        how: dict[str, Any] = {"batch_size": self.batch_size, "workers": workers, "pipeline": pipeline, "dtype": "uint8"}
        streams = [Stream(index, spec, **how) for spec in self._specs]
        batches = zip(*(stream.traced_batches() for stream in streams), strict=True)
        ahead = max(forward.ahead for forward, *_ in self._members)
        for positions, bad, images, scores in late(map(self._started, batches), ahead):
            yield Scored(positions, scores(), bad, images)

    def _started(self, batches: tuple[Batch, ...]) -> tuple[np.ndarray, list[tuple[int, BadImage]], np.ndarray, Callable[[], np.ndarray]]:
        """A batch's positions, bad files, images of the first member, and a function that waits for the scores."""
        bad = {position: error for batch in batches for position, error in batch.bad}
        good = [np.array([position not in bad for position in batch.positions.tolist()], bool) for batch in batches]
        images = [batch.images[kept] if not kept.all() else batch.images for batch, kept in zip(batches, good, strict=True)]
        return batches[0].positions[good[0]], list(bad.items()), images[0], self._scores(images)

    def _scores(self, images: list[np.ndarray]) -> Callable[[], np.ndarray]:
        """Start to compute the scores, float32 (B, K); the function that is returned waits for them."""
        if not len(images[0]):
            return lambda: np.zeros((0, len(self.class_names)), np.float32)
        started = [
            (forward.start(np.ascontiguousarray(view)), order, temperature)
            for forward, order, spec, temperature in self._members
            for view in ((images[spec], images[spec][:, :, ::-1]) if self._tta else (images[spec],))
        ]

        def scores() -> np.ndarray:
            total = np.zeros((len(images[0]), len(self.class_names)), np.float64)
            for logits, order, temperature in started:
                total += scores_of(logits() / temperature, multi_label=self._multi_label)[:, order]
            return (total / len(started)).astype(np.float32)

        return scores
