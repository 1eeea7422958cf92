"""Changes: the images that are new or gone since an earlier scan."""

from __future__ import annotations

import dataclasses
import os

import numpy as np

from imgstream.index.names import one_line
from imgstream.index.selection import RowSelection
from imgstream.index.split.path_hash import path_hashes
from imgstream.wording import quantity

EXAMPLES = 5
"""How many paths of new, and of gone, images are given as examples."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Changes:
    """How a scan with `index` differs from the earlier one."""

    added: int = 0
    """Number of images."""
    removed: int = 0
    changed: int = 0
    """Objects in a bucket that were written again. Of files it is not known before they are read: see ImageIndex.changed."""
    folders_listed: int = 0
    """Folders that had to be listed again; the others had not changed."""
    added_examples: tuple[str, ...] = ()
    """A few paths relative to the root, as os.fsdecode gives them."""
    removed_examples: tuple[str, ...] = ()
    changed_examples: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    def __str__(self) -> str:
        if not self:
            return "Since the last time no image was added or removed"
        parts = []
        if self.added:
            parts.append(f"{quantity(self.added, 'new image')} (such as {one_line(os.fsencode(self.added_examples[0]))})")
        if self.removed:
            gone = f"{self.removed:,} gone" if self.added else f"{quantity(self.removed, 'image')} gone"
            parts.append(f"{gone} (such as {one_line(os.fsencode(self.removed_examples[0]))})")
        if self.changed:
            changed = f"{self.changed:,} changed" if parts else f"{quantity(self.changed, 'image')} changed"
            parts.append(f"{changed} (such as {one_line(os.fsencode(self.changed_examples[0]))})")
        return f"Since the last time: {', '.join(parts)}"


def changes_between(before: RowSelection, now: RowSelection) -> Changes:
    """The paths, relative to the root, that are in only one of two indexes, compared by their hashes. Memory: 16 bytes an image of each."""
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
