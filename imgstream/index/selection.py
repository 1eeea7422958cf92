"""RowSelection: some rows of a memory-mapped table, in some order, with their labels. Splitting, grouping and comparing are functions of
it.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from imgstream.files.addresses import Address, is_address
from imgstream.files.spans import Container, Span
from imgstream.index.table.file_facts import FileFacts
from imgstream.index.table.table import FACT_COLUMNS, FACTS, Table

_SELECT_ROWS = 1 << 16  # rows that are looked at together

SEPARATOR = "|"
"""Between the names of an image's labels, where it has several."""


class RowSelection:
    """Some rows of one memory-mapped table. Immutable, and safe to share between threads. It makes no Python object for each row."""

    def __init__(
        self,
        table: Table,
        positions: np.ndarray | None = None,
        root: str | None = None,
        *,
        classes: tuple[str, ...] | None = None,
    ) -> None:
        """`positions`: uint32 (n,) positions in the table, None for all of it. `root`: another spelling of the table's root. `classes`: the
        classes that labels refer to, in their order, None for all of the table's.
        """
        self._table = table
        self._positions = positions
        self._at = None if positions is None else positions.data  # a memoryview: it gives Python ints
        self._size = len(table) if positions is None else len(positions)
        self._classes = classes
        self._relabel = None if classes is None or table.info.label_sets else _relabelling(table.info.class_names, classes)
        self.root = table.info.root if root is None else root
        """The folder as the user gave it; "" when there is none."""
        encoded = os.fsencode(self.root)
        self._prefix = os.path.join(encoded, b"") if encoded else b""

    def __len__(self) -> int:
        return self._size

    @property
    def class_names(self) -> list[str]:
        r"""Names of the classes in code-point order; labels are positions in it. Classes without an image here are included.

        Classes of a manifest that are all whole numbers come in numeric order. Bytes that are no UTF-8 show as \xNN, so that a name can be
        printed, stored and compared anywhere.
        """
        return list(self._table.info.class_names if self._classes is None else self._classes)

    @functools.cached_property
    def labels(self) -> np.ndarray:
        """int32 (n,), read-only: position in class_names, -1 = none. For a whole table it is a view of the file; see also labels_at."""
        return _read_only(self.labels_at(np.arange(self._size)) if self._positions is not None or self._classes else self._table.labels)

    @functools.cached_property
    def rows(self) -> np.ndarray:
        """uint32 (n,), read-only: row numbers in the table that scan made; rows_at gives some of them without memory for all."""
        return _read_only(self.rows_at(np.arange(self._size, dtype=np.uint32)))

    def class_counts(self) -> np.ndarray:
        """int64 (K,): the number of images of each class."""
        counts = np.zeros(len(self.class_names), np.int64)
        for at in self.chunks():
            counts += np.bincount(self.classes_at(at)[1], minlength=len(counts))
        return counts

    def unlabelled_count(self) -> int:
        """Number of images without a label."""
        return sum(int((self.labels_at(at) < 0).sum()) for at in self.chunks())

    def labels_at(self, at: np.ndarray) -> np.ndarray:
        """int32 (m,): labels of the images at `at`, whole numbers (m,) in 0..n-1."""
        labels = self._table.labels[self.positions_at(at)]
        return labels if self._relabel is None else self._relabel[labels]

    def classes_at(self, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The classes of the images at `at`, whole numbers (m,) in 0..n-1, as pairs: int64 (p,), places in `at`, ascending, and int32 (p,),
        positions in class_names. An image without a label has no pair, one of several labels has several.
        """
        labels = self.labels_at(at)
        if not self.is_multi_label:
            known = np.flatnonzero(labels >= 0)
            return known, labels[known]
        starts, members = self._members
        first = starts[np.maximum(labels, 0)]
        counts = np.where(labels >= 0, starts[labels + 1] - first, 0)
        of_image = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return np.repeat(np.arange(len(labels)), counts), members[np.repeat(first, counts) + of_image]

    def targets_at(self, at: np.ndarray) -> np.ndarray:
        """What a model is to give for the images at `at`, whole numbers (m,) in 0..n-1: their labels, int32 (m,); with several labels an
        image float32 (m, K), 1 for each of its classes and 0 for the others, or -1 throughout for an image without a label.
        """
        labels = self.labels_at(at)
        if not self.is_multi_label:
            return labels
        targets = np.zeros((len(labels), len(self.class_names)), np.float32)
        targets[self.classes_at(at)] = 1
        targets[labels < 0] = -1
        return targets

    @property
    def is_multi_label(self) -> bool:
        """Whether an image may have several labels: `labels` are then positions in `label_sets`."""
        return bool(self._table.info.label_sets)

    @property
    def label_sets(self) -> list[list[int]]:
        """With several labels an image: the classes that each label stands for, as positions in class_names; else []."""
        starts, members = self._members
        return [members[start:end].tolist() for start, end in pairwise(starts.tolist())] if self.is_multi_label else []

    @functools.cached_property
    def label_names(self) -> list[str]:
        """What each label is called: the name of its class or, with several labels an image, the names of its classes joined by "|"."""
        names = self.class_names
        return [SEPARATOR.join(names[member] for member in members) for members in self.label_sets] if self.is_multi_label else names

    @functools.cached_property
    def _members(self) -> tuple[np.ndarray, np.ndarray]:
        """Where the classes of each set begin, int64 (sets + 1,), and the classes of all sets, int32."""
        sets: list[list[int]] = self._table.info.label_sets
        if self._classes is not None:
            new = _relabelling(self._table.info.class_names, self._classes)
            sets = [[int(new[member]) for member in members if new[member] >= 0] for members in sets]
        starts = np.concatenate([[0], np.cumsum([len(members) for members in sets], dtype=np.int64)])
        return starts.astype(np.int64), np.array([member for members in sets for member in members], np.int32)

    def rows_at(self, at: np.ndarray) -> np.ndarray:
        """uint32 (m,): row numbers of the images at `at`, whole numbers (m,) in 0..n-1."""
        positions = self.positions_at(at)
        rows = self._table.columns.get("row")
        return positions.astype(np.uint32, copy=False) if rows is None else rows[positions]

    def weights_at(self, at: np.ndarray) -> np.ndarray | None:
        """float32 (m,): sample weights of the images at `at`, whole numbers (m,) in 0..n-1; None when the index has none."""
        weights = self._table.columns.get("weight")
        return None if weights is None else weights[self.positions_at(at)]

    def facts_at(self, at: np.ndarray) -> np.ndarray:
        """What is known about the files of the images at `at`, whole numbers (m,) in 0..n-1, from when they were last opened: a structured
        array (m,) with the fields size (bytes), mtime (nanoseconds since 1970), height and width (pixels, as stored), orientation (EXIF
        1..8), kind (a number, see KINDS) and state: 0 nothing is known, 1 known, 2 the file has changed since it was first opened.
        """
        positions, columns = self.positions_at(at), self._table.columns
        found = self.facts.at(positions) if self.facts is not None else np.zeros(len(at), FACTS)
        if "kind" in columns:
            unknown = found["state"] == 0
            found = found.copy()
            for column in FACT_COLUMNS:
                found[column][unknown] = columns[column][positions[unknown]]
            found["state"][unknown] = found["kind"][unknown] != 0
        return found

    @functools.cached_property
    def facts(self) -> FileFacts | None:
        """Where facts about the files are kept; None where they cannot be kept."""
        return FileFacts.of(self._table)

    def positions_at(self, at: np.ndarray) -> np.ndarray:
        """(m,): positions in the table of the images at `at`."""
        return at if self._positions is None else self._positions[at]

    @property
    def table(self) -> Table:
        """The table that the rows are in."""
        return self._table

    @property
    def has_weights(self) -> bool:
        """Whether images have sample weights."""
        return "weight" in self._table.columns

    def row(self, i: int) -> int:
        """Row number of the i-th image: it is the same in every selection, and keys the image's randomness."""
        position, rows = self._position(i), self._table.columns.get("row")
        return position if rows is None else int(rows[position])

    def path(self, i: int) -> str:
        """Path of the i-th image, root included, as os.fsdecode gives it: bytes that are no UTF-8 become surrogates, which open() takes."""
        return os.fsdecode(self.path_bytes(i))

    def path_bytes(self, i: int) -> bytes:
        """Path of the i-th image, root included: the exact bytes. Of an image inside another file, a Span, and of an object in a
        bucket, an Address, which readers take too.
        """
        position = self._position(i)
        relative = self._table.relative(position)
        if self._table.in_containers:
            number, offset, length = self._table.place(position)
            name, container = self._containers[number]
            within = relative if relative.startswith(name) else name + relative  # an image without a name is called by its container's
            return Span(self._prefix + within, container, offset, length)
        if relative.startswith(b"/"):  # absolute: a manifest's, outside the root
            return relative
        path = relative if is_address(relative) else self._prefix + relative
        return self._address(path, position) if is_address(path) else path

    def _address(self, path: bytes, position: int) -> Address:
        columns = self._table.columns
        if "size" not in columns or not columns["mtime"].item(position):
            return Address(path)
        return Address(path, columns["size"].item(position), columns["mtime"].item(position))

    @functools.cached_property
    def in_buckets(self) -> bool:
        """Whether images are objects behind addresses: some of them, or all."""
        return is_address(self.root) or any(is_address(folder) for folder in self._table.folders())

    @functools.cached_property
    def _containers(self) -> list[tuple[bytes, Container]]:
        """The containers of the table, by id: the name that paths have between the root and their own, and where the container is."""
        found = []
        for container in self._table.containers():
            name = container.path
            path = os.path.join(os.fsencode(self.root), name) if name else os.fsencode(self.root)
            path = Address(path, container.size, container.modified) if is_address(path) else path
            found.append((name + b"/" if name else b"", container._replace(path=path)))
        return found

    def relative_bytes(self, i: int) -> bytes:
        """Path of the i-th image relative to the root, "/"-separated: the exact bytes."""
        return self._table.relative(self._position(i))

    @property
    def fingerprint(self) -> str:
        """Hex digest of the relative paths, labels, class names and row numbers: equal for equal contents in equal order.

        A selection that is saved and loaded again is a table of its own, with another fingerprint.
        """
        if self._positions is None and self._classes is None:
            return self._table.info.fingerprint
        digest = hashlib.blake2b(f"{self._table.info.fingerprint}{self._classes or ''}".encode(), digest_size=16)
        for at in self.chunks():
            digest.update(self.rows_at(at).data)
        return digest.hexdigest()

    def chunks(self) -> Iterator[np.ndarray]:
        """The numbers 0..n-1, int64, some thousands at a time: what labels_at and the like take."""
        return chunks_of(self._size)

    def _position(self, i: int) -> int:
        if not 0 <= i < self._size:
            raise IndexError(f"image {i} of {self._size}")
        return i if self._at is None else self._at[i]


def chunks_of(count: int) -> Iterator[np.ndarray]:
    """The numbers 0..count-1, int64, some thousands at a time."""
    return (np.arange(start, min(start + _SELECT_ROWS, count)) for start in range(0, count, _SELECT_ROWS))


def _relabelling(all_names: list[str], chosen: tuple[str, ...]) -> np.ndarray:
    """int32 (all + 1,): the new label of each old one; the last entry is the new label of -1."""
    new = np.full(len(all_names) + 1, -1, np.int32)
    for label, name in enumerate(chosen):
        new[all_names.index(name)] = label
    return new


def _read_only(values: np.ndarray) -> np.ndarray:
    values.flags.writeable = False
    return values
