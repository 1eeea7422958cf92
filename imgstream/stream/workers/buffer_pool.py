"""A pool of batch buffers, recycled when nobody holds them any more: fresh pages cost more than the arithmetic that fills them."""

from __future__ import annotations

import collections
import math
import weakref
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

T = TypeVar("T")

_FLOAT32 = np.dtype(np.float32)
_ALIGNMENT = 64  # what TensorFlow and XLA want for taking an array without a copy


class BufferLease(weakref.ref[Any], Generic[T]):
    """A weak reference that calls `end` when what it refers to is gone, and names the resource that is free again.

    `end` has to be a C function such as deque.append: Python drops exceptions that are raised in Python code at an object's end, and a
    Ctrl-C may raise KeyboardInterrupt in any.
    """

    __slots__ = ("of",)
    of: T

    def __new__(cls, user: object, of: T, end: Callable[[BufferLease[T]], None]) -> BufferLease[T]:
        """`of`: the resource that `user` uses."""
        lease = super().__new__(cls, user, end)
        lease.of = of
        return lease

    def __init__(self, user: object, of: T, end: Callable[[BufferLease[T]], None]) -> None:
        super().__init__(user, end)  # type: ignore[call-arg]  # which typeshed does not know


class Memory(Protocol):
    """Where buffers come from. Memory goes back by itself when nobody holds it."""

    def take(self, size: int) -> np.ndarray:
        """uint8 (size,), aligned to _ALIGNMENT bytes."""


class PrivateMemory:
    """Memory of this process alone."""

    def take(self, size: int) -> np.ndarray:
        """uint8 (size,), aligned to _ALIGNMENT bytes."""
        memory = np.empty(size + _ALIGNMENT, np.uint8)
        start = -memory.ctypes.data % _ALIGNMENT
        return memory[start : start + size]


class _Loan:
    """What an array and its views hold, as NumPy's array interface has it. Python calls a weak reference's callback before it drops what
    such an object holds, its own lease; NumPy 2.5 and later do not so with an array.
    """

    __slots__ = ("__array_interface__", "__weakref__", "lease")

    def __init__(self, memory: np.ndarray, shape: tuple[int, ...], dtype: np.dtype[Any], end: Callable[..., None]) -> None:
        self.__array_interface__ = memory.view(dtype).reshape(shape).__array_interface__
        self.lease = BufferLease(self, memory, end)


class BufferPool:
    """Arrays of one shape and dtype, whose memory is recycled when an array and every view of it are gone. Whoever was given a batch
    (Keras, a tensor that aliases it, a user's list) may therefore keep it.
    """

    def __init__(self, shape: tuple[int, ...], keep: int, memory: Memory | None = None, dtype: np.dtype[Any] = _FLOAT32) -> None:
        """`keep`: how many unused buffers are kept for reuse; more go back to `memory`, which is this process's own if None."""
        self._shape, self._dtype = shape, dtype
        self.memory = memory if memory is not None else PrivateMemory()
        self._bytes = dtype.itemsize * math.prod(shape)
        self._free: collections.deque[BufferLease[np.ndarray]] = collections.deque(maxlen=keep)  # any thread may end a lease

    def take(self) -> np.ndarray:
        """An array of the pool's shape and dtype with undefined contents."""
        try:
            memory = self._free.popleft().of
        except IndexError:
            memory = self.memory.take(self._bytes)
        return np.asarray(_Loan(memory, self._shape, self._dtype, self._free.append))
