"""Finds classes whose names look alike: é as one character or two (from a Mac), Cats and cats, a space at the end."""

from __future__ import annotations

import os
import shlex
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from imgstream.index.image_index import ImageIndex
from imgstream.index.source_kinds import kind_of

_MOST_LISTED = 5


def look_alikes(class_names: Iterable[str]) -> list[list[str]]:
    """Groups of two or more names that differ only in case, white space or the composition of their characters, in order."""
    groups: dict[str, list[str]] = {}
    for name in class_names:
        groups.setdefault(_key(name), []).append(name)
    return [names for names in groups.values() if len(names) > 1]


def joined(class_names: Sequence[str], counts: np.ndarray) -> dict[str, str]:
    """For each name that looks like others, one name for all of them: that of most images, composed and without extra white space.

    `counts`: int64 (K,), images of each class.
    """
    images = dict(zip(class_names, counts.tolist(), strict=True))
    most = {name: max(names, key=images.__getitem__) for names in look_alikes(class_names) for name in names}
    return {name: " ".join(unicodedata.normalize("NFC", chosen).split()) for name, chosen in most.items()}


def quoted(names: Sequence[str]) -> list[str]:
    """The names in quotes; in ASCII if they differ only in how their characters are composed."""
    plain = {" ".join(name.casefold().split()) for name in names}
    return [repr(name) if len(plain) == 1 else ascii(name) for name in names]


def warning(index: ImageIndex, source: object, label_pattern: str | None = None, columns: Mapping[str, str] | None = None) -> str | None:
    """A line about the classes of `index` that look alike, with the command that joins them; None if there are none.

    `source`, `label_pattern` and `columns` are what `index` was opened with.
    """
    groups = look_alikes(index.class_names)
    if not groups:
        return None
    images = dict(zip(index.class_names, index.class_counts().tolist(), strict=True))
    listed = "; ".join(
        " and ".join(f"{shown} ({images[name]:,})" for name, shown in zip(names, quoted(names), strict=True))
        for names in groups[:_MOST_LISTED]
    )
    more = f"; and {len(groups) - _MOST_LISTED:,} more" if len(groups) > _MOST_LISTED else ""
    return (
        f"These classes look alike and are not one, with so many images: {listed}{more}. {_advice(index, source, label_pattern, columns)}"
    )


def _advice(index: ImageIndex, source: object, label_pattern: str | None, columns: Mapping[str, str] | None) -> str:
    if not isinstance(source, str | bytes | os.PathLike):
        return "To join them: imgstream index DIR --join-classes -o FILE.csv ; then give FILE.csv --root DIR in place of DIR"
    if index.in_containers:
        return "They are named in the archives or shards: name them alike there"
    given, root = os.fsdecode(source), index.root
    manifest = f"{os.path.splitext(os.path.basename(os.path.abspath(given)))[0]}-joined.csv"
    words = ["imgstream", "index", given]
    if label_pattern is not None:
        words += ["--label-pattern", label_pattern]
    if kind_of(given) == "manifest":
        words += ["--root", root, *(["--columns", ",".join(f"{k}={v}" for k, v in columns.items())] if columns else [])]
    join = shlex.join([*words, "--join-classes", "-o", manifest])
    return f"To join them: {join} ; then give {shlex.join([manifest, '--root', root])} in place of {shlex.quote(given)}"


def _key(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())
