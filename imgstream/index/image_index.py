"""ImageIndex: which images, in which order, with which labels. No pixels, and no Python object a file."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import operator
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imgstream.errors import DatasetError, NoImagesError
from imgstream.index.split import in_validation
from imgstream.index.table import CHUNK_ROWS, Table, TableInfo, TableWriter, table_from_bytes, write_table


class ImageIndex:
    """A selection of rows of one mapped table. Immutable, and safe to share between threads.

    Made by imgstream.scan, from_paths, load, take and split. A pickle holds the table's path and the selected rows (a table without a
    path, as from_paths makes: its contents), so workers map the same file. Memory: nothing a row for a whole table, 8 bytes a row for
    a selection.
    """

    def __init__(self, table: Table, positions: np.ndarray | None = None, root: str | None = None) -> None:
        """`positions`: unsigned (n,) positions in the table, None for all of it; `root`: another spelling of the table's root."""
        self._table = table
        self._positions = positions
        self._at = None if positions is None else positions.data  # a memoryview: it gives Python ints
        self._size = len(table) if positions is None else len(positions)
        self.root = table.info.root if root is None else root
        """The folder as the user gave it; "" when there is none."""
        encoded = os.fsencode(self.root)
        self._prefix = os.path.join(encoded, b"") if encoded else b""

    @classmethod
    def from_paths(cls, paths: Iterable[bytes | str | os.PathLike[str]], root: str | os.PathLike[str] | None = None) -> ImageIndex:
        """The files at `paths`, in the order given, without labels; whatever they are: a missing one is found to be bad when it is read.

        With `root`, paths are relative to it. Raises NoImagesError when there are none, DatasetError for an absolute path under a root.
        """
        with TableWriter(None) as writer:
            folders: dict[bytes, int] = {}
            for path in paths:
                encoded = os.fsencode(path)
                if root is not None and os.path.isabs(encoded):
                    raise DatasetError(f"{path!r} is absolute; with a root (here {os.fspath(root)!r}) paths are relative to it")
                cut = encoded.rfind(b"/") + 1
                folder = encoded[:cut]
                if folder not in folders:
                    folders[folder] = writer.add_folder(folder)
                writer.add_rows([encoded[cut:]], [folders[folder]], [-1])
            if not len(writer):
                raise NoImagesError("No images: the list of files is empty")
            return cls(writer.finish(TableInfo(root="" if root is None else os.fspath(root), class_names=[]), None))

    @classmethod
    def load(cls, file: str | os.PathLike[str]) -> ImageIndex:
        """The index that save wrote. Raises DatasetError when it is missing, damaged, or of another format."""
        return cls(Table.open(file, check=True))

    def save(self, file: str | os.PathLike[str]) -> None:
        """Write the rows of this index, with their row numbers, to `file`: whole or absent. Raises OutputError."""
        table = self._table
        if self._positions is None:
            write_table(table.batch, dataclasses.replace(table.info, root=self.root), Path(file))
            return
        with TableWriter(None) as writer:
            for folder in table.folders():
                writer.add_folder(folder)
            for start in range(0, self._size, CHUNK_ROWS):
                at = self._positions[start : start + CHUNK_ROWS]
                names = [table.name(position) for position in at.tolist()]
                writer.add_rows(names, table.folder_ids[at].tolist(), table.labels[at].tolist(), table.rows[at].tolist())
            writer.finish(dataclasses.replace(table.info, root=self.root, selection=True), Path(file))

    def __len__(self) -> int:
        return self._size

    def __repr__(self) -> str:
        return f"<ImageIndex: {self._size:,} images under {self.root!r}, {len(self.class_names)} classes>"

    def __reduce__(self) -> tuple[Any, ...]:
        table = self._table
        source = table.path if table.path is not None else bytes(table.mapped)
        return _reopen, (source, table.info.fingerprint, self._positions, self.root)

    @property
    def class_names(self) -> list[str]:
        r"""Names of the classes in code-point order; labels are positions in it. Also those without an image here.

        Bytes that are no UTF-8 show as \xNN, so that a name can be printed, stored and compared anywhere.
        """
        return list(self._table.info.class_names)

    @functools.cached_property
    def labels(self) -> np.ndarray:
        """int32 (n,), read-only: position in class_names, -1 = none. A view of the file when this is a whole table."""
        return _read_only(self._select(self._table.labels))

    @functools.cached_property
    def rows(self) -> np.ndarray:
        """uint32 (n,), read-only: row numbers in the table that scan made. A view of the file when this is a whole table."""
        if self._positions is not None and not self._table.info.selection:
            return _read_only(self._positions)
        return _read_only(self._select(self._table.rows))

    def row(self, i: int) -> int:
        """Row number of the i-th image: it stays the same in every selection, and keys the image's randomness."""
        return int(self._table.rows[self._position(i)])

    def path(self, i: int) -> str:
        """Path of the i-th image, root included, as os.fsdecode has it: bytes that are no UTF-8 are surrogates, and open() takes it."""
        return os.fsdecode(self._prefix + self._table.relative(self._position(i)))

    def path_bytes(self, i: int) -> bytes:
        """Path of the i-th image, root included: the exact bytes."""
        return self._prefix + self._table.relative(self._position(i))

    def relative_bytes(self, i: int) -> bytes:
        """Path of the i-th image relative to the root, "/"-separated: the exact bytes."""
        return self._table.relative(self._position(i))

    @property
    def fingerprint(self) -> str:
        """Hex digest of the relative paths, labels, class names and row numbers: equal for equal contents in equal order.

        A selection that is saved and loaded is a table of its own, with a fingerprint of its own.
        """
        if self._positions is None:
            return self._table.info.fingerprint
        digest = hashlib.blake2b(self._table.info.fingerprint.encode(), digest_size=16)
        digest.update(self.rows.data)
        return digest.hexdigest()

    @property
    def skipped_extensions(self) -> dict[str, int]:
        """Files that scan left out for their name: lower-case extension with its dot ("" = none) → how many, most frequent first."""
        return dict(self._table.info.skipped_extensions)

    @property
    def unreadable_folders(self) -> list[str]:
        """The first few folders that scan could not list, each as "path: why"."""
        return list(self._table.info.unreadable_folders)

    @property
    def unreadable_count(self) -> int:
        """How many folders scan could not list."""
        return self._table.info.unreadable_count

    @property
    def explicit_split(self) -> dict[str, np.ndarray] | None:
        """Positions, for take(), of the images in "train", "val" and "test", without the empty ones; None when the folders are no split."""
        if self._table.info.parts is None:
            return None
        found = {}
        for part, ranges in self._table.info.parts.items():
            inside = np.zeros(self._size, bool)
            for first, past in ranges:
                inside |= (self.rows >= first) & (self.rows < past)
            if inside.any():
                found[part] = np.flatnonzero(inside).astype(np.uint32)
        return found

    def take(self, positions: Sequence[int] | np.ndarray) -> ImageIndex:
        """The images at `positions` (0..n-1) of this index, in that order; row numbers stay. Raises IndexError, TypeError."""
        wanted = np.asarray(positions)
        if wanted.size == 0:
            wanted = wanted.astype(np.uint32)
        if wanted.dtype.kind not in "iu" or wanted.ndim != 1:
            raise TypeError(f"positions must be a list or 1-D array of whole numbers; got {wanted.dtype} {wanted.shape}")
        if wanted.size and (int(wanted.min()) < 0 or int(wanted.max()) >= self._size):
            raise IndexError(f"positions must lie in 0..{self._size - 1}; got {wanted.min()}..{wanted.max()}")
        chosen = wanted.astype(np.uint32) if self._positions is None else self._positions[wanted]
        return ImageIndex(self._table, chosen, self.root)

    def split(self, val: float = 0.2, seed: int = 0) -> tuple[ImageIndex, ImageIndex]:
        """(train, validation), each in the order of this index. A file's side depends on its relative path, `val` and `seed` alone.

        So shares are approximate, and a file that is added later moves no other. Of each labelled class at least one file is for training,
        and if it has two, at least one for validation: where the hashes leave a side empty, the nearest one is moved there.

        Folders named train and val (or valid, validation) that both hold images are the split themselves: `val` and `seed` are not used.
        With train alone, train is split; test is always left out.

        Raises DatasetError when `val` is not between 0 and 1, or when the folders are a split without train.
        """
        if not 0 < val < 1:
            raise DatasetError(f"val is the share of the images to validate on, between 0 and 1 such as 0.2; got {val!r}")
        seed = operator.index(seed)
        parts = self.explicit_split
        if parts:
            if "train" not in parts:
                held = " and ".join(parts)
                raise DatasetError(f"images in {self.root!r} are in {held} only: none is for training. Add a folder named train")
            train = self.take(parts["train"])
            return (train, self.take(parts["val"])) if "val" in parts else train._split_by_hash(val, seed)
        return self._split_by_hash(val, seed)

    def _split_by_hash(self, val: float, seed: int) -> tuple[ImageIndex, ImageIndex]:
        chosen = in_validation(self._table, self._positions, val, seed)
        return self.take(np.flatnonzero(~chosen)), self.take(np.flatnonzero(chosen))

    def _select(self, column: np.ndarray) -> np.ndarray:
        return column if self._positions is None else column[self._positions]

    def _position(self, i: int) -> int:
        if not 0 <= i < self._size:
            raise IndexError(f"image {i} of {self._size}")
        return i if self._at is None else self._at[i]


def _reopen(source: str | bytes, fingerprint: str, positions: np.ndarray | None, root: str) -> ImageIndex:
    """The index that was pickled. Raises DatasetError when its table is gone, or another one has taken its place."""
    table = table_from_bytes(source) if isinstance(source, bytes) else Table.open(source)
    if table.info.fingerprint != fingerprint:
        raise DatasetError(f"the table of {root!r} was replaced by a newer scan, which found other files; scan the folder again")
    return ImageIndex(table, positions, root)


def _read_only(values: np.ndarray) -> np.ndarray:
    values.flags.writeable = False
    return values
