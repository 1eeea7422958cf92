"""scan: opens what commands and functions take for images: a folder, a manifest, a saved table, or paths."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from imgstream.errors import DatasetError, DatasetWarning, NoImagesError, OptionError
from imgstream.index import look_alikes
from imgstream.index.buckets import scan_bucket
from imgstream.index.corrections import Corrections, corrected
from imgstream.index.folder.scan import scan_folder
from imgstream.index.image_index import ImageIndex
from imgstream.index.label_sets import split_labels
from imgstream.index.manifest.read import MANIFEST_EXTENSIONS, ManifestReport, read_manifest
from imgstream.index.names import ARRAY_EXTENSIONS
from imgstream.index.path_lists import read_paths
from imgstream.index.shards.files import find_shards
from imgstream.index.shards.scan import scan_shards
from imgstream.index.source_kinds import AnyPath, checked, kind_of
from imgstream.wording import quantity

Source = AnyPath | ImageIndex | Iterable[AnyPath]
"""A folder, a manifest, archives or shards, a table that was saved as .arrow, an image file, an index, or paths of images."""


def scan(
    source: Source,
    label_pattern: str | None = None,
    *,
    index: str | os.PathLike[str] | None = None,
    full: bool = False,
    corrections: str | os.PathLike[str] | None = None,
    exclude: str | os.PathLike[str] | None = None,
    root: str | os.PathLike[str] | None = None,
    columns: Mapping[str, str] | None = None,
    class_names: Sequence[str] | None = None,
    allow_outside: bool = False,
    multi_label: bool = False,
    progress: Callable[[int], None] | None = None,
) -> ImageIndex:
    """List the images of a folder, a manifest, archives and shards, a saved table or a list of paths, without reading a pixel.

    ```python
    index = imgstream.scan("photos/")
    len(index), index.class_names, index.labels, index.path(0)
    ```

    A folder gives its images in a fixed order; the first folder below it is the class (see scan_folder). A manifest (.csv, .tsv, .jsonl,
    .ndjson, .parquet, .txt) gives its rows (see read_manifest). A .tfrecord, .tar or .zip, a pattern such as "train-*.tfrecord", or a
    folder of such files gives the images inside them, each to be read by itself (see scan_shards). A table (.arrow) is one that
    ImageIndex.save or imgstream index -o wrote. A file, or an iterable of paths of files, gives these without labels; one that is missing
    is found to be bad when it is read. An index gives itself. Bad rows of a manifest, and classes whose names look alike, are each a
    DatasetWarning. A prefix of a bucket (s3://, gs://, az://) gives the images below it as a folder would (see scan_bucket), or those
    inside its shards; archives, shards and patterns of them may be addresses too. They need the extra [cloud].

    Args:
        source: What to list.
        label_pattern: Of a folder, bucket or archive: a regular expression with a group named label, which takes the label from the path;
            see scan_folder.
        index: Of a folder: "auto" or the file of a table: refresh an earlier scan; see scan_folder.
        full: Of a folder: with `index`, list every folder again; see scan_folder. Of shards: read every one again.
        corrections: A file of corrections, as a report's page makes it: labels are put right in the index, by path; no file is touched.
        exclude: A file of paths to leave out, as imgstream check --quarantine writes it.
        root: Of a manifest: the folder that its paths are relative to; see read_manifest.
        columns: Of a manifest: field → column; see read_manifest. Of shards: field → feature or key; see scan_shards.
        class_names: Of a manifest: the classes; see read_manifest.
        allow_outside: Of a manifest: keep paths that lead out of the root; see read_manifest.
        multi_label: An image may have several labels: "cat|dog" are two, "|" is none of the classes, and an image that is linked in
            several class folders, or listed several times, has the labels of all. `labels` are then positions in `label_sets`.
        progress: Called now and then with the number of images found so far.

    Returns:
        An ImageIndex.

    Raises:
        NoImagesError: There is nothing at `source`, or no image in it.
        DatasetError: `source` cannot be read, such as a URL or a compressed tar, or an option is not for this kind of source.
        OutputError: There is no room for the table anywhere, or `index` cannot be written.
    """
    found = open_index(
        source,
        label_pattern,
        index=index,
        full=full,
        corrections=corrections,
        exclude=exclude,
        root=root,
        columns=columns,
        class_names=class_names,
        allow_outside=allow_outside,
        multi_label=multi_label,
        progress=progress,
    )
    warn_of_look_alikes(found, source, label_pattern, columns)
    return found


def _scan_folder(source: AnyPath, label_pattern: str | None, **options: Any) -> ImageIndex:
    """The images in a folder; if there are none, the arrays of one image each; if there are none either, the images inside its shards."""
    try:
        return scan_folder(source, label_pattern, **options)
    except NoImagesError:
        with contextlib.suppress(NoImagesError):
            return scan_folder(source, label_pattern, extensions=ARRAY_EXTENSIONS, **options)
        with contextlib.suppress(NoImagesError, OSError):
            if find_shards(os.fsdecode(source)).names:
                return scan_shards(source, label_pattern, full=options["full"], progress=options["progress"])
        raise


def warn_of_look_alikes(found: ImageIndex, source: Source, label_pattern: str | None, columns: Mapping[str, str] | None) -> None:
    """Raise a DatasetWarning when classes of `found` have names that look alike; the other arguments are what it was opened with."""
    if found is not source and (line := look_alikes.warning(found, source, label_pattern, columns)):
        warnings.warn(line, DatasetWarning, stacklevel=3)


def open_index(
    source: Source,
    label_pattern: str | None = None,
    *,
    index: str | os.PathLike[str] | None = "auto",
    full: bool = False,
    corrections: str | os.PathLike[str] | None = None,
    exclude: str | os.PathLike[str] | None = None,
    root: str | os.PathLike[str] | None = None,
    columns: Mapping[str, str] | None = None,
    class_names: Sequence[str] | None = None,
    allow_outside: bool = False,
    multi_label: bool = False,
    progress: Callable[[int], None] | None = None,
    notice: Callable[[str], None] | None = None,
    reported: Callable[[ManifestReport], None] | None = None,
) -> ImageIndex:
    """Like `scan`, for commands: the table of an earlier scan of a folder is refreshed.

    `notice` is called with lines for the user: what has changed since the last time, how many images were left out. `reported` is called
    with the report on a manifest's rows, instead of a warning. Raises as `scan` does.
    """
    tell = notice or (lambda line: None)
    of_manifest: dict[str, Any] = {"root": root, "columns": columns, "class_names": class_names, "allow_outside": allow_outside}
    kind, shown = None, f"a {type(source).__name__}"
    if isinstance(source, str | bytes | os.PathLike):
        kind, shown = kind_of(source), repr(os.fsdecode(source))
    given = [name for name, value in of_manifest.items() if value and not (name == "columns" and kind == "shards")]
    if kind != "manifest" and given:
        raise OptionError(
            f"{' and '.join(given)} can be given for a manifest alone ({', '.join(MANIFEST_EXTENSIONS)}); {shown} is none",
            *given,
        )
    if kind not in ("folder", "bucket", "shards") and label_pattern is not None:
        raise DatasetError(f"a label pattern takes labels from the paths in a folder or archive, and {shown} is none: leave it out")
    if isinstance(source, ImageIndex):
        found = source
    elif not isinstance(source, str | bytes | os.PathLike | Iterable):
        raise DatasetError(
            f"scan takes the path of a folder, a manifest, a table or an image, paths of images, or an index; got {source!r}"
        )
    elif not isinstance(source, str | bytes | os.PathLike):
        found = ImageIndex.from_paths(checked(source))
    elif kind == "manifest":
        found, report = read_manifest(os.fsdecode(source), progress=progress, **of_manifest)
        if reported is not None:
            reported(report)
        elif report.bad_counts:
            told = ", ".join(line.strip() for line in report.lines(1))
            warnings.warn(f"{os.fsdecode(source)}: {told}; imgstream index lists them", DatasetWarning, stacklevel=3)
    elif kind == "shards":
        found = scan_shards(source, label_pattern, columns=columns, full=full, progress=progress)
    elif kind == "bucket":
        found = scan_bucket(os.fsdecode(source), label_pattern, index=index, progress=progress)
        if found.changes:
            tell(str(found.changes))
    elif kind == "table":
        found = ImageIndex.load(os.fsdecode(source))
    elif kind == "image":
        found = ImageIndex.from_paths([source])
    else:
        found = _scan_folder(source, label_pattern, index=index, full=full, progress=progress)
        if found.changes:
            tell(str(found.changes))
    if multi_label:
        found = split_labels(found)
    if corrections is not None:
        listed = Corrections.read(corrections)
        found, made = corrected(found, listed)
        tell(str(made))
        if not len(listed):
            warnings.warn(f"{os.fspath(corrections)} lists no image: nothing is put right", DatasetWarning, stacklevel=3)
        elif not (made.changed or made.excluded or made.already or made.fine):
            warnings.warn(
                f"no path in {os.fspath(corrections)} is that of an image: nothing is put right. Paths are relative to "
                f"{found.root or 'nothing'}",
                DatasetWarning,
                stacklevel=3,
            )
        if not len(found):
            raise NoImagesError(f"No images: {os.fspath(corrections)} leaves out all of {found.root}")
    if exclude is None:
        return found
    unwanted = read_paths(exclude)
    rest = found.without(unwanted)
    if unwanted and len(rest) == len(found):
        warnings.warn(
            f"no path in {os.fspath(exclude)} is that of an image: nothing is left out. Paths are relative to {found.root or 'nothing'}",
            DatasetWarning,
            stacklevel=3,
        )
    tell(f"Left out: {quantity(len(found) - len(rest), 'image')}, by the {quantity(len(unwanted), 'path')} in {os.fspath(exclude)}")
    if not len(rest):
        raise NoImagesError(f"No images: {os.fspath(exclude)} names all {len(found):,} of {found.root}")
    return rest
