"""Turns links between rows into clusters of rows, all in arrays: a folder may hold millions of copies."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


class Links:
    """Which rows are linked, directly or through others: a forest in which each row points to a lower one of its tree, or to itself."""

    def __init__(self, roots: np.ndarray) -> None:
        """`roots`: uint32 (n,), for each row a lower one that it is linked to, or itself."""
        self._up = roots.copy()

    def add(self, first: np.ndarray, second: np.ndarray) -> None:
        """Link first[k] with second[k] for every k: rows, of any integer dtype, (m,)."""
        while True:
            a, b = self.roots_of(first), self.roots_of(second)
            apart = a != b
            if not apart.any():
                return
            np.minimum.at(self._up, np.maximum(a, b)[apart], np.minimum(a, b)[apart])

    def roots_of(self, rows: np.ndarray) -> np.ndarray:
        """The lowest row that each of `rows` is linked to: uint32 (m,)."""
        at = self._up[rows]
        while ((higher := self._up[at]) != at).any():
            at = higher
        self._up[rows] = at  # path compression: the next search is shorter
        return at

    def roots(self) -> np.ndarray:
        """The lowest row that each row is linked to: uint32 (n,)."""
        return self.roots_of(np.arange(len(self._up)))


class Clusters:
    """Clusters of two rows or more, in the order of their first rows; each lists its rows in index order."""

    def __init__(self, roots: np.ndarray) -> None:
        """`roots`: as Links.roots gives them."""
        sizes = np.bincount(roots, minlength=len(roots))
        members = np.flatnonzero(sizes[roots] > 1).astype(np.uint32)
        owners = roots[members]
        self.rows = members[np.argsort(owners, kind="stable")]
        """uint32: the rows of all clusters, cluster by cluster."""
        self._starts = np.flatnonzero(np.diff(np.sort(owners), prepend=-1, append=len(roots)))

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, number: int) -> np.ndarray:
        """The rows of a cluster: uint32 (2 or more,)."""
        return self.rows[self._starts[number] : self._starts[number + 1]]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[number] for number in range(len(self)))

    def where(self, values: np.ndarray) -> np.ndarray:
        """Numbers of the clusters whose rows differ in `values`, int (n,), not counting those below 0: int64 (m,)."""
        if not len(self):
            return np.empty(0, np.int64)
        found = values[self.rows].astype(np.int64)
        most = np.maximum.reduceat(found, self._starts[:-1])
        least = np.minimum.reduceat(np.where(found < 0, np.iinfo(np.int64).max, found), self._starts[:-1])
        return np.flatnonzero((most >= 0) & (least < most))
