"""Large pictures take turns: the memory bound counts what all decoders of a process take together, however many threads there are."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from imgstream.formats.header import Header
from imgstream.formats.limits import MEMORY_AT_ONCE, decoder_memory
from imgstream.memory import trim

_SMALL = 16 << 20
"""Bytes up to which nobody waits for anybody: one such picture a thread is in the bound."""

_TRIMMED = 64 << 20
"""Bytes from which on the system is asked to take back what was freed: glibc keeps it for the thread that freed it, and two threads
would hold two large pictures. It takes some milliseconds, of the hundreds that such a picture does."""


class MemoryBudget:
    """A number of bytes that is lent, in the order of asking."""

    def __init__(self, total: int) -> None:
        self._total = self._free = total
        self._door = threading.Lock()  # whoever waits for room stands in it, so that small ones cannot slip past a large one for ever
        self._room = threading.Condition()

    @contextlib.contextmanager
    def take(self, size: int) -> Iterator[None]:
        """Hold `size` bytes, or all there are if that is less, while the block runs; waits until they are free."""
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
    """To decode, and to use what was decoded, within: a file of `size` bytes with this header, at this reduction."""
    memory = decoder_memory(header, size, reduction)
    return _at_once if memory <= _SMALL else _budget.take(memory)
