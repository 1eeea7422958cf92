"""What a scan found in each folder, so that the next one lists only the folders that changed since.

Kept beside the table in the user's cache folder as an Arrow IPC file: a row for every folder that was visited, in the order of the scan.

column    Arrow type     holds
folder    large_binary   relative to the root, "/"-separated, with a trailing "/"; empty for the root itself
mtime     int64          nanoseconds since 1970 when it was listed; 0 = list it again, whatever its mtime is
stamp     uint64         inode and ctime: a folder that was moved here, or an archive unpacked into it, may leave the same mtime
rows      int64          images in it, which follow one another in the table
folders   large_binary   names of the folders in it that are to be visited, each with a NUL behind
others    large_binary   JSON {extension: files} of the files in it that are no images; empty = none
"""

from __future__ import annotations

import bisect
import contextlib
import json
import mmap
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa

from imgstream.errors import OutputError
from imgstream.files.atomic import atomic_file
from imgstream.index.table.columns import BytesColumn, Column, Names, spool_file

FORMAT_VERSION = 1
_CHUNK = 1 << 12
_ODD = 0x9E3779B97F4A7C15  # 2^64 / the golden ratio
_TYPES = [pa.large_binary(), pa.int64(), pa.uint64(), pa.int64(), pa.large_binary(), pa.large_binary()]


def stamp_of(status: os.stat_result) -> int:
    """A folder's inode and ctime as one number below 2^64."""
    return (status.st_ino * _ODD + status.st_ctime_ns) % (1 << 64)


class ListedFolder(NamedTuple):
    """A folder as an earlier scan found it."""

    number: int
    mtime: int
    stamp: int
    first: int
    """Position in the table of its first image."""
    rows: int
    folders: list[bytes]
    others: dict[str, int]


class Listing:
    """The folders of an earlier scan, memory-mapped from their file."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        self._batch = batch
        self._folders, self._children, self._others = (batch.column(name) for name in ("folder", "folders", "others"))
        self.mtimes: np.ndarray = batch.column("mtime").to_numpy()
        """int64 (folders,)."""
        self.stamps: np.ndarray = batch.column("stamp").to_numpy()
        """uint64 (folders,)."""
        rows = batch.column("rows").to_numpy()
        self._firsts = np.concatenate([np.zeros(1, np.int64), np.cumsum(rows)])

    @classmethod
    def open(cls, path: Path, fingerprint: str) -> Listing | None:
        """The listing of the table with `fingerprint`; None when it is missing, damaged, or belongs to another table."""
        with contextlib.suppress(OSError, ValueError, LookupError, SystemError, pa.ArrowException), path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            with pa.ipc.open_file(pa.py_buffer(mapped)) as reader:
                batch = reader.get_batch(0)
            metadata = json.loads((batch.schema.metadata or {}).get(b"imgstream", b"{}"))
            sound = batch.schema.types == _TYPES and not any(column.null_count for column in batch.columns)
            if sound and metadata == {"format": FORMAT_VERSION, "table": fingerprint, "checksum": _checksum(batch)}:
                return cls(batch)
        return None

    def __len__(self) -> int:
        return len(self.mtimes)

    def folder(self, number: int) -> bytes:
        """Name of a folder, by its number in the order of the scan."""
        return self._folders[number].as_py()

    def find(self, folder: bytes) -> ListedFolder | None:
        """What the earlier scan found in `folder`; None if it was not there."""
        number = bisect.bisect_left(range(len(self)), _place(folder), key=lambda n: _place(self.folder(n)))
        if number == len(self) or self.folder(number) != folder:
            return None
        others = self._others[number].as_py()
        first = int(self._firsts[number])
        return ListedFolder(
            number,
            int(self.mtimes[number]),
            int(self.stamps[number]),
            first,
            int(self._firsts[number + 1]) - first,
            self._children[number].as_py().split(b"\0")[:-1],
            json.loads(others) if others else {},
        )

    def rows_of(self, number: int) -> tuple[int, int]:
        """Positions in the table of the images in a folder: first, and one past the last."""
        return int(self._firsts[number]), int(self._firsts[number + 1])

    def __iter__(self) -> Iterator[tuple[bytes, int, int]]:
        """(folder, mtime, stamp) in the order of the scan."""
        for start in range(0, len(self), _CHUNK):
            some = slice(start, start + _CHUNK)
            yield from zip(self._folders[some].to_pylist(), self.mtimes[some].tolist(), self.stamps[some].tolist(), strict=True)


class ListingWriter:
    """Collects the folders of a scan, in its order and in bounded memory. Use it in a with statement."""

    def __init__(self, spool: Path | None) -> None:
        self._files = contextlib.ExitStack()

        def open_file() -> BinaryIO:
            return self._files.enter_context(spool_file(spool))

        self._folders, self._children, self._others = (BytesColumn(open_file) for _ in range(3))
        self._numbers = [Column(open_file) for _ in range(3)]
        self._pending: list[tuple[bytes, int, int, int, bytes, bytes]] = []
        self._count = 0

    def __enter__(self) -> ListingWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._files.close()

    def add(self, folder: bytes, mtime: int, stamp: int, rows: int, folders: list[bytes], others: dict[str, int]) -> None:
        """Add a folder; for the arguments see the table in the module's docstring."""
        children = b"".join(name + b"\0" for name in folders)
        self._pending.append((folder, mtime, stamp, rows, children, json.dumps(others).encode() if others else b""))
        self._count += 1
        if len(self._pending) >= _CHUNK:
            self._flush()

    def write(self, path: Path, fingerprint: str) -> None:
        """Write the listing of the table with `fingerprint`. If that fails, the next scan lists all folders: nothing is lost."""
        self._flush()
        batch = pa.record_batch(
            {
                "folder": self._folders.array(self._count),
                "mtime": self._numbers[0].array(pa.int64(), self._count),
                "stamp": self._numbers[1].array(pa.uint64(), self._count),
                "rows": self._numbers[2].array(pa.int64(), self._count),
                "folders": self._children.array(self._count),
                "others": self._others.array(self._count),
            }
        )
        described = {"format": FORMAT_VERSION, "table": fingerprint, "checksum": _checksum(batch)}
        batch = batch.replace_schema_metadata({"imgstream": json.dumps(described)})
        with contextlib.suppress(OutputError), atomic_file(path) as file, pa.ipc.new_file(file, batch.schema) as writer:
            writer.write_batch(batch)

    def _flush(self) -> None:
        if self._pending:
            folders, mtimes, stamps, rows, children, others = map(list, zip(*self._pending, strict=True))
            for column, values in ((self._folders, folders), (self._children, children), (self._others, others)):
                column.append(Names.of(values))
            for number, values in zip(self._numbers, (mtimes, stamps, rows), strict=True):
                number.append(np.array(values, np.uint64 if values is stamps else np.int64).data)
            self._pending.clear()


def _place(folder: bytes) -> list[bytes]:
    """A sort key for the order in which a scan visits folders: a folder before those in it, siblings in byte order."""
    return folder.split(b"/")[:-1]


def _checksum(batch: pa.RecordBatch) -> int:
    """CRC-32 of all columns, without the padding that Arrow adds."""
    value = 0
    for column in batch.columns:
        ends = column.buffers()
        used = len(batch) * 8 if len(ends) == 2 else (len(batch) + 1) * 8
        value = zlib.crc32(memoryview(ends[1])[:used] if ends[1] else b"", value)
        if len(ends) == 3 and ends[2] is not None:
            end = int(np.frombuffer(ends[1], np.int64, len(batch) + 1)[-1])
            value = zlib.crc32(memoryview(ends[2])[:end], value)
    return value
