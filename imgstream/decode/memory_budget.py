"""Limits the memory that all decoders of a process take together: large images wait for each other, however many threads there are."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from imgstream.formats.header import Header
from imgstream.formats.limits import MEMORY_AT_ONCE, decoder_memory
from imgstream.memory import trim

_SMALL = 16 << 20
"""An image of up to this many bytes never waits: the memory bound allows for one such image a thread."""

_TRIMMED = 64 << 20
"""From this many bytes on, the system is asked to take freed memory back: glibc keeps it for the thread that freed it, and two threads
would hold two large images. It takes some milliseconds, of the hundreds that such an image takes.
"""


class MemoryBudget:
    """A number of bytes that threads take and give back, in the order of asking."""

    def __init__(self, total: int) -> None:
        self._total = self._free = total
        self._door = threading.Lock()  # held while waiting, so that small requests cannot overtake a large one for ever
        self._room = threading.Condition()

    @contextlib.contextmanager
    def take(self, size: int) -> Iterator[None]:
        """Hold `size` bytes, or the whole budget if that is less, during the block; waits until they are free."""
        size = min(size, self._total)
        with self._door, self._room:
            while self._free < size:
                self._room.wait()
            self._free -= size
        try:
            yield
        finally:
            if size >= _TRIMMED:
                trim()
            with self._room:
                self._free += size
                self._room.notify()


_budget = MemoryBudget(MEMORY_AT_ONCE)
_at_once = contextlib.nullcontext()


def within_budget(header: Header, size: int, reduction: int) -> contextlib.AbstractContextManager[object]:
    """The context in which to decode a file of `size` bytes with this header at this reduction, and to use the pixels."""
    memory = decoder_memory(header, size, reduction)
    return _at_once if memory <= _SMALL else _budget.take(memory)
