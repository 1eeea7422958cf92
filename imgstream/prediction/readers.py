"""Reads a predictions file that writers.py wrote: paths, labels and errors, one row at a time in constant memory."""

from __future__ import annotations

import base64
import csv
import json
import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from imgstream.errors import DatasetError
from imgstream.index.selection import SEPARATOR
from imgstream.wording import either

_COLUMNS = ("path", "label", "score", "error")
_GROUP = 4096  # rows of a Parquet file that are held at once


class PredictedRow(NamedTuple):
    """One row of a predictions file."""

    path: bytes
    """The exact path that predict had: relative to the folder, or as it was given."""
    label: str | None
    """None for a bad file; "" for an image that may have several labels and has none."""
    error: str | None
    """"reason: detail" of a bad file, else None."""
    score: float | None = None
    """Of the label, 0 to 1; None for a bad file, and where the model gave no number."""
    labels: tuple[str, ...] | None = None
    """Where an image may have several labels: all of them; else None."""


def read_predictions(path: str | os.PathLike[str]) -> Iterator[PredictedRow]:
    """The rows of a .csv, .jsonl or .parquet that predict wrote, in its order.

    Raises DatasetError when it cannot be read, has another extension, or holds no predictions.
    """
    reader = _READERS.get(Path(path).suffix.lower())
    if reader is None:
        raise DatasetError(f"cannot tell the format of {os.fspath(path)!r}: predictions end in {either(_READERS)}")
    number = 0
    try:
        for number, record in enumerate(reader(Path(path)), 1):  # noqa: B007  # for the message
            yield _row(record)
    except (OSError, csv.Error, ValueError, KeyError, TypeError, AttributeError) as error:  # ValueError: no JSON, base64, UTF-8 or Parquet
        found = f"lacks the column {error}" if isinstance(error, KeyError) else str(error)
        raise DatasetError(f"{os.fspath(path)!r} cannot be read as predictions (around row {number + 1:,}): {found}") from error


def is_predictions(path: str | os.PathLike[str]) -> bool:
    """Whether the file at `path` has what predict writes: the columns path, label, score and error."""
    reader = _READERS.get(Path(path).suffix.lower())
    if reader is None or not Path(path).is_file():
        return False
    try:
        if reader is _parquet:
            import pyarrow.parquet as pq  # here: the import is not free

            return set(_COLUMNS) <= set(pq.read_schema(path).names)
        if reader is _csv:
            with Path(path).open(encoding="utf-8-sig", newline="") as file:
                return set(_COLUMNS) <= set(next(csv.reader(file), []))
        return set(_COLUMNS) <= set(next(iter(reader(Path(path))), {}))
    except (OSError, csv.Error, ValueError, TypeError):
        return False


def _row(record: dict[str, Any]) -> PredictedRow:
    exact = record.get("path_b64")
    path = base64.b64decode(exact, validate=True) if exact else record["path"].encode("utf-8", "surrogateescape")
    score = record.get("score")
    error, label = record["error"] or None, record["label"] or None
    labels = None
    if error is None and ("labels" in record or "label_1" in record):  # as only those of a model that gives several have
        labels = tuple(filter(None, (label or "").split(SEPARATOR)))
        label = label or ""
    return PredictedRow(path, label, error, None if score in (None, "") else float(score), labels)


def _check_columns(path: Path, names: Collection[str]) -> None:
    """Raise DatasetError if a table lacks a column that is read."""
    if not {"path", "label", "error"} <= set(names):
        missing = [name for name in _COLUMNS if name not in names]
        raise DatasetError(
            f"{str(path)!r} holds no predictions: it has no {'columns' if len(missing) > 1 else 'column'} {', '.join(missing)}; it has "
            f"{', '.join(names) or 'none'}. Give what imgstream predict wrote"
        )


def _csv(path: Path) -> Iterable[dict[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        _check_columns(path, reader.fieldnames or ())
        yield from reader


def _json_lines(path: Path) -> Iterable[dict[str, Any]]:
    with path.open("rb") as file:
        for line in file:
            yield json.loads(line)


def _parquet(path: Path) -> Iterable[dict[str, Any]]:
    import pyarrow.parquet as pq  # here: the import is not free

    with pq.ParquetFile(path) as file:
        wanted = ("path", "label", "score", "error", "label_1", "path_b64")
        _check_columns(path, file.schema_arrow.names)
        names = [name for name in wanted if name in file.schema_arrow.names]
        for batch in file.iter_batches(_GROUP, columns=names):
            yield from batch.to_pylist()


_READERS = {".csv": _csv, ".jsonl": _json_lines, ".parquet": _parquet}
