"""The whole check: survey, exact copies, near duplicates, and what they mean for labels and splits."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping

import numpy as np

from imgstream.check.clusters import Clusters, Links
from imgstream.check.exact_copies import exact_copies, same_size
from imgstream.check.file_records import FileRecords
from imgstream.check.findings import EXTREME_ASPECT, Findings
from imgstream.check.near_duplicates import link_near, plain
from imgstream.check.survey import survey
from imgstream.decode.depth import depth_of
from imgstream.files.objects import AT_ONCE
from imgstream.index import ImageIndex
from imgstream.spec import DEFAULT_MAX_PIXELS
from imgstream.stream import Stream

Stage = Callable[[str, int], contextlib.AbstractContextManager[Callable[[int], None]]]
"""(name of the stage, number of items) -> a context manager, which gives a function that is called with the number done so far."""

_HEADER_THREADS = 4
"""Reading a header holds the interpreter lock most of the time: more threads help only where the disk is slow."""
_MOST_THREADS = 16


def examine(
    index: ImageIndex,
    *,
    decode: bool = False,
    workers: int | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    stage: Stage | None = None,
    sides: Mapping[str, ImageIndex] | None = None,
) -> Findings:
    """Examine the files of `index`, without changing any.

    Without `decode`, headers are read, and whole files only where another one has their size. With it every file is decoded as in training,
    so that the bad ones are those that Stream skips, and images are compared. `workers`: threads, None for one for each core, within
    limits. `sides`: the train and val selections of `index` that a run has; None for those that train would make. Memory: one image a
    thread, and about 50 bytes a file while they are sorted; 18 bytes a file, with `decode` 324, are on disk when they are many.

    Raises OutputError when the disk has no room for working data.
    """
    stage, began = stage or _silent, time.perf_counter()
    cores = Stream(index).thread_count
    depth = depth_of(index)
    at_once = AT_ONCE if index.in_buckets else 0  # threads that wait for an object, most of the time
    with stage("Decoding" if decode else "Reading headers", len(index)) as progress:
        threads = workers or at_once or min(cores, _MOST_THREADS if decode else _HEADER_THREADS)
        facts = survey(index, decode, threads, max_pixels, progress, depth.levels)
    with stage("Comparing files of equal size", len(same_size(facts))) as progress:
        copies = exact_copies(index, facts, workers or at_once or min(cores, _HEADER_THREADS), progress)
    exact = Clusters(copies)
    roots, left_out = copies, 0
    if decode:
        rows = np.flatnonzero(facts.good & (copies == np.arange(len(index))))  # one of each content
        left_out = int(plain(facts, np.flatnonzero(facts.good)).sum())
        with stage("Comparing images", 2 * len(rows)) as progress:
            links = Links(copies)
            link_near(facts, rows, links, progress)
        roots = links.roots()
    alike = Clusters(roots)
    parts, part_names, split_by = _parts(index) if sides is None else _given(index, sides)
    return Findings(
        index=index,
        facts=facts,
        decoded=decode,
        seconds=time.perf_counter() - began,
        exact=exact,
        alike=alike,
        near=alike.where(copies),
        conflicts=alike.where(index.labels),
        parts=parts,
        part_names=part_names,
        split_by=split_by,
        across=alike.where(parts),
        extreme=_extreme(facts),
        plain=left_out,
        depth=depth,
    )


def _extreme(facts: FileRecords) -> np.ndarray:
    width, height = facts.records["width"].astype(np.uint64), facts.records["height"].astype(np.uint64)
    return np.flatnonzero(facts.good & (np.maximum(width, height) > EXTREME_ASPECT * np.minimum(width, height)))


def _parts(index: ImageIndex) -> tuple[np.ndarray, tuple[str, ...], str | None]:
    """For each row the position of its part in the names, int8, -1 for none; the names; and where the split comes from.

    The split is that of train: by folders named train, val and test, or by hash where they leave val open.
    """
    parts = np.full(len(index), -1, np.int8)
    explicit = index.explicit_split
    if not explicit and not (index.labels >= 0).any():
        return parts, (), None
    names = ("train", "val", "test")
    for name, positions in (explicit or {}).items():
        parts[positions] = names.index(name)
    if not explicit or ("train" in explicit and "val" not in explicit):
        _, val = index.split(val=0.2, seed=0)
        in_train = parts < 1  # not decided by folders
        parts[in_train] = np.isin(index.rows[in_train], val.rows)
    return parts, names, "folders" if explicit else "hash"


def _given(index: ImageIndex, sides: Mapping[str, ImageIndex]) -> tuple[np.ndarray, tuple[str, ...], str]:
    """As _parts, for sides that were made before; an image that is on neither has no part."""
    parts = np.full(len(index), -1, np.int8)
    for number, side in enumerate(sides.values()):
        if side.table is index.table:  # images from elsewhere, as with train --val, are not among these
            parts[np.isin(index.rows, side.rows)] = number
    return parts, tuple(sides), "run"


def _silent(what: str, total: int) -> contextlib.AbstractContextManager[Callable[[int], None]]:
    return contextlib.nullcontext(lambda done: None)
