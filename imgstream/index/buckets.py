"""scan_bucket: lists the images below a prefix of a bucket as a table, with the size and version of each, in bounded memory."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import groupby, islice, takewhile
from pathlib import Path

import numpy as np

from imgstream.errors import DatasetError, NoImagesError
from imgstream.files.objects import Listed, list_objects
from imgstream.index.changes import EXAMPLES, Changes
from imgstream.index.folder.scan import compile_pattern, name_classes, place_for
from imgstream.index.folder.sorted_names import SortedNames, Spool
from imgstream.index.folder.walk import PARTS
from imgstream.index.image_index import ImageIndex
from imgstream.index.names import IMAGE_EXTENSIONS, one_line, shown
from imgstream.index.table.columns import Names, spool_file
from imgstream.index.table.file_facts import FileFacts
from imgstream.index.table.table import FACT_COLUMNS, Table, TableInfo
from imgstream.index.table.table import PARTS as PART_NUMBERS
from imgstream.index.table.table_writer import CHUNK_ROWS, TableWriter

_FOLDER, _NAME = b"\2", b"\1"
"""What stands before a folder and a name where paths are sorted as bytes: a folder's images before its folders, both before all else. No
key that obstore reads has control characters.
"""
_EXTENSIONS_KEPT = 1000
_ARRAYS = {".npy", ".npz"}


def scan_bucket(
    prefix: str,
    label_pattern: str | None = None,
    *,
    index: str | os.PathLike[str] | None = None,
    progress: Callable[[int], None] | None = None,
) -> ImageIndex:
    """List the images below `prefix`, such as s3://photos/2024, in the order and with the classes that scan_folder gives a folder of the
    same names. A key that ends in "/" is no image.

    The table is kept in the user's cache folder. It holds the size and version (last change and ETag) of each object, so that nothing is
    asked for again of an object whose pixels are in the pixel cache.

    Args:
        prefix: The address.
        label_pattern: See scan_folder.
        index: "auto" (a table in the user's cache folder) or the file of a table: `changes` of the result says how the earlier listing
            differs. The bucket is listed in any case.
        progress: Called now and then with the number of images found so far.

    Returns:
        The index of the images.

    Raises:
        NoImagesError: There is no image.
        DatasetError: The bucket cannot be listed; label_pattern is wrong; the extra [cloud] is missing.
        OutputError: There is no room for the table anywhere, or `index` cannot be written.
    """
    root = prefix.rstrip("/")
    pattern = None if label_pattern is None else compile_pattern(label_pattern)
    listing = place_for(os.fsencode(root), label_pattern)
    place = listing if index is None or index == "auto" else Path(index)
    old = None
    if index is not None and place is not None:
        with contextlib.suppress(DatasetError):
            old = Table.open(place)
            old = old if old.info.root == root and "size" in old.columns else None
    old_facts = None if old is None else FileFacts.of(old)
    spool = None if listing is None else listing.parent
    with TableWriter(spool, ["part", *FACT_COLUMNS]) as writer, spool_file(spool) as names:
        found = _Objects(root, SortedNames(Spool(names, spool)), progress or (lambda count: None))
        comparison = None if old is None else _Comparison(old)
        info = _write_rows(found, writer, pattern, comparison)
        table = writer.finish(info, place)
        if old_facts is not None and comparison is not None and (new_facts := FileFacts.of(table)) is not None:
            old_facts.carry(new_facts, comparison.kept)
    return ImageIndex(table, root=root, changes=None if comparison is None else comparison.changes())


class _Objects:
    """The images below a prefix: listed at once, and iterated in the order of rows."""

    def __init__(self, root: str, names: SortedNames, progress: Callable[[int], None]) -> None:
        self.root, self._names = root, names
        self.others: Counter[str] = Counter()
        start = len(root.partition("://")[2].partition("/")[2])
        start += start > 0
        self._folders: tuple[set[bytes], set[bytes]] = set(), set()
        for page in list_objects(root):
            kept = []
            for listed in page:
                path = os.fsencode(listed.key[start:])
                *folders, name = path.split(b"/")
                seen = list(takewhile(lambda part: not part.startswith(b".") and part != b"__MACOSX", folders))
                for level, folder in zip(self._folders, seen, strict=False):
                    level.add(folder)
                if len(seen) < len(folders) or name.startswith(b"."):
                    continue
                dot = name.rfind(b".")
                extension = shown(name[dot:].lower()) if dot > 0 else ""
                if extension in IMAGE_EXTENSIONS:
                    kept.append(_sortable(folders, name, listed))
                else:
                    self.others[extension if extension in self.others or len(self.others) < _EXTENSIONS_KEPT else "(other)"] += 1
            names.extend(kept)
            progress(len(names))
        top = self._folders[0]
        self.is_split = len(top) > 0 and all(name.lower() in PARTS for name in top)
        """Whether all folders below the prefix are called train, val, …"""

    @property
    def classes(self) -> set[bytes]:
        """Names of the folders that are classes, also of those without an image."""
        return self._folders[1 if self.is_split else 0]

    def __iter__(self) -> Iterator[tuple[bytes, bytes, int, int]]:
        """(folder with its "/", name, size, modified)."""
        before = None
        for entry in self._names:
            path, _, described = entry.rpartition(_NAME)
            if path == before:  # "a.jpg" and "a.jpg/", which a listing gives as one
                continue
            before = path
            folder, _, name = path.partition(_NAME)
            size, modified = described.split(b" ")
            yield folder[1:].replace(_FOLDER, b"/") + (b"/" if folder else b""), name, int(size), int(modified)

    def nothing_found(self) -> str:
        """A message for a prefix without images."""
        found = [f"{count:,} {one_line(extension) or 'without extension'}" for extension, count in self.others.most_common(5)]
        if not found:
            return f"No images under {one_line(self.root)}: there is no object whose key begins so. Check the address"
        advice = ""
        if set(self.others) & _ARRAYS:
            advice = ". Arrays are read from a disk: copy them"
        return f"No images under {one_line(self.root)}. Looked for {' '.join(IMAGE_EXTENSIONS)}; found {', '.join(found)}{advice}"


def _sortable(folders: list[bytes], name: bytes, listed: Listed) -> bytes:
    """An entry of SortedNames: bytes in the order of rows."""
    parts = b"".join(_FOLDER + folder for folder in folders)
    return b"%s%s%s%s%d %d" % (parts, _NAME, name, _NAME, listed.size, listed.modified)


def _write_rows(found: _Objects, writer: TableWriter, pattern: re.Pattern[str] | None, comparison: _Comparison | None) -> TableInfo:
    """Write a row for every image; labels are numbered as their classes are found, and renumbered at the end."""
    classes = {} if pattern is not None else {name: number for number, name in enumerate(sorted(found.classes))}
    depth = 1 if found.is_split else 0
    for folder, rows in groupby(found, lambda row: row[0]):
        folder_id, above = writer.add_folder(folder), folder.split(b"/")[:-1]
        part = PART_NUMBERS.index(PARTS[above[0].lower()]) if found.is_split and above else 0
        of_folder = classes[above[depth]] if pattern is None and len(above) > depth else -1
        while chunk := list(islice(rows, CHUNK_ROWS)):
            if comparison is not None:
                comparison.add(chunk, len(writer))
            labels = [of_folder] * len(chunk)
            if pattern is not None:
                matches = (pattern.search(os.fsdecode(folder + name)) for _, name, _, _ in chunk)
                named = [os.fsencode(match["label"] or "") if match else b"" for match in matches]
                labels = [classes.setdefault(label, len(classes)) if label else -1 for label in named]
            columns = {column: np.zeros(len(chunk), dtype) for column, dtype in FACT_COLUMNS.items()}
            columns["size"], columns["mtime"] = (np.array([row[at] for row in chunk], np.int64) for at in (2, 3))
            columns["part"] = np.full(len(chunk), part, np.uint8)
            writer.add_rows(Names.of([row[1] for row in chunk]), np.full(len(chunk), folder_id), np.array(labels), **columns)
    if not len(writer):
        raise NoImagesError(found.nothing_found())
    class_names, order = name_classes(classes)
    writer.renumber_labels(order)
    return TableInfo(root=found.root, class_names=class_names, skipped_extensions=dict(found.others.most_common()))


class _Comparison:
    """Compares the rows of a listing, as they come, with those of the earlier one: both are in the same order."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._at = 0
        self._changes = Changes()
        self.kept: list[tuple[int, int, int]] = []
        """See TableComparison.kept; without objects that have changed."""

    def add(self, rows: list[tuple[bytes, bytes, int, int]], first: int) -> None:
        """Compare the rows from number `first` on."""
        columns = self._table.columns
        for number, (folder, name, size, modified) in enumerate(rows, first):
            path, place = folder + name, _place(folder + name)
            while self._at < len(self._table) and (before := self._table.relative(self._at)) != path and _place(before) < place:
                self._note("removed", before)
                self._at += 1
            if self._at == len(self._table) or before != path:
                self._note("added", path)
                continue
            if (columns["size"].item(self._at), columns["mtime"].item(self._at)) != (size, modified):
                self._note("changed", path)
            elif self.kept and (last := self.kept[-1])[0] + last[2] == self._at and last[1] + last[2] == number:
                self.kept[-1] = (last[0], last[1], last[2] + 1)
            else:
                self.kept.append((self._at, number, 1))
            self._at += 1

    def changes(self) -> Changes:
        """The result, after all rows: what is left of the earlier listing is gone."""
        for position in range(self._at, len(self._table)):
            self._note("removed", self._table.relative(position))
        return self._changes

    def _note(self, what: str, path: bytes) -> None:
        count, examples = getattr(self._changes, what), getattr(self._changes, f"{what}_examples")
        if len(examples) < EXAMPLES:
            examples = (*examples, os.fsdecode(path))
        self._changes = dataclasses.replace(self._changes, **{what: count + 1, f"{what}_examples": examples})


def _place(path: bytes) -> tuple[list[bytes], bytes]:
    """A sort key for the order of rows."""
    folder, _, name = path.rpartition(b"/")
    return folder.split(b"/") if folder else [], name
