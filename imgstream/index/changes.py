"""Changes: what a scan found to be different from an earlier one."""

from __future__ import annotations

import dataclasses
import os

import numpy as np

from imgstream.index.names import one_line
from imgstream.index.selection import RowSelection
from imgstream.index.split.path_hash import path_hashes

EXAMPLES = 5
"""Paths that are told of what is new or gone."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Changes:
    """What a scan with `index` found to be different."""

    added: int = 0
    """Images."""
    removed: int = 0
    folders_listed: int = 0
    """Folders that had to be listed; the others were as they had been."""
    added_examples: tuple[str, ...] = ()
    """A few paths relative to the root, as os.fsdecode has them."""
    removed_examples: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed)

    def __str__(self) -> str:
        parts = []
        for count, what, examples in ((self.added, "new", self.added_examples), (self.removed, "gone", self.removed_examples)):
            if count:
                parts.append(f"{count:,} {what} (such as {one_line(os.fsencode(examples[0]))})")
        return f"Since the last time: {' and '.join(parts) or 'nothing'} of the images"


def changes_between(before: RowSelection, now: RowSelection) -> Changes:
    """Which paths, relative to the root, are in one of two indexes only, by their hashes. Memory: 16 bytes an image of each."""
    if before.fingerprint == now.fingerprint:
        return Changes()
    sides = [np.concatenate([path_hashes(index.table, index.positions_at(at), 0) for at in index.chunks()]) for index in (before, now)]
    gone, new = (np.flatnonzero(~np.isin(hashes, others)) for hashes, others in (sides, sides[::-1]))
    return Changes(
        added=len(new),
        removed=len(gone),
        added_examples=tuple(os.fsdecode(now.relative_bytes(i)) for i in new[:EXAMPLES].tolist()),
        removed_examples=tuple(os.fsdecode(before.relative_bytes(i)) for i in gone[:EXAMPLES].tolist()),
    )
