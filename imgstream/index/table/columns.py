"""Columns that grow in unnamed temporary files and are memory-mapped from there: never in memory as a whole, and gone after a crash."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa

from imgstream.errors import OutputError


def spool_file(folder: Path | None) -> BinaryIO:
    """An unnamed temporary file in `folder`, or (None) in the system's temporary folder. Raises OutputError."""
    try:
        return tempfile.TemporaryFile(dir=folder)
    except OSError as error:
        raise spool_refused(folder, error) from error


def spool_refused(folder: Path | None, error: OSError) -> OutputError:
    """The error when nothing, or nothing more, can be written in `folder`."""
    advice = "Free some space, or set IMGSTREAM_CACHE and TMPDIR to other folders"
    return OutputError(f"cannot keep the list of images in {folder or 'the temporary folder'}: {error}. {advice}")


class Names(NamedTuple):
    """Packed names."""

    data: bytes | memoryview
    """Their bytes, one after another."""
    lengths: np.ndarray
    """int64 (n,): the number of bytes of each."""

    @classmethod
    def of(cls, names: list[bytes]) -> Names:
        """Pack a list."""
        return cls(b"".join(names), np.fromiter(map(len, names), np.int64, len(names)))

    def split(self) -> list[bytes]:
        """The names as a list."""
        ends = np.cumsum(self.lengths).tolist()
        return [bytes(self.data[start:end]) for start, end in pairwise([0, *ends])]


class Column:
    """A column of values of a fixed size."""

    def __init__(self, open_file: Callable[[], BinaryIO]) -> None:
        self._file = open_file()

    def append(self, data: bytes | memoryview) -> None:
        """Append the bytes of values."""
        self._file.write(data)

    def map(self, access: int = mmap.ACCESS_READ) -> mmap.mmap | bytearray:
        """All values, memory-mapped."""
        self._file.flush()
        if not os.fstat(self._file.fileno()).st_size:
            return bytearray()  # an empty file cannot be mapped
        return mmap.mmap(self._file.fileno(), 0, access=access)

    def array(self, kind: pa.DataType, length: int) -> pa.Array:
        """All `length` values as a memory-mapped Arrow array."""
        return pa.Array.from_buffers(kind, length, [None, pa.py_buffer(self.map())])


class BytesColumn:
    """A column of values of any number of bytes."""

    def __init__(self, open_file: Callable[[], BinaryIO]) -> None:
        self._data, self._offsets = Column(open_file), Column(open_file)
        self._offsets.append(np.zeros(1, np.int64).data)
        self._end = 0

    def append(self, values: Names) -> None:
        """Append values."""
        if len(values.lengths):
            ends = np.cumsum(values.lengths, dtype=np.int64) + self._end
            self._data.append(values.data)
            self._offsets.append(ends.data)
            self._end = int(ends[-1])

    def array(self, length: int) -> pa.Array:
        """All `length` values as a memory-mapped large_binary array."""
        buffers = [None, pa.py_buffer(self._offsets.map()), pa.py_buffer(self._data.map())]
        return pa.Array.from_buffers(pa.large_binary(), length, buffers)
