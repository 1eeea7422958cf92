"""scan_folder: lists the images under a folder as a table, with one os.scandir per folder, no stat per file, and bounded memory."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from imgstream.errors import CacheWarning, DatasetError, NoImagesError, OutputError
from imgstream.files.addresses import absolute
from imgstream.files.locations import cache_folder
from imgstream.index.changes import Changes
from imgstream.index.folder.comparison import TableComparison
from imgstream.index.folder.listing import Listing, ListingWriter
from imgstream.index.folder.sorted_names import Spool
from imgstream.index.folder.walk import PARTS, Contents, Walk, unchanged
from imgstream.index.image_index import ImageIndex
from imgstream.index.names import IMAGE_EXTENSIONS, shown
from imgstream.index.table.columns import Names, spool_file
from imgstream.index.table.file_facts import FileFacts
from imgstream.index.table.table import PARTS as PART_NUMBERS
from imgstream.index.table.table import Table, TableInfo
from imgstream.index.table.table_writer import CHUNK_ROWS, TableWriter


def scan_folder(
    directory: str | bytes | os.PathLike[str],
    label_pattern: str | None = None,
    *,
    index: str | os.PathLike[str] | None = None,
    full: bool = False,
    extensions: Sequence[str] = IMAGE_EXTENSIONS,
    progress: Callable[[int], None] | None = None,
) -> ImageIndex:
    """List the images under `directory` in a fixed order: folders depth first in byte order, a folder's files before its folders.

    Every name that ends in one of IMAGE_EXTENSIONS and is no folder becomes a row. Its class is the first folder below `directory`; or
    below train, val, valid, validation and test (in any case) when all folders in `directory` have these names. A file outside of a class
    has label -1. Hidden files and folders and __MACOSX are left out. Links to folders are followed, but each real folder is visited once:
    at its own place if that is under `directory`, else at the first link to it.

    The table is kept in the user's cache folder. If that cannot be written, one warning says why and the table lives in an unnamed
    temporary file.

    Args:
        directory: The folder.
        label_pattern: A regular expression with a group named label, searched for in the path relative to `directory` ("/"-separated);
            labels then come from it alone. A path that it does not match, or matches with an empty label, has label -1.
        index: "auto" (a table in the user's cache folder) or the file of a table: start from what an earlier scan found, and list only
            folders whose mtime has changed since. The rows are those of a full scan; `changes` of the result says what was added and
            removed. A table that is missing, damaged or of another folder is made anew.
        extensions: Of the names that are rows.
        full: With `index`, list every folder all the same: for file systems that do not keep the mtime of folders.
        progress: Called now and then with the number of images found so far.

    Returns:
        The index of the images.

    Raises:
        NoImagesError: There is no image.
        DatasetError: label_pattern is wrong.
        OutputError: There is no room for the table anywhere, or `index` cannot be written.
    """
    root = os.fsencode(directory)
    pattern = None if label_pattern is None else compile_pattern(label_pattern)
    listing = place_for(root, label_pattern, extensions)
    place = listing if index is None or index == "auto" else Path(index)
    old = _earlier(place, listing) if index is not None else None
    if old is not None and not full and not old[0].info.unreadable_count and unchanged(root, old[1]):
        return ImageIndex(old[0], root=os.fsdecode(root), changes=Changes())
    spool = None if listing is None else listing.parent
    old_facts = FileFacts.of(old[0]) if old is not None else None
    before = old[1] if old is not None else None
    with TableWriter(spool, ["part"]) as writer, ListingWriter(spool) as folders, spool_file(spool) as names:
        comparison = None if old is None else TableComparison(*old)
        walk = Walk(root, Spool(names, spool), progress, before, full, extensions)
        info = _write_rows(walk, writer, folders, pattern, comparison)
        table = writer.finish(info, place)
        if listing is not None:
            folders.write(listing.with_suffix(".folders"), _identity(table.info))
        if old_facts is not None and comparison is not None and (new_facts := FileFacts.of(table)) is not None:
            old_facts.carry(new_facts, comparison.kept)
    return ImageIndex(table, root=info.root, changes=comparison.changes(walk.listed) if comparison is not None else None)


def _earlier(place: Path | None, listing: Path | None) -> tuple[Table, Listing] | None:
    """The table and listing of an earlier scan of this folder; None when either is missing or damaged."""
    if place is None or listing is None:
        return None
    with contextlib.suppress(DatasetError):
        table = Table.open(place)
        before = Listing.open(listing.with_suffix(".folders"), _identity(table.info))
        if before is not None:
            return table, before
    return None


def _identity(info: TableInfo) -> str:
    """Identifies the table that a listing belongs to: more than the fingerprint, as tables with equal rows may have skipped other files."""
    return hashlib.blake2b(json.dumps(dataclasses.asdict(info)).encode(), digest_size=16).hexdigest()


def _write_rows(
    walk: Walk, writer: TableWriter, listing: ListingWriter, pattern: re.Pattern[str] | None, comparison: TableComparison | None
) -> TableInfo:
    """Write a row for every image; labels are numbered as their classes are found, and renumbered at the end."""
    classes: dict[bytes, int] = {}
    for folder, contents in walk:
        label, part = -1, 0
        names_above = folder.split(b"/")[:-1]
        depth = 1 if walk.is_split else 0
        if pattern is None and len(names_above) > depth:
            label = classes.setdefault(names_above[depth], len(classes))
        if walk.is_split and names_above:
            part = PART_NUMBERS.index(PARTS[names_above[0].lower()])
        first = len(writer)
        folder_id = -1
        for names in _pieces(contents, comparison.table if comparison is not None else None):
            if folder_id < 0:
                folder_id = writer.add_folder(folder)
            if pattern is None:
                writer.add_run(names, folder_id, label, part)
            else:
                matched = [_matched(pattern, folder + name, classes) for name in names.split()]
                columns = (np.full(len(matched), value) for value in (folder_id, part))
                writer.add_rows(names, next(columns), np.array(matched), part=next(columns))
        if comparison is not None:
            comparison.add_folder(folder, contents, first, len(writer))
        listing.add(folder, contents.mtime, contents.stamp, len(writer) - first, list(contents.folders), contents.others)
    if not len(writer):
        raise NoImagesError(walk.nothing_found())
    class_names, order = name_classes(classes)
    writer.renumber_labels(order)
    return TableInfo(
        root=os.fsdecode(walk.root),
        class_names=class_names,
        skipped_extensions=dict(walk.most_skipped()),
        unreadable_folders=walk.unreadable,
        unreadable_count=walk.unreadable_count,
    )


def _pieces(contents: Contents, table: Table | None) -> Iterator[Names]:
    """The image names of a folder, CHUNK_ROWS at a time: as listed or, for an unchanged folder, from the old table."""
    if contents.files is not None:
        files = iter(contents.files)
        while listed := list(islice(files, CHUNK_ROWS)):
            yield Names.of(listed)
    elif contents.earlier is not None and table is not None:
        first, past = contents.earlier.first, contents.earlier.first + contents.earlier.rows
        for start in range(first, past, CHUNK_ROWS):
            yield table.names(start, min(start + CHUNK_ROWS, past))


def compile_pattern(label_pattern: str) -> re.Pattern[str]:
    """A regular expression with a group named label. Raises DatasetError."""
    try:
        pattern = re.compile(label_pattern)
    except re.error as error:
        raise DatasetError(f"label_pattern {label_pattern!r} is no regular expression: {error}") from None
    if "label" not in pattern.groupindex:
        advice = "Write one around the class, such as (?P<label>[a-z]+)_[0-9]+"
        raise DatasetError(f"label_pattern {label_pattern!r} has no group named label. {advice}")
    return pattern


def _matched(pattern: re.Pattern[str], relative: bytes, classes: dict[bytes, int]) -> int:
    match = pattern.search(os.fsdecode(relative))
    label = match["label"] if match else None
    return classes.setdefault(os.fsencode(label), len(classes)) if label else -1


def name_classes(classes: dict[bytes, int]) -> tuple[list[str], np.ndarray]:
    """The class names in code-point order, and int32 (classes + 1,) that maps the old numbers to the new ones, and -1 to -1."""
    numbers: dict[str, int] = {}
    for encoded in sorted(classes):
        name = shown(encoded)
        while name in numbers:  # b"\xff" and a folder that is really called "\xff", with a backslash
            name += "~"
        numbers[name] = classes[encoded]
    class_names = sorted(numbers)
    order = np.full(len(class_names) + 1, -1, np.int32)
    for new, name in enumerate(class_names):
        order[numbers[name]] = new
    return class_names, order


def place_for(root: bytes, label_pattern: str | None, extensions: Sequence[str] = IMAGE_EXTENSIONS) -> Path | None:
    """Where the table of `root` is kept; None, with a warning, when the cache folder cannot be written."""
    others = b"" if extensions == IMAGE_EXTENSIONS else repr(extensions).encode()
    key = hashlib.blake2b(absolute(root) + b"\0" + repr(label_pattern).encode() + others, digest_size=16).hexdigest()
    try:
        folder = cache_folder() / "index"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder / f"{key}.arrow"
    except (OSError, OutputError) as error:
        advice = "Set IMGSTREAM_CACHE to a folder that can be written"
        message = f"the cache folder cannot be used ({error}): this list of images is kept in a temporary file. {advice}"
        warnings.warn(message, CacheWarning, stacklevel=3)
        return None
