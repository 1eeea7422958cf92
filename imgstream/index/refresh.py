"""What a scan finds beside what an earlier one found: rows that were added, rows that are gone, and where the others are now."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from imgstream.index.listing import Listing
from imgstream.index.split import path_hashes
from imgstream.index.table import Table
from imgstream.index.walk import Contents, one_line

if TYPE_CHECKING:
    from imgstream.index.image_index import ImageIndex

_EXAMPLES = 5


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


def changes_between(before: ImageIndex, now: ImageIndex) -> Changes:
    """Which paths, relative to the root, are in one of two indexes only, by their hashes. Memory: 16 bytes an image of each."""
    if before.fingerprint == now.fingerprint:
        return Changes()
    sides = [np.concatenate([path_hashes(index.table, index.positions_at(at), 0) for at in index.chunks()]) for index in (before, now)]
    gone, new = (np.flatnonzero(~np.isin(hashes, others)) for hashes, others in (sides, sides[::-1]))
    return Changes(
        added=len(new),
        removed=len(gone),
        added_examples=tuple(os.fsdecode(now.relative_bytes(i)) for i in new[:_EXAMPLES].tolist()),
        removed_examples=tuple(os.fsdecode(before.relative_bytes(i)) for i in gone[:_EXAMPLES].tolist()),
    )


class Comparison:
    """Goes along with a scan that began from `listing`, whose images are in `table`."""

    def __init__(self, table: Table, listing: Listing) -> None:
        self.table = table
        self._listing = listing
        self._seen = np.zeros(len(listing), bool)
        self._added = self._removed = 0
        self._added_examples: list[str] = []
        self._removed_examples: list[str] = []
        self.kept: list[tuple[int, int, int]] = []
        """(position in the old table, position in the new one, rows): stretches of rows that are in both."""

    def met(self, folder: bytes, contents: Contents, first: int, past: int) -> None:
        """A folder whose images are the rows from `first` to before `past` now."""
        before = contents.remembered
        if before is not None:
            self._seen[before.number] = True
        if contents.files is None:
            if before is not None:
                self._keep(before.first, first, before.rows)
            return
        old = iter(()) if before is None else self._old_names(before.first, before.first + before.rows)
        old_at, new_at = 0 if before is None else before.first, first
        new = iter(contents.files)
        old_name, new_name = next(old, None), next(new, None)
        while old_name is not None or new_name is not None:
            if new_name is None or (old_name is not None and old_name < new_name):
                self._remove(folder + old_name)  # type: ignore[operator]  # one of the two is there
                old_name, old_at = next(old, None), old_at + 1
            elif old_name is None or new_name < old_name:
                self._added += 1
                if len(self._added_examples) < _EXAMPLES:
                    self._added_examples.append(os.fsdecode(folder + new_name))
                new_name, new_at = next(new, None), new_at + 1
            else:
                self._keep(old_at, new_at, 1)
                old_name, new_name = next(old, None), next(new, None)
                old_at, new_at = old_at + 1, new_at + 1

    def changes(self, folders_listed: int) -> Changes:
        """The result, once the scan is complete: the folders that it did not meet are gone."""
        for number in np.flatnonzero(~self._seen).tolist():
            first, past = self._listing.rows_of(number)
            folder = self._listing.folder(number)
            for name in self.table.names(first, min(past, first + _EXAMPLES)).split():
                self._remove(folder + name)
            self._removed += max(0, past - first - _EXAMPLES)
        return Changes(
            added=self._added,
            removed=self._removed,
            folders_listed=folders_listed,
            added_examples=tuple(self._added_examples),
            removed_examples=tuple(self._removed_examples),
        )

    def _old_names(self, first: int, past: int) -> Iterator[bytes]:
        for start, stop in pairwise([*range(first, past, 1 << 12), past]):
            yield from self.table.names(start, stop).split()

    def _remove(self, path: bytes) -> None:
        self._removed += 1
        if len(self._removed_examples) < _EXAMPLES:
            self._removed_examples.append(os.fsdecode(path))

    def _keep(self, old: int, new: int, rows: int) -> None:
        if self.kept and (last := self.kept[-1])[0] + last[2] == old and last[1] + last[2] == new:
            self.kept[-1] = (last[0], last[1], last[2] + rows)
        elif rows:
            self.kept.append((old, new, rows))
