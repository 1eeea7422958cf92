"""The hash of a relative path, which the split and the comparison of indexes use.

hash = mix(FNV-1a-64(relative path)), the FNV state starting from mix(FNV-1a-64(seed in decimal)) instead of its constant;
mix = murmur3's 64-bit finaliser. For images in groups, hash = mix(mix(FNV-1a-64(seed in decimal)) xor key), key being the group's.
It is part of the format: a change would move files between training and validation of existing runs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from imgstream.index.table.table import Table

_CHUNK_ROWS = 1 << 16
_FNV_START = 0xCBF29CE484222325
_FNV_PRIME = 0x100000001B3
_MIX = (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53)


def path_hashes(table: Table, positions: np.ndarray, seed: int) -> np.ndarray:
    """The hash of each row at `positions`: uint64 (n,)."""
    return hash_names(table, folder_states(table, seed), positions.astype(np.int64))


def keys_of(names: Sequence[bytes]) -> np.ndarray:
    """uint64 (n,): the hashes with seed 0 of these relative paths; and the keys of groups of these names."""
    lengths = np.fromiter(map(len, names), np.int64, len(names))
    states = np.repeat(seed_state(0), len(names))
    return mix(_fnv(states, np.frombuffer(b"".join(names), np.uint8), np.cumsum(lengths) - lengths, lengths))


def hash_names(table: Table, folders: np.ndarray, at: np.ndarray) -> np.ndarray:
    """uint64 (m,): the hashes of the rows at `at`, int64 (m,), continued from the states of their folders."""
    starts = table.name_offsets[at]
    states = _fnv(folders[table.folder_ids[at]], table.name_data, starts, table.name_offsets[at + 1] - starts)
    return mix(states)


def folder_states(table: Table, seed: int) -> np.ndarray:
    """uint64 (folders,): the FNV state after the seed and each folder of the table. Rows continue from there."""
    start = seed_state(seed)
    states = np.empty(len(table.folder_offsets) - 1, np.uint64)
    for first in range(0, len(states), _CHUNK_ROWS):
        offsets = table.folder_offsets[first : first + _CHUNK_ROWS + 1]
        states[first : first + _CHUNK_ROWS] = _fnv(np.repeat(start, len(offsets) - 1), table.folder_data, offsets[:-1], np.diff(offsets))
    return states


def seed_state(seed: int) -> np.ndarray:
    """uint64 (1,): the state that hashes with this seed start from."""
    digits = np.frombuffer(b"%d" % seed, np.uint8)
    return mix(_fnv(np.array([_FNV_START], np.uint64), digits, np.array([0]), np.array([len(digits)])))


def _fnv(states: np.ndarray, data: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """FNV-1a of data[start : start + length] for all rows at once, byte position by byte position; uint64 (n,)."""
    order = np.argsort(-lengths, kind="stable")  # longest first: the rows that still have a byte are always a prefix
    states, starts, shorter = states[order], starts[order], -lengths[order]
    for position in range(int(lengths.max(initial=0))):
        active = int(np.searchsorted(shorter, -position))  # as many as are longer than `position`
        states[:active] ^= data[starts[:active] + position]
        states[:active] *= np.uint64(_FNV_PRIME)
    result = np.empty_like(states)
    result[order] = states
    return result


def mix(states: np.ndarray) -> np.ndarray:
    """murmur3's 64-bit finaliser, uint64 (n,) in and out."""
    for factor in _MIX:
        states = states ^ (states >> np.uint64(33))
        states *= np.uint64(factor)
    return states ^ (states >> np.uint64(33))
