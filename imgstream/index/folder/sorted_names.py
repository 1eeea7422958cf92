"""Sorts the names in one folder in bounded memory: ten million files need no more than ten thousand."""

from __future__ import annotations

import heapq
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from imgstream.index.table.columns import spool_refused

RUN_NAMES = 1 << 14
_MERGE_BYTES = 1 << 20


class Spool:
    """A file, open for reading and writing, that several threads append blocks of bytes to."""

    def __init__(self, file: BinaryIO, folder: Path | None = None) -> None:
        """`folder`: where the file is, for messages."""
        self._file, self._folder = file, folder
        self._lock = threading.Lock()

    def append(self, data: bytes) -> tuple[int, int]:
        """Append `data` and return where it lies: (start, end). Raises OutputError when there is no room for it."""
        with self._lock:
            start = self._file.seek(0, os.SEEK_END)
            try:
                self._file.write(data)
                self._file.flush()
            except OSError as error:
                raise spool_refused(self._folder, error) from error
            return start, self._file.tell()

    def read(self, start: int, size: int) -> bytes:
        """`size` bytes from `start` on."""
        with self._lock:
            self._file.seek(start)
            return self._file.read(size)


class SortedNames:
    """Collects file names (bytes without NUL) in one thread and iterates them sorted, any number of times.

    Up to RUN_NAMES are in memory; more go to the end of `spool` as sorted runs that are merged when iterated.
    """

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._names: list[bytes] = []
        self._runs: list[tuple[int, int]] = []  # (start, end) in the spool
        self._spilled = 0

    def extend(self, names: list[bytes]) -> None:
        """Add names; a name that is added twice comes twice."""
        self._names += names
        if len(self._names) >= RUN_NAMES:
            self._names.sort()
            self._runs.append(self._spool.append(b"\0".join(self._names) + b"\0"))
            self._spilled += len(self._names)
            self._names.clear()

    def __len__(self) -> int:
        return self._spilled + len(self._names)

    def __iter__(self) -> Iterator[bytes]:
        self._names.sort()
        if not self._runs:
            return iter(self._names)
        return heapq.merge(self._names, *(self._read(start, end) for start, end in self._runs))

    def _read(self, start: int, end: int) -> Iterator[bytes]:
        rest = b""
        size = max(2048, _MERGE_BYTES // len(self._runs))  # all runs are read at once, and together must not fill the memory
        while start < end:
            block = self._spool.read(start, min(size, end - start))
            start += len(block)
            *names, rest = (rest + block).split(b"\0")
            yield from names
