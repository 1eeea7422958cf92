"""Order and randomness as pure functions: which row comes when, and which random numbers belong to a sample.

Both use NumPy's Philox, a counter-based generator whose raw output is fixed for good (Salmon et al., "Parallel random numbers: as easy as
1, 2, 3", SC 2011; NumPy NEP 19). The key is the pair (seed, epoch); the words of the counter say what the numbers are for, so that no two
uses share a stream, and (seed 0, epoch 5) has nothing in common with (seed 5, epoch 0).
"""

from __future__ import annotations

import numpy as np

DRAWS = 25
"""Uniform numbers that the built-in augmentation has for each sample."""

_ROUNDS = 8
_SAMPLE, _ORDER = 0, 1  # the counter's highest word
_MASK64 = (1 << 64) - 1


def permute(positions: np.ndarray, n: int, seed: int, epoch: int) -> np.ndarray:
    """The rows at `positions` (int64 (m,), each in 0..n-1) of this epoch's order, as int64 (m,).

    An exact permutation of 0..n-1 in O(1) memory: a Feistel network over the next power of four, repeated until the result is below n
    (Black and Rogaway, "Ciphers with arbitrary finite domains", 2002). Nothing is shuffled and nothing is stored.
    """
    half = np.uint64(max(1, ((n - 1).bit_length() + 1) // 2))
    mask = np.uint64((1 << int(half)) - 1)
    keys = _philox(seed, epoch, 0, _ORDER).random_raw(_ROUNDS)
    values = np.asarray(positions).astype(np.uint64)
    pending = np.arange(len(values))
    while len(pending):
        left, right = values[pending] >> half, values[pending] & mask
        for key in keys:
            left, right = right, left ^ (_mix(right ^ key) & mask)
        values[pending] = (left << half) | right
        pending = pending[values[pending] >= n]
    return values.astype(np.int64)


class SampleDraws:
    """The random numbers of the built-in augmentation for one sample. One object for each thread: it reuses its generator (2 µs a sample,
    not 11).
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._philox = _philox(seed, 0, 0, _SAMPLE)
        self._generator = np.random.Generator(self._philox)
        self._state = self._philox.state

    def __call__(self, epoch: int, row: int) -> np.ndarray:
        """float64 (DRAWS,), uniform in [0, 1): the first numbers that sample_generator gives for the same key."""
        inner = self._state["state"]
        inner["key"][1] = epoch
        inner["counter"][:] = (0, 0, row, _SAMPLE)
        self._state["buffer_pos"] = 4  # empty: the next number is computed from the counter
        self._philox.state = self._state
        return self._generator.random(DRAWS)


def sample_generator(seed: int, epoch: int, row: int) -> np.random.Generator:
    """A new generator for one sample, keyed by (seed, epoch, row number in the table). No two samples share numbers."""
    return np.random.Generator(_philox(seed, epoch, row, _SAMPLE))


def _philox(seed: int, epoch: int, row: int, use: int) -> np.random.Philox:
    key = np.array([seed & _MASK64, epoch & _MASK64], np.uint64)
    return np.random.Philox(key=key, counter=np.array([0, 0, row, use], np.uint64))


def _mix(values: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64 (Steele, Lea and Flood, 2014), on uint64, wrapping."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
