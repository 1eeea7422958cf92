"""Finds files of equal contents. Only files whose size another one has are read, and large ones first only at their ends."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from imgstream.check.file_records import FileRecords
from imgstream.check.survey import CHUNK_OF_OBJECTS, in_order
from imgstream.errors import BadImage
from imgstream.files.reader import read_digest
from imgstream.index import ImageIndex
from imgstream.stalls import OpenFile, StallWatch

_END = 1 << 16
"""Bytes at the end of a file in which two photographs differ if they do anywhere; a smaller file is read whole at once."""
_CHUNK = 64


def exact_copies(index: ImageIndex, facts: FileRecords, threads: int, progress: Callable[[int], None]) -> np.ndarray:
    """For each row the first row of the same contents, itself when there is none: uint32 (n,). Bad files are no copies.

    `progress` is called with the number of files read so far.
    """
    roots = np.arange(len(index), dtype=np.uint32)
    rows = same_size(facts)
    ends = _digests(index, rows, facts, threads, progress, whole=False)
    shared = _shared(ends)
    large = shared & (facts.records["size"][rows] > _END)
    ends[large] = _digests(index, rows[large], facts, threads, lambda done: progress(len(rows) + done), whole=True)
    rows, ends = rows[shared], ends[shared]
    _, firsts, of = np.unique(ends, return_index=True, return_inverse=True)
    roots[rows] = rows[firsts][of]  # rows are in index order, and return_index gives the first
    return roots


def same_size(facts: FileRecords) -> np.ndarray:
    """The good rows whose size in bytes another good row has: int64 (m,), in index order."""
    rows = np.flatnonzero(facts.good)
    return rows[_shared(facts.records["size"][rows])]


def _digests(
    index: ImageIndex, rows: np.ndarray, facts: FileRecords, threads: int, progress: Callable[[int], None], whole: bool
) -> np.ndarray:
    """Digests of the size and the contents, or the end of the contents, of each row: S24 (m,). A file that cannot be read any more equals
    no other.
    """
    digests = np.empty(len(rows), "S24")
    sizes = facts.records["size"]
    chunk = CHUNK_OF_OBJECTS if index.in_buckets else _CHUNK

    stall_watch = StallWatch()

    def work(first: int) -> None:
        with stall_watch.watching(OpenFile()) as open_file:
            for at in range(first, min(first + chunk, len(rows))):
                row = int(rows[at])
                size, path = int(sizes[row]), index.path_bytes(row)
                open_file.begin(path)
                try:
                    found = read_digest(path, 0 if whole else max(0, size - _END))
                except BadImage:
                    found = b"gone" + row.to_bytes(12, "big")
                digests[at] = found + size.to_bytes(8, "big")

    for done, _ in in_order(work, range(0, len(rows), chunk), threads):
        progress(min((done + 1) * chunk, len(rows)))
    return digests


def _shared(keys: np.ndarray) -> np.ndarray:
    """Whether each key occurs more than once: bool (n,)."""
    _, of, counts = np.unique(keys, return_inverse=True, return_counts=True)
    return counts[of] > 1
