"""Compares a scan with an earlier one: rows that were added, rows that are gone, and where the others are now."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from imgstream.index.changes import EXAMPLES, Changes
from imgstream.index.folder.listing import Listing
from imgstream.index.folder.walk import Contents
from imgstream.index.table.table import Table


class TableComparison:
    """Compares a scan, folder by folder, with the earlier one in `listing`, whose images are in `table`."""

    def __init__(self, table: Table, listing: Listing) -> None:
        self.table = table
        self._listing = listing
        self._seen = np.zeros(len(listing), bool)
        self._added = self._removed = 0
        self._added_examples: list[str] = []
        self._removed_examples: list[str] = []
        self.kept: list[tuple[int, int, int]] = []
        """(position in the old table, position in the new one, rows): runs of rows that are in both."""

    def add_folder(self, folder: bytes, contents: Contents, first: int, past: int) -> None:
        """Compare one folder, whose images are the rows from `first` to `past` (exclusive) of the new table."""
        before = contents.earlier
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
                if len(self._added_examples) < EXAMPLES:
                    self._added_examples.append(os.fsdecode(folder + new_name))
                new_name, new_at = next(new, None), new_at + 1
            else:
                self._keep(old_at, new_at, 1)
                old_name, new_name = next(old, None), next(new, None)
                old_at, new_at = old_at + 1, new_at + 1

    def changes(self, folders_listed: int) -> Changes:
        """The result of a complete scan: folders that were not added are gone."""
        for number in np.flatnonzero(~self._seen).tolist():
            first, past = self._listing.rows_of(number)
            folder = self._listing.folder(number)
            for name in self.table.names(first, min(past, first + EXAMPLES)).split():
                self._remove(folder + name)
            self._removed += max(0, past - first - EXAMPLES)
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
        if len(self._removed_examples) < EXAMPLES:
            self._removed_examples.append(os.fsdecode(path))

    def _keep(self, old: int, new: int, rows: int) -> None:
        if self.kept and (last := self.kept[-1])[0] + last[2] == old and last[1] + last[2] == new:
            self.kept[-1] = (last[0], last[1], last[2] + rows)
        elif rows:
            self.kept.append((old, new, rows))
