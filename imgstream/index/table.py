"""The table file: one uncompressed Arrow IPC record batch, memory-mapped, a row for every image.

column   Arrow type                          holds
folder   dictionary<int32, large_binary>     folder relative to the root, "/"-separated, with a trailing "/"; empty for the root itself
name     large_binary                        file name: root + folder + name is what open() takes, to the byte
label    int32                               position in class_names, -1 = none
row      uint32                              row number: 0, 1, 2, … as scan found them; a saved selection keeps them

The schema's metadata has one key, "imgstream": JSON with the fields of TableInfo and "format".
Paths are bytes everywhere in the file: Arrow strings refuse names that are no UTF-8.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import mmap
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from imgstream.atomic import atomic_file
from imgstream.errors import DatasetError, OutputError

FORMAT_VERSION = 1
CHUNK_ROWS = 1 << 14
"""Rows held as Python objects at any moment while a table is written."""

_COLUMNS: dict[str, pa.DataType] = {
    "folder": pa.dictionary(pa.int32(), pa.large_binary()),
    "name": pa.large_binary(),
    "label": pa.int32(),
    "row": pa.uint32(),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TableInfo:
    """What a table says about itself, besides its rows."""

    root: str
    """As the user gave it (os.fsdecode), or "" when rows are paths of their own."""
    class_names: list[str]
    skipped_extensions: dict[str, int] = dataclasses.field(default_factory=dict)
    """Files that were no images, by lower-case extension with its dot; "" = none."""
    unreadable_folders: list[str] = dataclasses.field(default_factory=list)
    """The first few folders that could not be listed: "path: why"."""
    unreadable_count: int = 0
    parts: dict[str, list[list[int]]] | None = None
    """train, val, test → [first, past the last) row numbers, when the top folders are a split; else None."""
    selection: bool = False
    """Whether row numbers are others than 0, 1, 2, …"""
    fingerprint: str = ""
    """Hex digest of rows, labels and class names, not of the root: equal for equal contents in equal order."""


class Table:
    """A table file, mapped and read-only. Safe to share between threads.

    The arrays are views of the file: they cost no memory of this process' own.
    """

    def __init__(self, mapped: mmap.mmap, path: str | None) -> None:
        self.path = path  # None: the file has no name, and pickles carry its contents
        self.mapped = mapped
        with pa.ipc.open_file(pa.py_buffer(mapped)) as reader:
            if reader.num_record_batches != 1:
                raise pa.ArrowInvalid(f"{reader.num_record_batches} record batches instead of 1")
            self.batch = reader.get_batch(0)
        metadata = self.batch.schema.metadata or {}
        fields: dict[str, Any] = json.loads(metadata.get(b"imgstream", b"{}"))
        version = fields.pop("format", None)
        if version != FORMAT_VERSION:
            raise pa.ArrowInvalid(f"table format {version!r}; this imgstream reads format {FORMAT_VERSION}")
        for name, kind in _COLUMNS.items():
            if self.batch.schema.field(name).type != kind or self.batch.column(name).null_count:
                raise pa.ArrowInvalid(f"column {name!r} is not {kind} without nulls")
        self.info = TableInfo(**fields)
        folder, name, label, row = (self.batch.column(column) for column in _COLUMNS)
        self.folder_ids = _view(folder.indices.buffers()[1], np.int32, len(folder))
        self.folder_offsets = _view(folder.dictionary.buffers()[1], np.int64, len(folder.dictionary) + 1)
        self.folder_data = _view(folder.dictionary.buffers()[2], np.uint8)
        self.name_offsets = _view(name.buffers()[1], np.int64, len(name) + 1)
        self.name_data = _view(name.buffers()[2], np.uint8)
        self.labels = _view(label.buffers()[1], np.int32, len(label))
        self.rows = _view(row.buffers()[1], np.uint32, len(row))
        # Indexing a memoryview gives a Python int in 40 ns; indexing an array makes a NumPy scalar first.
        self._folder_ids, self._folder_offsets, self._folder_data = self.folder_ids.data, self.folder_offsets.data, self.folder_data.data
        self._name_offsets, self._name_data = self.name_offsets.data, self.name_data.data

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, check: bool = False) -> Table:
        """Map the table at `path`. `check` reads all of it to prove it sound. Raises DatasetError: not there, or no table."""
        try:
            with open(path, "rb") as file:
                table = cls(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), os.path.abspath(os.fspath(path)))
            if check:
                table.check()
        except (OSError, ValueError, TypeError, KeyError, pa.ArrowException) as error:  # ValueError: an empty file cannot be mapped
            raise DatasetError(f"{os.fspath(path)} cannot be read as a table of images ({error}); scan the folder again") from error
        return table

    def __len__(self) -> int:
        return len(self.labels)

    def check(self) -> None:
        """Read all of it. Raises ArrowInvalid when offsets, folders or labels point outside of what is there."""
        self.batch.validate(full=True)
        if len(self) and not -1 <= self.labels.min() <= self.labels.max() < len(self.info.class_names):
            raise pa.ArrowInvalid(f"labels {self.labels.min()}..{self.labels.max()} of {len(self.info.class_names)} classes")

    def folders(self) -> Iterator[bytes]:
        """The folders, by id."""
        return (bytes(self._folder_data[start:end]) for start, end in pairwise(self._folder_offsets))

    def name(self, position: int) -> bytes:
        """File name of one row, unchecked like `relative`."""
        return bytes(self._name_data[self._name_offsets[position] : self._name_offsets[position + 1]])

    def relative(self, position: int) -> bytes:
        """Exact path of one row, relative to the root. `position` must lie in 0..len-1: it is not checked."""
        folder = self._folder_ids[position]
        return b"".join(
            (
                self._folder_data[self._folder_offsets[folder] : self._folder_offsets[folder + 1]],
                self._name_data[self._name_offsets[position] : self._name_offsets[position + 1]],
            )
        )


class TableWriter:
    """Collects rows in bounded memory and makes them a table.

    Columns go to unnamed temporary files in `spool` (None: the system's temporary folder), are mapped from there, and become one record
    batch: neither the rows nor the file are ever in memory as a whole, and a kill leaves nothing behind. Use it as a context: an OSError
    inside is raised as an OutputError.
    """

    def __init__(self, spool: Path | None) -> None:
        self._spool = spool
        self._files = contextlib.ExitStack()
        self._folders, self._names = _BytesColumn(self._open), _BytesColumn(self._open)
        self._folder_ids, self._labels, self._rows = (_Column(self._open()) for _ in range(3))
        self._new_folders: list[bytes] = []
        self._new_names: list[bytes] = []
        self._new_folder_ids: list[int] = []
        self._new_labels: list[int] = []
        self._new_rows: list[int] = []
        self._folder_count = 0
        self._row_count = 0

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._files.close()
        if isinstance(error, OSError):
            raise self._refused(error) from error

    def __len__(self) -> int:
        return self._row_count

    def add_folder(self, folder: bytes) -> int:
        """Add a folder (trailing "/", or empty); returns its id, counting from 0."""
        self._new_folders.append(folder)
        self._folder_count += 1
        return self._folder_count - 1

    def add_rows(self, names: Sequence[bytes], folder_ids: Iterable[int], labels: Iterable[int], rows: Iterable[int] | None = None) -> None:
        """Add CHUNK_ROWS rows at most, all arguments of one length; without `rows` they are numbered on from the last."""
        self._new_names += names
        self._new_folder_ids += folder_ids
        self._new_labels += labels
        self._new_rows += range(self._row_count, self._row_count + len(names)) if rows is None else rows
        self._row_count += len(names)
        if len(self._new_names) >= CHUNK_ROWS or len(self._new_folders) >= CHUNK_ROWS:
            self._flush()

    def renumber_labels(self, new: np.ndarray) -> None:
        """Replace every label by new[label]; int32 (classes + 1,), whose last entry is what -1 becomes."""
        self._flush()
        labels = np.frombuffer(self._labels.map(mmap.ACCESS_WRITE), np.int32)
        for start in range(0, len(labels), CHUNK_ROWS):
            labels[start : start + CHUNK_ROWS] = new[labels[start : start + CHUNK_ROWS]]

    def finish(self, info: TableInfo, path: Path | None) -> Table:
        """The table, whole or absent at `path`; with None it lives in a file without a name. Raises OSError, OutputError."""
        self._flush()
        count = len(self)
        folders, names = self._folders.array(self._folder_count), self._names.array(count)
        folder_ids, labels, rows = (pa.py_buffer(column.map()) for column in (self._folder_ids, self._labels, self._rows))
        digest = hashlib.blake2b(json.dumps([info.class_names, info.parts]).encode(), digest_size=16)
        for buffer in (*folders.buffers()[1:], *names.buffers()[1:], folder_ids, labels, rows):
            digest.update(buffer)
        batch = pa.record_batch(
            {
                "folder": pa.DictionaryArray.from_arrays(pa.Array.from_buffers(pa.int32(), count, [None, folder_ids]), folders),
                "name": names,
                "label": pa.Array.from_buffers(pa.int32(), count, [None, labels]),
                "row": pa.Array.from_buffers(pa.uint32(), count, [None, rows]),
            }
        )
        return write_table(batch, dataclasses.replace(info, fingerprint=digest.hexdigest()), path, self._spool)

    def _open(self) -> BinaryIO:
        try:
            return self._files.enter_context(tempfile.TemporaryFile(dir=self._spool))
        except OSError as error:
            self._files.close()
            raise self._refused(error) from error

    def _refused(self, error: OSError) -> OutputError:
        place = self._spool or "the temporary folder"
        advice = "Free some space, or set IMGSTREAM_CACHE and TMPDIR to other folders"
        return OutputError(f"cannot keep the list of images in {place}: {error}. {advice}")

    def _flush(self) -> None:
        self._folders.append(self._new_folders)
        self._names.append(self._new_names)
        self._folder_ids.append(np.array(self._new_folder_ids, np.int32).data)
        self._labels.append(np.array(self._new_labels, np.int32).data)
        self._rows.append(np.array(self._new_rows, np.uint32).data)
        for pending in (self._new_folders, self._new_names, self._new_folder_ids, self._new_labels, self._new_rows):
            pending.clear()


def write_table(batch: pa.RecordBatch, info: TableInfo, path: Path | None, spool: Path | None = None) -> Table:
    """Write the columns of `batch` as a table to `path`, whole or absent, or (None) to an unnamed file in `spool`.

    Raises OSError, and OutputError when `path` cannot be written.
    """
    batch = batch.replace_schema_metadata({"imgstream": json.dumps({"format": FORMAT_VERSION, **dataclasses.asdict(info)})})
    if path is not None:
        with atomic_file(path) as file, pa.ipc.new_file(file, batch.schema) as writer:
            writer.write_batch(batch)
        table = Table.open(path)
        if table.info.fingerprint == info.fingerprint:
            return table
        # Another process wrote its own newer listing here in between: that is theirs to use, and this one lives on without a name.
    with tempfile.TemporaryFile(dir=spool) as file:
        with pa.ipc.new_file(file, batch.schema) as writer:
            writer.write_batch(batch)
        file.flush()
        return Table(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), None)


def table_from_bytes(content: bytes) -> Table:
    """A table without a name, out of another's bytes: how such a one comes out of a pickle."""
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        return Table(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), None)


class _Column:
    """A temporary file that is appended to, then mapped."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def append(self, data: bytes | memoryview) -> None:
        self._file.write(data)

    def map(self, access: int = mmap.ACCESS_READ) -> mmap.mmap | bytearray:
        self._file.flush()
        if not os.fstat(self._file.fileno()).st_size:
            return bytearray()  # an empty file cannot be mapped
        return mmap.mmap(self._file.fileno(), 0, access=access)


class _BytesColumn:
    """A large_binary column: its bytes and its int64 offsets."""

    def __init__(self, open_file: Callable[[], BinaryIO]) -> None:
        self._data, self._offsets = _Column(open_file()), _Column(open_file())
        self._offsets.append(np.zeros(1, np.int64).data)
        self._end = 0

    def append(self, values: list[bytes]) -> None:
        if values:
            ends = np.cumsum(np.fromiter(map(len, values), np.int64, len(values))) + self._end
            self._data.append(b"".join(values))
            self._offsets.append(ends.data)
            self._end = int(ends[-1])

    def array(self, length: int) -> pa.Array:
        buffers = [None, pa.py_buffer(self._offsets.map()), pa.py_buffer(self._data.map())]
        return pa.Array.from_buffers(pa.large_binary(), length, buffers)


def _view(buffer: pa.Buffer | None, dtype: type[np.generic], count: int | None = None) -> np.ndarray:
    """A read-only array over the first `count` items of a buffer (Arrow pads them; None: all); an absent buffer is an empty array."""
    if buffer is None or not buffer.size:
        return np.zeros(count or 0, dtype)
    return np.frombuffer(buffer, dtype, -1 if count is None else count)
