"""scan: what lies under a folder, as a table. One os.scandir per folder, no stat per file, memory that does not grow with either."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np

from imgstream.errors import DatasetError, NoImagesError, OutputError
from imgstream.index.image_index import ImageIndex
from imgstream.index.spill import SortedNames
from imgstream.index.table import CHUNK_ROWS, TableInfo, TableWriter
from imgstream.locations import cache_folder

IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".avif", ".heic", ".heif")
"""A file whose name ends in one of these, in any case, is a row."""

_EXTENSIONS = frozenset(extension.encode() for extension in IMAGE_EXTENSIONS)
_PARTS = {b"train": "train", b"val": "val", b"valid": "val", b"validation": "val", b"test": "test"}
_EXTENSIONS_KEPT = 1000  # different ones that are counted apart: file.000001, file.000002, … must not fill the memory
_OTHER_EXTENSIONS = "(other)"
_UNREADABLE_SHOWN = 10
_PROGRESS_EVERY = 1000


def scan(
    directory: str | bytes | os.PathLike[str],
    label_pattern: str | None = None,
    *,
    progress: Callable[[int], None] | None = None,
) -> ImageIndex:
    """List the images under `directory`, deterministically: folders depth first in byte order, a folder's files before its folders.

    A row is every name that ends in one of IMAGE_EXTENSIONS and is no folder. Its class is the first folder below `directory`, or below
    train, val, valid, validation and test (in any case) when the folders in `directory` have no other names; a file outside of a class
    has label -1. Hidden files and folders and __MACOSX are left out. Links to folders are followed, but each real folder is visited once:
    at its own place when that is under `directory`, else at the first link to it.

    `label_pattern`: a regular expression with a group named label, searched for in the path relative to `directory` ("/"-separated);
    labels then come from it alone. What does not match, or matches with an empty label, has label -1.
    `progress` is called now and then with the number of images found so far.

    The table is kept in the user's cache folder; where that cannot be written, one warning says why and the table lives in an unnamed
    temporary file. Raises NoImagesError (nothing to list), DatasetError (label_pattern), OutputError (no room for the table anywhere).
    """
    root = os.fsencode(directory)
    pattern = None if label_pattern is None else _compile(label_pattern)
    place = _place_for(root, label_pattern)
    spool = None if place is None else place.parent
    with TableWriter(spool) as writer, tempfile.TemporaryFile(dir=spool) as names:
        info = _write_rows(_Walk(root, names, progress), writer, pattern)
        return ImageIndex(writer.finish(info, place), root=info.root)


def _write_rows(walk: _Walk, writer: TableWriter, pattern: re.Pattern[str] | None) -> TableInfo:
    """Write a row for every image; labels are numbered as their classes are met, and renumbered at the end."""
    classes: dict[bytes, int] = {}
    parts: dict[str, list[list[int]]] = {}
    for folder, files in walk:
        label = -1
        names_above = folder.split(b"/")[:-1]
        depth = 1 if walk.is_split else 0
        if pattern is None and len(names_above) > depth:
            label = classes.setdefault(names_above[depth], len(classes))
        first, folder_id = len(writer), -1
        while names := list(islice(files, CHUNK_ROWS)):
            if folder_id < 0:
                folder_id = writer.add_folder(folder)
            labels = [label] * len(names) if pattern is None else [_matched(pattern, folder + name, classes) for name in names]
            writer.add_rows(names, [folder_id] * len(names), labels)
        if walk.is_split and names_above and len(writer) > first:
            ranges = parts.setdefault(_PARTS[names_above[0].lower()], [])
            if ranges and ranges[-1][1] == first:
                ranges[-1][1] = len(writer)
            else:
                ranges.append([first, len(writer)])
    if not len(writer):
        raise NoImagesError(walk.nothing_found())
    class_names, order = _name_classes(classes)
    writer.renumber_labels(order)
    return TableInfo(
        root=os.fsdecode(walk.root),
        class_names=class_names,
        skipped_extensions=dict(walk.most_skipped()),
        unreadable_folders=walk.unreadable,
        unreadable_count=walk.unreadable_count,
        parts=parts if walk.is_split else None,
    )


def _compile(label_pattern: str) -> re.Pattern[str]:
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


def _name_classes(classes: dict[bytes, int]) -> tuple[list[str], np.ndarray]:
    """The names in code-point order, and int32 (classes + 1,) that takes the old numbers to it and -1 to -1."""
    numbers: dict[str, int] = {}
    for encoded in sorted(classes):
        name = _shown(encoded)
        while name in numbers:  # b"\xff" and a folder that is really called "\xff", with a backslash
            name += "~"
        numbers[name] = classes[encoded]
    class_names = sorted(numbers)
    order = np.full(len(class_names) + 1, -1, np.int32)
    for new, name in enumerate(class_names):
        order[numbers[name]] = new
    return class_names, order


def _place_for(root: bytes, label_pattern: str | None) -> Path | None:
    """Where the table of `root` is kept; None, with a warning, when nothing can be written there."""
    key = hashlib.blake2b(os.path.abspath(root) + b"\0" + repr(label_pattern).encode(), digest_size=16).hexdigest()
    try:
        folder = cache_folder() / "index"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder / f"{key}.arrow"
    except (OSError, OutputError) as error:
        advice = "Set IMGSTREAM_CACHE to a folder that can be written"
        warnings.warn(f"the cache folder cannot be used ({error}): this list of images is kept in a temporary file. {advice}", stacklevel=3)
        return None


class _Walk:
    """The folders under a root, each with its image names, in row order. Iterate once; the counts are complete afterwards."""

    def __init__(self, root: bytes, spool: BinaryIO, progress: Callable[[int], None] | None) -> None:
        self.root = root
        self.is_split = False
        """Whether the folders in the root are train, val, … : known once the root itself has been given."""
        self.skipped: Counter[str] = Counter()
        self.unreadable: list[str] = []
        self.unreadable_count = 0
        self._spool = spool
        self._progress = progress or (lambda found: None)
        self._found = 0
        self._prefix = os.path.join(root, b"") if root else b""
        self._real_root = b""
        self._visited: dict[int, set[int]] = {}  # device → inodes

    def __iter__(self) -> Iterator[tuple[bytes, Iterator[bytes]]]:
        """(folder relative to the root with a trailing "/", or empty; its image names in byte order)."""
        self._check_root()
        files, folders = self._list(b"")
        self.is_split = len(folders) > 0 and all(name.lower() in _PARTS for name in folders)
        yield b"", iter(files)
        pending = [(b"", iter(folders))]
        while pending:
            parent, names = pending[-1]
            name = next(names, None)
            if name is None:
                pending.pop()
                continue
            folder = parent + name + b"/"
            if self._is_new(folder):
                files, folders = self._list(folder)
                yield folder, iter(files)
                pending.append((folder, iter(folders)))
        self._progress(self._found)

    def most_skipped(self) -> list[tuple[str, int]]:
        """Extensions and counts of other files, most frequent first; the order of the folder's entries on disk does not show."""
        return sorted(self.skipped.items(), key=lambda item: (-item[1], item[0]))

    def nothing_found(self) -> str:
        """Why there is no row: what was looked for, and what was there instead."""
        found = [f"{count:,} {_one_line(extension) or 'without extension'}" for extension, count in self.most_skipped()[:5]]
        if len(self.skipped) > len(found):
            found.append("and more")
        looked = " ".join(IMAGE_EXTENSIONS)
        text = f"No images under {_one_line(self.root)}. Looked for {looked}; found {', '.join(found) or 'no files at all'}."
        if self.unreadable:
            text += f" {self.unreadable_count:,} folders could not be read, such as {self.unreadable[0]}."
        return text

    def _check_root(self) -> None:
        shown = _one_line(self.root)
        try:
            os.stat(self.root)
            with os.scandir(self.root):
                pass
        except FileNotFoundError:
            raise NoImagesError(f"No images under {shown}: there is no such folder. Check the path") from None
        except NotADirectoryError:
            raise NoImagesError(f"No images under {shown}: it is a file, not a folder. Give the folder that it lies in") from None
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            raise NoImagesError(f"No images under {shown}: it cannot be listed ({_why(error)})") from None
        self._real_root = os.path.join(os.path.realpath(self.root), b"")
        self._is_new(b"")

    def _list(self, folder: bytes) -> tuple[SortedNames, SortedNames]:
        """Names of the images and of the folders to visit in `folder`; those read so far when it cannot be listed to its end."""
        files, folders = SortedNames(self._spool), SortedNames(self._spool)
        for entry in self._entries(folder):
            name = entry.name
            if name.startswith(b"."):
                continue
            if _is_folder(entry):
                if name != b"__MACOSX" and not (entry.is_symlink() and self._lies_inside(entry.path)):
                    folders.add(name)
                continue
            dot = name.rfind(b".")
            extension = name[dot:].lower() if dot > 0 else b""
            if extension in _EXTENSIONS:
                files.add(name)
                self._found += 1
                if self._found % _PROGRESS_EVERY == 0:
                    self._progress(self._found)
            else:
                self._skip(_shown(extension))
        return files, folders

    def _entries(self, folder: bytes) -> Iterator[os.DirEntry[bytes]]:
        path = self._prefix + folder
        with self._counted(path), os.scandir(path) as entries:
            yield from entries

    def _is_new(self, folder: bytes) -> bool:
        """Whether this real folder is met for the first time; it then counts as visited."""
        path = self._prefix + folder
        with self._counted(path):
            status = os.stat(path)
            inodes = self._visited.setdefault(status.st_dev, set())
            if status.st_ino not in inodes:
                inodes.add(status.st_ino)
                return True
        return False

    def _lies_inside(self, link: bytes) -> bool:
        """Whether a linked folder will be visited at its own place: under the root, and not hidden there."""
        real = os.path.join(os.path.realpath(link), b"")
        if not real.startswith(self._real_root):
            return False
        names = os.fsencode(os.fsdecode(real[len(self._real_root) :]).replace(os.sep, "/")).split(b"/")[:-1]
        return not any(name.startswith(b".") or name == b"__MACOSX" for name in names)

    def _skip(self, extension: str) -> None:
        if extension not in self.skipped and len(self.skipped) >= _EXTENSIONS_KEPT:
            extension = _OTHER_EXTENSIONS
        self.skipped[extension] += 1

    @contextlib.contextmanager
    def _counted(self, path: bytes) -> Iterator[None]:
        """A folder that fails is written down and left: it went away, or is not ours to read."""
        try:
            yield
        except OSError as error:
            self.unreadable_count += 1
            if len(self.unreadable) < _UNREADABLE_SHOWN:
                self.unreadable.append(f"{_one_line(path)}: {_why(error)}")


def _is_folder(entry: os.DirEntry[bytes]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle, or into a folder that may not be searched: its name says what it is
        return False


def _why(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _shown(name: bytes) -> str:
    r"""Text without surrogates: bytes that are no UTF-8 as \xNN."""
    return name.decode("utf-8", "backslashreplace")


def _one_line(name: bytes | str) -> str:
    """For a message: as it is, or with newlines and the like escaped."""
    text = name if isinstance(name, str) else _shown(name)
    return text if text.isprintable() else repr(text)
