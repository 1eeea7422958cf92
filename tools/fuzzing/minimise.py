"""A file that fails → a smaller one that fails alike; files that fail together → fewer of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

TOGETHER = 48
"""Candidates that are tried at once."""

S = TypeVar("S", bytes, tuple[str, ...])
FirstFailing = Callable[[Sequence[S]], int | None]
"""Candidates → the place of the first that still fails, or None."""


def minimised(data: bytes, first_failing: FirstFailing[bytes], seconds: float) -> bytes:
    """The smallest of a file's bytes that is found in so many seconds: blocks removed, then blocks blanked."""
    until = time.monotonic() + seconds
    data = _reduced(data, first_failing, until, _shorter)
    return _reduced(data, first_failing, until, _blanker)


def fewest(names: tuple[str, ...], first_failing: FirstFailing[tuple[str, ...]], seconds: float) -> tuple[str, ...]:
    """The fewest of some files that is found in so many seconds."""
    return _reduced(names, first_failing, time.monotonic() + seconds, _shorter)


def _reduced(data: S, first_failing: FirstFailing[S], until: float, candidates_of: Callable[[S, int], Iterator[S]]) -> S:
    size = max(1, len(data) // 2)
    while size and time.monotonic() < until:
        smaller = _first(list(candidates_of(data, size)), first_failing, until)
        if smaller is None:
            size //= 2
        else:
            data = smaller
            size = min(size, max(1, len(data) // 2))
    return data


def _first(candidates: list[S], first_failing: FirstFailing[S], until: float) -> S | None:
    for first in range(0, len(candidates), TOGETHER):
        some = candidates[first : first + TOGETHER]
        at = first_failing(some)
        if at is not None:
            return some[at]
        if time.monotonic() > until:
            break
    return None


def _shorter(data: S, size: int) -> Iterator[S]:
    if len(data) > size:
        yield data[:-size]
    for at in range(0, len(data) - size, size):
        yield data[:at] + data[at + size :]


def _blanker(data: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(data), size):
        if any(data[at : at + size]):
            yield data[:at] + bytes(len(data[at : at + size])) + data[at + size :]
