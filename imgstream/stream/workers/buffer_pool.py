"""Batch memory that is recycled when nobody holds it any more. Fresh pages cost more than the arithmetic that fills them."""

from __future__ import annotations

import collections
import math
import weakref
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

import numpy as np

T = TypeVar("T")

_ALIGNMENT = 64  # what TensorFlow and XLA want for taking an array without a copy


class BufferLease(weakref.ref[np.ndarray], Generic[T]):
    """Tells, by way of `end`, that an array is gone, and what is free with it. `end` has to be a function in C, as deque.append is: Python
    drops whatever is raised in Python code that runs at an object's end, and the KeyboardInterrupt of a Ctrl-C may be raised in any.
    """

    __slots__ = ("of",)
    of: T

    def __new__(cls, array: np.ndarray, of: T, end: Callable[[BufferLease[T]], None]) -> BufferLease[T]:
        """`of`: what is lent."""
        lease = super().__new__(cls, array, end)
        lease.of = of
        return lease

    def __init__(self, array: np.ndarray, of: T, end: Callable[[BufferLease[T]], None]) -> None:
        super().__init__(array, end)  # type: ignore[call-arg]  # which typeshed does not know


class Memory(Protocol):
    """Where buffers come from. They go back by themselves when nobody holds them."""

    def take(self, size: int) -> np.ndarray:
        """uint8 (size,), aligned to _ALIGNMENT bytes."""


class PrivateMemory:
    """Memory of this process alone."""

    def take(self, size: int) -> np.ndarray:
        """uint8 (size,), aligned."""
        memory = np.empty(size + _ALIGNMENT, np.uint8)
        start = -memory.ctypes.data % _ALIGNMENT
        return memory[start : start + size]


class _PooledArray(np.ndarray):
    """Memory that is in use, and with it its lease, which has to be there at the end of what uses it."""

    lease: BufferLease[np.ndarray]


class BufferPool:
    """Float32 arrays of one shape. An array's memory comes back by itself when it and every view of it are gone, so whoever was given
    a batch (Keras, a tensor that aliases it, a user's list) may keep it for as long as they like.
    """

    def __init__(self, shape: tuple[int, ...], keep: int, memory: Memory | None = None) -> None:
        """`keep`: how many unused buffers are held for reuse; more than that go back to `memory`, this process's own if None."""
        self._shape = shape
        self.memory = memory if memory is not None else PrivateMemory()
        self._bytes = 4 * math.prod(shape)
        self._free: collections.deque[BufferLease[np.ndarray]] = collections.deque(maxlen=keep)  # whichever thread ends the lease

    def take(self) -> np.ndarray:
        """A float32 array of the pool's shape with undefined contents."""
        try:
            memory = self._free.popleft().of
        except IndexError:
            memory = self.memory.take(self._bytes)
        lent = memory.view(_PooledArray)
        # Through a memoryview the array is no view of `lent` in NumPy's eyes, so views of it hold it, not `lent`: its end is theirs.
        array: np.ndarray = np.frombuffer(lent.data, np.float32).reshape(self._shape)
        owner = array.base
        assert isinstance(owner, np.ndarray)
        lent.lease = BufferLease(owner, memory, self._free.append)
        return array
