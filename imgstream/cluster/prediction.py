"""Predicts on a cluster what a prediction store has planned."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from imgstream.cluster.blocks import Block, blocks_of
from imgstream.cluster.pool import KILLER, Pool
from imgstream.cluster.worker import Compute
from imgstream.errors import ClusterError
from imgstream.evaluation.drift import ProfileBuilder
from imgstream.export import ExportedModel, open_model, select_engine
from imgstream.index import ImageIndex
from imgstream.prediction.job import RankedBatch, ranked
from imgstream.prediction.scorer import Scorer
from imgstream.prediction.store import RANK, Plan, PredictionStore
from imgstream.runs import Run
from imgstream.stream.plan import Pipeline


class _Predicted(NamedTuple):
    """The results of a block."""

    batches: list[RankedBatch]
    """Positions are those in the block."""
    profile: ProfileBuilder | None
    """Brightness and scores of its images, where they are to be compared with training's."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictionJob:
    """How the models at some paths predict, in every process alike."""

    paths: list[str]
    fingerprints: list[str]
    batch_size: int
    ranks: int
    flip: bool
    pipeline: Pipeline
    engine: str
    """"keras" or another by name; exported models have their own."""
    workers: int | None
    profiled: bool
    confidence: bool
    """Whether the profile is of scores too."""

    @classmethod
    def of(cls, runs: list[Run | ExportedModel], **how: Any) -> PredictionJob:
        """The job of these models. `how`: the other fields but `profiled` and `confidence`."""
        confidence = len(runs) == 1 and not how["flip"]
        paths, prints = [os.path.abspath(each.path) for each in runs], [each.fingerprint for each in runs]
        return cls(paths=paths, fingerprints=prints, profiled=runs[0].profile is not None, confidence=confidence, **how)

    def open(self, threads: int) -> Compute:
        """Load the models. Raises ClusterError when they are others than the command's, and what open_model raises."""
        runs = [open_model(path) for path in self.paths]
        for run, expected in zip(runs, self.fingerprints, strict=True):
            if run.fingerprint != expected:
                raise ClusterError(f"{run.path} is another model there. Put the run on a disk that all machines share")
        members = []
        for run in runs:
            member = run.member
            if isinstance(run, Run) and self.engine != "keras":
                engine, _ = select_engine(run.model, run.spec, self.engine, images=0, batch_size=self.batch_size)
                member = member._replace(engine=engine)
            members.append(member)
        scorer = Scorer(members, self.batch_size, tta=self.flip)

        def compute(images: ImageIndex) -> _Predicted:
            batches, profile = [], ProfileBuilder() if self.profiled else None
            for batch in scorer.batches(images, self.workers or threads, self.pipeline):
                batches.append(ranked(batch, self.ranks))
                if profile is not None and len(batch.images):
                    profile.add_images(batch.images, runs[0].spec)
                    if self.confidence:
                        profile.add_scores(batch.scores)
            return _Predicted(batches, profile)

        return compute


def predict_on(
    pool: Pool, job: PredictionJob, store: PredictionStore, plan: Plan, profile: ProfileBuilder
) -> Iterator[tuple[int, RankedBatch]]:
    """Every planned batch with its results, as they come, for record_all. What workers see of the images is added to `profile`.

    Raises ClusterError as Pool.results does.
    """
    blocks = blocks_of(store.batches(), job.batch_size, rows=plan.planned, workers=pool.size)
    parts: dict[int, list[RankedBatch]] = {}
    for block, found in pool.results(blocks):
        if found is None:
            batches = [RankedBatch(np.zeros(0, np.int64), np.zeros((0, job.ranks), RANK), [(0, KILLER)])]
        else:
            batches = found.batches
            if found.profile is not None:
                profile.merge(found.profile)
        placed = [_placed(batch, block) for batch in batches]
        if block.whole is None:
            yield from zip(block.batches, placed, strict=True)
            continue
        (number,) = block.batches
        held = parts.setdefault(number, [])
        held += placed
        if sum(len(part.positions) + len(part.bad) for part in held) == block.whole:
            positions, ranks, bad = zip(*parts.pop(number), strict=True)
            yield number, RankedBatch(np.concatenate(positions), np.concatenate(ranks), [each for some in bad for each in some])


def _placed(batch: RankedBatch, block: Block) -> RankedBatch:
    """A batch with the positions that its images have in the index, in place of those in the block."""
    at = block.positions
    return RankedBatch(at[batch.positions], batch.ranks, [(int(at[place]), error) for place, error in batch.bad])
