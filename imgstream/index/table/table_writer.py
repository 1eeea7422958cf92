"""Writes rows, in any number, as a table file in bounded memory."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import mmap
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from imgstream.errors import DatasetError, OutputError
from imgstream.files.atomic import atomic_file
from imgstream.files.spans import Container
from imgstream.index.table.columns import BytesColumn, Column, Names, spool_file, spool_refused
from imgstream.index.table.table import FACT_COLUMNS, KIND_TYPE, KINDS, OPTIONAL, SPAN_COLUMNS, Table, TableInfo, unnamed_table, write_table

CHUNK_ROWS = 1 << 14
"""Rows held as Python objects at any moment while a table is written."""

_MOST_ROWS = 1 << 32  # row numbers are uint32
_PENDING_FOLDERS = 1 << 12
_TYPES = OPTIONAL | FACT_COLUMNS | SPAN_COLUMNS


class TableWriter:
    """Collects rows in bounded memory and makes them a table.

    Columns go to unnamed temporary files in `spool` (None: the system's temporary folder), are mapped from there, and become one record
    batch: neither the rows nor the file are ever in memory as a whole, and a crash leaves nothing behind. Use it in a with statement: an
    OSError inside is raised as an OutputError. `columns`: those of OPTIONAL, FACT_COLUMNS and
    SPAN_COLUMNS that the table has.
    """

    def __init__(self, spool: Path | None, columns: Sequence[str] = ()) -> None:
        self._spool = spool
        self._files = contextlib.ExitStack()
        self._folders, self._names, self._containers = BytesColumn(self._open), BytesColumn(self._open), BytesColumn(self._open)
        self._columns = {name: Column(self._open) for name in ("folder", "label", *columns)}
        self._new_folders: list[bytes] = []
        self._folder_count = self._container_count = 0
        self._row_count = 0
        # Rows of one folder with one label come together, and are kept as runs until they are written.
        self._run_names: list[Names] = []
        self._runs: list[tuple[int, int, int, int]] = []  # rows, folder id, label, part
        self._pending_rows = 0

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._files.close()
        if isinstance(error, OSError):
            raise spool_refused(self._spool, error) from error

    def __len__(self) -> int:
        return self._row_count

    def add_folder(self, folder: bytes) -> int:
        """Add a folder (trailing "/", or empty); return its id, counting from 0."""
        self._new_folders.append(folder)
        self._folder_count += 1
        if len(self._new_folders) >= CHUNK_ROWS:
            self._flush_folders()
        return self._folder_count - 1

    def add_container(self, container: Container) -> int:
        """Add a file that images lie in, its path relative to the root; return its id, counting from 0."""
        self._containers.append(Names.of([container.encode()]))
        self._container_count += 1
        return self._container_count - 1

    def add_run(self, names: Names, folder_id: int, label: int, part: int = 0) -> None:
        """Add rows of one folder, at most CHUNK_ROWS."""
        rows = len(names.lengths)
        self._run_names.append(names)
        self._runs.append((rows, folder_id, label, part))
        self._pending_rows += rows
        self._grow(rows)
        if self._pending_rows >= CHUNK_ROWS or len(self._runs) >= _PENDING_FOLDERS:
            self._flush_runs()

    def add_rows(self, names: Names, folder_ids: np.ndarray, labels: np.ndarray, **columns: np.ndarray) -> None:
        """Add rows of any folders; `columns` are those given to the constructor. All of one length."""
        self._flush_runs()
        self._grow(len(names.lengths))
        self._names.append(names)
        for name, column in self._columns.items():
            values = {"folder": folder_ids, "label": labels, **columns}[name]
            column.append(np.ascontiguousarray(values, np.int32 if name in ("folder", "label") else _TYPES[name]).data)

    def renumber_labels(self, new: np.ndarray) -> None:
        """Replace every label by new[label]; int32 (classes + 1,), whose last entry is the new label of -1."""
        self._flush_runs()
        labels = np.frombuffer(self._columns["label"].map(mmap.ACCESS_WRITE), np.int32)
        for start in range(0, len(labels), CHUNK_ROWS):
            labels[start : start + CHUNK_ROWS] = new[labels[start : start + CHUNK_ROWS]]

    def finish(self, info: TableInfo, path: Path | None) -> Table:
        """The table, written whole or not at all to `path`; None for a file without a name. Raises OSError, OutputError."""
        self._flush_runs()
        self._flush_folders()
        count = len(self)
        arrays = {
            name: column.array(pa.int32() if name in ("folder", "label") else pa.from_numpy_dtype(_TYPES[name]), count)
            for name, column in self._columns.items()
        }
        if "part" in arrays and not np.any(arrays["part"]):
            del arrays["part"]  # no split is given
        folders, names = self._folders.array(self._folder_count), self._names.array(count)
        classes = [info.class_names, info.label_sets] if info.label_sets else info.class_names
        digest = hashlib.blake2b(json.dumps(classes).encode(), digest_size=16)
        for array in (folders, names, *(array for name, array in arrays.items() if name not in FACT_COLUMNS | SPAN_COLUMNS)):
            for buffer in array.buffers()[1:]:
                digest.update(buffer)
        folder = pa.DictionaryArray.from_arrays(arrays.pop("folder"), folders)
        if "container" in arrays:
            containers = self._containers.array(self._container_count)
            arrays["container"] = pa.DictionaryArray.from_arrays(arrays["container"], containers)
        if "kind" in arrays:
            arrays["kind"] = pa.DictionaryArray.from_arrays(arrays["kind"].view(pa.int8()), list(KINDS)).cast(KIND_TYPE)
        columns = {"folder": folder, "name": names, **arrays}
        return store_table(pa.record_batch(columns), dataclasses.replace(info, fingerprint=digest.hexdigest()), path, self._spool)

    def _open(self) -> BinaryIO:
        try:
            return self._files.enter_context(spool_file(self._spool))
        except OutputError:
            self._files.close()
            raise

    def _grow(self, rows: int) -> None:
        self._row_count += rows
        if self._row_count >= _MOST_ROWS:
            raise DatasetError(f"more than {_MOST_ROWS:,} images: a table holds no more. Split the folder, or the list, into several")

    def _flush_folders(self) -> None:
        if self._new_folders:
            self._folders.append(Names.of(self._new_folders))
            self._new_folders.clear()

    def _flush_runs(self) -> None:
        if not self._runs:
            return
        rows, folder_ids, labels, parts = np.array(self._runs).T
        self._names.append(
            Names(b"".join(names.data for names in self._run_names), np.concatenate([names.lengths for names in self._run_names]))
        )
        self._columns["folder"].append(np.repeat(folder_ids.astype(np.int32), rows).data)
        self._columns["label"].append(np.repeat(labels.astype(np.int32), rows).data)
        if "part" in self._columns:
            self._columns["part"].append(np.repeat(parts.astype(np.uint8), rows).data)
        for pending in (self._run_names, self._runs):
            pending.clear()
        self._pending_rows = 0


def store_table(batch: pa.RecordBatch, info: TableInfo, path: Path | None, spool: Path | None = None) -> Table:
    """Write the columns of `batch` as a table to `path`, whole or not at all, or (None) to an unnamed file in `spool`.

    Raises OSError, and OutputError when `path` cannot be written.
    """
    if path is not None:
        with atomic_file(path) as file:
            write_table(batch, info, file)
        table = Table.open(path, check=False)
        if table.info.fingerprint == info.fingerprint:
            return table
        # Another process has written its newer table here in the meantime: keep that, and use this one without a name.
    return unnamed_table(lambda file: write_table(batch, info, file), spool)
