"""Several labels an image: "cat|dog" becomes a set of classes, and an image that is linked in several class folders has all of them."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np

from imgstream.index.image_index import ImageIndex
from imgstream.index.selection import SEPARATOR

_FILE = np.dtype([("device", np.uint64), ("inode", np.uint64)])


def split_labels(index: ImageIndex) -> ImageIndex:
    """`index` with a set of classes for every image that has a label; row numbers stay.

    A label is split at "|"; "|" alone is the empty set: none of the classes. Of rows that are one file, by the same path, a hard link or a
    symbolic link, the first remains, with the labels of all; images inside archives are not compared. An index that has sets is given back.
    """
    if index.is_multi_label:
        return index
    names = [label_set(label) for label in index.class_names]
    class_names = _ordered({name for each in names for name in each})
    number = {name: at for at, name in enumerate(class_names)}
    sets, code = with_sets([], {label: [number[name] for name in each] for label, each in zip(index.class_names, names, strict=True)})
    labels = np.array([*(code[label] for label in index.class_names), -1], np.int32)[index.labels]
    if not index.in_containers:
        first, labels, sets = _joined(_files(index), labels, sets)
        if len(first) < len(index):
            index, labels = index.take(first), labels[first]
    return index.with_label_sets(labels, class_names, sets)


def label_set(label: str) -> list[str]:
    """The class names in `label`, each once; spaces around them do not count."""
    return [name for name in dict.fromkeys(part.strip() for part in label.split(SEPARATOR)) if name]


def with_sets(sets: list[list[int]], wanted: Mapping[str, list[int]]) -> tuple[list[list[int]], dict[str, int]]:
    """`sets` with those that are `wanted` and missing at the end, and the position of each that is wanted."""
    sets, known, found = list(sets), _places(sets), {}
    for name, members in wanted.items():
        found[name] = known.setdefault(tuple(sorted(members)), len(sets))
        if found[name] == len(sets):
            sets.append(sorted(members))
    return sets, found


def _places(sets: list[list[int]]) -> dict[tuple[int, ...], int]:
    """Where each set is, the first of equal ones."""
    return {tuple(members): at for at, members in reversed(list(enumerate(sets)))}


def _ordered(names: set[str]) -> list[str]:
    """In code-point order, or by value when all are whole numbers: as a manifest's classes."""
    return sorted(names, key=lambda name: (float(name), name)) if names and all(name.isdecimal() for name in names) else sorted(names)


def _files(index: ImageIndex) -> np.ndarray:
    """Which file each image is, links followed: (n,); equal for the same file. What cannot be found is a file of its own."""
    found = np.zeros(len(index), _FILE)
    for i in range(len(index)):
        try:
            status = os.stat(index.path_bytes(i))
        except (OSError, ValueError):
            found[i] = (np.iinfo(np.uint64).max, i)
        else:
            found[i] = (status.st_dev & (1 << 64) - 1, status.st_ino & (1 << 64) - 1)
    return found


def _joined(files: np.ndarray, labels: np.ndarray, sets: list[list[int]]) -> tuple[np.ndarray, np.ndarray, list[list[int]]]:
    """The first row of each file, ascending; labels (n,), where the first row has the labels of all; and the sets, with new ones."""
    order = np.lexsort((files["inode"], files["device"]))  # stable: rows of one file stay in their order
    starts = np.flatnonzero(np.append(True, files[order][1:] != files[order][:-1])) if len(order) else np.zeros(0, np.int64)
    labels, sets, known = labels.copy(), list(sets), _places(sets)
    for start, end in zip(starts, np.append(starts[1:], len(order)), strict=True):
        if end - start < 2:
            continue
        rows = order[start:end]
        if (labels[rows] >= 0).any():
            union = sorted({member for label in labels[rows].tolist() if label >= 0 for member in sets[label]})
            labels[rows[0]] = known.setdefault(tuple(union), len(sets))
            if labels[rows[0]] == len(sets):
                sets.append(union)
    return np.sort(order[starts]), labels, sets
