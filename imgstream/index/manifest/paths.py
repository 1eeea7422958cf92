"""Handles the paths of a manifest, many at once: makes them relative to the root, splits them into folder and name, checks that they
exist.
"""

from __future__ import annotations

import errno
import os
import posixpath
from collections.abc import Callable
from itertools import islice

import numpy as np
import pyarrow as pa

from imgstream.files.addresses import absolute, is_address
from imgstream.index.manifest.fields import Bad
from imgstream.index.manifest.rows import slices
from imgstream.index.table.columns import Names

MOST_FOLDERS = 1 << 17
"""The most folders of a table; a row of any further one has the folder in its name."""

_SLASH, _DOT = b"/."
_LIST_FROM = 64  # rows of a folder from which on listing it may cost less than asking for each
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)


class Root:
    """The folder that paths are relative to."""

    def __init__(self, root: str, allow_outside: bool) -> None:
        """`allow_outside`: keep paths that lead out of it, as absolute ones."""
        self._allow_outside = allow_outside
        self.given, self._is_address = root, is_address(root)
        self._root = absolute(os.fsencode(root))
        others = [] if self._is_address else [os.path.realpath(self._root)]
        self._prefixes = list(dict.fromkeys(os.path.join(path, b"") for path in (self._root, *others)))

    def relative(self, column: pa.Array) -> tuple[pa.Array, Bad]:
        """Paths relative to the root, binary (n,), without ".", "..", "//"; and rows that are no path, or lead out of the root."""
        offsets, data = _contents(column)
        starts, ends = offsets[:-1].copy(), offsets[1:]
        if not data.size:
            return column, [("no path", np.ones(len(column), bool))]
        for prefix in (*self._prefixes, b"./"):
            starts += len(prefix) * _begins_with(data, starts, ends, prefix)
        with_nul = np.zeros(len(column), bool)
        with_nul[np.searchsorted(ends, np.flatnonzero(data[: ends[-1]] == 0), "right")] = True
        paths = slices(column.buffers()[2], starts, ends)
        empty, unusual, outside = starts == ends, np.flatnonzero(_unusual(data, starts, ends)), np.zeros(len(column), bool)
        if len(unusual):
            others = []
            for row in unusual.tolist():
                path = self._normal(paths[row].as_py())
                outside[row] = path is None
                empty[row] = path == b""
                others.append(path or b"")
            take = np.arange(len(paths))
            take[unusual] = len(paths) + np.arange(len(others))
            paths = pa.concat_arrays([paths, pa.array(others, pa.binary())]).take(pa.array(take))
        return paths, [("no path", empty), ("a NUL in the path", with_nul), ("outside the root", outside)]

    def _normal(self, path: bytes) -> bytes | None:
        """A path relative to the root, or absolute; None when it is outside and must not be."""
        if is_address(path):  # relative already, or in another bucket
            return path
        if self._is_address:
            plain = posixpath.normpath(path)
            return None if plain.startswith((b"/", b"..")) else plain if path else b""
        full = os.path.normpath(os.path.join(self._root, path))
        if full.startswith(b"//"):  # POSIX leaves two slashes alone
            full = full[1:]
        for prefix in self._prefixes:
            if os.path.join(full, b"").startswith(prefix):
                return full[len(prefix) :]
        return full if self._allow_outside else None


def _begins_with(data: np.ndarray, starts: np.ndarray, ends: np.ndarray, prefix: bytes) -> np.ndarray:
    """Which rows are longer than `prefix` and begin with it: bool (n,)."""
    at = np.flatnonzero(ends - starts > len(prefix))
    for place, byte in enumerate(prefix):
        if not len(at):
            break
        at = at[data[starts[at] + place] == byte]
    result = np.zeros(len(starts), bool)
    result[at] = True
    return result


def _unusual(data: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Which rows are absolute, or may hold ".", ".." or "//": bool (n,). No such row is missed."""
    first, last = data[np.minimum(starts, len(data) - 1)], data[ends - 1]
    found = ((first == _SLASH) | (first == _DOT) | (last == _SLASH)) & (starts < ends)
    slashes = np.flatnonzero(data[: ends[-1] - 1] == _SLASH)
    odd = slashes[(data[slashes + 1] == _SLASH) | (data[slashes + 1] == _DOT)]
    rows = np.searchsorted(ends, odd, "right")
    found[rows[odd >= starts[rows]]] = True
    return found


class Folders:
    """Splits paths into folder and name, and numbers the folders."""

    def __init__(self, add_folder: Callable[[bytes], int]) -> None:
        """`add_folder`: that of a TableWriter."""
        self._add_folder = add_folder
        self._ids: dict[bytes, int] = {}

    def split(self, paths: pa.Array) -> tuple[np.ndarray, list[bytes], pa.Array]:
        """int32 (n,) positions in the list of folders, the folders, and the names, binary (n,)."""
        cuts, ends = _cuts(paths)
        folders = slices(paths.buffers()[2], _contents(paths)[0][:-1], cuts).dictionary_encode()
        return folders.indices.to_numpy(), folders.dictionary.to_pylist(), slices(paths.buffers()[2], cuts, ends)

    def stored(self, paths: pa.Array, codes: np.ndarray, folders: list[bytes], names: pa.Array) -> tuple[Names, np.ndarray]:
        """What TableWriter.add_rows takes: names, and int32 (n,) ids of folders."""
        ids = np.array([self._id(folder) for folder in folders], np.int32)[codes]
        if (ids < 0).any():
            cuts, ends = _cuts(paths)
            names = slices(paths.buffers()[2], np.where(ids < 0, _contents(paths)[0][:-1], cuts), ends)
            ids = np.where(ids < 0, self._id(b""), ids)
        offsets, data = _contents(names)
        return Names(data[offsets[0] : offsets[-1]].data, np.diff(offsets).astype(np.int64)), ids

    def _id(self, folder: bytes) -> int:
        """The id of a folder; -1 when there are too many."""
        number = self._ids.get(folder, -1)
        if number < 0 and (len(self._ids) < MOST_FOLDERS or not folder):
            number = self._ids[folder] = self._add_folder(folder)
        return number


def _cuts(paths: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """int32 (n,) each: where the names begin, after the last "/", and end."""
    offsets, data = _contents(paths)
    starts, ends = offsets[:-1], offsets[1:]
    after = np.append(np.flatnonzero(data[: ends[-1]] == _SLASH) + 1, 0)  # the last, [-1], is for rows before the first slash
    return np.maximum(starts, after[np.searchsorted(after[:-1], ends, "right") - 1]).astype(np.int32), ends


def missing(root: str, codes: np.ndarray, folders: list[bytes], names: pa.Array, is_object: Callable[[bytes, bytes], bool]) -> np.ndarray:
    """Which files do not exist: bool (n,). Folders are checked first, and listed where many of their files are asked for.

    `is_object`: whether a folder and name are an address; these are not checked here.
    """
    result = np.zeros(len(codes), bool)
    order = np.argsort(codes, kind="stable")
    bounds = np.searchsorted(codes[order], np.arange(len(folders) + 1))
    for number, folder in enumerate(folders):
        rows = order[bounds[number] : bounds[number + 1]]
        if is_object(folder, names[int(rows[0])].as_py()):
            continue
        path = os.path.join(os.fsencode(root), folder)
        if len(rows) > 1 and _is_gone(path or b"."):
            result[rows] = True
            continue
        wanted = names.take(pa.array(rows)).to_pylist()
        found = _seen(path or b".", wanted) if len(wanted) >= _LIST_FROM else set()
        result[rows] = [name not in found and _is_gone(path + name) for name in wanted]
    return result


def _seen(folder: bytes, wanted: list[bytes]) -> set[bytes]:
    """Those of `wanted` that a short listing of the folder finds; not links, which may lead nowhere."""
    left = set(wanted)
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in islice(entries, 2 * len(wanted)) if entry.name in left and not entry.is_symlink()}
    except OSError:
        return set()


def _is_gone(path: bytes) -> bool:
    try:
        os.stat(path)
    except OSError as error:
        return error.errno in _GONE
    return False


def _contents(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """int32 (n + 1,), uint8: the offsets and bytes of a binary array without nulls."""
    _, offsets, data = column.buffers()
    if not len(column):
        return np.zeros(1, np.int32), np.zeros(0, np.uint8)
    found = np.frombuffer(offsets, np.int32)[column.offset : column.offset + len(column) + 1]
    return found, np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
