"""The files that hold pixels: NAME.pixels, and NAME.rows with a record for each array in it.

One process at a time appends to a shard and holds a lock on the rows meanwhile, so that another can continue what a killed one left. Any
number of processes map it. Pixels are written with pwrite, not through the map: a full disk is then an error, not a signal.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from imgstream.cache.records import RECORD_BYTES, WORDS, Record, ends, sound

try:
    import fcntl
except ImportError:  # Windows: every process starts its own shards, and keeps to the limit on its own
    fcntl = None  # type: ignore[assignment]

NAMES = 12 * "[0-9a-f]"
"""A pattern for the names of shards: nothing else in a folder is read, written or removed by the cache."""

_ALIGNMENT = 64
_FLAGS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class ShardReader:
    """A shard as it was at the last refresh."""

    def __init__(self, rows: Path) -> None:
        self.rows, self.pixels = rows, rows.with_suffix(".pixels")
        self.records = np.zeros((0, WORDS), np.uint64)
        """uint64 (n, WORDS), mapped: the records, sound or not."""
        self._memory = np.zeros(0, np.uint8)

    def refresh(self) -> None:
        """Learn what was added. Raises OSError if the files are gone."""
        count = self.rows.stat().st_size // RECORD_BYTES
        if count > len(self.records):
            self.records = _mapped(self.rows, count * RECORD_BYTES).view(np.uint64).reshape(-1, WORDS)

    def array(self, record: Record) -> np.ndarray | None:
        """The record's uint8 (height, width, channels), mapped and read-only; None if the shard is too short for it, or gone."""
        memory, end = self._memory, record.offset + record.size
        if end > len(memory):
            try:
                memory = self._memory = _mapped(self.pixels, self.pixels.stat().st_size)  # another thread may do the same
            except (OSError, ValueError):
                return None
            if end > len(memory):
                return None
        return memory[record.offset : end].reshape(record.shape)


class ShardWriter:
    """A shard that this process appends to, from any of its threads."""

    def __init__(self, rows: Path, descriptor: int, size: int) -> None:
        """`descriptor`: of the rows, opened to append and locked. The shard grows to `size` bytes."""
        self.pixels = rows.with_suffix(".pixels")
        self._rows = descriptor
        self._pixels = os.open(self.pixels, os.O_RDWR | os.O_CREAT | _FLAGS, 0o600)
        self._lock = threading.Lock()
        self._writing, self._closing, self._closed, self._process = 0, False, False, os.getpid()
        self._end = _recover(rows)
        self.size = max(size, self._end)
        os.ftruncate(self._pixels, self.size)  # to be mapped whole; takes no space yet

    @classmethod
    def create(cls, folder: Path, size: int) -> ShardWriter:
        """A new shard of `size` bytes. Raises OSError."""
        rows = folder / f"{secrets.token_hex(6)}.rows"
        return cls._open(rows, os.O_CREAT | os.O_EXCL, size)  # type: ignore[return-value]  # nobody else knows its name

    @classmethod
    def adopt(cls, rows: Path, size: int) -> ShardWriter | None:
        """The shard at `rows`, grown to `size` bytes; None if another process appends to it. Raises OSError."""
        return None if fcntl is None else cls._open(rows, 0, size)

    @classmethod
    def _open(cls, rows: Path, flags: int, size: int) -> ShardWriter | None:
        descriptor = os.open(rows, os.O_RDWR | os.O_APPEND | _FLAGS | flags, 0o600)
        try:
            if _lock(descriptor) and rows.exists():  # it may have been cleared away before it was locked
                return cls(rows, descriptor, size)
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None

    @property
    def room(self) -> int:
        """Bytes that are not taken."""
        return self.size - self._end

    def take(self, size: int) -> int | None:
        """The offset of `size` bytes, which must then be written; None if there is no room."""
        with self._lock:
            start = -(-self._end // _ALIGNMENT) * _ALIGNMENT
            if self._closing or start + size > self.size:
                return None
            self._end = start + size
            self._writing += 1
            return start

    def write(self, record: Record, pixels: np.ndarray) -> None:
        """Write uint8 (n,) `pixels` to the place that was taken for `record`, then the record. Raises OSError, as on a full disk."""
        try:
            data, at = pixels.data, record.offset
            while data:
                done = self._write_at(data, at)
                data, at = data[done:], at + done
            line = record.encode()
            if os.write(self._rows, line) != len(line):
                raise OSError(errno.ENOSPC, "a record was cut short")
        finally:
            with self._lock:
                self._writing -= 1
                self._close_if_done()

    def _write_at(self, data: memoryview, at: int) -> int:
        if hasattr(os, "pwrite"):
            return os.pwrite(self._pixels, data, at)
        with self._lock:  # Windows
            os.lseek(self._pixels, at, os.SEEK_SET)
            return os.write(self._pixels, data)

    def close(self) -> None:
        """Give back unused room, and the lock, after the last write."""
        with self._lock:
            self._closing = True
            self._close_if_done()

    def _close_if_done(self) -> None:
        if self._closing and not self._writing and not self._closed and os.getpid() == self._process:  # not in a forked child
            self._closed = True
            with contextlib.suppress(OSError):
                os.ftruncate(self._pixels, self._end)
            os.close(self._pixels)
            os.close(self._rows)


def _mapped(path: Path, size: int) -> np.ndarray:
    """uint8 (size,), read-only; a plain array, because np.memmap's own class takes microseconds to slice."""
    return np.asarray(np.memmap(path, np.uint8, "r", shape=(size,)))


def _recover(rows: Path) -> int:
    """Cut off a record that a killed process left unfinished; return where the pixels of the others end."""
    os.truncate(rows, rows.stat().st_size // RECORD_BYTES * RECORD_BYTES)
    data = np.fromfile(rows, np.uint64).reshape(-1, WORDS)
    return int(ends(data[sound(data)]).max(initial=0))


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock at `path`, created if need be, during the block; waits for it. Raises OSError."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
