"""Writes an index as a manifest: a CSV that read_manifest reads back, with the same root."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from imgstream.errors import OutputError
from imgstream.files.atomic import atomic_file
from imgstream.files.csv_output import csv_writer
from imgstream.index.image_index import ImageIndex
from imgstream.index.names import one_line
from imgstream.index.selection import SEPARATOR
from imgstream.index.table.table import PARTS


def write_manifest(index: ImageIndex, file: str | os.PathLike[str], names: Mapping[str, str] | None = None) -> None:
    """Write the columns path (relative to the root, to the byte) and label, and split, group and weight where the index has them.

    `names`: other names for some classes; classes with the same name become one. Groups are written as numbers: equal where those of the
    index are. The file is written whole or not at all. Raises OutputError, also for images inside other files.
    """
    if index.in_containers:
        raise OutputError(
            f"the images of {one_line(index.root)} lie inside archives or shards, and a manifest is a list of files: write a table, with a "
            "name that ends in .arrow"
        )
    labels = [*((names or {}).get(name, name) or SEPARATOR for name in index.label_names), ""]  # -1 is the last one
    columns = {name: index.table.columns.get(column) for name, column in (("split", "part"), ("group", "group"), ("weight", "weight"))}
    there = {name: column for name, column in columns.items() if column is not None}
    if index.explicit_split is None:
        there.pop("split", None)
    with atomic_file(Path(file)) as raw:
        text = io.TextIOWrapper(raw, "utf-8", "surrogateescape", newline="")
        writer = csv_writer(text)
        writer.writerow(("path", "label", *there))
        for at in index.chunks():
            positions = index.positions_at(at)
            values = [_values(name, column[positions]) for name, column in there.items()]
            of_class = [labels[label] for label in index.labels_at(at).tolist()]
            paths = [os.fsdecode(index.relative_bytes(i)) for i in at.tolist()]
            writer.writerows(zip(paths, of_class, *values, strict=True))
        text.flush()
        text.detach()


def _values(name: str, column: np.ndarray) -> list[str]:
    if name == "split":
        return [PARTS[number] or "" for number in column.tolist()]
    return ["" if name == "group" and not value else repr(value) for value in column.tolist()]
