"""Files that the disk has to give, asked for a few batches before they are read: so that decoding and the disk work at the same time."""

from __future__ import annotations

import concurrent.futures
import contextlib
import threading
from collections.abc import Callable, Sequence

import numpy as np

from imgstream.files.reader import read_ahead

_THREADS = 8
"""To open a file may take as long as to read it, on a disk with moving parts or over a network."""
_PAYS = 1 / 8
"""The share of files that had to be waited for from which asking ahead pays: it costs 5 µs a file that was in memory all along."""
_MEMORY = 64
"""Files that the share is an average of."""


class Readahead:
    """Notices whether files come from the disk, and asks for them ahead if they do. Shared by all threads that read.

    A convenience: where it fails, files come later, and nobody waits for it.
    """

    def __init__(self, is_needed: Callable[[bytes], bool]) -> None:
        """`is_needed`: whether the file at a path will be read at all."""
        self._is_needed = is_needed
        self._share = 0.0
        self._pool: concurrent.futures.ThreadPoolExecutor | None = None
        self._lock = threading.Lock()

    def note(self, files: int, waited: int) -> None:
        """Of some files that were wanted, how many the disk had to give."""
        if not waited and self._share < _PAYS / 100:
            return
        with self._lock:
            self._share += (waited / files - self._share) * min(1.0, files / _MEMORY)

    def announce(self, path_bytes: Callable[[int], bytes], positions: np.ndarray) -> None:
        """The files at these positions, int64 (n,), will be read soon."""
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
