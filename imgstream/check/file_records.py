"""Keeps a few bytes for every file in an array, on disk when there are many files. No Python object for each file."""

from __future__ import annotations

import contextlib
import json
import math
import mmap
import os
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from imgstream.check.thumbnail import CHROMA_SHAPE, LUMA_SHAPE
from imgstream.errors import REASONS, BadImage, OutputError
from imgstream.files.locations import cache_folder

KINDS = ("jpeg", "png", "gif", "bmp", "webp", "tiff", "avif", "heic", "npy", "dicom")
"""The names of Header.kind; a record holds the position."""

RECORD = np.dtype([("size", np.uint64), ("width", np.uint32), ("height", np.uint32), ("kind", np.uint8), ("reason", np.uint8)])
"""The record of one file: bytes, oriented pixels, position in KINDS; `reason` is 0 for a good file, else 1 + its position in REASONS."""

_IN_MEMORY = 64 << 20  # bytes; a larger array lies in an unnamed file, whose pages the system can take back


class BadFile(NamedTuple):
    """A file that is no usable image."""

    row: int
    """Position in the index."""
    reason: str
    detail: str


class FileRecords:
    """The records of all rows, in index order, their thumbnails if files are decoded, and the bad files.

    Raises OutputError when the disk has no room for them: 18 bytes a file, and 288 more with `thumbnails`.
    """

    def __init__(self, count: int, thumbnails: bool) -> None:
        self.records = mapped((count,), RECORD)
        """RECORD (n,)."""
        self.luma = mapped((count if thumbnails else 0, *LUMA_SHAPE), np.dtype(np.uint8))
        """uint8 (n, 16, 16); (0, 16, 16) without thumbnails."""
        self.chroma = mapped((count if thumbnails else 0, *CHROMA_SHAPE), np.dtype(np.uint8))
        """uint8 (n, 4, 4, 2): Cr and Cb."""
        self._bad = tempfile.TemporaryFile(dir=_spool_folder())  # noqa: SIM115  # lives as long as this object
        weakref.finalize(self, self._bad.close)

    @property
    def good(self) -> np.ndarray:
        """Whether each file is good, as far as it was read: bool (n,)."""
        return self.records["reason"] == 0

    def note_bad(self, row: int, error: BadImage) -> None:
        """Record a bad file; to be called in the order of rows."""
        self._bad.write(json.dumps((row, error.reason, error.detail)).encode() + b"\n")

    def bad(self) -> Iterator[BadFile]:
        """The bad files in index order; may be called any number of times."""
        self._bad.seek(0)
        for line in self._bad:
            yield BadFile(*json.loads(line))

    def reasons(self) -> dict[str, int]:
        """Reason → number of files, most frequent first."""
        counts = np.bincount(self.records["reason"], minlength=1 + len(REASONS))[1:]
        return {REASONS[i]: int(counts[i]) for i in np.argsort(-counts, kind="stable") if counts[i]}

    def kinds(self) -> dict[str, int]:
        """Kind → number of good files, most frequent first."""
        counts = np.bincount(self.records["kind"][self.good], minlength=len(KINDS))
        return {KINDS[i]: int(counts[i]) for i in np.argsort(-counts, kind="stable") if counts[i]}


def mapped(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """Zeros, in an unnamed file on disk when they are many. Raises OutputError when the disk is full."""
    size = math.prod(shape) * dtype.itemsize
    if size <= _IN_MEMORY:
        return np.zeros(shape, dtype)
    with tempfile.TemporaryFile(dir=_spool_folder()) as file:
        try:
            if hasattr(os, "posix_fallocate"):  # a page that the disk has no room for would kill the process when it is written
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
        except OSError as error:
            raise OutputError(f"cannot keep {size / 1e6:,.0f} MB of working data: {error.strerror}. Free some space on the disk of the "
                              "cache folder, or set IMGSTREAM_CACHE to another one") from None  # fmt: skip
        return np.frombuffer(mmap.mmap(file.fileno(), size), dtype).reshape(shape)


def _spool_folder() -> Path | None:
    """Where large working data is kept: the cache folder, because /tmp is often memory. None leaves it to the system."""
    with contextlib.suppress(OSError, OutputError):
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK | os.X_OK):
            return folder
    return None
