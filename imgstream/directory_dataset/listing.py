"""Lists the files of a folder as Keras does: its order, its classes, its extensions. What Keras would fail on later is left out.

Keras sorts folders by their whole path as text ("cats-2" before "cats/old"), and a folder's files by name. It lists files that are hidden,
such as the ._cat.jpg that macOS leaves beside cat.jpg, which are no images; and under follow_links it lists a folder once for each link.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from imgstream.errors import NoFolderError, NoImagesError, SpecError
from imgstream.index import IMAGE_EXTENSIONS, ImageIndex
from imgstream.index.folder.sorted_names import Spool
from imgstream.index.folder.walk import Walk
from imgstream.index.names import shown
from imgstream.index.table.columns import Names, spool_file
from imgstream.index.table.table import TableInfo
from imgstream.index.table.table_writer import CHUNK_ROWS, TableWriter

KERAS_EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".png")


class Listing(NamedTuple):
    """The files of a folder, in Keras' order."""

    images: ImageIndex
    """Labelled by position in `class_names`; -1 without labels."""
    class_names: list[str] | None
    """None without labels."""
    values: np.ndarray | None
    """What a label stands for where labels were given; None where it is its position in class_names."""
    left_out: Counter[str]
    """Number of images that imgstream reads and `formats` leaves out, by extension."""


def list_directory(
    directory: str | os.PathLike[str], labels: Any, class_names: Sequence[str] | None, formats: Sequence[str] | None, follow_links: bool
) -> Listing:
    """List the images under `directory`.

    Args:
        directory: The folder.
        labels: "inferred", None, or a label for each file.
        class_names: With "inferred": the folders that are classes, in the order of their labels; None for all.
        formats: Extensions of the files to list; None for all that imgstream reads.
        follow_links: Whether to list folders below a class that are links. A class may be a link in any case.

    Raises:
        SpecError: There is no such class, or another number of files than of labels.
        NoFolderError: There is no such folder.
        NoImagesError: There is no file in it.
        OutputError: There is no room for the list.
    """
    root = os.fsencode(directory)
    if not os.path.lexists(root):
        raise NoFolderError(f"No images found in directory {os.fsdecode(root)}: there is no such folder")
    inferred = isinstance(labels, str)
    classes = _classes(root, class_names) if inferred else None
    extensions = tuple(extension.lower().encode() for extension in (IMAGE_EXTENSIONS if formats is None else formats))
    left_out: Counter[str] = Counter()
    folders: list[tuple[int, str]] = []  # what Keras sorts folders by
    with TableWriter(None) as writer, spool_file(None) as spool:
        walk = Walk(root, Spool(spool))
        for folder, contents in walk:
            label = _label(folder, classes)
            if label is None or not (follow_links or _is_real(root, folder, 1 if inferred else 0)):
                continue
            folder_id = -1
            files: Iterator[bytes] = iter(contents.files or ())
            while listed := list(islice(files, CHUNK_ROWS)):
                kept = [name for name in listed if name.lower().endswith(extensions)]
                if len(kept) < len(listed):
                    left_out.update(shown(name[name.rfind(b".") :].lower()) for name in listed if name not in set(kept))
                if not kept:
                    continue
                if folder_id < 0:
                    folder_id = writer.add_folder(folder)
                    folders.append((label, os.fsdecode(folder[:-1])))
                writer.add_run(Names.of(kept), folder_id, label if inferred else -1)
        if not len(writer):
            looked = "" if labels is None or inferred or not len(labels) else f" There are {len(labels)} labels."
            allowed = tuple(formats or IMAGE_EXTENSIONS)
            raise NoImagesError(
                f"No images found in directory {os.fsdecode(root)}. Allowed formats: {allowed}.{looked} {walk.nothing_found()}"
            )
        index = ImageIndex(writer.finish(TableInfo(root=os.fsdecode(root), class_names=list(classes or ())), None))
    ranks = np.empty(len(folders), np.int64)
    ranks[sorted(range(len(folders)), key=folders.__getitem__)] = np.arange(len(folders))
    if (np.diff(ranks) < 0).any():
        index = index.take(np.argsort(ranks[index.table.folder_ids], kind="stable").astype(np.uint32))
    if labels is None or inferred:
        return Listing(index, list(classes) if classes is not None else None, None, left_out)
    return _labelled(index, labels, left_out)


def _classes(root: bytes, class_names: Sequence[str] | None) -> dict[str, int]:
    """The classes and their labels: the folders in `root`, in the order of their names as text, or `class_names`."""
    try:
        with os.scandir(root) as entries:
            names = sorted(os.fsdecode(e.name) for e in entries if e.is_dir() and e.name[:1] != b"." and e.name != b"__MACOSX")
    except OSError:
        names = []  # the walk says what is wrong
    known = [shown(os.fsencode(name)) for name in names]
    if class_names is None:
        return {name: label for label, name in enumerate(known)}
    if not set(class_names) <= set(known):
        raise SpecError(
            "The `class_names` passed did not match the names of the subdirectories of the target directory. "
            f"Expected: {known} (or a subset of it), but received: class_names={list(class_names)}"
        )
    return {name: label for label, name in enumerate(class_names)}


def _label(folder: bytes, classes: dict[str, int] | None) -> int | None:
    """The label of a folder's files; None for a folder that is of no class."""
    if classes is None:
        return 0
    top, _, _ = folder.partition(b"/")
    return classes.get(shown(top)) if top else None


def _is_real(root: bytes, folder: bytes, depth: int) -> bool:
    """Whether no folder on the way from `root` to `folder`, below the first `depth`, is a link."""
    path = root
    for number, name in enumerate(folder.split(b"/")[:-1]):
        path = os.path.join(path, name)
        if number >= depth and os.path.islink(path):
            return False
    return True


def _labelled(index: ImageIndex, labels: Any, left_out: Counter[str]) -> Listing:
    """The listing with a given label for each file: a table of its own, with the rows in Keras' order."""
    given = np.asarray(labels)
    if len(given) != len(index):
        raise SpecError(
            "Expected the lengths of `labels` to match the number of files in the target directory. "
            f"len(labels) is {len(given)} while we found {len(index)} files in directory {index.root}."
        )
    dtype = {"f": np.float32, "i": np.int32, "u": np.int32, "b": np.int32}.get(given.dtype.kind)
    if dtype is None:
        raise SpecError(f"`labels` argument should be a list/tuple of integer labels. Received: labels of {given.dtype}")
    values, numbers = np.unique(given, return_inverse=True)
    names = [str(value) for value in values.tolist()]
    with TableWriter(None) as writer:
        for folder in index.table.folders():
            writer.add_folder(folder)
        for at in index.chunks():
            positions = index.positions_at(at)
            chunk = Names.of([index.table.name(position) for position in positions.tolist()])
            writer.add_rows(chunk, index.table.folder_ids[positions], numbers[at].astype(np.int32))
        table = writer.finish(TableInfo(root=index.root, class_names=names), None)
    return Listing(ImageIndex(table), names, values.astype(dtype), left_out)
