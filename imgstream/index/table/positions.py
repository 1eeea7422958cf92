"""Positions of selected rows in a table; many of them are kept in a temporary file instead of in memory."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterable

import numpy as np

_IN_MEMORY = 1 << 18
"""Positions that are held in memory; more go to an unnamed temporary file and are mapped from there."""


def gather(chunks: Iterable[np.ndarray]) -> np.ndarray:
    """Concatenate the chunks, each unsigned (m,): uint32 (n,), read-only."""
    held: list[np.ndarray] = []
    rows = 0
    chunks = iter(chunks)
    for chunk in chunks:
        held.append(chunk.astype(np.uint32, copy=False))
        rows += len(chunk)
        if rows > _IN_MEMORY:
            return _spilled(held, chunks)
    positions = np.concatenate(held) if held else np.zeros(0, np.uint32)
    positions.flags.writeable = False
    return positions


def _spilled(held: list[np.ndarray], chunks: Iterable[np.ndarray]) -> np.ndarray:
    with tempfile.TemporaryFile() as file:
        for part in (held, chunks):
            for chunk in part:
                file.write(np.ascontiguousarray(chunk, np.uint32).data)
            held.clear()
        file.flush()
        return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint32)
