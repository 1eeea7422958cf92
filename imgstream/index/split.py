"""Which rows are for validation: a hash of (seed, relative path), so that a file's side depends on nothing but its own name.

hash = mix(FNV-1a-64(relative path)), the FNV state starting from mix(FNV-1a-64(seed in decimal)) instead of its constant;
mix = murmur3's 64-bit finaliser. Part of the format: a change moves files between training and validation of runs that exist.
"""

from __future__ import annotations

import numpy as np

from imgstream.index.table import Table

_CHUNK_ROWS = 1 << 16
_WORD = (1 << 64) - 1
_FNV_START = 0xCBF29CE484222325
_FNV_PRIME = 0x100000001B3
_MIX = (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53)


def in_validation(table: Table, positions: np.ndarray | None, fraction: float, seed: int) -> np.ndarray:
    """Which of the rows at `positions` (None: all) are for validation: bool (n,).

    A row is, iff its hash / 2^64 < `fraction`. Then each class that lacks a training file is given its highest hash for training, and each
    class of two files or more that lacks a validation file its lowest. Rows labelled -1 are hashed only.
    """
    count = len(table) if positions is None else len(positions)
    threshold = np.uint64(int(fraction * 2**64))
    classes = len(table.info.class_names)
    lowest, highest = np.full(classes, _WORD, np.uint64), np.zeros(classes, np.uint64)
    lowest_at, highest_at = np.full(classes, -1, np.int64), np.full(classes, -1, np.int64)
    chosen = np.empty(count, bool)
    folders = _folder_states(table, seed)
    for start in range(0, count, _CHUNK_ROWS):
        stop = min(start + _CHUNK_ROWS, count)
        at = np.arange(start, stop) if positions is None else positions[start:stop].astype(np.int64)
        hashes = _hash_names(table, folders, at)
        chosen[start:stop] = hashes < threshold
        labels = table.labels[at]
        order = np.lexsort((hashes, labels))
        labels = labels[order]
        edges = np.flatnonzero(np.diff(labels, prepend=-2, append=classes))  # one class lies between each two edges
        first, last = order[edges[:-1]], order[edges[1:] - 1]
        label = labels[edges[:-1]]
        first, last, label = (values[label >= 0] for values in (first, last, label))
        lower = (hashes[first] < lowest[label]) | (lowest_at[label] < 0)
        lowest[label[lower]], lowest_at[label[lower]] = hashes[first[lower]], start + first[lower]
        higher = (hashes[last] > highest[label]) | (highest_at[label] < 0)
        highest[label[higher]], highest_at[label[higher]] = hashes[last[higher]], start + last[higher]
    present = lowest_at >= 0
    chosen[highest_at[present & (highest < threshold)]] = False
    chosen[lowest_at[present & (lowest >= threshold) & (lowest_at != highest_at)]] = True
    return chosen


def path_hashes(table: Table, positions: np.ndarray, seed: int) -> np.ndarray:
    """The hash of each row at `positions`: uint64 (n,)."""
    return _hash_names(table, _folder_states(table, seed), positions.astype(np.int64))


def _hash_names(table: Table, folders: np.ndarray, at: np.ndarray) -> np.ndarray:
    starts = table.name_offsets[at]
    states = _fnv(folders[table.folder_ids[at]], table.name_data, starts, table.name_offsets[at + 1] - starts)
    return _mix(states)


def _folder_states(table: Table, seed: int) -> np.ndarray:
    """FNV state after the seed and each folder of the dictionary: uint64 (folders,). Rows go on from there."""
    digits = np.frombuffer(b"%d" % seed, np.uint8)
    start = _mix(_fnv(np.array([_FNV_START], np.uint64), digits, np.array([0]), np.array([len(digits)])))
    states = np.empty(len(table.folder_offsets) - 1, np.uint64)
    for first in range(0, len(states), _CHUNK_ROWS):
        offsets = table.folder_offsets[first : first + _CHUNK_ROWS + 1]
        states[first : first + _CHUNK_ROWS] = _fnv(np.repeat(start, len(offsets) - 1), table.folder_data, offsets[:-1], np.diff(offsets))
    return states


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
