"""Keeps what was found out about the files of a table since it was made: version, kind, size, orientation.

A file in the user's cache folder: 32 bytes of head (magic, format, the table's fingerprint), then FACTS for every row, zeros for files that
were never opened. It is sparse, and every reader writes single records in place: what is lost or damaged is found out again.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import mmap
import os
import struct
import threading
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from imgstream.errors import OutputError
from imgstream.files.addresses import absolute
from imgstream.files.locations import cache_folder
from imgstream.files.reader import FileVersion
from imgstream.formats.header import Header
from imgstream.index.table.table import FACTS, KINDS, Table

CHANGED = 2
"""State of a file that had changed when it was opened again; 1: unchanged, 0: never opened."""

_HEAD = b"imgfacts"
_FORMAT_VERSION = 1
_RECORD = struct.Struct("<qqIIBBB4xB")
_THREADS = 8
_EXAMPLES = 5


class FileFacts:
    """The facts about the files of one table. It pickles to a path; any number of threads and processes may use it."""

    def __init__(self, path: Path, rows: int, fingerprint: str) -> None:
        self._path, self._rows, self._fingerprint = path, rows, fingerprint
        self._lock = threading.Lock()
        self._descriptor = -1
        self._mapped: mmap.mmap | None = None
        self._is_off = False

    @classmethod
    def of(cls, table: Table) -> FileFacts | None:
        """The facts about a table's files; None where they cannot be kept: it has no file name, is a selection, or there is no cache
        folder.
        """
        if table.path is None or "row" in table.columns:
            return None
        try:
            folder = cache_folder() / "index"
        except OutputError:
            return None
        root = absolute(os.fsencode(table.info.root))  # tables of two folders may follow one another at the same path
        key = hashlib.blake2b(os.fsencode(table.path) + b"\0" + root, digest_size=16).hexdigest()
        path = Path(table.path)
        name = path.stem if path.parent == folder else key
        return cls(folder / f"{name}.facts", len(table), table.info.fingerprint)

    def __reduce__(self) -> tuple[object, ...]:
        return FileFacts, (self._path, self._rows, self._fingerprint)

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def note(self, row: int, version: FileVersion, header: Header) -> None:
        """Record the version and header of a file that was opened. Never raises: what cannot be kept is dropped."""
        before = self._before(row, header)
        if before is None:
            return
        values = _values(version, header)
        if before[:6] != values:
            state = 1 if before[6] == 0 or (version.size, version.modified) == before[:2] else CHANGED
            self._write(row, (*values, state))

    def renew(self, row: int, version: FileVersion, header: Header) -> bool:
        """Like note, but a file that has changed is recorded as it is now; return whether it had changed."""
        before = self._before(row, header)
        if before is None:
            return False
        values = _values(version, header)
        if before != (*values, 1):
            self._write(row, (*values, 1))
        return before[6] == CHANGED or (before[6] == 1 and before[:2] != values[:2])

    def _before(self, row: int, header: Header) -> tuple[int, ...] | None:
        """What is known of a row's file; None where nothing can be kept of it."""
        if self._is_off or header.kind not in KINDS or (self._mapped is None and not self._open(create=True)):
            return None
        return self._read(row)

    def at(self, rows: np.ndarray) -> np.ndarray:
        """FACTS (m,) of some rows; zeros where nothing is known."""
        if self._mapped is None and not self._open(create=False):
            return np.zeros(len(rows), FACTS)
        assert self._mapped is not None
        records = np.frombuffer(self._mapped, np.uint8, offset=32).reshape(-1, 32)[rows]
        records[~_sound(records)] = 0
        return records.view(FACTS)[:, 0]

    def _read(self, row: int) -> tuple[int, ...]:
        record = bytes(self._mapped[32 * row + 32 : 32 * row + 64])  # type: ignore[index]
        *values, check = _RECORD.unpack(record)
        return tuple(values) if check == zlib.crc32(record[:31]) & 0xFF else _NOTHING

    def _write(self, row: int, values: tuple[int, ...]) -> None:
        try:
            record = bytearray(_RECORD.pack(*values, 0))
        except struct.error:  # such as a file that declares 2**63 columns, which does not fit
            return
        record[31] = zlib.crc32(record[:31]) & 0xFF
        try:
            os.pwrite(self._descriptor, record, 32 * row + 32)  # not through the map: a full disk would be a signal that kills
        except OSError:
            self._is_off = True

    def _open(self, create: bool) -> bool:
        with self._lock:
            if self._mapped is not None:
                return True
            head = _head(self._fingerprint)
            with contextlib.suppress(OSError, ValueError, AttributeError):  # AttributeError: no pwrite, on Windows
                for attempt in (0, 1):
                    if attempt:
                        if not create:
                            return False
                        _new_file(self._path, head, self._rows, lambda descriptor: None)
                    with contextlib.suppress(FileNotFoundError):
                        descriptor = os.open(self._path, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
                        size = os.fstat(descriptor).st_size
                        if os.pread(descriptor, 32, 0) == head and size == 32 + 32 * self._rows:
                            mapped = mmap.mmap(descriptor, size, access=mmap.ACCESS_READ)
                            self._descriptor = descriptor
                            self._mapped = mapped  # set last: other threads check it to see whether all is ready
                            return True
                        os.close(descriptor)
            self._is_off = True
            return False

    def carry(self, new: FileFacts, kept: Iterable[tuple[int, int, int]]) -> None:
        """Copy the facts to a table whose rows have moved: `kept` holds (position here, position there, number of rows) for rows in
        both.
        """
        if not self._open(create=False):
            return
        assert self._mapped is not None
        mapped = self._mapped

        def fill(descriptor: int) -> None:
            for old, there, rows in kept:
                for start in range(0, rows, 1 << 15):
                    count = min(1 << 15, rows - start)
                    block = mapped[32 * (old + start) + 32 : 32 * (old + start + count) + 32]
                    if any(block):
                        os.pwrite(descriptor, block, 32 * (there + start) + 32)

        with contextlib.suppress(OSError, AttributeError):
            _new_file(new._path, _head(new._fingerprint), new._rows, fill)


_NOTHING = (0,) * 7


def _values(version: FileVersion, header: Header) -> tuple[int, ...]:
    """A record without its state."""
    return version.size, version.modified, header.height, header.width, header.orientation, KINDS.index(header.kind)


def _sound(records: np.ndarray) -> np.ndarray:
    """Which of uint8 (m, 32) `records` are known and have a correct check byte: bool (m,)."""
    known = np.flatnonzero(records[:, 26])  # the state
    check = np.full(len(known), zlib.crc32(bytes(31)) & 0xFF, np.uint8)
    for at, part in enumerate(_checks()):  # a CRC is the exclusive or of what each byte adds to it
        check ^= part[records[known, at]]
    sound = np.zeros(len(records), bool)
    sound[known] = check == records[known, 31]
    return sound


@functools.cache
def _checks() -> np.ndarray:
    """uint8 (31, 256): by how much each value of each byte of a record changes its check byte."""
    alone = (zlib.crc32(bytes([value]).rjust(at + 1, b"\0").ljust(31, b"\0")) for at in range(31) for value in range(256))
    return np.fromiter((check & 0xFF for check in alone), np.uint8, 31 * 256).reshape(31, 256) ^ np.uint8(zlib.crc32(bytes(31)) & 0xFF)


def _head(fingerprint: str) -> bytes:
    return (_HEAD + struct.pack("<I", _FORMAT_VERSION) + bytes.fromhex(fingerprint)).ljust(32, b"\0")


def _new_file(path: Path, head: bytes, rows: int, fill: Callable[[int], None]) -> None:
    temporary = path.with_name(f".imgstream-{os.getpid()}-{threading.get_ident()}.tmp")
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        os.write(descriptor, head)
        os.ftruncate(descriptor, 32 + 32 * rows)
        fill(descriptor)
        os.replace(temporary, path)
    finally:
        os.close(descriptor)
        with contextlib.suppress(OSError):
            os.unlink(temporary)
