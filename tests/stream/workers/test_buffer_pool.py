"""Batch memory comes back when, and only when, nobody holds it any more."""

from __future__ import annotations

import gc
import os
import threading
import weakref
from collections.abc import Callable

import numpy as np
import pytest

from imgstream.stream.workers.buffer_pool import BufferPool, Memory, PrivateMemory
from imgstream.stream.workers.processes import AVAILABLE, SharedMemory


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def test_a_buffer_is_float32_of_its_shape_writable_and_aligned() -> None:
    array = BufferPool((2, 3, 5, 3), keep=1).take()
    assert (array.dtype, array.shape, array.flags.writeable, array.flags.c_contiguous) == (np.float32, (2, 3, 5, 3), True, True)
    assert address(array) % 64 == 0
    assert BufferPool((7,), keep=1).take().shape == (7,)


def test_memory_that_nobody_holds_is_used_again() -> None:
    buffers = BufferPool((4, 4), keep=2)
    array = buffers.take()
    first = address(array)
    del array
    assert address(buffers.take()) == first


@pytest.mark.parametrize(
    "hold", [lambda a: a, lambda a: a[1:], lambda a: a.T[0], lambda a: memoryview(a), lambda a: np.asarray(a[..., None])[0]]
)
def test_memory_that_a_view_still_holds_is_never_given_out(hold) -> None:  # type: ignore[no-untyped-def]
    buffers = BufferPool((4, 4), keep=2)
    array = buffers.take()
    array[:] = 7
    held = hold(array)
    del array
    gc.collect()
    for _ in range(5):
        buffers.take()[:] = 0
    assert (np.asarray(held) == 7).all()
    first = address(np.asarray(held))
    del held
    taken = [buffers.take() for _ in range(3)]
    assert any(abs(address(one) - first) < 64 for one in taken)  # and now it is


def test_only_so_many_unused_buffers_are_kept() -> None:
    buffers = BufferPool((4,), keep=2)
    taken = [buffers.take() for _ in range(6)]
    taken.clear()
    assert len(buffers._free) == 2


def test_buffers_taken_and_dropped_on_many_threads_are_never_shared() -> None:
    buffers, mixed = BufferPool((64,), keep=4), []

    def work(number: int) -> None:
        for _ in range(300):
            array = buffers.take()
            array[:] = number
            mixed.append(bool((array != number).any()))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(mixed) == 1200
    assert not any(mixed)


class CountedMemory:
    """Memory that counts what it has given out and what came back."""

    def __init__(self) -> None:
        self.out: list[int] = []
        self.back: list[int] = []

    def take(self, size: int) -> np.ndarray:
        memory = np.zeros(size, np.uint8)
        self.out.append(address(memory))
        weakref.finalize(memory, self.back.append, address(memory))
        return memory


def test_only_what_is_not_kept_goes_back_to_the_memory_that_it_came_from() -> None:
    memory = CountedMemory()
    buffers = BufferPool((4, 3), keep=2, memory=memory)
    taken = [buffers.take() for _ in range(5)]
    assert len(memory.out) == len(set(memory.out)) == 5
    view = taken[0][1:]
    taken.clear()
    gc.collect()
    assert len(memory.back) == 2  # at once; two are kept, one is held
    assert memory.out[0] not in memory.back
    again = [buffers.take() for _ in range(2)]
    assert len(memory.out) == 5
    del again, view


on_linux = pytest.mark.skipif(not AVAILABLE, reason="worker processes are started on Linux alone")


@pytest.mark.parametrize("memory", [PrivateMemory, pytest.param(SharedMemory, marks=on_linux)])
def test_no_python_code_runs_at_an_array_s_end_where_ctrl_c_would_be_lost(
    entered: Callable[[Callable[[], object]], list[str]], memory: Callable[[], Memory]
) -> None:
    buffers = BufferPool((4, 3), keep=2, memory=memory())
    taken = [buffers.take() for _ in range(5)]
    assert entered(taken.clear) == []
    assert len(buffers._free) == 2


@on_linux
def test_the_system_has_the_pages_of_what_is_not_kept() -> None:
    memory = SharedMemory()
    buffers = BufferPool((1 << 18,), keep=2, memory=memory)
    taken = [buffers.take() for _ in range(5)]
    for array in taken:
        array[:] = 1
    del array
    assert os.fstat(memory.descriptor).st_blocks * 512 == 5 << 20
    taken.clear()
    memory.reclaim()
    assert os.fstat(memory.descriptor).st_blocks * 512 == 2 << 20
    taken = [buffers.take() for _ in range(5)]
    assert os.fstat(memory.descriptor).st_size == 5 << 20  # and the file has not grown
    assert len({memory.offset(array) for array in taken}) == 5
