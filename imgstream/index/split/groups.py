"""Groups: images that a split keeps on one side, such as shots of one burst, one patient or one video, or copies of one image."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np

from imgstream.errors import DatasetError
from imgstream.index.path_lists import read_groups
from imgstream.index.selection import RowSelection
from imgstream.index.split.path_hash import keys_of, path_hashes


class Groups(Protocol):
    """Says which images belong together."""

    def keys(self, index: RowSelection, at: np.ndarray) -> np.ndarray:
        """uint64 (m,): equal for those images at `at`, (m,) in 0..n-1, that are of one group; 0 for an image without a group."""


def groups(how: str | os.PathLike[str]) -> Groups:
    """The groups that `--group` names: "folder" (the folder that an image lies in), "column" (a manifest's), a file that check --groups
    wrote, or a regular expression with a group named group, searched for in the path relative to the root.

    Raises DatasetError when it is none of these.
    """
    if how == "folder":
        return FolderGroups()
    if how == "column":
        return ColumnGroups()
    text = os.fspath(how)
    if os.path.isfile(text):
        return ListedGroups(read_groups(text))
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise DatasetError(
            f"--group {text!r} is neither folder, column, a file that is there, nor a regular expression ({error})"
        ) from None
    if "group" not in pattern.groupindex:
        advice = "as a pattern it needs a group named group, such as (?P<group>patient[0-9]+)"
        raise DatasetError(f"--group {text!r} is neither folder, column nor a file that is there; {advice}")
    return PatternGroups(pattern)


class FolderGroups:
    """Images that lie in the same folder."""

    def keys(self, index: RowSelection, at: np.ndarray) -> np.ndarray:
        """See Groups."""
        table = index.table
        found, inverse = np.unique(table.folder_ids[index.positions_at(at)], return_inverse=True)
        folders = [table.folder(i) for i in found.tolist()]
        keys = keys_of(folders)[inverse]
        if b"" in folders:  # with very many folders, some are stored as part of the name
            for place in np.flatnonzero(inverse == folders.index(b"")).tolist():
                folder, slash, _ = index.relative_bytes(int(at[place])).rpartition(b"/")
                if slash:
                    keys[place] = keys_of([folder + slash])[0]
        return keys


class ColumnGroups:
    """Images with the same value in the group column of a manifest."""

    def keys(self, index: RowSelection, at: np.ndarray) -> np.ndarray:
        """See Groups. Raises DatasetError when there is no such column."""
        column = index.table.columns.get("group")
        if column is None:
            raise DatasetError(f"--group column: the images of {index.root!r} have no group column. It is one of a manifest's")
        return column[index.positions_at(at)]


class PatternGroups:
    """Images for which the pattern's group named group matches the same text in the relative path; without a match, no group."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self._pattern = pattern

    def keys(self, index: RowSelection, at: np.ndarray) -> np.ndarray:
        """See Groups."""
        matches = (self._pattern.search(os.fsdecode(index.relative_bytes(i))) for i in at.tolist())
        return _keys([os.fsencode((match["group"] or "") if match else "") for match in matches])


class ListedGroups:
    """Groups from a list of (path relative to the root, name of its group); an empty name is no group."""

    def __init__(self, listed: Iterable[tuple[bytes, bytes]]) -> None:
        paths, names = zip(*pairs, strict=True) if (pairs := list(listed)) else ((), ())
        keys = keys_of(paths)
        order = np.argsort(keys, kind="stable")
        self._paths, self._names = keys[order], _keys(names)[order]

    def keys(self, index: RowSelection, at: np.ndarray) -> np.ndarray:
        """See Groups."""
        if not len(self._paths):
            return np.zeros(len(at), np.uint64)
        hashes = path_hashes(index.table, index.positions_at(at), 0)
        place = np.minimum(np.searchsorted(self._paths, hashes), len(self._paths) - 1)
        return np.where(self._paths[place] == hashes, self._names[place], np.uint64(0))


def _keys(names: Sequence[bytes]) -> np.ndarray:
    """uint64 (n,): the keys of groups of these names; 0 for an empty name."""
    return np.where(np.array([bool(name) for name in names], bool), keys_of(names), np.uint64(0))
