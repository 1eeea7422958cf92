"""Which files are archives or shards by their names, and which of them a source means: one, a pattern, or a folder of them."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Literal, NamedTuple

from imgstream.errors import BadImage, DatasetError, NoImagesError
from imgstream.files.addresses import LISTED_SCHEMES, Address, is_address, split_address
from imgstream.files.objects import Listed, describe, list_objects, require
from imgstream.files.spans import Container
from imgstream.index.folder.walk import PARTS
from imgstream.index.names import IMAGE_EXTENSIONS, one_line
from imgstream.index.shards.arrays import is_array_of_images
from imgstream.index.shards.parquet import holds_images

Form = Literal["tfrecord", "tar", "zip", "parquet", "npy", "npz"]

_FORMS: dict[Form, re.Pattern[str]] = {
    "tfrecord": re.compile(r".*(\.tfrecords?(-\d+-of-\d+)?|-\d{3,}-of-\d{3,})", re.IGNORECASE | re.DOTALL),
    "tar": re.compile(r".*\.tar", re.IGNORECASE | re.DOTALL),
    "zip": re.compile(r".*\.zip", re.IGNORECASE | re.DOTALL),
    "parquet": re.compile(r".*\.parquet", re.IGNORECASE | re.DOTALL),
    "npy": re.compile(r".*\.npy", re.IGNORECASE | re.DOTALL),
    "npz": re.compile(r".*\.npz", re.IGNORECASE | re.DOTALL),
}
_PART_IN_NAME = re.compile(rf"(?:^|[-_.])({'|'.join(name.decode() for name in PARTS)})(?=[-_.])", re.IGNORECASE)
_PATTERN = re.compile(r"[*?[]")
_LOOKED_AT = 10_000  # entries of a folder, none of which is a shard, before it is taken to hold none
FORMS_IN_BUCKETS: tuple[Form, ...] = ("tfrecord", "tar", "zip", "parquet")
"""What is read of a bucket: of an array's labels, no address is known."""
SHARD_NAMES = ".tfrecord .tar .zip, .parquet with image bytes, .npy and .npz of many images"


class Shards(NamedTuple):
    """The archives or shards that a source means."""

    root: str
    """The folder that they lie in, or the one file itself."""
    names: list[bytes]
    """Their paths relative to the root, in byte order; of one file: empty."""
    parts: list[str] | None
    """For each the part of the split that its name or folder says: train, val or test; None where not all say one."""
    objects: Sequence[Container] = ()
    """Of those in a bucket: each, with its size and version, in the same order."""


def form_of(name: str) -> Form | None:
    """The form of archive or shard that a file has by its name; None if it is none."""
    return next((form for form, pattern in _FORMS.items() if pattern.fullmatch(os.path.basename(name))), None)


def is_shard(path: str, *, in_folder: bool = False) -> bool:
    """Whether a file is an archive or shard: by its name, but a .parquet by its columns, because manifests have that name too, and an .npy
    by its shape; of those in a folder only such as have names as X and y.
    """
    form = form_of(path)
    if form is None or not os.path.isfile(path):
        return False
    return holds_images(path) if form == "parquet" else form != "npy" or is_array_of_images(path, by_name=in_folder)


def is_pattern(name: str) -> bool:
    """Whether a name has wildcards, and is not that of a file. An address with them is that of archives or shards."""
    if is_address(name):
        return name.startswith(LISTED_SCHEMES) and bool(_PATTERN.search(name)) and ("*" in name or form_of(name) is not None)
    return bool(_PATTERN.search(name)) and not os.path.lexists(name)


def is_shards(name: str) -> bool:
    """Whether `name` is an archive or shard, a pattern that one matches, or a folder of them: flat, or with folders named train, val and
    test alone, and without an image.
    """
    try:
        if is_pattern(name):
            return any(is_shard(path) for path in glob.iglob(name, recursive=True))
        return _is_folder_of_shards(name) if os.path.isdir(name) else is_shard(name)
    except (OSError, ValueError):
        return False


def find_shards(source: str) -> Shards:
    """The files of a source that is_shards, or those behind an address. Raises NoImagesError where there are none, DatasetError for a
    bucket that cannot be listed.
    """
    if is_address(source):
        return _find_objects(source)
    if is_pattern(source):
        root = os.path.dirname(source[: _PATTERN.search(source).start()])  # type: ignore[union-attr]
        found = [path for path in glob.glob(source, recursive=True) if is_shard(path)]
        names = sorted(os.path.relpath(os.fsencode(path), os.fsencode(root) or b".") for path in found)
        if not names:
            raise NoImagesError(f"No images: no file of a kind that is read ({SHARD_NAMES}) matches {one_line(source)}")
        return Shards(root or ".", names, None)
    if not os.path.isdir(source):
        return Shards(source, [b""], None)
    names = sorted(os.fsencode(name) for name in _in_folder(source))
    return Shards(source, names, _parts(names))


def _find_objects(source: str) -> Shards:
    """Those behind an address: of one, of a pattern, or below a prefix, flat or with one level of folders."""
    require(source)
    if form_of(source) is not None and not is_pattern(source):
        try:
            found = describe(Address(os.fsencode(source)))
        except BadImage as error:
            raise DatasetError(f"{one_line(source)} cannot be read: {error.detail}") from None
        return Shards(source, [b""], None, [Container(b"", found.size, found.modified)])
    root, wanted = source.rstrip("/"), ""
    if is_pattern(source):
        root = source[: _PATTERN.search(source).start()].rpartition("/")[0]  # type: ignore[union-attr]
        wanted = source[len(root) + 1 :]
    objects = sorted(
        Container(os.fsencode(name), listed.size, listed.modified)
        for page in _below(root)
        for name, listed in page
        if _is_wanted(name, wanted)
    )
    if not objects:
        raise NoImagesError(f"No images: {one_line(source)} is no archive or shard in a bucket ({', '.join(FORMS_IN_BUCKETS)})")
    names = [container.path for container in objects]
    return Shards(root, names, None if wanted else _parts(names), objects)


def are_below(prefix: str) -> bool:
    """Whether archives or shards are below a prefix of a bucket, flat or with one level of folders, and no images: by the first thousand
    objects that hold either. Raises DatasetError.
    """
    require(prefix)
    for page in _below(prefix.rstrip("/")):
        if any(name.lower().endswith(IMAGE_EXTENSIONS) for name, _ in page):
            return False
        if any(_is_wanted(name, "") for name, _ in page):
            return True
    return False


def _below(prefix: str) -> Iterator[list[tuple[str, Listed]]]:
    key = split_address(prefix)[1]
    start = len(key) + bool(key)
    return ([(listed.key[start:], listed) for listed in page] for page in list_objects(prefix))


def _is_wanted(name: str, pattern: str) -> bool:
    """Whether an object is an archive or shard, and its name matches a pattern, "*" of which stays within a folder; of no pattern, whether
    it has at most one folder. Hidden ones are not.
    """
    parts = name.split("/")
    if form_of(name) not in FORMS_IN_BUCKETS or any(part.startswith(".") for part in parts):
        return False
    if not pattern:
        return len(parts) <= 2
    return name == pattern or _matches(parts, pattern.split("/"))


def _matches(parts: list[str], patterns: list[str]) -> bool:
    if "**" in patterns:
        at = patterns.index("**")
        before, behind = patterns[:at], patterns[at + 1 :]
        return _matches(parts[:at], before) and any(_matches(parts[i:], behind) for i in range(at, len(parts)))
    return len(parts) == len(patterns) and all(map(fnmatchcase, parts, patterns))


def _parts(names: list[bytes]) -> list[str] | None:
    parts = [_part(os.fsdecode(name)) for name in names]
    return None if None in parts else [part for part in parts if part]


def _in_folder(folder: str) -> Iterator[str]:
    for entry in _entries(folder):
        if entry.is_dir():
            yield from (f"{entry.name}/{inner.name}" for inner in _entries(entry.path) if is_shard(inner.path, in_folder=True))
        elif is_shard(entry.path, in_folder=True):
            yield entry.name


def _is_folder_of_shards(folder: str, deeper: bool = True) -> bool:
    found = False
    for number, entry in enumerate(_entries(folder)):
        if entry.is_dir():
            if not deeper or os.fsencode(entry.name).lower() not in PARTS or not _is_folder_of_shards(entry.path, deeper=False):
                return False
            found = True
        elif entry.name.lower().endswith(IMAGE_EXTENSIONS) or (number > _LOOKED_AT and not found):
            return False
        else:
            found = found or is_shard(entry.path, in_folder=True)
    return found


def _entries(folder: str) -> Iterator[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        yield from (entry for entry in entries if not entry.name.startswith("."))


def _part(name: str) -> str | None:
    folder, _, base = name.rpartition("/")
    part = PARTS.get(os.fsencode(folder).lower())
    if part is None and (match := _PART_IN_NAME.search(base)):
        part = PARTS[match[1].lower().encode()]
    return part
