"""Reads the rows of a manifest, a chunk at a time: text with a path a line, JSON lines and Parquet (csv_rows.py: CSV and TSV).

Values come as bytes, as names may be no UTF-8. Memory: some blocks of BLOCK bytes, whatever the file holds.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.json
import pyarrow.parquet

from imgstream.errors import DatasetError
from imgstream.index.label_sets import label_set
from imgstream.index.names import as_written, one_line
from imgstream.index.selection import SEPARATOR

BLOCK = 1 << 22
"""Bytes of text that are read at a time."""
MOST_RECORD = 1 << 24
"""Length of the longest row, in bytes."""
MOST_LISTED = 1000
"""Number of bad rows that are listed; all are counted."""

FIELDS: dict[str, tuple[str, ...]] = {
    "path": ("path", "file", "filename", "file_name", "filepath", "image_path", "image"),
    "label": ("label", "class", "class_name", "category", "target", "y"),
    "split": ("split", "subset", "partition", "set"),
    "group": ("group", "group_id"),
    "weight": ("weight", "sample_weight"),
}
"""What a row may say, and the names of columns that are taken for it; the first of several counts."""

FLAG = "label "
"""What the field of a column of 0 and 1 begins with, where each class has a column; its name follows."""

UTF_8_MARK = b"\xef\xbb\xbf"
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
"""What a file in this encoding begins with."""

_BATCH_ROWS = 1 << 16
_MOST_SHOWN = 200  # characters of a value, and columns of a header, in a message
_JSON_TYPES = {str: pa.string(), bool: pa.bool_(), int: pa.int64(), float: pa.float64()}
_SNIFFED = 100  # rows of a JSONL whose keys are looked at


class BadRow(NamedTuple):
    """One row of a manifest that cannot be used, or whose file is missing."""

    line: int
    """From 1: the physical line that it begins in; in Parquet, and between NULs, the number of the row."""
    reason: str
    """One of those that ManifestReport.bad_counts lists."""
    detail: str
    """What was found; one line, for people."""
    part: str = ""
    """Name of the file, where the manifest is a folder of parts."""

    @property
    def place(self) -> str:
        """The line or row, as text for people."""
        return f"{one_line(self.part)}, row {self.line:,}" if self.part else f"line {self.line:,}"


class BadRows:
    """Counts bad rows by reason and lists the first MOST_LISTED of them, in the order of the file."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.listed: list[BadRow] = []
        self._new: list[BadRow] = []

    def add(self, reason: str, count: int, lines: Callable[[], np.ndarray], detail: Callable[[int], str], part: str = "") -> None:
        """Add `count` rows, in any order of calls until `settle`: lines() gives their numbers, (count,), and detail(i) describes the
        i-th.
        """
        if not count:
            return
        self.counts[reason] = self.counts.get(reason, 0) + count
        if room := MOST_LISTED - len(self.listed):
            self._new += [BadRow(line, reason, detail(i), part) for i, line in enumerate(lines()[:room].tolist())]

    def settle(self) -> None:
        """Call this when all rows up to here have been checked."""
        self._new.sort(key=lambda row: row.line)
        self.listed += self._new[: MOST_LISTED - len(self.listed)]
        self._new.clear()


class Chunk(NamedTuple):
    """Some rows."""

    columns: dict[str, pa.Array]
    """By field, equally long: binary, or for weights also a number; null = empty."""
    lines: Callable[[], np.ndarray]
    """Line numbers of the rows, int64 (n,): computed only for chunks with bad rows."""
    read: int
    """Rows that were read, including those that could not be parsed."""
    part: str = ""
    """As in BadRow."""


@dataclasses.dataclass(frozen=True)
class Rows:
    """The fields and rows of a manifest."""

    fields: frozenset[str]
    """Those of FIELDS that it has."""
    chunks: Iterator[Chunk]


def choose_columns(file: Path, found: Sequence[str], columns: Mapping[str, str], *, positions: bool = False) -> dict[str, int]:
    """Field → position in `found`, the names of the columns: as `columns` says, else by common names.

    `positions`: numbers in `columns` may be positions. Raises DatasetError: no path, or no such column.
    """
    if unknown := sorted(set(columns) - set(FIELDS)):
        raise DatasetError(f"--columns {', '.join(unknown)}: a manifest has {', '.join(FIELDS)}; say --columns path=img,label=species")
    lower = [name.strip().lower() for name in found]
    chosen: dict[str, int] = {}
    for field, names in FIELDS.items():
        wanted = columns.get(field)
        if wanted is None:
            at = next((lower.index(name) for name in names if name in lower), None)
        elif wanted in found:
            at = found.index(wanted)
        elif wanted.lower() in lower:
            at = lower.index(wanted.lower())
        elif positions and wanted.isdecimal() and int(wanted) < len(found):
            at = int(wanted)
        elif field == "label" and SEPARATOR in wanted and set(flags := label_set(wanted)) <= set(found):
            chosen |= {FLAG + name: found.index(name) for name in flags}
            continue
        else:
            raise DatasetError(f"{one_line(str(file))} has no column {wanted!r} for {field}; it has {_listing(found)}")
        if at is not None:
            chosen[field] = at
    if "path" not in chosen:
        advice = f"Say which one holds the paths, such as {example_columns(found)}"
        raise DatasetError(f"{one_line(str(file))} has no column path, file, filename, image …; it has {_listing(found)}. {advice}")
    return chosen


def example_columns(found: Sequence[str]) -> str:
    """An example of --columns for columns of these names."""
    shown = [name for name in found if re.fullmatch(r"\w+", name)] or ["img"]
    return f"--columns path={shown[0]}" + (f",label={shown[1]}" if len(shown) > 1 else "")


def _listing(found: Sequence[str]) -> str:
    names = ", ".join(clip(as_written(name), 40) for name in found[:20])
    return f"{len(found)} columns: {names}{' …' if len(found) > 20 else ''}" if len(found) != 1 else f"one column: {names}"


def clip(value: bytes, most: int = _MOST_SHOWN) -> str:
    """A value for a message: one line, not too long."""
    text = one_line(value[: 4 * most])
    return text if len(text) <= most else text[: most - 1] + "…"


def cannot_read(file: Path, error: Exception) -> DatasetError:
    """The error for a manifest that cannot be read."""
    why = error.strerror or error if isinstance(error, OSError) else error
    text = one_line(str(why).split("\n")[0][:500])
    return DatasetError(f"{one_line(str(file))} cannot be read as a manifest ({text}); check the file, or give another")


def slices(data: pa.Buffer | bytes, starts: np.ndarray, ends: np.ndarray) -> pa.Array:
    """The bytes from each start to its end, binary (n,). They are in order and do not overlap."""
    offsets = np.empty(2 * len(starts) + 1, np.int32)  # every second piece is the gap between two values
    offsets[:-1:2], offsets[1::2] = starts, ends
    offsets[-1] = ends[-1] if len(ends) else 0
    buffer = pa.py_buffer(data) if isinstance(data, bytes) else data
    pieces = pa.Array.from_buffers(pa.binary(), 2 * len(starts), [None, pa.py_buffer(offsets), buffer])
    return pieces.take(pa.array(np.arange(0, 2 * len(starts), 2)))


def blocks(file: Path, whole: Callable[[bytes, bool], int], separator: bytes = b"\n") -> Iterator[tuple[bytes, int]]:
    """Yield (whole rows, number of their first line). `whole` says how many bytes of a block are whole rows, 0 for none yet; its second
    argument is true when nothing follows the block. A byte order mark is left out, and CR alone is a line end if there are no others.

    Raises DatasetError: cannot be read, UTF-16, a row longer than MOST_RECORD.
    """
    line = 1
    try:
        with file.open("rb") as stream:
            rest = stream.read(BLOCK)
            if separator == b"\n" and rest.startswith(UTF_16):
                raise DatasetError(f"{one_line(str(file))} is UTF-16; save it as UTF-8 (iconv -f UTF-16 -t UTF-8)")
            rest = rest.removeprefix(UTF_8_MARK)
            old_mac = separator == b"\n" and b"\r" in rest and b"\n" not in rest
            data, rest = rest, b""
            while data or rest:
                rest += data.replace(b"\r", b"\n") if old_mac else data
                data = stream.read(BLOCK)
                if end := whole(rest, not data):
                    block, rest = rest[:end], rest[end:]
                    yield block, line
                    line += block.count(separator)
                elif len(rest) > MOST_RECORD:
                    raise DatasetError(f"{one_line(str(file))} is no manifest: line {line} is longer than {MOST_RECORD >> 20} MB")
    except OSError as error:
        raise cannot_read(file, error) from error


def head(file: Path) -> bytes:
    """The first BLOCK bytes, from which the details of the format are recognised. Raises DatasetError."""
    try:
        with file.open("rb") as stream:
            return stream.read(BLOCK)
    except OSError as error:
        raise cannot_read(file, error) from error


def read_text(file: Path, columns: Mapping[str, str], bad: BadRows) -> Rows:
    """Read a path a line; or, if the first block holds a NUL, paths that end in NULs, as find -print0 writes them."""
    if columns:
        raise DatasetError(f"{one_line(str(file))} has no columns to choose from: a .txt file is a path a line. Leave --columns out")
    start = head(file)
    separator = b"\0" if b"\0" in start and not start.startswith(UTF_16) else b"\n"

    def chunks() -> Iterator[Chunk]:
        for block, first in blocks(file, _whole_lines(separator), separator):
            starts, ends = _lines_of(block, separator)
            numbers = np.flatnonzero(ends > starts)
            paths = slices(block, starts[numbers], ends[numbers])
            yield Chunk({"path": paths}, partial(np.add, numbers, first), len(numbers))

    return Rows(frozenset({"path"}), chunks())


def _whole_lines(separator: bytes) -> Callable[[bytes, bool], int]:
    return lambda block, final: len(block) if final else block.rfind(separator) + 1


def _lines_of(block: bytes, separator: bytes = b"\n") -> tuple[np.ndarray, np.ndarray]:
    """int64 (n,) each: where lines begin and end in a block, without line ends."""
    data = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(data == separator[0])
    if not block.endswith(separator):
        ends = np.append(ends, len(block))
    starts = np.concatenate([[0], ends[:-1] + 1])
    if separator == b"\n":
        ends = ends - ((ends > starts) & (data[ends - 1] == ord("\r")))
    return starts, ends


def read_json_lines(file: Path, columns: Mapping[str, str], bad: BadRows) -> Rows:
    """Read a JSON object a line; keys are the columns."""
    first = head(file).removeprefix(UTF_8_MARK)
    found: dict[str, set[type]] = {}
    for line in first.split(b"\n", _SNIFFED)[:_SNIFFED]:
        value = _parsed(line)
        if isinstance(value, dict):
            for key, inner in value.items():
                found.setdefault(key, set()).add(type(inner))
    if first.strip() and not found:
        next(blocks(file, _whole_lines(b"\n")))  # raises the errors for UTF-16 and for an endless line
        raise DatasetError(f'{one_line(str(file))} is no manifest: none of its first lines is a JSON object such as {{"path": …}}')
    names = list(found) or ["path"]
    keys = {field: names[at] for field, at in choose_columns(file, names, columns).items()}
    types = {key: _json_type(found.get(key, set())) for key in keys.values()}
    types[keys["path"]] = pa.string()
    if "weight" in keys and not pa.types.is_string(types[keys["weight"]]):
        types[keys["weight"]] = pa.float64()
    schema = pa.schema(list(types.items()))

    def chunks() -> Iterator[Chunk]:
        for block, line in blocks(file, _whole_lines(b"\n")):
            starts, ends = _lines_of(block)
            numbers = np.flatnonzero(ends > starts)
            read, table = len(numbers), _json_table(block, schema)
            if table is not None and len(table) == read:
                values = {field: as_bytes(file, key, _one(table[key]), weight=field == "weight") for field, key in keys.items()}
            else:
                values, numbers = _json_values(block, starts, ends, line, keys, bad)
            yield Chunk(values, partial(np.add, numbers, line), read)

    return Rows(frozenset(keys), chunks())


def _json_type(types: set[type]) -> pa.DataType:
    known = {_JSON_TYPES[kind] for kind in types if kind in _JSON_TYPES}
    return known.pop() if len(known) == 1 else pa.string()


def _json_table(block: bytes, schema: pa.Schema) -> pa.Table | None:
    """The objects of a block, parsed at once; None when one of them is not as expected."""
    try:
        return pyarrow.json.read_json(
            pa.py_buffer(block),
            pyarrow.json.ReadOptions(use_threads=False, block_size=len(block) + 1),
            pyarrow.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore"),
        )
    except pa.ArrowException:
        return None


def _json_values(
    block: bytes, starts: np.ndarray, ends: np.ndarray, line: int, keys: dict[str, str], bad: BadRows
) -> tuple[dict[str, pa.Array], np.ndarray]:
    """The objects of a block, line by line: columns, and the positions of the lines that they come from."""
    values: dict[str, list[bytes | None]] = {field: [] for field in keys}
    kept = []
    refused: dict[str, list[tuple[int, str]]] = {}
    for number, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
        if start == end:
            continue
        value = _parsed(block[start:end])
        try:
            if not isinstance(value, dict):
                raise TypeError("no JSON object")
            row = {field: _json_bytes(value.get(key)) for field, key in keys.items()}
            kept.append(number)
            for field, inner in row.items():
                values[field].append(inner)
        except UnicodeEncodeError:
            refused.setdefault("encoding", []).append((number, "a string that is no text"))
        except TypeError as error:
            refused.setdefault("not a value" if isinstance(value, dict) else "not JSON", []).append((number, str(error)))

    def detail(found: list[tuple[int, str]], i: int) -> str:
        number, why = found[i]
        return f"{why}: {clip(block[starts[number] : ends[number]])}"

    for reason, found in refused.items():
        bad.add(reason, len(found), partial(np.add, line, [number for number, _ in found]), partial(detail, found))
    return {field: pa.array(column, pa.binary()) for field, column in values.items()}, np.array(kept, np.int64)


def _parsed(line: bytes) -> Any:
    """The value of a line of JSON; bytes that are no UTF-8 become surrogates, as in file names. None when it is no JSON."""
    try:
        return json.loads(line.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError):
        return None


def _json_bytes(value: Any) -> bytes | None:
    """A JSON value as bytes. Raises TypeError, and UnicodeEncodeError for surrogates that stand for no byte."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, str):
        return as_written(value)
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, int):
        return b"%d" % value
    if isinstance(value, float):
        return repr(int(value) if value.is_integer() else value).encode()
    raise TypeError(f"a {type(value).__name__} instead of text or a number")


def read_parquet(file: Path, columns: Mapping[str, str], bad: BadRows) -> Rows:
    """Read one file, or the files *.parquet in a folder, by name. Raises DatasetError, also for a part without the columns of the first."""
    parts = parquet_parts(file) if file.is_dir() else [file]
    if not parts:
        raise DatasetError(f"{one_line(str(file))} is a folder without *.parquet files; give the manifest's file")
    try:
        names = pyarrow.parquet.read_schema(parts[0]).names
    except (OSError, pa.ArrowException) as error:
        raise cannot_read(parts[0], error) from error
    keys = {field: names[at] for field, at in choose_columns(file, names, columns).items()}
    return Rows(frozenset(keys), (chunk for part in parts for chunk in _parquet_chunks(part, keys, part.name if len(parts) > 1 else "")))


def parquet_parts(folder: Path) -> list[Path]:
    """The files *.parquet in a folder, by name. Raises DatasetError."""
    try:
        names = sorted(name for name in os.listdir(folder) if name.lower().endswith(".parquet") and not name.startswith("."))
    except OSError as error:
        raise cannot_read(folder, error) from error
    return [folder / name for name in names]


def _parquet_chunks(file: Path, keys: dict[str, str], part: str) -> Iterator[Chunk]:
    try:
        # A buffer: without one, a column of a whole row group is in memory at once.
        with pyarrow.parquet.ParquetFile(file, buffer_size=1 << 20) as parquet:
            if missing := set(keys.values()) - set(parquet.schema_arrow.names):
                raise DatasetError(f"{one_line(str(file))} has no column {', '.join(sorted(missing))}, which the first part has")
            row = 1
            for batch in parquet.iter_batches(_BATCH_ROWS, columns=sorted(set(keys.values())), use_threads=False):
                values = {field: as_bytes(file, key, batch.column(key), weight=field == "weight") for field, key in keys.items()}
                yield Chunk(values, partial(np.arange, row, row + len(batch)), len(batch), part)
                row += len(batch)
    except (OSError, pa.ArrowException) as error:
        raise cannot_read(file, error) from error


def as_bytes(file: Path, name: str, column: pa.Array, *, weight: bool = False) -> pa.Array:
    """A column of text or numbers as binary, as CSV would have it; weights stay numbers. Raises DatasetError for other types."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return as_bytes(file, name, column.cast(kind.value_type), weight=weight)
    if weight and (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return column.cast(pa.float64(), safe=False)
    if pa.types.is_floating(kind):
        numbers = pa.compute.if_else(pa.compute.is_nan(column), None, column)  # pandas writes empty values as NaN
        try:
            column = numbers.cast(pa.int64())
        except pa.ArrowInvalid:  # not all of them are whole
            column = numbers
    elif pa.types.is_nested(kind) or pa.types.is_temporal(kind):
        raise DatasetError(f"{one_line(str(file))}: its column {name!r} is {kind}, neither text nor numbers; name another with --columns")
    if not pa.types.is_binary(column.type):
        column = column.cast(pa.binary()) if pa.types.is_large_binary(column.type) else column.cast(pa.string()).cast(pa.binary())
    return column


def _one(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)
