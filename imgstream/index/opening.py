"""scan: the front door. What commands and functions take for images: a folder, a manifest, a saved table, or paths."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from imgstream.errors import DatasetError, DatasetWarning, NoImagesError
from imgstream.index import look_alikes
from imgstream.index.folder.scan import scan_folder
from imgstream.index.image_index import ImageIndex
from imgstream.index.manifest.read import MANIFEST_EXTENSIONS, ManifestReport, read_manifest
from imgstream.index.path_lists import read_paths
from imgstream.index.source_kinds import AnyPath, checked, kind_of

Source = AnyPath | ImageIndex | Iterable[AnyPath]
"""A folder, a manifest, a table that was saved as .arrow, an image file, an index, or paths of images."""


def scan(
    source: Source,
    label_pattern: str | None = None,
    *,
    index: str | os.PathLike[str] | None = None,
    full: bool = False,
    exclude: str | os.PathLike[str] | None = None,
    root: str | os.PathLike[str] | None = None,
    columns: Mapping[str, str] | None = None,
    class_names: Sequence[str] | None = None,
    allow_outside: bool = False,
    progress: Callable[[int], None] | None = None,
) -> ImageIndex:
    """The images of `source`, without reading a pixel: whatever the command line takes.

    A folder: its images, deterministically, in classes by the first folder below it; see scan_folder, whose are `label_pattern`, `index`
    and `full`. A manifest (.csv, .tsv, .jsonl, .ndjson, .parquet, .txt): its rows; see read_manifest, whose are `root`, `columns`,
    `class_names` and `allow_outside`. A table (.arrow) that ImageIndex.save or imgstream index -o wrote. A file, or an iterable of paths of
    files: those, without labels; one that is missing is found to be bad when it is read. An index: itself.

    `exclude`: a file of paths to leave out, as check --quarantine writes it. `progress` is called now and then with the number of images
    found so far. Bad rows of a manifest are a DatasetWarning, and so are classes whose names look alike.

    Raises NoImagesError (nothing there, or nothing to list), DatasetError (what cannot be read, such as a URL or an archive; an option that
    is not for this source) and OutputError (no room for the table anywhere, or `index` cannot be written).
    """
    found = open_index(
        source,
        label_pattern,
        index=index,
        full=full,
        exclude=exclude,
        root=root,
        columns=columns,
        class_names=class_names,
        allow_outside=allow_outside,
        progress=progress,
    )
    warn_of_look_alikes(found, source, label_pattern, columns)
    return found


def warn_of_look_alikes(found: ImageIndex, source: Source, label_pattern: str | None, columns: Mapping[str, str] | None) -> None:
    """A DatasetWarning when classes of `found` have names that look alike; the other arguments are what it was opened with."""
    if found is not source and (line := look_alikes.warning(found, source, label_pattern, columns)):
        warnings.warn(line, DatasetWarning, stacklevel=3)


def open_index(
    source: Source,
    label_pattern: str | None = None,
    *,
    index: str | os.PathLike[str] | None = "auto",
    full: bool = False,
    exclude: str | os.PathLike[str] | None = None,
    root: str | os.PathLike[str] | None = None,
    columns: Mapping[str, str] | None = None,
    class_names: Sequence[str] | None = None,
    allow_outside: bool = False,
    progress: Callable[[int], None] | None = None,
    notice: Callable[[str], None] | None = None,
    reported: Callable[[ManifestReport], None] | None = None,
) -> ImageIndex:
    """As `scan`, for commands: of a folder, the table of an earlier scan is refreshed.

    `notice` is called with lines that a user may want to see: what has changed since the last time, how many images were left out.
    `reported` is called with what became of a manifest's rows, instead of a warning. Raises as `scan` does.
    """
    tell = notice or (lambda line: None)
    of_manifest: dict[str, Any] = {"root": root, "columns": columns, "class_names": class_names, "allow_outside": allow_outside}
    kind, shown = None, f"a {type(source).__name__}"
    if isinstance(source, str | bytes | os.PathLike):
        kind, shown = kind_of(source), repr(os.fsdecode(source))
    if kind != "manifest" and any(of_manifest.values()):
        raise DatasetError(f"{', '.join(of_manifest)} are for manifests ({', '.join(MANIFEST_EXTENSIONS)}); {shown} is none")
    if kind != "folder" and label_pattern is not None:
        raise DatasetError(f"a label pattern takes labels from the paths in a folder, and {shown} is none: leave it out")
    if isinstance(source, ImageIndex):
        found = source
    elif not isinstance(source, str | bytes | os.PathLike):
        found = ImageIndex.from_paths(checked(source))
    elif kind == "manifest":
        found, report = read_manifest(os.fsdecode(source), progress=progress, **of_manifest)
        if reported is not None:
            reported(report)
        elif report.bad_counts:
            told = ", ".join(line.strip() for line in report.lines(1))
            warnings.warn(f"{os.fsdecode(source)}: {told}; imgstream index lists them", DatasetWarning, stacklevel=3)
    elif kind == "table":
        found = ImageIndex.load(os.fsdecode(source))
    elif kind == "image":
        found = ImageIndex.from_paths([source])
    else:
        found = scan_folder(source, label_pattern, index=index, full=full, progress=progress)
        if found.changes:
            tell(str(found.changes))
    if exclude is None:
        return found
    unwanted = read_paths(exclude)
    rest = found.without(unwanted)
    tell(f"Left out: {len(found) - len(rest):,} images, by the {len(unwanted):,} paths in {os.fspath(exclude)}")
    if not len(rest):
        raise NoImagesError(f"No images: {os.fspath(exclude)} names all {len(found):,} of {found.root}")
    return rest
