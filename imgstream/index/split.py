"""Which rows are for validation: a hash of (seed, relative path), so that a file's side depends on nothing but its own name.

hash = mix(FNV-1a-64(relative path)), the FNV state starting from mix(FNV-1a-64(seed in decimal)) instead of its constant;
mix = murmur3's 64-bit finaliser. Of images in groups, hash = mix(mix(FNV-1a-64(seed in decimal)) xor key), key being the group's.
Part of the format: a change moves files between training and validation of runs that exist.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from imgstream.index.table import Table

if TYPE_CHECKING:
    from imgstream.index.groups import Groups
    from imgstream.index.image_index import ImageIndex

_CHUNK_ROWS = 1 << 16
_WORD = (1 << 64) - 1
_FNV_START = 0xCBF29CE484222325
_FNV_PRIME = 0x100000001B3
_MIX = (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53)


def in_validation(index: ImageIndex, fraction: float, seed: int, group: Groups | None = None) -> np.ndarray:
    """Which images are for validation: bool (n,).

    One is, iff its hash / 2^64 < `fraction`. Then each class that lacks a training file is given its highest hash for training, and each
    class of two files or more that lacks a validation file its lowest. Rows labelled -1 are hashed only. With groups it is whole groups
    that are moved, and only where no class loses its last group for training.
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
        labels = index.labels_at(at)
        order = np.lexsort((hashes, labels))
        labels = labels[order]
        edges = np.flatnonzero(np.diff(labels, prepend=-2, append=classes))  # one class lies between each two edges
        first, last = order[edges[:-1]], order[edges[1:] - 1]
        label = labels[edges[:-1]]
        first, last, label = (values[label >= 0] for values in (first, last, label))
        lower = (hashes[first] < lowest[label]) | (lowest_at[label] < 0)
        lowest[label[lower]], lowest_at[label[lower]] = hashes[first[lower]], at[first[lower]]
        higher = (hashes[last] > highest[label]) | (highest_at[label] < 0)
        highest[label[higher]], highest_at[label[higher]] = hashes[last[higher]], at[last[higher]]
    present = lowest_at >= 0
    chosen[highest_at[present & (highest < threshold)]] = False
    chosen[lowest_at[present & (lowest >= threshold) & (lowest_at != highest_at)]] = True
    return chosen


def folds(index: ImageIndex, k: int, seed: int, group: Groups | None = None) -> np.ndarray:
    """The fold of every image, floor(k · hash / 2^64): uint8 (n,)."""
    result = np.empty(len(index), np.uint8)
    for at, hashes in _hashes(index, seed, group):
        result[at] = ((hashes >> np.uint64(32)) * np.uint64(k)) >> np.uint64(32)
    return result


@dataclasses.dataclass(frozen=True, kw_only=True)
class SplitReport:
    """What a split did, and whether anything is on both sides."""

    how: str
    train: int
    """Images."""
    val: int
    crossing: int
    """Images for validation whose path, or group, is on the training side too."""
    without_validation: list[str]
    """Classes that have no image to validate on."""

    @classmethod
    def of(cls, train: ImageIndex, val: ImageIndex, *, how: str, group: Groups | None = None) -> SplitReport:
        """Count both sides. Paths are compared where both have one root; memory: 16 bytes an image for validation."""
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
        text = f"Split ({self.how}): {self.train:,} images to train on, {self.val:,} ({share:.1f} %) to validate on"
        if self.without_validation:
            few = ", ".join(self.without_validation[:5])
            text += f"; {len(self.without_validation):,} classes have none to validate on, such as {few}"
        return text + (f"; {self.crossing:,} are on both sides" if self.crossing else "; nothing is on both sides")

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return dataclasses.asdict(self)


def _keys_at(index: ImageIndex, at: np.ndarray, group: Groups | None) -> np.ndarray:
    """uint64 (m, 2): the path of every image and its group; where it has none, the path again."""
    paths = path_hashes(index.table, index.positions_at(at), 0)
    groups = np.zeros_like(paths) if group is None else group.keys(index, at)
    return np.stack([paths, np.where(groups != 0, groups, paths)], 1)


def path_hashes(table: Table, positions: np.ndarray, seed: int) -> np.ndarray:
    """The hash of each row at `positions`: uint64 (n,)."""
    return _hash_names(table, _folder_states(table, seed), positions.astype(np.int64))


def keys_of(names: Sequence[bytes]) -> np.ndarray:
    """uint64 (n,): the hash with seed 0 of relative paths, and the keys of groups of these names."""
    lengths = np.fromiter(map(len, names), np.int64, len(names))
    states = np.repeat(_seed_state(0), len(names))
    return _mix(_fnv(states, np.frombuffer(b"".join(names), np.uint8), np.cumsum(lengths) - lengths, lengths))


def _hashes(index: ImageIndex, seed: int, group: Groups | None = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(places in the index, their hashes), some thousands at a time."""
    folders = _folder_states(index.table, seed)
    for at in index.chunks():
        hashes = _hash_names(index.table, folders, index.positions_at(at).astype(np.int64))
        if group is not None:
            keys = group.keys(index, at)
            hashes = np.where(keys != 0, _mix(keys ^ _seed_state(seed)), hashes)
        yield at, hashes


def _groups_in_validation(index: ImageIndex, threshold: np.uint64, seed: int, group: Groups) -> np.ndarray:
    """As in_validation; images without a group are groups of their own."""
    chosen = np.empty(len(index), bool)
    found = [np.zeros(0, _MEMBER)]
    for at, hashes in _hashes(index, seed, group):
        chosen[at] = hashes < threshold
        members = np.empty(len(at), _MEMBER)
        members["hash"], members["label"] = hashes, index.labels_at(at)
        found.append(np.unique(members))
        if len(found) > 64:
            found = [np.unique(np.concatenate(found))]
    members = np.unique(np.concatenate(found))  # a row for every class in every group, by hash
    members = members[members["label"] >= 0]
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


def _hash_names(table: Table, folders: np.ndarray, at: np.ndarray) -> np.ndarray:
    starts = table.name_offsets[at]
    states = _fnv(folders[table.folder_ids[at]], table.name_data, starts, table.name_offsets[at + 1] - starts)
    return _mix(states)


def _folder_states(table: Table, seed: int) -> np.ndarray:
    """FNV state after the seed and each folder of the dictionary: uint64 (folders,). Rows go on from there."""
    start = _seed_state(seed)
    states = np.empty(len(table.folder_offsets) - 1, np.uint64)
    for first in range(0, len(states), _CHUNK_ROWS):
        offsets = table.folder_offsets[first : first + _CHUNK_ROWS + 1]
        states[first : first + _CHUNK_ROWS] = _fnv(np.repeat(start, len(offsets) - 1), table.folder_data, offsets[:-1], np.diff(offsets))
    return states


def _seed_state(seed: int) -> np.ndarray:
    """uint64 (1,): what hashes with this seed begin from."""
    digits = np.frombuffer(b"%d" % seed, np.uint8)
    return _mix(_fnv(np.array([_FNV_START], np.uint64), digits, np.array([0]), np.array([len(digits)])))


def _fnv(states: np.ndarray, data: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """FNV-1a of data[start : start + length] for every row at once, byte position by byte position; uint64 (n,)."""
    order = np.argsort(-lengths, kind="stable")  # longest first: the rows that still have a byte are always a prefix
    states, starts, shorter = states[order], starts[order], -lengths[order]
    for position in range(int(lengths.max(initial=0))):
        active = int(np.searchsorted(shorter, -position))  # as many as are longer than `position`
        states[:active] ^= data[starts[:active] + position]
        states[:active] *= np.uint64(_FNV_PRIME)
    result = np.empty_like(states)
    result[order] = states
    return result


def _mix(states: np.ndarray) -> np.ndarray:
    for factor in _MIX:
        states = states ^ (states >> np.uint64(33))
        states *= np.uint64(factor)
    return states ^ (states >> np.uint64(33))
