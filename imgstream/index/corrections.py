"""Puts labels right by a list of corrections: in the index alone, never in a file."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter

import numpy as np

from imgstream.errors import DatasetError
from imgstream.index.image_index import ImageIndex
from imgstream.index.label_sets import label_set, with_sets
from imgstream.index.path_lists import read_corrections
from imgstream.wording import quantity

_MOST_NAMED = 20


@dataclasses.dataclass(frozen=True)
class Corrections:
    """The contents of a file of corrections, by path relative to the root."""

    file: str
    labels: dict[bytes, str]
    """Path → the right class; where images have several labels, the right classes, joined by "|"."""
    excluded: frozenset[bytes]
    fine: frozenset[bytes]
    """Paths whose label was looked at and is right."""

    @classmethod
    def read(cls, file: str | os.PathLike[str]) -> Corrections:
        """Read a file of corrections; of several rows for a path the last counts. Raises DatasetError, see read_corrections."""
        rows = {row.path: row for row in read_corrections(file)}
        of = {action: frozenset(path for path, row in rows.items() if row.action == action) for action in ("exclude", "fine")}
        labels = {path: row.label for path, row in rows.items() if row.action == "label"}
        return cls(os.fspath(file), labels, of["exclude"], of["fine"])


@dataclasses.dataclass(frozen=True)
class CorrectionReport:
    """What corrections did to an index."""

    file: str
    changed: Counter[tuple[str, str]]
    """(label before, label after) → images."""
    excluded: int
    fine: int
    """Images whose label was found to be right."""
    already: int
    """Images that had the right label, or were left out, before."""
    missing: int
    """Paths of the file that are not in the index."""

    def __str__(self) -> str:
        pairs = [f"{before} → {after} {count:,}" for (before, after), count in self.changed.most_common(_MOST_NAMED)]
        more = len(self.changed) - len(pairs)
        listed = f" ({', '.join(pairs)}{f' and {more} more kinds' if more else ''})" if pairs else ""
        parts = [f"{quantity(self.changed.total(), 'label')} changed{listed}", f"{quantity(self.excluded, 'image')} left out"]
        parts += [f"{self.fine:,} found to be right"] * bool(self.fine)
        parts += [f"{self.already:,} right already"] * bool(self.already)
        parts += [f"{quantity(self.missing, 'path is', 'paths are')} of no image here"] * bool(self.missing)
        return f"Corrections, by {self.file}: {', '.join(parts)}"


def corrected(index: ImageIndex, corrections: Corrections) -> tuple[ImageIndex, CorrectionReport]:
    """`index` with the corrections, and what they did. Row numbers stay. Raises DatasetError for a class that `index` does not have."""
    names, kinds = index.class_names, index.label_names
    wanted = {label: label_set(label) if index.is_multi_label else [label] for label in corrections.labels.values()}
    if unknown := sorted({name for given in wanted.values() for name in given} - set(names)):
        raise DatasetError(
            f"{corrections.file} gives {', '.join(map(repr, unknown[:_MOST_NAMED]))} as a label, which is no class of "
            f"{index.root or 'these images'}; there are {', '.join(names[:_MOST_NAMED]) or 'none'}. Make a folder for a new class first"
        )
    sets, number = index.label_sets, {name: label for label, name in enumerate(names)}
    if index.is_multi_label:
        sets, number = with_sets(sets, {label: [names.index(name) for name in given] for label, given in wanted.items()})
    changed: Counter[tuple[str, str]] = Counter()
    already, found = 0, 0
    positions, labels = [], []
    for at in index.positions_of(corrections.labels).tolist():
        before, after = int(index.labels_at(np.array([at]))[0]), number[corrections.labels[index.relative_bytes(at)]]
        found += 1
        if before == after:
            already += 1
            continue
        changed[kinds[before] if before >= 0 else "(none)", corrections.labels[index.relative_bytes(at)]] += 1
        positions.append(at)
        labels.append(after)
    excluded, fine = len(index.positions_of(corrections.excluded)), len(index.positions_of(corrections.fine))
    listed = len(corrections.labels) + len(corrections.excluded) + len(corrections.fine)
    report = CorrectionReport(corrections.file, changed, excluded, fine, already, max(0, listed - found - excluded - fine))
    if positions:
        index = index.relabelled(np.array(positions), np.array(labels, np.int32), sets or None)
    return (index.without(corrections.excluded) if excluded else index), report
