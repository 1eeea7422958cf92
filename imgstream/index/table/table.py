"""The table file: one uncompressed Arrow IPC record batch, memory-mapped, a row for every image.

column        Arrow type                          holds
folder        dictionary<int32, large_binary>     folder relative to the root, "/"-separated, with a trailing "/"; empty for the root itself
name          large_binary                        file name: root + folder + name is what open() takes, to the byte
label         int32                               position in class_names, or in label_sets where there are any; -1 = none
row           uint32                              in a saved selection: the number of the row in the table that it was selected from
part          uint8                               where the split is given: position in PARTS, 0 = none
group         uint64                              where groups are given: a hash of the group's name, 0 = none
weight        float32                             where weights are given: the sample weight in training
container     dictionary<int32, large_binary>     } of images inside other files: the file, relative to the root ("" for the root itself),
offset        int64                               } its size, mtime and how it keeps them (files.spans.Container.encode); and where their
length        uint32                              } bytes begin there, and how many they are
size, mtime   int64                               bytes, nanoseconds since 1970 } of files that have been opened; what is not known yet is 0
height, width uint32                              as stored, in pixels          } ("" for the kind), and without anything known the columns
orientation   uint8                               EXIF 1..8                     } are absent
kind          dictionary<int8, utf8>              jpeg, png, …                  }

Only folder, name and label are always there; without a row column, rows are numbered 0, 1, 2, …
The schema's metadata has one key, "imgstream": JSON with the fields of TableInfo, "format", and "checksum", the CRC-32 of the other
fields and of all columns. Paths are bytes everywhere in the file: Arrow strings refuse names that are no UTF-8.
"""

from __future__ import annotations

import dataclasses
import json
import mmap
import os
import tempfile
import zlib
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from imgstream.errors import DatasetError
from imgstream.files.spans import Container
from imgstream.index.table.columns import Names

FORMAT_VERSION = 2
PARTS = ("", "train", "val", "test")
"""What the numbers in the part column stand for."""
KINDS = ("", "jpeg", "png", "gif", "bmp", "webp", "tiff", "avif", "heic", "npy")
"""What the numbers in the kind column stand for, and in FACTS."""
FACTS = np.dtype(
    {
        "names": ["size", "mtime", "height", "width", "orientation", "kind", "state"],
        "formats": ["<i8", "<i8", "<u4", "<u4", "u1", "u1", "u1"],
        "offsets": [0, 8, 16, 20, 24, 25, 26],
        "itemsize": 32,
    }
)
"""What is known of a file that has been opened; 32 bytes. `state` is of index.facts."""

OPTIONAL: dict[str, type[np.generic]] = {"row": np.uint32, "part": np.uint8, "group": np.uint64, "weight": np.float32}
"""Columns of the caller's that a table may have."""
SPAN_COLUMNS: dict[str, type[np.generic]] = {"container": np.int32, "offset": np.int64, "length": np.uint32}
"""Where the bytes of images are that have no files of their own: 16 bytes a row."""
FACT_COLUMNS: dict[str, type[np.generic]] = {
    "size": np.int64,
    "mtime": np.int64,
    "height": np.uint32,
    "width": np.uint32,
    "orientation": np.uint8,
    "kind": np.uint8,
}
"""What is known of files, as a table has it."""

_FOLDER, _NAME = pa.dictionary(pa.int32(), pa.large_binary()), pa.large_binary()
KIND_TYPE = pa.dictionary(pa.int8(), pa.utf8())


@dataclasses.dataclass(frozen=True, kw_only=True)
class TableInfo:
    """What a table says about itself, besides its rows."""

    root: str
    """As the user gave it (os.fsdecode), or "" when rows hold full paths."""
    class_names: list[str]
    label_sets: list[list[int]] = dataclasses.field(default_factory=list)
    """Where images have several labels: the sets of classes, as positions in class_names, that rows are labelled with. Else empty."""
    skipped_extensions: dict[str, int] = dataclasses.field(default_factory=dict)
    """Number of files that were no images, by lower-case extension with its dot; "" = none."""
    unreadable_folders: list[str] = dataclasses.field(default_factory=list)
    """The first few folders that could not be listed: "path: why"."""
    unreadable_count: int = 0
    fingerprint: str = ""
    """Hex digest of rows, labels and class names, not of the root or of FACTS: equal for equal contents in equal order."""

    def to_json(self) -> dict[str, Any]:
        """The fields as a table holds them: without label_sets where there are none."""
        fields = dataclasses.asdict(self)
        if not self.label_sets:
            del fields["label_sets"]
        return fields


class Table:
    """A table file, memory-mapped and read-only. Safe to share between threads.

    The arrays are views of the file, which take no memory of this process.
    """

    def __init__(self, mapped: mmap.mmap, path: str | None) -> None:
        self.path = path  # None: the file has no name, and pickles carry its contents
        self.mapped = mapped
        with pa.ipc.open_file(pa.py_buffer(mapped)) as reader:
            if reader.num_record_batches != 1:
                raise pa.ArrowInvalid(f"{reader.num_record_batches} record batches instead of 1")
            self.batch = reader.get_batch(0)
        fields: dict[str, Any] = json.loads((self.batch.schema.metadata or {}).get(b"imgstream", b"{}"))
        version = fields.pop("format", None)
        if version != FORMAT_VERSION:
            raise pa.ArrowInvalid(f"table format {version!r}; this imgstream reads format {FORMAT_VERSION}")
        self._checksum = fields.pop("checksum", None)
        self.info = TableInfo(**fields)
        if any(not 0 <= member < len(self.info.class_names) for members in self.info.label_sets for member in members):
            raise pa.ArrowInvalid("a set of labels names a class that there is not")
        self.columns = columns_of(self.batch)
        self.folder_ids, self.folder_offsets, self.folder_data = (self.columns[key] for key in ("folder", "folder offsets", "folder data"))
        self.name_offsets, self.name_data = self.columns["name offsets"], self.columns["name data"]
        self.labels = self.columns["label"]
        self.in_containers = "container" in self.columns
        """Whether the images lie inside other files."""
        # Indexing a memoryview gives a Python int in 40 ns; indexing an array makes a NumPy scalar first.
        self._folder_ids, self._folder_offsets, self._folder_data = self.folder_ids.data, self.folder_offsets.data, self.folder_data.data
        self._name_offsets, self._name_data = self.name_offsets.data, self.name_data.data

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, check: bool = True) -> Table:
        """Map the table at `path`. Raises DatasetError: missing, no table, damaged, or of another format.

        `check` compares its checksum, which reads the whole file, at 4 GB/s. Without it the file must be known to be sound.
        """
        try:
            with open(path, "rb") as file:
                table = cls(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), os.path.abspath(os.fspath(path)))
            if check and checksum(table.info, table.columns) != table._checksum:
                raise pa.ArrowInvalid("its checksum is wrong: the file was damaged")
        except (OSError, ValueError, TypeError, LookupError, AttributeError, SystemError, pa.ArrowException) as error:
            # ValueError: an empty file; SystemError: a length below 0
            raise DatasetError(f"{os.fspath(path)} cannot be read as a table of images ({error}); scan the folder again") from error
        return table

    def __len__(self) -> int:
        return len(self.labels)

    def folder(self, number: int) -> bytes:
        """A folder, by its id."""
        return bytes(self._folder_data[self._folder_offsets[number] : self._folder_offsets[number + 1]])

    def folders(self) -> Iterator[bytes]:
        """The folders, by id."""
        return (bytes(self._folder_data[start:end]) for start, end in pairwise(self._folder_offsets))

    def names(self, first: int, past: int) -> Names:
        """File names of the rows from `first` to `past` (exclusive)."""
        offsets = self.name_offsets[first : past + 1]
        return Names(self._name_data[offsets[0] : offsets[-1]], np.diff(offsets))

    def name(self, position: int) -> bytes:
        """File name of one row. `position` must lie in 0..len-1: it is not checked."""
        return bytes(self._name_data[self._name_offsets[position] : self._name_offsets[position + 1]])

    def containers(self) -> list[Container]:
        """The files that the images lie in, by id, with paths relative to the root. Raises DatasetError."""
        try:
            return [Container.decode(bytes(text)) for text in _texts(self.columns, "container")] if self.in_containers else []
        except ValueError:
            raise DatasetError(f"{self.path or 'a table'} names a container that is none; scan its source again") from None

    def place(self, position: int) -> tuple[int, int, int]:
        """(id of the container, offset, length) of one row. `position` must lie in 0..len-1: it is not checked."""
        columns = self.columns
        return columns["container"].item(position), columns["offset"].item(position), columns["length"].item(position)

    def relative(self, position: int) -> bytes:
        """Exact path of one row, relative to the root. `position` must lie in 0..len-1: it is not checked."""
        folder = self._folder_ids[position]
        return b"".join(
            (
                self._folder_data[self._folder_offsets[folder] : self._folder_offsets[folder + 1]],
                self._name_data[self._name_offsets[position] : self._name_offsets[position + 1]],
            )
        )


def write_table(batch: pa.RecordBatch, info: TableInfo, file: Any) -> None:
    """Write the columns of `batch` as a table to `file`, open for bytes."""
    described = {"format": FORMAT_VERSION, "checksum": checksum(info, columns_of(batch)), **info.to_json()}
    batch = batch.replace_schema_metadata({"imgstream": json.dumps(described)})
    with pa.ipc.new_file(file, batch.schema) as writer:
        writer.write_batch(batch)


def unnamed_table(write: Any, spool: str | os.PathLike[str] | None = None) -> Table:
    """A table in a file without a name, in `spool` or the system's temporary folder; `write(file)` writes it. Raises OSError."""
    with tempfile.TemporaryFile(dir=spool) as file:
        write(file)
        file.flush()
        return Table(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), None)


def columns_of(batch: pa.RecordBatch) -> dict[str, np.ndarray]:
    """Views of a batch's buffers, by column; those of variable length have "… offsets" and "… data". Raises ArrowInvalid, KeyError."""
    for name, expected in {"folder": _FOLDER, "name": _NAME, "label": pa.int32()}.items():
        if batch.schema.field(name).type != expected:
            raise pa.ArrowInvalid(f"column {name!r} is not {expected}")
    folder, name = batch.column("folder"), batch.column("name")
    count, folders = len(batch), len(folder.dictionary)
    views = {
        "folder": _view(folder.indices, np.int32, count),
        "folder offsets": _view(folder.dictionary, np.int64, folders + 1),
        "folder data": _view(folder.dictionary, np.uint8, None),
        "name offsets": _view(name, np.int64, count + 1),
        "name data": _view(name, np.uint8, None),
        "label": _view(batch.column("label"), np.int32, count),
    }
    if "container" in batch.schema.names:
        values = batch.column("container")
        if values.type != _FOLDER or not {"offset", "length"} <= set(batch.schema.names):
            raise pa.ArrowInvalid("its containers are incomplete")
        views["container"] = _view(values.indices, np.int32, count)
        views["container offsets"] = _view(values.dictionary, np.int64, len(values.dictionary) + 1)
        views["container data"] = _view(values.dictionary, np.uint8, None)
    for column, dtype in (OPTIONAL | FACT_COLUMNS | SPAN_COLUMNS).items():
        if column in batch.schema.names and column not in views:
            values = batch.column(column)
            if values.type != (KIND_TYPE if column == "kind" else pa.from_numpy_dtype(dtype)):
                raise pa.ArrowInvalid(f"column {column!r} is {values.type}")
            views[column] = _view(values.indices if column == "kind" else values, dtype, count)
    if any(column.null_count for column in batch.columns):
        raise pa.ArrowInvalid("it has nulls")
    for of in ("folder", "name"):
        views[f"{of} data"] = views[f"{of} data"][: int(views[f"{of} offsets"][-1])]
    return views


def _texts(columns: dict[str, np.ndarray], name: str) -> Iterator[memoryview]:
    """The values of a column's dictionary, by id."""
    data = columns[f"{name} data"].data
    return (data[start:end] for start, end in pairwise(columns[f"{name} offsets"].tolist()))


def checksum(info: TableInfo, columns: dict[str, np.ndarray]) -> int:
    """CRC-32 of everything that a table holds."""
    value = zlib.crc32(json.dumps(info.to_json()).encode())
    for column, values in columns.items():
        value = zlib.crc32(values.data.cast("B") if values.size else b"", zlib.crc32(column.encode(), value))
    return value


def _view(column: pa.Array, dtype: type[np.generic], count: int | None) -> np.ndarray:
    """A read-only array over the first `count` values of a column (Arrow pads them), or, with None, over a large_binary's bytes."""
    if column.offset:
        raise pa.ArrowInvalid("a column that begins within its buffer")
    buffer = column.buffers()[2 if count is None else 1]
    if buffer is None or not buffer.size:
        return np.zeros(count or 0, dtype)
    return np.frombuffer(buffer, dtype, -1 if count is None else count)
