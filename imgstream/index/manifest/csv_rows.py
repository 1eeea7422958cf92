"""Reads the rows of a CSV or TSV file, a chunk at a time, with the numbers of the lines that they begin in.

RFC 4180: a value that begins with a quote ends at the next one; two quotes inside it are one; it may hold separators and line ends. A quote
anywhere else is a character. Blank lines are ignored. pyarrow parses; records that it refuses are found and left out here.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv

from imgstream.errors import DatasetError, NoImagesError
from imgstream.index.manifest.rows import MOST_RECORD, UTF_8_MARK, UTF_16, BadRows, Chunk, Rows, blocks, choose_columns, clip, head
from imgstream.index.names import IMAGE_EXTENSIONS, as_written, one_line

_QUOTE, _LF, _CR = b'"\n\r'


class _Dialect(NamedTuple):
    """How one file is written."""

    delimiter: str
    width: int
    """Number of columns."""
    chosen: dict[str, int]
    """Field → column."""
    header: bool
    """Whether the first row is a header."""


def read_delimited(file: Path, columns: Mapping[str, str], bad: BadRows) -> Rows:
    """The rows of `file`. If `columns` holds only positions, the file has no header. Raises DatasetError: no such columns, or no text."""
    dialect = _dialect(file, columns)
    return Rows(frozenset(dialect.chosen), _chunks(file, dialect, bad))


def _dialect(file: Path, columns: Mapping[str, str]) -> _Dialect:
    start = head(file).removeprefix(UTF_8_MARK)
    if start.startswith(UTF_16):
        next(blocks(file, lambda block, final: len(block)))  # raises the error for UTF-16
    if b"\n" not in start:
        start = start.replace(b"\r", b"\n")
    delimiters = ["\t"] if file.suffix.lower() == ".tsv" else [",", ";", "\t"]
    header = not columns or not all(value.isdecimal() for value in columns.values())
    rows = [(delimiter, _first_row(file, start, delimiter)) for delimiter in delimiters]
    rows.sort(key=lambda row: -len(row[1]))
    problem: DatasetError | None = None
    for delimiter, row in rows:
        found = row if header else [str(at) for at in range(len(row))]
        try:
            return _Dialect(delimiter, len(row), choose_columns(file, found, columns, positions=True), header)
        except DatasetError as error:
            problem = problem or error  # of the delimiter that gives most columns
    row = rows[0][1]
    images = [at for at, value in enumerate(row) if value.lower().endswith(IMAGE_EXTENSIONS)]
    if header and images and not columns:
        label = f",label={images[0] + 1}" if len(row) > images[0] + 1 else ""
        raise DatasetError(
            f"{one_line(str(file))} begins with a row instead of column names ({clip(as_written(row[images[0]]))}); "
            f"say which columns are what by their number, such as --columns path={images[0]}{label}"
        )
    assert problem is not None
    raise problem


def _first_row(file: Path, start: bytes, delimiter: str) -> list[str]:
    """The values of the first row that is not blank."""
    if not start.strip(b"\r\n"):
        raise NoImagesError(f"No images: {one_line(str(file))} is empty")
    begins, ends = _records(start, _quotes(start, delimiter))
    first = start[begins[0] : ends[0]]
    if len(first) > MOST_RECORD >> 4 or b"\0" in first:
        raise DatasetError(
            f"{one_line(str(file))} is no CSV: its first line is {clip(first, 40)}. Give a text file in UTF-8, or a .parquet"
        )
    try:
        return next(csv.reader(io.StringIO(first.decode("utf-8", "surrogateescape"), newline=""), delimiter=delimiter), [])
    except csv.Error as error:
        raise DatasetError(f"{one_line(str(file))} is no CSV: its first line is {clip(first, 40)} ({error})") from None


def _chunks(file: Path, dialect: _Dialect, bad: BadRows) -> Iterator[Chunk]:
    def whole(block: bytes, final: bool) -> int:
        return _whole_records(block, final, dialect.delimiter)

    header = dialect.header
    for block, line in blocks(file, whole):
        if header and block.strip(b"\r\n"):
            _, ends = _records(block, _quotes(block, dialect.delimiter))
            past = int(ends[0]) + 1
            line += block.count(b"\n", 0, past)
            block, header = block[past:], False
        if block.strip(b"\r\n"):
            yield _chunk(file, block, line, dialect, bad)


def _chunk(file: Path, block: bytes, line: int, dialect: _Dialect, bad: BadRows) -> Chunk:
    """`block`: whole records, or one line with a quote that is never closed."""
    try:
        if b'"' in block and len(_quotes(block, dialect.delimiter)) % 2:
            raise pa.ArrowInvalid("a quote is not closed")
        columns = _parsed(block, dialect)
        read, good = len(columns["path"]), None
    except pa.ArrowInvalid as error:
        begins, good = _sound_records(block, line, dialect, bad)
        read = len(begins)
        if good.all():
            raise DatasetError(f"{one_line(str(file))} cannot be read as CSV near line {line}: {one_line(str(error))}") from None
        if good.any():
            columns = _parsed(_without(block, begins[~good], dialect), dialect)
        else:
            columns = dict.fromkeys(dialect.chosen, pa.array([], pa.binary()))

    def lines() -> np.ndarray:
        begins, _ = _records(block, _quotes(block, dialect.delimiter))
        begins = begins if good is None else begins[good]
        return line + np.searchsorted(_positions(block, _LF), begins)

    return Chunk(columns, lines, read)


def _parsed(block: bytes, dialect: _Dialect) -> dict[str, pa.Array]:
    """Parse whole records. Raises ArrowInvalid when a record has too many or too few columns."""
    names = [str(at) for at in range(dialect.width)]
    wanted = [names[at] for at in dialect.chosen.values()]
    if block.startswith(UTF_8_MARK):  # part of a name: the file's own mark is gone, and Arrow drops one from each block
        block = UTF_8_MARK + block
    table = pyarrow.csv.read_csv(
        pa.py_buffer(block),
        pyarrow.csv.ReadOptions(use_threads=False, block_size=len(block) + 1, column_names=names),
        # No invalid_row_handler: it cannot be given a record that is no UTF-8.
        pyarrow.csv.ParseOptions(delimiter=dialect.delimiter, newlines_in_values=True),
        pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(wanted, pa.binary()), include_columns=sorted(set(wanted)), strings_can_be_null=False
        ),
    )
    return {field: pa.concat_arrays(table[names[at]].chunks) for field, at in dialect.chosen.items()}


def _sound_records(block: bytes, line: int, dialect: _Dialect, bad: BadRows) -> tuple[np.ndarray, np.ndarray]:
    """Where records begin, int64 (n,), and which have the right number of columns, bool (n,); the others are added to `bad`."""
    quotes = _quotes(block, dialect.delimiter)
    begins, ends = _records(block, quotes)
    commas = _outside(_positions(block, ord(dialect.delimiter)), quotes)
    widths = 1 + np.searchsorted(commas, ends) - np.searchsorted(commas, begins)
    wrong = np.flatnonzero(widths != dialect.width)
    reason = "wrong number of columns"
    if len(quotes) % 2:
        wrong, reason = np.arange(len(begins)), "a quote is not closed"

    def lines() -> np.ndarray:
        return line + np.searchsorted(_positions(block, _LF), begins[wrong])

    def detail(i: int) -> str:
        return f"{widths[wrong[i]]} instead of {dialect.width}: {clip(block[begins[wrong[i]] : ends[wrong[i]]])}"

    bad.add(reason, len(wrong), lines, detail)
    good = np.ones(len(begins), bool)
    good[wrong] = False
    return begins, good


def _without(block: bytes, unwanted: np.ndarray, dialect: _Dialect) -> bytes:
    """The block without the records that begin at `unwanted`."""
    begins = np.append(0, _breaks(block, _quotes(block, dialect.delimiter)) + 1)
    lengths = np.diff(begins, append=len(block))
    keep = np.repeat(~np.isin(begins, unwanted), lengths)
    return np.frombuffer(block, np.uint8)[keep].tobytes()


def _whole_records(block: bytes, final: bool, delimiter: str) -> int:
    """How many bytes of a block are whole records. If a quote is never closed: those up to the end of its line."""
    if b'"' not in block:
        return len(block) if final else block.rfind(b"\n") + 1
    quotes = _quotes(block, delimiter)
    if final and len(quotes) % 2 == 0:
        return len(block)
    ends = _outside(_positions(block, _LF), quotes)
    if len(ends):
        return int(ends[-1]) + 1
    if final or len(block) > MOST_RECORD:
        return block.find(b"\n") + 1 or (len(block) if final else 0)
    return 0


def _records(block: bytes, quotes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int64 (n,) each: where the records that are not blank begin, and where they end, before their line end."""
    breaks = _breaks(block, quotes)
    begins, ends = np.append(0, breaks + 1), np.append(breaks, len(block))
    data = np.frombuffer(block, np.uint8)
    blank = (begins == ends) | ((ends - begins == 1) & (data[np.minimum(begins, len(block) - 1)] == _CR))
    return begins[~blank], ends[~blank]


def _breaks(block: bytes, quotes: np.ndarray) -> np.ndarray:
    """Where lines end that also end a record: at LF, or at CR without LF."""
    breaks = _positions(block, _LF)
    if b"\r" in block:
        returns = _positions(block, _CR)
        data = np.frombuffer(block, np.uint8)
        alone = returns[(returns == len(block) - 1) | (data[np.minimum(returns + 1, len(block) - 1)] != _LF)]
        breaks = np.sort(np.concatenate([breaks, alone]))
    return _outside(breaks, quotes)


def _outside(positions: np.ndarray, quotes: np.ndarray) -> np.ndarray:
    return positions[np.searchsorted(quotes, positions) % 2 == 0]


def _quotes(block: bytes, delimiter: str) -> np.ndarray:
    """int64: where quoted values begin, end, begin, …; two quotes that stand for one count as an end and a beginning."""
    quotes = _positions(block, _QUOTE)
    if not len(quotes):
        return quotes
    data = np.frombuffer(block, np.uint8)
    begins_value = (quotes == 0) | np.isin(data[quotes - 1], [ord(delimiter), _LF, _CR])
    if (begins_value | (data[quotes - 1] == _QUOTE))[::2].all():  # so all of them count
        return quotes
    counted: list[int] = []
    for at, begins in zip(quotes.tolist(), begins_value.tolist(), strict=True):
        if len(counted) % 2 or begins or (counted and counted[-1] == at - 1):
            counted.append(at)
    return np.array(counted, np.int64)


def _positions(block: bytes, byte: int) -> np.ndarray:
    return np.flatnonzero(np.frombuffer(block, np.uint8) == byte)
