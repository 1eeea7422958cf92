"""The findings of a check: arrays over all files, and names of files only on request."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from imgstream.check.clusters import Clusters
from imgstream.check.file_records import BadFile, FileRecords
from imgstream.index import ImageIndex
from imgstream.index.look_alikes import look_alikes

EXTREME_ASPECT = 4
"""An image is extreme when its longer side is more than this many times its shorter one: a square crop would keep less than a quarter of
it.
"""
MOST_LISTED = 10_000
"""Files of each kind of finding that the JSON names."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Findings:
    """The findings of one check. Rows are positions in `index`; clusters list their rows in index order."""

    index: ImageIndex
    facts: FileRecords
    decoded: bool
    """Whether files were decoded; else only their headers were read."""
    seconds: float
    exact: Clusters
    """Files of equal contents."""
    alike: Clusters
    """Files of equal contents, or that show the same image: a split should keep them together."""
    near: np.ndarray
    """Numbers of the clusters in `alike` whose files are not all equal: int64, empty without decoding."""
    conflicts: np.ndarray
    """Numbers of the clusters in `alike` with more than one label: int64."""
    parts: np.ndarray
    """Position of each row's part in part_names: int8 (n,), -1 = none."""
    part_names: tuple[str, ...]
    """train, val, test, or some of them; () if there are no labels to train on."""
    split_by: str | None
    """"folders", "hash" (what train would do: val 0.2, seed 0), "run" (the sides of a run), or None."""
    across: np.ndarray
    """Numbers of the clusters in `alike` with files in more than one part: int64."""
    extreme: np.ndarray
    """Rows of extreme aspect: int64."""
    plain: int
    """Number of images with too little contrast to find near duplicates of; they were left out of the search."""

    @property
    def bad(self) -> int:
        """Number of files that are no usable image."""
        return len(self.index) - int(self.facts.good.sum())

    @property
    def clean(self) -> bool:
        """Whether nothing was found; what was not looked for does not count."""
        return not (self.bad or len(self.alike) or len(self.extreme) or self.look_alikes)

    @property
    def look_alikes(self) -> list[list[str]]:
        """Groups of classes whose names look alike."""
        return look_alikes(self.index.class_names)

    def path(self, row: int) -> str:
        """Path of a row, relative to the folder, with "/"; bytes that are no UTF-8 are surrogates."""
        return self.index.relative_bytes(row).decode("utf-8", "surrogateescape")

    def class_name(self, row: int) -> str | None:
        """The class of a row; None for a file without a class."""
        label = int(self.index.labels[row])
        return self.index.label_names[label] if label >= 0 else None

    def part(self, row: int) -> str | None:
        """The part of a row: train, val, test or None."""
        part = int(self.parts[row])
        return self.part_names[part] if part >= 0 else None

    def classes(self) -> list[tuple[str | None, int, int]]:
        """(name, files, bad files among them) of each class in order; then, if there are any, of the files without a class (None)."""
        labels, names = self.index.labels, [*self.index.label_names, None]
        files, bad = (np.bincount(found + 1, minlength=len(names)) for found in (labels, labels[~self.facts.good]))
        rows = [(name, int(files[i + 1]), int(bad[i + 1])) for i, name in enumerate(names[:-1])]
        return rows + [(None, int(files[0]), int(bad[0]))] * bool(files[0])

    def sizes(self) -> dict[str, tuple[float, float, float]]:
        """(least, median, most) of the good images: width and height in oriented pixels, and bytes of the file; {} without good images."""
        good = self.facts.records[self.facts.good]
        if not len(good):
            return {}
        return {name: (float(good[key].min()), float(np.median(good[key])), float(good[key].max())) for name, key in _SIZES}

    def bad_files(self) -> Iterator[tuple[str, BadFile]]:
        """Path and error of each bad file in index order."""
        return ((self.path(bad.row), bad) for bad in self.facts.bad())

    def to_json(self) -> dict[str, Any]:
        """What `imgstream check --json` prints: docs/formats.md."""
        listed = list(itertools.islice(self.bad_files(), MOST_LISTED))
        return {
            "format": 1,
            "directory": self.index.root,
            "files": len(self.index),
            "clean": self.clean,
            "decoded": self.decoded,
            "seconds": self.seconds,
            "bytes": int(self.facts.records["size"].sum()),
            "look_alike_classes": self.look_alikes,
            "classes": [{"name": name, "files": files, "bad": bad} for name, files, bad in self.classes()],
            "other_files": self.index.skipped_extensions,
            "unreadable_folders": self.index.unreadable_count,
            "kinds": self.facts.kinds(),
            "sizes": {name: dict(zip(("least", "median", "most"), found, strict=True)) for name, found in self.sizes().items()},
            "broken": {
                "files": self.bad,
                "reasons": self.facts.reasons(),
                "first": [{"path": path, "reason": bad.reason, "detail": bad.detail} for path, bad in listed],
            },
            "exact_duplicates": self._clusters(self.exact, range(len(self.exact))),
            "near_duplicates": {**self._clusters(self.alike, self.near), "too_plain": self.plain} if self.decoded else None,
            "conflicting_labels": self._clusters(self.alike, self.conflicts),
            "across_splits": {"split_by": self.split_by, **self._clusters(self.alike, self.across)} if self.split_by else None,
            "extreme_aspects": {
                "files": len(self.extreme),
                "longer_side_over_shorter": EXTREME_ASPECT,
                "first": [{"path": self.path(row), "width": w, "height": h} for row, w, h in self.extremes(MOST_LISTED)],
            },
        }

    def extremes(self, most: int) -> Iterator[tuple[int, int, int]]:
        """(row, width, height) of the first images of extreme aspect."""
        for row in self.extreme[:most].tolist():
            record = self.facts.records[row]
            yield row, int(record["width"]), int(record["height"])

    def _clusters(self, clusters: Clusters, numbers: Iterable[int]) -> dict[str, Any]:
        """The number of clusters, of their files, and the first of them by name, up to MOST_LISTED files."""
        files, count, first = 0, 0, []
        for number in numbers:
            rows = clusters[number]
            if files < MOST_LISTED:
                named = rows[: MOST_LISTED - files].tolist()
                first.append([{"path": self.path(row), "class": self.class_name(row), "part": self.part(row)} for row in named])
            files, count = files + len(rows), count + 1
        return {"clusters": count, "files": files, "first": first}


_SIZES = (("width_pixels", "width"), ("height_pixels", "height"), ("file_bytes", "size"))
