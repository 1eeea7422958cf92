"""What commands take for images: a folder, a manifest, or a saved table."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from imgstream.errors import DatasetError, DatasetWarning, NoImagesError
from imgstream.index.folder import scan
from imgstream.index.image_index import ImageIndex
from imgstream.index.lists import read_paths
from imgstream.index.manifest import is_manifest, read_manifest

Source = str | os.PathLike[str] | ImageIndex | Iterable[str | bytes | os.PathLike[str]]
"""A folder, a manifest, a table that was saved as .arrow, an image file, an index, or paths of images."""


def open_index(
    source: Source,
    label_pattern: str | None = None,
    *,
    exclude: str | os.PathLike[str] | None = None,
    root: str | os.PathLike[str] | None = None,
    columns: Mapping[str, str] | None = None,
    allow_outside: bool = False,
    progress: Callable[[int], None] | None = None,
    notice: Callable[[str], None] | None = None,
) -> ImageIndex:
    """The images of `source`. Of a folder, the table of an earlier scan is refreshed; an index stays as it is.

    `exclude`: a file of paths to leave out, as check --quarantine writes it. `root`, `columns` and `allow_outside` are read_manifest's.
    `notice` is called with lines that a user may want to see: what has changed since the last time, how many images were left out.
    Bad rows of a manifest are a DatasetWarning. Raises NoImagesError, DatasetError and OutputError as scan, read_manifest and
    ImageIndex.load do.
    """
    tell = notice or (lambda line: None)
    of_manifest: dict[str, Any] = {"root": root, "columns": columns, "allow_outside": allow_outside}
    manifest = isinstance(source, str | os.PathLike) and is_manifest(source)
    if not manifest and any(of_manifest.values()):
        raise DatasetError(f"root, columns and allow_outside are for manifests (.csv, .tsv, .jsonl, .parquet, .txt); {source!r} is none")
    if isinstance(source, ImageIndex):
        index = source
    elif not isinstance(source, str | os.PathLike):
        index = ImageIndex.from_paths(source)
    elif manifest:
        index, report = read_manifest(source, progress=progress, **of_manifest)
        if report.bad_counts:
            told = ", ".join(line.strip() for line in report.lines(1))
            warnings.warn(f"{os.fspath(source)}: {told}; imgstream index lists them", DatasetWarning, stacklevel=2)
    elif os.path.isfile(source):
        index = ImageIndex.load(source) if os.fspath(source).endswith(".arrow") else ImageIndex.from_paths([source])
    else:
        index = scan(source, label_pattern, index="auto", progress=progress)
        if index.changes:
            tell(str(index.changes))
    if exclude is None:
        return index
    unwanted = read_paths(exclude)
    rest = index.without(unwanted)
    tell(f"Left out: {len(index) - len(rest):,} images, by the {len(unwanted):,} paths in {os.fspath(exclude)}")
    if not len(rest):
        raise NoImagesError(f"No images: {os.fspath(exclude)} names all {len(index):,} of {index.root}")
    return rest
