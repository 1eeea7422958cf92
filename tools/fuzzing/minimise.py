"""A file that fails → a smaller one that fails alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

TOGETHER = 48
"""Candidates that are tried at once."""

FirstFailing = Callable[[Sequence[bytes]], int | None]
"""Candidates → the place of the first that still fails, or None."""


def minimised(data: bytes, first_failing: FirstFailing, seconds: float) -> bytes:
    """The smallest of `data` that is found in so many seconds: ends cut, blocks removed, then blocks blanked."""
    until = time.monotonic() + seconds
    data = _reduced(data, first_failing, until, _shorter)
    return _reduced(data, first_failing, until, _blanker)


def _reduced(data: bytes, first_failing: FirstFailing, until: float, candidates_of: Callable[[bytes, int], Iterator[bytes]]) -> bytes:
    size = max(1, len(data) // 2)
    while size and time.monotonic() < until:
        found = None
        candidates = list(candidates_of(data, size))
        for first in range(0, len(candidates), TOGETHER):
            some = candidates[first : first + TOGETHER]
            at = first_failing(some)
            if at is not None:
                found = some[at]
                break
            if time.monotonic() > until:
                break
        if found is None:
            size //= 2
        else:
            data = found
            size = min(size, max(1, len(data) // 2))
    return data


def _shorter(data: bytes, size: int) -> Iterator[bytes]:
    if len(data) > size:
        yield data[:-size]
    for at in range(0, len(data) - size, size):
        yield data[:at] + data[at + size :]


def _blanker(data: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(data), size):
        if any(data[at : at + size]):
            yield data[:at] + bytes(len(data[at : at + size])) + data[at + size :]
