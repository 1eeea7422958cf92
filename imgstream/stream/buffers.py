"""Batch memory that is recycled when nobody holds it any more. Fresh pages cost more than the arithmetic that fills them."""

from __future__ import annotations

import collections
import math
import weakref
from typing import Protocol

import numpy as np

_ALIGNMENT = 64  # what TensorFlow and XLA want for taking an array without a copy


class Memory(Protocol):
    """Where buffers come from and go to."""

    def take(self, size: int) -> np.ndarray:
        """uint8 (size,), aligned to _ALIGNMENT bytes."""

    def give_back(self, memory: np.ndarray) -> None:
        """Nobody holds it any more, and it is not to be kept."""


class PrivateMemory:
    """Memory of this process alone."""

    def take(self, size: int) -> np.ndarray:
        """uint8 (size,), aligned."""
        memory = np.empty(size + _ALIGNMENT, np.uint8)
        start = -memory.ctypes.data % _ALIGNMENT
        return memory[start : start + size]

    def give_back(self, memory: np.ndarray) -> None:
        """NumPy gives it to the system."""


class BatchBuffers:
    """Float32 arrays of one shape. An array's memory comes back by itself when it and every view of it are gone, so whoever was given
    a batch (Keras, a tensor that aliases it, a user's list) may keep it for as long as they like.
    """

    def __init__(self, shape: tuple[int, ...], keep: int, memory: Memory | None = None) -> None:
        """`keep`: how many unused buffers are held for reuse; more than that go back to `memory`, this process's own if None."""
        self._shape, self._keep = shape, keep
        self.memory = memory if memory is not None else PrivateMemory()
        self._bytes = 4 * math.prod(shape)
        self._free: collections.deque[np.ndarray] = collections.deque()  # appends are atomic: a callback may run on any thread
        self._lent: dict[int, weakref.ref[np.ndarray]] = {}

    def take(self) -> np.ndarray:
        """A float32 array of the pool's shape with undefined contents."""
        try:
            raw = self._free.popleft()
        except IndexError:
            raw = self.memory.take(self._bytes)
        # Through a memoryview the array is no view of `raw` in NumPy's eyes, so views of it hold it, not `raw`: its end is theirs.
        array: np.ndarray = np.frombuffer(raw.data, np.float32).reshape(self._shape)
        owner = array.base
        assert isinstance(owner, np.ndarray)
        key = id(owner)
        self._lent[key] = weakref.ref(owner, lambda _: self._give_back(key, raw))
        return array

    def _give_back(self, key: int, raw: np.ndarray) -> None:
        self._lent.pop(key, None)
        if len(self._free) < self._keep:
            self._free.append(raw)
        else:
            self.memory.give_back(raw)
