"""Decides what a path is, by what lies there, else by its name. All commands and functions use this."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Literal

from imgstream.errors import DatasetError, NoImagesError
from imgstream.files.addresses import LISTED_SCHEMES, SCHEMES, is_address
from imgstream.index.manifest.read import MANIFEST_EXTENSIONS, is_manifest
from imgstream.index.names import IMAGE_EXTENSIONS, one_line
from imgstream.index.shards.files import FORMS_IN_BUCKETS, SHARD_NAMES, are_below, form_of, is_pattern, is_shards

Kind = Literal["folder", "bucket", "manifest", "shards", "table", "image"]
AnyPath = str | bytes | os.PathLike[str]

_SUPPORTED = (
    f"imgstream reads a folder, a prefix of a bucket ({' '.join(LISTED_SCHEMES)}), a manifest "
    f"({' '.join(MANIFEST_EXTENSIONS)}), archives and shards ({SHARD_NAMES}; also a pattern, or a folder of them), a table that "
    f"imgstream index -o wrote (.arrow), and images ({' '.join(IMAGE_EXTENSIONS)})"
)
_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_NOT_READ = {
    r"\.(tgz|gz|bz2|xz|zst)": "is compressed as a whole, so that nothing in it can be read without all before it: unpack it once (images "
    "hardly shrink), and give the .tar or .tfrecord in it",
    r"\.(7z|rar)": "is an archive that is not read: unpack it, and give the folder",
    r"\.(h5|hdf5|lmdb|mdb|mat|pkl)": "is a file of packed samples: write image files, and give their folder",
    r"\.(json|xml|ya?ml|xlsx?|ods|feather|sqlite|db)": "is no list that is read: save it as .csv or .jsonl with columns path and label",
}
"""Endings of files that hold images but are not read, and what to do about them."""
_NAMES_COMPARED = 1000


def kind_of(path: AnyPath) -> Kind:
    """What is at `path`. Any other file is an image, whatever its name, and so is a missing one whose name ends as an image's does.

    An address is a bucket's prefix, with images or shards below it, or one object, which is what its name says. Raises DatasetError for
    what is not read (another URL, an archive, packed samples) and a bucket that cannot be listed, NoImagesError where there is nothing, as
    after a typing error.
    """
    name = os.fsdecode(path)
    if is_address(name):
        return _kind_of_address(name)
    if is_shards(name):
        return "shards"
    if is_manifest(name):
        return "manifest"
    if os.path.isdir(name):
        return "folder"
    there = os.path.exists(name)
    if not there and _URL.match(name):
        known = " ".join(SCHEMES)
        raise DatasetError(
            f"{one_line(name)} is a URL of a kind that is not read ({known} are): copy what is there to a disk. {_SUPPORTED}"
        )
    extension = os.path.splitext(name)[1].lower()
    for endings, why in _NOT_READ.items():
        if re.fullmatch(endings, extension):
            raise DatasetError(f"{one_line(name)} {why}. {_SUPPORTED}")
    if extension == ".arrow" and there:
        return "table"
    if there or named_as_image(name):
        return "image"
    if is_pattern(name):
        raise NoImagesError(
            f"No images: no archive or shard ({SHARD_NAMES}) matches {one_line(name)}. Check the path, and quote the pattern"
        )
    try:
        os.stat(name)
    except (FileNotFoundError, NotADirectoryError):
        raise NoImagesError(f"No images under {one_line(name)}: there is no such folder or file{_near(name)}. Check the path") from None
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return "folder"  # listing it says why it cannot be
    return "image"


def _kind_of_address(address: str) -> Kind:
    path = address.partition("?")[0] if address.startswith("http") else address
    if named_as_image(address.partition("?")[0]):
        return "image"
    if is_pattern(address) or form_of(address) in FORMS_IN_BUCKETS:
        return "shards"
    if path.lower().endswith(MANIFEST_EXTENSIONS):
        return "manifest"
    if form_of(address) is not None or address.lower().endswith(".arrow"):
        raise DatasetError(
            f"{one_line(address)}: of a bucket, images, archives and shards ({', '.join(FORMS_IN_BUCKETS)}) and manifests are read; copy "
            "this file to a disk, and give it"
        )
    if not address.startswith(LISTED_SCHEMES):
        raise DatasetError(
            f"{one_line(address)}: a web server does not say which images it has. Give a manifest with an address in each row, such as a "
            ".txt with one a line"
        )
    return "shards" if are_below(address) else "bucket"


def checked(paths: Iterable[AnyPath]) -> Iterator[AnyPath]:
    """The paths of a list of files. A missing file is left in if its name ends as an image's does.

    Raises as kind_of does for other names where there is nothing.
    """
    for path in paths:
        name = os.fsdecode(path)
        if is_address(name):
            if not name.startswith("http"):
                kind_of(name)
        elif (not named_as_image(name) or "://" in name) and not os.path.lexists(name):
            kind_of(name)
        yield path


def named_as_image(name: str) -> bool:
    """Whether a name ends in one of IMAGE_EXTENSIONS."""
    return name.lower().endswith(IMAGE_EXTENSIONS)


def _near(name: str) -> str:
    """The name beside it that may be meant, as text for a message."""
    folder, base = os.path.split(name.rstrip("/"))
    try:
        with os.scandir(folder or ".") as entries:
            names = [entry.name for entry in islice(entries, _NAMES_COMPARED)]
    except OSError:
        return ""
    found = difflib.get_close_matches(base, names, 1)
    return f" (there is {one_line(os.path.join(folder, found[0]))})" if found else ""
