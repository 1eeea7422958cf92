"""What a path that a user gives is: by what lies there, else by its name. The one place that decides, for every command and function."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Literal

from imgstream.errors import DatasetError, NoImagesError
from imgstream.index.manifest.read import MANIFEST_EXTENSIONS, is_manifest
from imgstream.index.names import IMAGE_EXTENSIONS, one_line

Kind = Literal["folder", "manifest", "table", "image"]
AnyPath = str | bytes | os.PathLike[str]

_SUPPORTED = (
    f"imgstream reads a folder, a manifest ({' '.join(MANIFEST_EXTENSIONS)}), a table that imgstream index -o wrote (.arrow), and images "
    f"({' '.join(IMAGE_EXTENSIONS)})"
)
_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_NOT_READ = {
    r"\.(zip|tar|tgz|gz|bz2|xz|zst|7z|rar)": "is an archive: unpack it, and give the folder",
    r"\.(tfrecords?(-.*)?|npy|npz|h5|hdf5|lmdb|mdb|mat|pkl)": "is a file of packed samples: write image files, and give their folder",
    r"\.(json|xml|ya?ml|xlsx?|ods|feather|sqlite|db)": "is no list that is read: save it as .csv or .jsonl with columns path and label",
}
"""Endings of files that people have images in, and what to do about them."""
_NAMES_COMPARED = 1000


def kind_of(path: AnyPath) -> Kind:
    """What is at `path`. A file that is nothing else is an image, whatever its name, and so is a missing one that is named as an image is.

    Raises DatasetError for what is not read (a URL, an archive, packed samples), NoImagesError where there is nothing: a typing mistake.
    """
    name = os.fsdecode(path)
    if is_manifest(name):
        return "manifest"
    if os.path.isdir(name):
        return "folder"
    there = os.path.exists(name)
    if not there and _URL.match(name):
        raise DatasetError(f"{one_line(name)} is a URL: copy what is there to a disk, and give that folder. {_SUPPORTED}")
    extension = os.path.splitext(name)[1].lower()
    for endings, why in _NOT_READ.items():
        if re.fullmatch(endings, extension):
            raise DatasetError(f"{one_line(name)} {why}. {_SUPPORTED}")
    if extension == ".arrow" and there:
        return "table"
    if there or named_as_image(name):
        return "image"
    try:
        os.stat(name)
    except (FileNotFoundError, NotADirectoryError):
        raise NoImagesError(f"No images under {one_line(name)}: there is no such folder or file{_near(name)}. Check the path") from None
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return "folder"  # listing it says why it cannot be
    return "image"


def checked(paths: Iterable[AnyPath]) -> Iterator[AnyPath]:
    """The paths of a list, each a file. One where nothing lies is left to be found missing if it is named as an image is.

    Raises as kind_of does for other names where nothing lies.
    """
    for path in paths:
        name = os.fsdecode(path)
        if (not named_as_image(name) or "://" in name) and not os.path.lexists(name):
            kind_of(name)
        yield path


def named_as_image(name: str) -> bool:
    """Whether it ends as scan wants it."""
    return name.lower().endswith(IMAGE_EXTENSIONS)


def _near(name: str) -> str:
    """Of the names beside it, the one that may be meant."""
    folder, base = os.path.split(name.rstrip("/"))
    try:
        with os.scandir(folder or ".") as entries:
            names = [entry.name for entry in islice(entries, _NAMES_COMPARED)]
    except OSError:
        return ""
    found = difflib.get_close_matches(base, names, 1)
    return f" (there is {one_line(os.path.join(folder, found[0]))})" if found else ""
