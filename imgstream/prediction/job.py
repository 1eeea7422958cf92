"""Predicts a whole index into a file: results are kept, and the same command goes on where it stopped."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imgstream.errors import OutputError, RunError
from imgstream.index import ImageIndex
from imgstream.prediction.rows import StoredPrediction
from imgstream.prediction.scorer import Scored, Scorer
from imgstream.prediction.store import RANK, Plan, PredictionStore, described
from imgstream.prediction.writers import open_writer
from imgstream.stream.plan import Pipeline
from imgstream.wording import quantity

LEAST_RANKS = 5
"""Classes that are kept for each image, so that a slightly larger --top-k needs no new prediction."""

_MOST_SCORES = 20
"""Scores that are written of an image that may have several labels, unless more are asked for."""

_BATCH_BYTES = 40 << 20
_BATCH_SIZES = (128, 64, 32, 16, 8)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Summary:
    """The outcome of a prediction, in numbers."""

    rows: int
    """Rows in the output."""
    ok: int
    bad: int
    decoded: int
    """Files that were read this time, good and bad."""
    reused: int
    """Rows that were in the store before."""
    seconds: float
    """Time of reading and predicting; on the command line, of the whole command."""
    images_per_second: float
    """`decoded` divided by the time of reading and predicting."""

    def to_json(self) -> dict[str, Any]:
        """The summary as values that JSON can hold."""
        return {**dataclasses.asdict(self), "seconds": round(self.seconds, 3), "images_per_second": round(self.images_per_second, 1)}


def usual_top_k(classes: int, *, multi_label: bool) -> int:
    """How many scores are written of each image, unless a number is asked for."""
    return min(classes, _MOST_SCORES) if multi_label else 1


def batch_size_for(shape: tuple[int, int, int]) -> int:
    """The batch size for samples of `shape`: the largest of 128, 64, 32, 16 and 8 that takes at most 40 MB. Larger batches make no model on
    a CPU faster.
    """
    sample = int(np.prod(shape)) * 4
    return next((size for size in _BATCH_SIZES if size * sample <= _BATCH_BYTES), _BATCH_SIZES[-1])


def predict_into(
    store: PredictionStore,
    scorer: Scorer | None,
    index: ImageIndex,
    plan: Plan,
    *,
    workers: int | None = None,
    pipeline: Pipeline = "python",
    progress: Callable[[int], None] | None = None,
    seen: Callable[[Scored], None] | None = None,
) -> Summary:
    """Predict what is planned, and record each batch whole. `progress` is called with the rows done, `seen` with each batch. Without a
    `scorer`, which takes seconds to load, nothing is predicted.

    Raises OutputError when the store cannot be written; what was recorded stays.
    """
    started, decoded = time.monotonic(), 0
    for positions, numbers in _groups_of_batches(store.batches(), scorer.batch_size) if scorer is not None else ():
        part = index.take(positions)
        assert scorer is not None
        for number, batch in zip(numbers, scorer.batches(part, workers, pipeline), strict=True):
            best = np.argsort(-batch.scores, axis=1, kind="stable")[:, : store.ranks]
            ranked = np.empty(best.shape, RANK)
            ranked["label"], ranked["score"] = best, np.take_along_axis(batch.scores, best, axis=1)
            bad = [(int(positions[place]), error) for place, error in batch.bad]
            store.record(number, bad, positions[batch.positions], ranked)
            decoded += len(batch.positions) + len(bad)
            if seen is not None:
                seen(batch)
            if progress is not None:
                progress(plan.rows - plan.planned + decoded)
    seconds = time.monotonic() - started
    rows, good, bad_rows = store.counts()
    rate = decoded / seconds if decoded else 0.0
    return Summary(rows=rows, ok=good, bad=bad_rows, decoded=decoded, reused=rows - decoded, seconds=seconds, images_per_second=rate)


def write_output(
    store: PredictionStore,
    output: str | os.PathLike[str],
    class_names: Sequence[str],
    top_k: int,
    min_score: float = 0.0,
    thresholds: np.ndarray | None = None,
) -> Iterator[StoredPrediction]:
    """Write every row to `output`, whole or not at all, and yield it; the file appears after the last row was taken. `thresholds`: float32
    (K,) where an image may have several labels. Raises OutputError.
    """
    with open_writer(output, class_names, top_k, multi_label=thresholds is not None) as writer:
        for row in store.results(class_names, min_score, thresholds):
            writer.write(row)
            yield row


def merge_stores(shards: Sequence[Path], target: Path, top_k: int = 1) -> PredictionStore:
    """A store with the rows of all shards of one prediction. Raises RunError when they do not belong together, one is missing or not
    finished, or they keep fewer than the `top_k` best classes.
    """
    if target.exists() and not described(target).get("merged"):
        raise OutputError(f"{target} holds a prediction of its own: choose another -o, or remove it first")
    metas = {path: described(path) for path in shards}
    first, meta = next(iter(metas.items()))
    for path, other in metas.items():
        if other["open"] or "planned" not in other:
            left = f": {quantity(other['open'], 'image is', 'images are')} to be predicted" if other["open"] else ""
            raise RunError(f"{path} is not finished{left}. Run its imgstream predict again first")
    for path, other in metas.items():
        for key, what in (("identity", "of the same run"), ("planned", "of the same files"), ("batch_size", "in the same batches")):
            if other.get(key) != meta.get(key):
                raise RunError(f"{path} and {first} are no shards {what}: only what one set of commands predicted can be merged")
    _check_whole({path: tuple(other.get("shard", (0, 1))) for path, other in metas.items()})
    ranks, asked = min(other["ranks"] for other in metas.values()), min(top_k, len(meta["class_names"]))
    if ranks < asked:
        raise RunError(
            f"the stores keep the {ranks} best classes of each image, and {asked} are asked for: predict all shards with "
            f"--top-k {asked} --fresh"
        )
    store = PredictionStore(target, meta["identity"], ranks=ranks, fresh=True)
    try:
        store.merge(list(metas))
        for key in ("planned", "batch_size", "pipeline", "engine", "root", "class_names", "thresholds"):
            store.set(key, meta.get(key))
        store.set("shard", (0, 1))
        store.set("merged", True)
    except BaseException:
        store.__exit__()
        raise
    return store


def _check_whole(shards: Mapping[Path, tuple[int, int]]) -> None:
    """Raise RunError unless the shards (k, n) of the stores at these paths are each of the n once."""
    given = [f"{k + 1}/{n}" for k, n in sorted(shards.values())]
    if len({n for _, n in shards.values()}) > 1:
        raise RunError(f"these are shards of different wholes: {', '.join(given)}. Give the stores of one")
    n = next(iter(shards.values()))[1]
    missing = [shard for k in range(n) if (shard := f"{k + 1}/{n}") not in given]
    twice = sorted({shard for shard in given if given.count(shard) > 1})
    wrong = [
        f"{'shards' if len(these) > 1 else 'shard'} {', '.join(these)} {'are' if len(these) > 1 else 'is'} {what}"
        for these, what in ((missing, "missing"), (twice, "given twice"))
        if these
    ]
    if wrong:
        raise RunError(f"{', and '.join(wrong)}: give the store of each of the {n} shards once")


def _groups_of_batches(batches: Iterator[tuple[int, np.ndarray]], size: int) -> Iterator[tuple[np.ndarray, list[int]]]:
    """Group batches that one stream can make: full ones, of `size`, and perhaps a short one at the end. (positions, batch numbers)."""
    held: list[np.ndarray] = []
    numbers: list[int] = []
    for number, positions in batches:
        if held and (len(held[-1]) < size or len(held) >= _TOGETHER):
            yield np.concatenate(held), numbers
            held, numbers = [], []
        held.append(positions)
        numbers.append(number)
    if held:
        yield np.concatenate(held), numbers


_TOGETHER = 1 << 14  # batches of one stream: their positions are held in memory
