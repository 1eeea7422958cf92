"""Writes predictions to a file: .csv, .jsonl or .parquet, one row at a time in constant memory, whole or not at all. See
docs/formats.md.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Literal, Protocol

from imgstream.errors import OutputError
from imgstream.files.atomic import atomic_file, check_target
from imgstream.files.csv_output import csv_writer, path_b64, utf8
from imgstream.index.selection import SEPARATOR
from imgstream.prediction.rows import Prediction, StoredPrediction
from imgstream.wording import either

FORMAT_VERSION = 1
ROW_GROUP = 4096
"""Rows of a Parquet row group, and so the most that are ever held."""


class Writer(Protocol):
    """Writes predictions in the order in which they are given."""

    def write(self, prediction: Prediction | StoredPrediction) -> None:
        """Add one row. Raises OutputError."""

    def close(self) -> None:
        """Write what is still held; open_writer calls it."""


@contextlib.contextmanager
def open_writer(path: str | os.PathLike[str], class_names: Sequence[str], top_k: int = 1, *, multi_label: bool = False) -> Iterator[Writer]:
    """A writer for the extension of `path`; the file appears when the block ends, and not at all if it raises.

    `top_k` (1 or more) is the number of classes written for each row, at most all of them. `multi_label`: rows may have several
    labels. Raises OutputError, at once when it can be known.
    """
    if top_k < 1:
        raise ValueError(f"top_k must be 1 or more; got {top_k}")
    check_output(path)
    kind, mode = _KINDS[_extension(path)]
    with atomic_file(path, mode) as file, contextlib.closing(kind(file, class_names, min(top_k, len(class_names)), multi_label)) as writer:
        yield writer


def check_output(path: str | os.PathLike[str]) -> None:
    """Raise OutputError if predictions plainly cannot be written to `path`, to be called before hours of work. Creates nothing."""
    if _extension(path) not in _KINDS:
        found = repr(_extension(path)) if _extension(path) else "no extension"
        raise OutputError(f"cannot tell the format of {os.fspath(path)!r}: it has {found}. End the name in {either(_KINDS)}")
    check_target(path)


def columns(top_k: int, *, multi_label: bool = False) -> list[str]:
    """The columns of the CSV and Parquet forms; they depend on the arguments only, so that a file can be written as a stream. Where a row
    may have several labels, the best class and its score are also label_1 and score_1.
    """
    others = [f"{name}_{rank}" for rank in range(1 if multi_label else 2, top_k + 1) for name in ("label", "score")]
    return ["path", "label", "score", "error", *others, "path_b64"]


class _JsonLines:
    """One JSON object a line."""

    def __init__(self, file: IO[str], class_names: Sequence[str], top_k: int, multi_label: bool = False) -> None:
        self._file, self._class_names, self._top_k, self._multi_label = file, class_names, top_k, multi_label

    def write(self, prediction: Prediction | StoredPrediction) -> None:
        best = [
            f'{{"label": {_json_text(name)}, "score": {_json_score(score)}}}'
            for name, score in prediction.top_k(self._class_names, self._top_k)
        ]
        fields = [
            f'"path": {_json_text(prediction.path)}',
            f'"label": {_json_text(prediction.label)}',
            *([f'"labels": {_json_labels(prediction.label)}'] if self._multi_label else []),
            f'"score": {_json_score(prediction.score)}',
            f'"top_k": [{", ".join(best)}]',
            f'"error": {_json_text(prediction.error)}',
        ]
        exact = path_b64(prediction.path_bytes)
        if exact is not None:
            fields.append(f'"path_b64": "{exact}"')
        self._file.write(f"{{{', '.join(fields)}}}\n")

    def close(self) -> None:
        pass


class _Csv:
    """A header, then one record for each file; quoted where a field holds a comma, a quote or a line end."""

    def __init__(self, file: IO[str], class_names: Sequence[str], top_k: int, multi_label: bool = False) -> None:
        self._file, self._class_names, self._top_k, self._multi_label = file, class_names, top_k, multi_label
        self._writer = csv_writer(file)
        self._writer.writerow(columns(top_k, multi_label=multi_label))

    def write(self, prediction: Prediction | StoredPrediction) -> None:
        cells = _cells(prediction, self._class_names, self._top_k, self._multi_label)
        self._writer.writerow([f"{cell:.6f}" if isinstance(cell, float) else cell for cell in cells])

    def close(self) -> None:
        pass


class _Parquet:
    """The CSV's columns, typed: strings, and float32 scores unrounded. Written a row group at a time."""

    def __init__(self, file: IO[bytes], class_names: Sequence[str], top_k: int, multi_label: bool = False) -> None:
        import pyarrow as pa  # here: most runs write no Parquet, and the import is not free
        import pyarrow.parquet as pq

        fields = [(name, pa.float32() if name.startswith("score") else pa.string()) for name in columns(top_k, multi_label=multi_label)]
        self._schema = pa.schema(fields, metadata={"imgstream.predictions": str(FORMAT_VERSION)})
        self._batch = pa.record_batch
        self._writer = pq.ParquetWriter(file, self._schema)
        self._class_names, self._top_k, self._multi_label = class_names, top_k, multi_label
        self._rows: list[list[str | float | None]] = []

    def write(self, prediction: Prediction | StoredPrediction) -> None:
        self._rows.append(_cells(prediction, self._class_names, self._top_k, self._multi_label))
        if len(self._rows) == ROW_GROUP:
            self._flush()

    def close(self) -> None:
        if self._rows:
            self._flush()
        self._writer.close()

    def _flush(self) -> None:
        self._writer.write_batch(self._batch([list(column) for column in zip(*self._rows, strict=True)], schema=self._schema))
        self._rows.clear()


_KINDS: dict[str, tuple[Any, Literal["w", "wb"]]] = {".csv": (_Csv, "w"), ".jsonl": (_JsonLines, "w"), ".parquet": (_Parquet, "wb")}


def _extension(path: str | os.PathLike[str]) -> str:
    return Path(path).suffix.lower()


def _cells(
    prediction: Prediction | StoredPrediction, class_names: Sequence[str], top_k: int, multi_label: bool
) -> list[str | float | None]:
    """One row under `columns(top_k)`; None for an empty cell."""
    first = 0 if multi_label else 1
    cells: list[str | float | None] = [utf8(prediction.path), utf8(prediction.label), prediction.score, utf8(prediction.error)]
    others = prediction.top_k(class_names, top_k)[first:]
    for name, score in others:
        cells += [utf8(name), score]
    cells += [None, None] * (top_k - first - len(others))
    cells.append(path_b64(prediction.path_bytes))
    return cells


_LINE_ENDS = str.maketrans({end: f"\\u{ord(end):04x}" for end in "\x85\u2028\u2029"})
"""Characters that JSON leaves unescaped and that some readers take for the end of a line."""


def _json_text(text: str | None) -> str:
    return json.dumps(utf8(text), ensure_ascii=False).translate(_LINE_ENDS)


def _json_labels(joined: str | None) -> str:
    """The labels that are joined in one text, as a list; null for a bad file."""
    return "null" if joined is None else f"[{', '.join(_json_text(label) for label in joined.split(SEPARATOR) if label)}]"


def _json_score(score: float | None) -> str:
    """Six decimals; null for no score and for one that JSON has no number for (a model that gives NaN)."""
    return "null" if score is None or not math.isfinite(score) else f"{score:.6f}"
