"""read_manifest: reads a list of images and what it says about each as a table, a chunk of rows at a time."""

from __future__ import annotations

import dataclasses
import os
import stat
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from imgstream.errors import BadImage, DatasetError, ImgstreamError, NoImagesError, OutputError
from imgstream.files.addresses import absolute, is_address
from imgstream.files.object_file import copy_object
from imgstream.index.folder.scan import place_for
from imgstream.index.image_index import ImageIndex
from imgstream.index.manifest import fields
from imgstream.index.manifest.buckets import FirstObjects
from imgstream.index.manifest.csv_rows import read_delimited
from imgstream.index.manifest.fields import Bad, Labels
from imgstream.index.manifest.paths import Folders, Root, missing
from imgstream.index.manifest.rows import FLAG, BadRow, BadRows, Chunk, Rows, cannot_read, clip, read_json_lines, read_parquet, read_text
from imgstream.index.names import IMAGE_EXTENSIONS, one_line
from imgstream.index.table.table import TableInfo
from imgstream.index.table.table_writer import TableWriter

_READERS: dict[str, Callable[[Path, Mapping[str, str], BadRows], Rows]] = {
    ".csv": read_delimited,
    ".tsv": read_delimited,
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".parquet": read_parquet,
    ".txt": read_text,
}
MANIFEST_EXTENSIONS = tuple(_READERS)
"""A file whose name ends in one of these, in any case, is a manifest."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ManifestReport:
    """How many rows of a manifest were read and kept, and which were bad."""

    rows_read: int
    """Without the header and blank lines."""
    rows_kept: int
    """Rows in the index."""
    bad: list[BadRow]
    """The first MOST_LISTED rows that were left out, or whose file is missing, in the order of the manifest."""
    bad_counts: dict[str, int]
    """Number of all bad rows, by reason. A row with "missing file" is kept, and its file found to be bad when it is read. Rows with other
    reasons are left out: "wrong number of columns", "a quote is not closed", "not JSON", "not a value", "no path", "a NUL in the path",
    "outside the root", "encoding", "unknown label", "not 0 or 1", "unknown split", "bad weight".
    """

    def lines(self, most: int = 5) -> list[str]:
        """Lines for a person: how many rows are bad, and the first `most` of them; [] when none is."""
        if not self.bad_counts:
            return []
        counts = ", ".join(f"{reason} {count:,}" for reason, count in self.bad_counts.items())
        total = sum(self.bad_counts.values())
        rest = [f"  and {total - most:,} more"] if total > most else []
        listed = [f"  {row.place}: {row.reason}: {row.detail}" for row in self.bad[:most]]
        return [f"Bad rows: {total:,} of {self.rows_read:,} ({counts})", *listed, *rest]

    def to_json(self) -> dict[str, Any]:
        """The same fields as values that JSON can hold."""
        return {**dataclasses.asdict(self), "bad": [row._asdict() for row in self.bad]}


def is_manifest(path: str | os.PathLike[str]) -> bool:
    """Whether `path` is a file whose name ends as a manifest's does, or a folder that holds *.parquet and neither images nor folders."""
    try:
        if not os.path.isdir(path):
            return os.path.isfile(path) and Path(path).suffix.lower() in _READERS
        found = False
        with os.scandir(path) as entries:
            for entry in entries:
                name = entry.name.lower()
                if name.endswith(IMAGE_EXTENSIONS) or (entry.is_dir() and not name.startswith(".")):
                    return False
                found = found or (name.endswith(".parquet") and not name.startswith(".") and entry.is_file())
        return found
    except (OSError, ValueError):
        return False


def read_manifest(
    file: str | os.PathLike[str],
    *,
    root: str | os.PathLike[str] | None = None,
    columns: Mapping[str, str] | None = None,
    class_names: Sequence[str] | None = None,
    allow_outside: bool = False,
    check_files: bool = True,
    output: str | os.PathLike[str] | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[ImageIndex, ManifestReport]:
    """Read the images that a manifest lists, in its order: .csv, .tsv, .jsonl, .ndjson, .parquet, .txt, or a folder of *.parquet.

    Labels are text or numbers; empty is -1. Split: train, val (valid, validation) or test, in any case. Group: any value. Weight: a number
    of at least 0, empty is 1. A .txt has no columns: it is a path a line or, if it holds NULs, a path before each NUL.

    Args:
        file: The manifest. Paths may be addresses (s3://, gs://, az://, https://, http://), which are kept as they are. The file itself may
            be behind one: it is copied first, into the folder for temporary files.
        root: The folder, or prefix of a bucket, that paths are relative to; None for the folder that the manifest lies in (for a folder of
            parts: itself). Paths are kept to the byte.
        columns: Field → name of its column, for path, label, split, group and weight; fields not given are found by common names. In CSV
            and TSV it may be a position, from 0; if all are positions, the file has no header. "cat|dog|car" for label: columns of 0 and 1,
            one for each class; the labels are then such as "cat|dog", for scan(…, multi_label=True).
        class_names: The classes. None for those that the manifest names, in code-point order, or by value if all are whole numbers. With it
            a label is one of them or, unless they are numbers themselves, a position among them.
        allow_outside: Keep paths that lead out of the root. Links are not followed to find out.
        check_files: Check that the files exist. Of objects in a bucket, only whether the first can be read.
        output: Where the table is written; None for the user's cache folder (or, with a warning, an unnamed temporary file).
        progress: Called now and then with the number of rows read so far.

    Returns:
        The index, and a report of the rows that cannot be used.

    Raises:
        DatasetError: The file cannot be read, has no such column, or is no manifest.
        NoImagesError: No row can be used.
        OutputError: There is no room for the table anywhere, or `output` cannot be written.
    """
    of_index: dict[str, Any] = {"columns": columns, "class_names": class_names, "allow_outside": allow_outside}
    given = os.fspath(file)
    if not is_address(given):
        source = Path(file)
        base = os.fspath(root if root is not None else source if _checked(source) else source.parent)
        return _read(source, base, os.fspath(source), check_files=check_files, output=output, progress=progress, **of_index)
    path = given.partition("?")[0] if given.startswith("http") else given
    base = os.fspath(root) if root is not None else path.rpartition("/")[0]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "manifest" + os.path.splitext(path)[1])
        try:
            with copy.open("wb") as target:
                copy_object(given, target)
        except BadImage as error:
            raise DatasetError(f"{one_line(given)} cannot be read: {error.detail}") from None
        except OSError as error:
            raise OutputError(f"{one_line(given)} cannot be copied to {folder}: {error.strerror or error}") from None
        try:
            return _read(copy, base, given, check_files=check_files, output=output, progress=progress, **of_index)
        except ImgstreamError as error:
            error.args = (str(error).replace(str(copy), one_line(given)), *error.args[1:])
            raise


def _read(
    source: Path,
    base: str,
    given: str,
    *,
    columns: Mapping[str, str] | None,
    class_names: Sequence[str] | None,
    allow_outside: bool,
    check_files: bool,
    output: str | os.PathLike[str] | None,
    progress: Callable[[int], None] | None,
) -> tuple[ImageIndex, ManifestReport]:
    """See read_manifest; `base`: the root, `given`: what the manifest is called."""
    columns, folder = dict(columns or {}), _checked(source)
    base = base.rstrip("/") if is_address(base) else base
    options = (absolute(base), sorted(columns.items()), class_names and list(class_names), allow_outside)
    kept_at = place_for(os.fsencode(given), repr(options))
    bad = BadRows()
    rows = _READERS[".parquet" if folder else source.suffix.lower()](source, columns, bad)
    optional = {"split": "part", "group": "group", "weight": "weight"}
    labels = Labels(class_names)
    read = 0
    with TableWriter(
        None if kept_at is None else kept_at.parent, [optional[field] for field in optional if field in rows.fields]
    ) as writer:
        add = _TableFiller(writer, labels, bad, Root(base, allow_outside), base if check_files else None)
        for chunk in rows.chunks:
            read += chunk.read
            add(chunk)
            bad.settle()
            if progress is not None:
                progress(read)
        add.objects.check()
        report = ManifestReport(rows_read=read, rows_kept=len(writer), bad=bad.listed, bad_counts=bad.counts)
        if not len(writer):
            raise NoImagesError(_nothing_kept(source, report))
        names, order = labels.names()
        writer.renumber_labels(order)
        table = writer.finish(TableInfo(root=base, class_names=names), kept_at if output is None else Path(output))
    return ImageIndex(table), report


class _TableFiller:
    """Adds chunks of rows to the table."""

    def __init__(self, writer: TableWriter, labels: Labels, bad: BadRows, root: Root, look_in: str | None) -> None:
        """`look_in`: the root, if files are to be checked; else None."""
        self._writer, self._labels, self._bad, self._root, self._look_in = writer, labels, bad, root, look_in
        self._folders = Folders(writer.add_folder)
        self.objects = FirstObjects(os.fspath(root.given))

    def __call__(self, chunk: Chunk) -> None:
        given = chunk.columns["path"].fill_null(b"")
        if not len(given):
            return
        paths, problems = self._root.relative(given)
        values: dict[str, np.ndarray] = {}
        labels = np.full(len(given), -1, np.int32)
        if "label" in chunk.columns:
            labels, found = self._labels.numbers(chunk.columns["label"])
            problems += found
        if flags := {field.removeprefix(FLAG): column for field, column in chunk.columns.items() if field.startswith(FLAG)}:
            column, found = fields.joined(flags)
            labels, _ = self._labels.numbers(column)
            problems += found
        if "split" in chunk.columns:
            values["part"], found = fields.parts(chunk.columns["split"])
            problems += found
        if "group" in chunk.columns:
            values["group"] = fields.groups(chunk.columns["group"])
        if "weight" in chunk.columns:
            values["weight"], found = fields.weights(chunk.columns["weight"])
            problems += found
        at = self._sound(chunk, given, problems)
        if len(at) < len(given):
            paths, labels = paths.take(pa.array(at)), labels[at]
            values = {name: column[at] for name, column in values.items()}
        if not len(at):
            return
        codes, folders, names = self._folders.split(paths)
        if self._look_in is not None:
            gone = missing(self._look_in, codes, folders, names, self.objects.note)
            self._tell(chunk, "missing file", at[gone], partial(_detail, None, given))
        stored, ids = self._folders.stored(paths, codes, folders, names)
        self._writer.add_rows(stored, ids, labels, **values)

    def _sound(self, chunk: Chunk, given: pa.Array, problems: Bad) -> np.ndarray:
        """int64 (m,): the rows without a problem; for each other row its first problem is recorded."""
        good = np.ones(len(given), bool)
        for reason, which in problems:
            at = np.flatnonzero(which & good)
            column = {"unknown label": "label", "encoding": "label", "unknown split": "split", "bad weight": "weight"}.get(reason)
            values = chunk.columns[column] if column else None
            self._tell(chunk, reason, at, partial(_detail, values, given))
            good[at] = False
        return np.flatnonzero(good)

    def _tell(self, chunk: Chunk, reason: str, at: np.ndarray, detail: Callable[[int], str]) -> None:
        """Record the rows `at` as bad; detail(row) describes a row of the chunk."""
        self._bad.add(reason, len(at), lambda: chunk.lines()[at], lambda i: detail(int(at[i])), chunk.part)


def _detail(values: pa.Array | None, paths: pa.Array, row: int) -> str:
    path = clip(paths[row].as_py())
    value: Any = values[row].as_py() if values is not None else None
    return path if values is None else f"{clip(value) if isinstance(value, bytes) else value} of {path}"


def _checked(file: Path) -> bool:
    """Whether `file` is a folder. Raises DatasetError when it is neither that nor a file of a known kind."""
    try:
        mode = os.stat(file).st_mode
    except (OSError, ValueError) as error:
        raise cannot_read(file, error) from error
    if stat.S_ISDIR(mode):
        return True
    if not stat.S_ISREG(mode):
        raise DatasetError(f"{one_line(str(file))} is no regular file; write what it gives to a file, and give that")
    if file.suffix.lower() not in _READERS:
        raise DatasetError(f"{one_line(str(file))} is no manifest by its name; one ends in {', '.join(_READERS)}")
    return False


def _nothing_kept(file: Path, report: ManifestReport) -> str:
    if not report.rows_read:
        return f"No images: {one_line(str(file))} has no rows"
    reasons = ", ".join(f"{reason} ({count:,})" for reason, count in report.bad_counts.items())
    first = report.bad[0]
    return (
        f"No images: none of the {report.rows_read:,} rows of {one_line(str(file))} can be used: {reasons}. {first.place}: {first.detail}"
    )
