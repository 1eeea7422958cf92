"""ImageIndex: which images there are, in which order and with which labels; no pixels, and no Python object for each file."""

from __future__ import annotations

import dataclasses
import numbers
import operator
import os
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imgstream.display import shown, table
from imgstream.errors import DatasetError, NoImagesError
from imgstream.index.changes import Changes
from imgstream.index.selection import RowSelection, chunks_of
from imgstream.index.split.groups import Groups
from imgstream.index.split.path_hash import keys_of, path_hashes
from imgstream.index.split.validation import folds, in_validation
from imgstream.index.table.columns import Names
from imgstream.index.table.file_facts import CHANGED
from imgstream.index.table.positions import gather
from imgstream.index.table.table import FACT_COLUMNS, OPTIONAL, PARTS, SPAN_COLUMNS, Table, TableInfo, unnamed_table
from imgstream.index.table.table_writer import CHUNK_ROWS, TableWriter, store_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_SHOWN = 20


class ImageIndex(RowSelection):
    """Paths and labels of images: a selection of rows of one memory-mapped table. Immutable, and safe to share between threads.

    ```python
    index = imgstream.scan("photos/")
    train, val = index.split(val=0.2, seed=7)
    index.path(0), index.labels[0], index.class_names
    ```

    Made by imgstream.scan, read_manifest, from_paths, load, take and split. Labels are int32 positions in class_names, -1 = no label; where
    an image may have several (`is_multi_label`), positions in `label_sets`. A pickle holds the table's path and the selected rows, so that
    worker processes map the same file; for a table without a path, as from_paths makes, it holds the contents. Memory does not grow with
    the rows: the positions of a large selection, 4 bytes a row, are in a temporary file.
    """

    def __init__(
        self,
        table: Table,
        positions: np.ndarray | None = None,
        root: str | None = None,
        *,
        classes: tuple[str, ...] | None = None,
        changes: Changes | None = None,
    ) -> None:
        """The arguments of RowSelection, and `changes`, see below."""
        super().__init__(table, positions, root, classes=classes)
        self.changes = changes
        """How a scan with `index` differs from the earlier one; None for other indexes."""

    @classmethod
    def from_paths(cls, paths: Iterable[bytes | str | os.PathLike[str]], root: str | os.PathLike[str] | None = None) -> ImageIndex:
        """An index of the files at `paths`, in the order given, without labels. The files are not looked at: a missing one is found to be
        bad when it is read.

        Args:
            paths: Paths of files.
            root: None, or the folder that the paths are relative to.

        Raises:
            NoImagesError: There are no paths.
            DatasetError: With `root`, a path is absolute.
        """
        with TableWriter(None) as writer:
            folders: dict[bytes, int] = {}
            rows = iter(paths)
            while chunk := list(islice(rows, CHUNK_ROWS)):
                names, ids = [], []
                for path in chunk:
                    encoded = os.fsencode(path)
                    if root is not None and os.path.isabs(encoded):
                        raise DatasetError(f"{path!r} is absolute; with a root (here {os.fspath(root)!r}) paths are relative to it")
                    cut = encoded.rfind(b"/") + 1
                    folder = encoded[:cut]
                    if folder not in folders:
                        folders[folder] = writer.add_folder(folder)
                    names.append(encoded[cut:])
                    ids.append(folders[folder])
                writer.add_rows(Names.of(names), np.array(ids), np.full(len(ids), -1))
            if not len(writer):
                raise NoImagesError("No images: the list of files is empty")
            return cls(writer.finish(TableInfo(root="" if root is None else os.fspath(root), class_names=[]), None))

    @classmethod
    def load(cls, file: str | os.PathLike[str]) -> ImageIndex:
        """The index that `save` wrote to `file`.

        Raises:
            DatasetError: The file is missing, damaged, or of another format.
        """
        return cls(Table.open(file))

    def save(self, file: str | os.PathLike[str]) -> None:
        """Write the rows of this index, with their row numbers, to `file`, whole or not at all.

        Raises:
            OutputError: The file cannot be written.
        """
        table, info = self._table, self._info()
        known = self._is_known()
        is_selection = self._positions is not None or self._classes is not None
        if not is_selection and not known:
            store_table(table.batch, info, Path(file))
            return
        self._copy(info, Path(file), known, has_rows=is_selection or "row" in table.columns)

    def _info(self, **changes: Any) -> TableInfo:
        """What a table of this index says about itself."""
        return dataclasses.replace(
            self._table.info, **{"root": self.root, "class_names": self.class_names, "label_sets": self.label_sets, **changes}
        )

    def _copy(self, info: TableInfo, file: Path | None, known: bool, *, has_rows: bool, labels: np.ndarray | None = None) -> Table:
        """Write the rows of this index as a table, with what is `known` about files, and other `labels`, int32 (n,), if given."""
        table = self._table
        kept = [column for column in OPTIONAL | SPAN_COLUMNS if column in table.columns and column != "row"]
        with TableWriter(None, [*(["row"] if has_rows else []), *kept, *(FACT_COLUMNS if known else [])]) as writer:
            for folder in table.folders():
                writer.add_folder(folder)
            for container in table.containers():
                writer.add_container(container)
            for start in range(0, self._size, CHUNK_ROWS):
                at = np.arange(start, min(start + CHUNK_ROWS, self._size))
                positions, facts = self.positions_at(at), self.facts_at(at)
                columns = {column: table.columns[column][positions] for column in kept}
                columns |= {column: facts[column] for column in FACT_COLUMNS}
                names = Names.of([table.name(position) for position in positions.tolist()])
                of_rows = self.labels_at(at) if labels is None else labels[at]
                writer.add_rows(names, table.folder_ids[positions], of_rows, row=self.rows_at(at), **columns)
            return writer.finish(info, file)

    def __repr__(self) -> str:
        return f"<ImageIndex: {self._size:,} images under {self.root!r}, {len(self.class_names)} classes>"

    def _repr_html_(self) -> str:
        counts = sorted(zip(self.class_counts().tolist(), self.class_names, strict=True), reverse=True)
        facts = [(name, f"{count:,}") for count, name in counts[:_MOST_SHOWN]]
        if len(counts) > _MOST_SHOWN:
            facts.append((f"and {len(counts) - _MOST_SHOWN:,} more classes", f"{sum(count for count, _ in counts[_MOST_SHOWN:]):,}"))
        return table(f"{self._size:,} images under {self.root}", facts)

    def show(self, n: int = 12, *, seed: int = 0) -> Figure:
        """Some of the images under their labels, as a Matplotlib figure that notebooks show.

        Args:
            n: Number of images.
            seed: Which images.

        Raises:
            NoImagesError: None of them can be read.
        """
        return shown(self, "index", n=n, seed=seed)

    def __reduce__(self) -> tuple[Any, ...]:
        table = self._table
        source = table.path if table.path is not None else bytes(table.mapped)
        return _reopen, (source, table.info.fingerprint, self._positions, self.root, self._classes)

    def changed(self) -> list[str]:
        """Paths of files that had changed when they were read again, compared with when they were first opened."""
        return [self.path(i) for at in self.chunks() for i in at[self.facts_at(at)["state"] == CHANGED].tolist()]

    @property
    def skipped_extensions(self) -> dict[str, int]:
        """Number of files that scan left out, by lower-case extension with its dot ("" = none), most frequent first."""
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
    def in_containers(self) -> bool:
        """Whether the images lie inside other files, such as archives and shards."""
        return self._table.in_containers

    @property
    def explicit_split(self) -> dict[str, np.ndarray] | None:
        """Positions, for take(), of the images in "train", "val" and "test", without empty ones; None when the source gives no split."""
        parts = self._table.columns.get("part")
        if parts is None:
            return None
        found = {
            name: gather(at[parts[self.positions_at(at)] == number] for at in self.chunks()) for number, name in enumerate(PARTS) if number
        }
        return {name: positions for name, positions in found.items() if len(positions)}

    def take(self, positions: Sequence[int] | np.ndarray) -> ImageIndex:
        """The images at `positions` (0..n-1) of this index, in that order; row numbers stay.

        Raises:
            IndexError: A position is out of range.
            TypeError: The positions are no 1-D array or list of whole numbers.
        """
        wanted = np.asarray(positions)
        if wanted.size == 0:
            wanted = wanted.astype(np.uint32)
        if wanted.dtype.kind not in "iu" or wanted.ndim != 1:
            raise TypeError(f"positions must be a list or 1-D array of whole numbers; got {wanted.dtype} {wanted.shape}")
        if wanted.size and (int(wanted.min()) < 0 or int(wanted.max()) >= self._size):
            raise IndexError(f"positions must lie in 0..{self._size - 1}; got {wanted.min()}..{wanted.max()}")
        if self._positions is None and wanted.dtype == np.uint32 and not wanted.flags.writeable:
            return self._selected(wanted)
        return self._selected(gather(self.positions_at(wanted[at]) for at in chunks_of(len(wanted))))

    def filter(self, keep: np.ndarray | Callable[[str, int], bool]) -> ImageIndex:
        """The images that `keep` selects: bool (n,), or a function (path relative to the root, label) -> bool. Row numbers stay.

        Raises:
            TypeError: The array has another dtype or length.
        """
        if callable(keep):
            decide = keep
            return self._where(
                lambda at: np.array(
                    [
                        decide(os.fsdecode(self.relative_bytes(i)), label)
                        for i, label in zip(at.tolist(), self.labels_at(at).tolist(), strict=True)
                    ],
                    bool,
                )
            )
        mask = np.asarray(keep)
        if mask.dtype != bool or mask.shape != (self._size,):
            raise TypeError(f"keep must be a function or bool ({self._size},); got {mask.dtype} {mask.shape}")
        return self._where(lambda at: mask[at])

    def without(self, paths: Iterable[bytes | str | os.PathLike[str]]) -> ImageIndex:
        """All images but those at `paths`, which are relative to the root; row numbers stay."""
        found = self._finder(paths)
        return self._where(lambda at: ~found(at))

    def positions_of(self, paths: Iterable[bytes | str | os.PathLike[str]]) -> np.ndarray:
        """Positions of the images at `paths`, which are relative to the root: int64 (m,), ascending; paths of no image are left out."""
        found = self._finder(paths)
        return np.concatenate([at[found(at)] for at in self.chunks()] or [np.zeros(0, np.int64)])

    def _finder(self, paths: Iterable[bytes | str | os.PathLike[str]]) -> Callable[[np.ndarray], np.ndarray]:
        """A function of positions (m,) that says which of them have one of the `paths`: bool (m,)."""
        wanted = {os.fsencode(path) for path in paths}
        keys = np.sort(keys_of(list(wanted)))

        def found(at: np.ndarray) -> np.ndarray:
            there = np.isin(path_hashes(self._table, self.positions_at(at), 0), keys)
            for i in np.flatnonzero(there).tolist():
                there[i] = self.relative_bytes(int(at[i])) in wanted
            return there

        return found

    def relabelled(self, at: np.ndarray, labels: np.ndarray, label_sets: list[list[int]] | None = None) -> ImageIndex:
        """This index with the labels int32 (m,) for the images at `at`, whole numbers (m,) in 0..n-1; row numbers stay. `label_sets`: those
        that there are now, None for the same ones.

        Raises:
            IndexError: A position is out of range.
            DatasetError: A label is no position in class_names or label_sets, and not -1.
        """
        count = len(label_sets) if label_sets is not None else len(self.label_names)
        if len(labels) and not -1 <= int(np.min(labels)) <= int(np.max(labels)) < count:
            raise DatasetError(f"labels must lie in -1..{count - 1}; got {np.min(labels)}..{np.max(labels)}")
        changed = self.labels.copy()
        changed[at] = labels
        info = self._info() if label_sets is None else self._info(label_sets=label_sets)
        return ImageIndex(self._copy(info, None, self._is_known(), has_rows=True, labels=changed))

    def with_label_sets(self, labels: np.ndarray, class_names: list[str], label_sets: list[list[int]]) -> ImageIndex:
        """This index with `labels`, int32 (n,), that are positions in `label_sets`, sets of positions in `class_names`; -1 = no label. Row
        numbers stay.
        """
        info = self._info(class_names=class_names, label_sets=label_sets)
        has_rows = self._positions is not None or self._classes is not None or "row" in self._table.columns
        return ImageIndex(self._copy(info, None, self._is_known(), has_rows=has_rows, labels=labels))

    def _is_known(self) -> bool:
        """Whether anything is known about the files."""
        return any(self.facts_at(at)["state"].any() for at in self.chunks())

    def with_labels(self) -> ImageIndex:
        """The images that have a label; row numbers stay."""
        return self._where(lambda at: self.labels_at(at) >= 0)

    def with_classes(self, class_names: Iterable[str]) -> ImageIndex:
        """The images of these classes only, labelled by their position among them; row numbers stay.

        Raises:
            DatasetError: There is no such class.
        """
        wanted = {class_names} if isinstance(class_names, str) else set(class_names)
        if unknown := sorted(wanted - set(self.class_names)):
            raise DatasetError(
                f"there is no class {', '.join(map(repr, unknown))} in {self.root!r}; there are {', '.join(self.class_names[:20])}"
            )
        kept = tuple(name for name in self.class_names if name in wanted)
        numbers = [self.class_names.index(name) for name in kept]

        def has_one(at: np.ndarray) -> np.ndarray:
            found = np.zeros(len(at), bool)
            places, classes = self.classes_at(at)
            found[places[np.isin(classes, numbers)]] = True
            return found

        return ImageIndex(self._table, self._where(has_one)._positions, self.root, classes=kept)

    def shard(self, k: int, n: int) -> ImageIndex:
        """Images k, k + n, k + 2n, …: the n shards are disjoint and complete.

        Raises:
            DatasetError: Not 0 <= k < n.
        """
        if not 0 <= k < n:
            raise DatasetError(f"shard k of n needs 0 <= k < n; got k={k}, n={n}")
        return self._selected(gather(self.positions_at(at[(k - int(at[0])) % n :: n]) for at in self.chunks()))

    def split(self, val: float = 0.2, seed: int = 0, *, group: Groups | None = None) -> tuple[ImageIndex, ImageIndex]:
        """Split into (train, validation), each in the order of this index. A file's side depends only on its relative path, `val` and
        `seed`.

        Shares are therefore approximate, and a file that is added later moves no other. Each labelled class keeps at least one file for
        training and, if it has two, at least one for validation: where the hashes leave a side empty, the file with the nearest hash is
        moved there.

        Folders named train and val (or valid, validation), or a manifest's split column, give the split: where both sides hold images,
        `val`, `seed` and `group` are not used. If only train is given, train is split. test is always left out.

        Args:
            val: Share of the images for validation, between 0 and 1.
            seed: Any whole number.
            group: Images of one group stay on one side: the hash is then of the group's name; see imgstream.index.split.groups. Groups are
                moved whole, and a class whose images are all in one group has no validation file.

        Raises:
            DatasetError: `val` is not between 0 and 1, or the given split has no train.
        """
        if not isinstance(val, numbers.Real) or not 0 < val < 1:
            raise DatasetError(f"val is the share of the images to validate on, between 0 and 1 such as 0.2; got {val!r}")
        seed = operator.index(seed)
        index, given = self._for_training()
        return (index, given) if given is not None else index._sides(in_validation(index, val, seed, group))

    def folds(self, k: int, seed: int = 0, *, group: Groups | None = None) -> list[tuple[ImageIndex, ImageIndex]]:
        """Split for cross-validation: at most `k` pairs (train, validation), by the hash of `split`. Each image, or group, is for
        validation in one pair.

        Args:
            k: Number of folds, 2 to 100.
            seed: Any whole number.
            group: As in `split`.

        Raises:
            DatasetError: k is out of range, or the source gives a split without train. Of a given split only train is used.
        """
        if not 2 <= operator.index(k) <= 100:
            raise DatasetError(f"k-fold needs 2 to 100 folds; got {k}")
        index, _ = self._for_training()
        fold = folds(index, k, operator.index(seed), group)
        return [index._sides(fold == number) for number in range(k)]

    def _for_training(self) -> tuple[ImageIndex, ImageIndex | None]:
        """The images to train on and, where the source gives them, those to validate on."""
        parts = self.explicit_split
        if not parts:
            return self, None
        if "train" not in parts:
            held = " and ".join(parts)
            raise DatasetError(f"images in {self.root!r} are in {held} only: none is for training. Add a folder named train")
        return self.take(parts["train"]), self.take(parts["val"]) if "val" in parts else None

    def _sides(self, validation: np.ndarray) -> tuple[ImageIndex, ImageIndex]:
        return self._where(lambda at: ~validation[at]), self._where(lambda at: validation[at])

    def _where(self, keep: Callable[[np.ndarray], np.ndarray]) -> ImageIndex:
        return self._selected(gather(self.positions_at(at[keep(at)]) for at in self.chunks()))

    def _selected(self, positions: np.ndarray) -> ImageIndex:
        return ImageIndex(self._table, positions, self.root, classes=self._classes)


def _reopen(
    source: str | bytes, fingerprint: str, positions: np.ndarray | None, root: str, classes: tuple[str, ...] | None = None
) -> ImageIndex:
    """Unpickle an index. Raises DatasetError when its table is gone, or another one has taken its place."""
    table = unnamed_table(lambda file: file.write(source)) if isinstance(source, bytes) else Table.open(source, check=False)
    if table.info.fingerprint != fingerprint:
        raise DatasetError(f"the table of {root!r} was replaced by a newer scan, which found other files; scan the folder again")
    return ImageIndex(table, positions, root, classes=classes)
