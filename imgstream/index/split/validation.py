"""Selects the images for validation: those with the lowest hashes, so that a file's side depends only on its own name (path_hash.py)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from imgstream.index.selection import RowSelection
from imgstream.index.split.groups import Groups
from imgstream.index.split.path_hash import folder_states, hash_names, mix, path_hashes, seed_state
from imgstream.wording import quantity

_WORD = (1 << 64) - 1


def in_validation(index: RowSelection, fraction: float, seed: int, group: Groups | None = None) -> np.ndarray:
    """Which images are for validation: bool (n,).

    An image is for validation if its hash / 2^64 < `fraction`. Then each class without a training file gets its highest hash for training,
    and each class of two or more files without a validation file gets its lowest hash for validation. Rows labelled -1 go by their hash
    only. With groups, whole groups are moved, and only where no class loses its last group for training.
    """
    threshold = np.uint64(int(fraction * 2**64))
    if group is not None:
        return _groups_in_validation(index, threshold, seed, group)
    classes = len(index.class_names)
    lowest, highest = np.full(classes, _WORD, np.uint64), np.zeros(classes, np.uint64)
    lowest_at, highest_at = np.full(classes, -1, np.int64), np.full(classes, -1, np.int64)
    chosen = np.empty(len(index), bool)
    for at, hashes in _hashes(index, seed):
        chosen[at] = hashes < threshold
        places, labels = index.classes_at(at)
        order = np.lexsort((hashes[places], labels))
        places, labels = places[order], labels[order]
        edges = np.flatnonzero(np.diff(labels, prepend=-1, append=classes))  # one class lies between each two edges
        first, last, label = places[edges[:-1]], places[edges[1:] - 1], labels[edges[:-1]]
        lower = (hashes[first] < lowest[label]) | (lowest_at[label] < 0)
        lowest[label[lower]], lowest_at[label[lower]] = hashes[first[lower]], at[first[lower]]
        higher = (hashes[last] > highest[label]) | (highest_at[label] < 0)
        highest[label[higher]], highest_at[label[higher]] = hashes[last[higher]], at[last[higher]]
    present = lowest_at >= 0
    chosen[highest_at[present & (highest < threshold)]] = False
    if index.is_multi_label:
        _fill_validation(index, chosen, lowest_at)
    else:
        chosen[lowest_at[present & (lowest >= threshold) & (lowest_at != highest_at)]] = True
    return chosen


def _fill_validation(index: RowSelection, chosen: np.ndarray, lowest_at: np.ndarray) -> None:
    """With several labels an image: give each class without a validation image its image of the lowest hash, `lowest_at`, unless that is
    the last one for training of a class. Changes `chosen`.
    """
    sides = np.zeros((2, len(lowest_at)), np.int64)  # train, val
    for at in index.chunks():
        places, labels = index.classes_at(at)
        np.add.at(sides, (chosen[at][places].astype(np.int64), labels), 1)
    for label in range(len(lowest_at)):
        if lowest_at[label] < 0 or sides[1, label]:
            continue
        _, classes = index.classes_at(lowest_at[label : label + 1])
        if (sides[0, classes] > 1).all():
            chosen[lowest_at[label]] = True
            sides[0, classes] -= 1
            sides[1, classes] += 1


def folds(index: RowSelection, k: int, seed: int, group: Groups | None = None) -> np.ndarray:
    """The fold of every image, floor(k · hash / 2^64): uint8 (n,)."""
    result = np.empty(len(index), np.uint8)
    for at, hashes in _hashes(index, seed, group):
        result[at] = ((hashes >> np.uint64(32)) * np.uint64(k)) >> np.uint64(32)
    return result


@dataclasses.dataclass(frozen=True, kw_only=True)
class SplitReport:
    """The sizes of both sides of a split, and whether anything is on both."""

    how: str
    train: int
    """Number of images."""
    val: int
    crossing: int
    """Images for validation whose path or group is on the training side too."""
    without_validation: list[str]
    """Classes that have no image to validate on."""

    @classmethod
    def of(cls, train: RowSelection, val: RowSelection, *, how: str, group: Groups | None = None) -> SplitReport:
        """Count both sides. Paths are compared if both have the same root. Memory: 16 bytes for each validation image."""
        found = [_keys_at(val, at, group) for at in val.chunks()] if train.root == val.root else []
        seen = np.concatenate(found) if found else np.zeros((0, 2), np.uint64)
        met = np.zeros(len(seen), bool)
        unique = np.unique(seen)
        for at in train.chunks() if len(seen) else ():
            keys = _keys_at(train, at, group)
            met |= np.isin(seen, keys[np.isin(keys, unique)]).any(1)
        counts = dict(zip(val.class_names, val.class_counts().tolist(), strict=True))
        lacking = [name for name in train.class_names if not counts.get(name)]
        return cls(how=how, train=len(train), val=len(val), crossing=int(met.sum()), without_validation=lacking)

    def __str__(self) -> str:
        share = 100 * self.val / max(1, self.train + self.val)
        text = f"Split ({self.how}): {quantity(self.train, 'image')} to train on, {self.val:,} ({share:.1f} %) to validate on"
        if self.without_validation:
            few = ", ".join(self.without_validation[:5])
            text += f"; {quantity(len(self.without_validation), 'class has', 'classes have')} none to validate on, such as {few}"
        return text + (f"; {quantity(self.crossing, 'is', 'are')} on both sides" if self.crossing else "; nothing is on both sides")

    def to_json(self) -> dict[str, Any]:
        """The report as values that JSON can hold."""
        return dataclasses.asdict(self)


def _keys_at(index: RowSelection, at: np.ndarray, group: Groups | None) -> np.ndarray:
    """uint64 (m, 2): the path and the group of every image; the path again if it has no group."""
    paths = path_hashes(index.table, index.positions_at(at), 0)
    groups = np.zeros_like(paths) if group is None else group.keys(index, at)
    return np.stack([paths, np.where(groups != 0, groups, paths)], 1)


def _hashes(index: RowSelection, seed: int, group: Groups | None = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(positions in the index, their hashes), some thousands at a time."""
    folders = folder_states(index.table, seed)
    for at in index.chunks():
        hashes = hash_names(index.table, folders, index.positions_at(at).astype(np.int64))
        if group is not None:
            keys = group.keys(index, at)
            hashes = np.where(keys != 0, mix(keys ^ seed_state(seed)), hashes)
        yield at, hashes


def _groups_in_validation(index: RowSelection, threshold: np.uint64, seed: int, group: Groups) -> np.ndarray:
    """Like in_validation, for groups; images without a group are groups of their own."""
    chosen = np.empty(len(index), bool)
    found = [np.zeros(0, _MEMBER)]
    for at, hashes in _hashes(index, seed, group):
        chosen[at] = hashes < threshold
        places, labels = index.classes_at(at)
        members = np.empty(len(labels), _MEMBER)
        members["hash"], members["label"] = hashes[places], labels
        found.append(np.unique(members))
        if len(found) > 64:
            found = [np.unique(np.concatenate(found))]
    members = np.unique(np.concatenate(found))  # a row for every class in every group, by hash
    moved = _moved(members["hash"], members["label"], members["hash"] < threshold, len(index.class_names))
    if moved:
        there = np.array(sorted(moved), np.uint64)
        for at, hashes in _hashes(index, seed, group):
            chosen[at] ^= np.isin(hashes, there)
    return chosen


_MEMBER = np.dtype([("hash", np.uint64), ("label", np.int32)])


def _moved(hashes: np.ndarray, labels: np.ndarray, chosen: np.ndarray, classes: int) -> set[int]:
    """Hashes of the groups that change sides, so that no class lacks training files and few lack validation files.

    All (m,): a class of a group; sorted by hash.
    """
    groups = np.stack([np.bincount(labels[~chosen], minlength=classes), np.bincount(labels[chosen], minlength=classes)])  # train, val
    by_label = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[by_label], np.arange(classes + 1))
    moved: set[int] = set()

    def move(member: int, to: int) -> bool:
        first, past = np.searchsorted(hashes, hashes[member]), np.searchsorted(hashes, hashes[member], "right")
        inside = labels[first:past]
        if to == 1 and (groups[0, inside] < 2).any():
            return False
        groups[to, inside] += 1
        groups[1 - to, inside] -= 1
        moved.symmetric_difference_update({int(hashes[member])})
        return True

    for label in range(classes):
        own = by_label[starts[label] : starts[label + 1]]
        if len(own) and not groups[0, label]:
            move(own[-1], 0)
    for label in range(classes):
        own = by_label[starts[label] : starts[label + 1]]
        if len(own) and not groups[1, label]:
            any(move(member, 1) for member in own)
    return moved
