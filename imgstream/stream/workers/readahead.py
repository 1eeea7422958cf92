"""Asks the disk for files a few batches before they are read, so that decoding and reading from the disk overlap."""

from __future__ import annotations

import concurrent.futures
import contextlib
import threading
from collections.abc import Callable, Sequence

import numpy as np

from imgstream.files.reader import read_ahead

_THREADS = 8
"""On a disk with moving parts or over a network, opening a file may take as long as reading it."""
_PAYS = 1 / 8
"""The share of files that come from the disk above which asking ahead pays: it costs 5 µs for a file that was in memory already."""
_MEMORY = 64
"""Number of files that the share is averaged over."""


class Readahead:
    """Notices whether files come from the disk, and if so asks for them ahead. Shared by all threads that read.

    It is only a convenience: if it fails, files come later, and nobody waits for it.
    """

    def __init__(self, is_needed: Callable[[bytes], bool]) -> None:
        """`is_needed`: whether the file at a path will be read at all."""
        self._is_needed = is_needed
        self._share = 0.0
        self._pool: concurrent.futures.ThreadPoolExecutor | None = None
        self._lock = threading.Lock()

    def note(self, files: int, waited: int) -> None:
        """Record how many of some files came from the disk."""
        if not waited and self._share < _PAYS / 100:
            return
        with self._lock:
            self._share += (waited / files - self._share) * min(1.0, files / _MEMORY)

    def announce(self, path_bytes: Callable[[int], bytes], positions: np.ndarray) -> None:
        """Say that the files at these positions, int64 (n,), will be read soon."""
        if self._share < _PAYS:
            return
        paths = [path_bytes(position) for position in positions.tolist()]
        with contextlib.suppress(RuntimeError, MemoryError):  # no more threads can be had
            if self._pool is None:
                self._pool = concurrent.futures.ThreadPoolExecutor(_THREADS, thread_name_prefix="imgstream-readahead")
            for first in range(0, len(paths), _THREADS):
                self._pool.submit(self._fetch, paths[first : first + _THREADS])

    def _fetch(self, paths: Sequence[bytes]) -> None:
        self.note(len(paths), sum(self._is_needed(path) and read_ahead(path) for path in paths))
