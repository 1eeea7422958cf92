"""The names in one folder, in byte order, in bounded memory: a folder of ten million files costs what one of ten thousand does."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterator
from typing import BinaryIO

RUN_NAMES = 1 << 14
_MERGE_BYTES = 1 << 20


class SortedNames:
    """Collects file names (bytes without NUL) and iterates them sorted, any number of times; not thread-safe.

    Up to RUN_NAMES live in memory; more go to the end of `spool`, a file open for reading and writing, as sorted runs that are merged
    when iterated.
    """

    def __init__(self, spool: BinaryIO) -> None:
        self._spool = spool
        self._names: list[bytes] = []
        self._runs: list[tuple[int, int]] = []  # (start, end) in the spool
        self._count = 0

    def add(self, name: bytes) -> None:
        """Add a name; a name added twice comes twice."""
        self._names.append(name)
        self._count += 1
        if len(self._names) >= RUN_NAMES:
            self._names.sort()
            start = self._spool.seek(0, os.SEEK_END)
            self._spool.write(b"\0".join(self._names) + b"\0")
            self._runs.append((start, self._spool.tell()))
            self._names.clear()

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[bytes]:
        self._names.sort()
        if not self._runs:
            return iter(self._names)
        return heapq.merge(self._names, *(self._read(start, end) for start, end in self._runs))

    def _read(self, start: int, end: int) -> Iterator[bytes]:
        rest = b""
        size = max(2048, _MERGE_BYTES // len(self._runs))  # all runs are read at once, and together must not fill the memory
        while start < end:
            self._spool.seek(start)  # every time: others read and write this file in between
            block = self._spool.read(min(size, end - start))
            start += len(block)
            *names, rest = (rest + block).split(b"\0")
            yield from names
