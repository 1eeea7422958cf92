"""Finds where the values of a Parquet column lie in its file: no library tells.

A column chunk is a dictionary page, perhaps, and data pages; a page is a header in Thrift's compact protocol and a body, which may be
compressed as a whole (apache/parquet-format: README.md, Encodings.md, src/main/thrift/parquet.thrift). Only byte arrays are looked for, in
columns that are not repeated.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa

from imgstream.files.unpacking import LARGEST_PAGE

_DATA, _INDEX, _DICTIONARY, _DATA_2 = range(4)
_PLAIN, _PLAIN_DICTIONARY, _RLE_DICTIONARY = 0, 2, 8
_HEADER_PARTS = (1 << 10, 1 << 14, 1 << 20)
_LENGTH = struct.Struct("<I")


class Page(NamedTuple):
    """Where the body of a page is, and how it is packed."""

    at: int
    size: int
    unpacked: int
    codec: str | None
    """None for a body that is as it is in memory."""


class Place(NamedTuple):
    """Where a value is: in its page, after unpacking."""

    page: Page
    offset: int
    length: int


class Chunk(NamedTuple):
    """A column chunk, as the file's metadata describes it."""

    at: int
    size: int
    values: int
    codec: str | None
    most_defined: int
    """The definition level of a value that is no null."""


def places(file: BinaryIO, chunk: Chunk) -> Iterator[Place | str | None]:
    """The place of each value of a column chunk; None for a null, and text for one that cannot be read. Raises ValueError."""
    try:
        yield from _places(file, chunk)
    except (KeyError, IndexError, TypeError, OverflowError, struct.error):
        raise ValueError("a page is damaged") from None


def _places(file: BinaryIO, chunk: Chunk) -> Iterator[Place | str | None]:
    at, left = chunk.at, chunk.values
    dictionary: list[Place | str] = []
    while left > 0:
        if at >= chunk.at + chunk.size:
            raise ValueError("a column ends before its values do")
        header, begins = _header(file, at)
        unpacked, size, kind = header[2], header[3], header[1]
        at = begins + size
        if not (0 <= size <= chunk.size and unpacked >= 0):
            raise ValueError("a page has an impossible size")
        page = Page(begins, size, unpacked, chunk.codec)
        if kind == _DICTIONARY:
            count = header[7][1]
            if not 0 <= count <= chunk.values:
                raise ValueError("a page has more values than its column")
            body = _body(file, page, header)
            dictionary = count * [body] if isinstance(body, str) else _plain(page, memoryview(body).cast("B"), 0, count)
        elif kind in (_DATA, _DATA_2):
            values = header[5][1] if kind == _DATA else header[8][1]
            if not 0 <= values <= left:
                raise ValueError("a page has more values than its column")
            found = _data_page(file, page, header, chunk.most_defined, dictionary)
            yield from (values * [found] if isinstance(found, str) else found)
            left -= values


def _data_page(
    file: BinaryIO, page: Page, header: dict[int, Any], most_defined: int, dictionary: list[Place | str]
) -> list[Place | str | None] | str:
    if header[1] == _DATA:
        count, encoding, levels = header[5][1], header[5][2], None
    else:
        count, encoding, levels = header[8][1], header[8][4], (header[8][6], header[8][5])
        skipped = sum(levels)
        file.seek(page.at)
        head = file.read(skipped)
        codec = page.codec if header[8].get(7, True) else None
        page = Page(page.at + skipped, page.size - skipped, page.unpacked - skipped, codec)
    body = _body(file, page, header)
    if isinstance(body, str):
        return body
    view, at = memoryview(body).cast("B"), 0
    defined = np.ones(count, bool)
    if most_defined:
        if levels is None:
            length, at = _LENGTH.unpack_from(view)[0], 4
            encoded, at = view[at : at + length], at + length
        else:
            encoded = memoryview(head)[levels[0] :]
        defined = _runs(encoded, most_defined.bit_length(), count) == most_defined
    there = int(defined.sum())
    values: list[Place | str]
    if encoding == _PLAIN:
        values = _plain(page, view, at, there)
    elif encoding in (_PLAIN_DICTIONARY, _RLE_DICTIONARY):
        numbers = _runs(view[at + 1 :], view[at], there) if there else np.zeros(0, np.int64)
        values = [dictionary[number] for number in numbers.tolist()]
    else:
        raise ValueError(f"a column is in encoding {encoding}, which cannot be read at random: write it with PLAIN")
    found = iter(values)
    return [next(found) if is_there else None for is_there in defined.tolist()]


def _plain(page: Page, body: memoryview, at: int, count: int) -> list[Place | str]:
    """The places of values that follow one another, each with its length before it."""
    found: list[Place | str] = []
    for _ in range(count):
        (length,) = _LENGTH.unpack_from(body, at)
        at += 4 + length
        if at > len(body):
            raise ValueError("a value goes on behind its page")
        found.append(Place(page, at - length, length))
    return found


def _body(file: BinaryIO, page: Page, header: dict[int, Any]) -> bytes | pa.Buffer | str:
    """A page's body, unpacked; or why it cannot be."""
    if max(page.size, page.unpacked) > LARGEST_PAGE:
        return f"unsupported: in a page of {max(page.size, page.unpacked) >> 20:,} MB; imgstream pack writes it anew"
    file.seek(page.at)
    body = file.read(page.size)
    if len(body) < page.size:
        return "truncated: the file ends within its page"
    if 4 in header and header[1] != _DATA_2 and zlib.crc32(body) != header[4] & 0xFFFFFFFF:
        return "corrupt: the checksum of its page is wrong"
    try:
        return body if page.codec is None else pa.decompress(body, page.unpacked, page.codec)
    except (OSError, pa.ArrowException):
        return "corrupt: its page cannot be unpacked"


def _runs(data: memoryview, bits: int, count: int) -> np.ndarray:
    """int64 (count,): numbers in the hybrid of run lengths and packed bits."""
    found, at, have = [], 0, 0
    while have < count:
        head, at = _varint(data, at)
        if head & 1:  # groups of eight, packed
            groups = head >> 1
            packed = np.frombuffer(data[at : at + groups * bits], np.uint8)
            if len(packed) < groups * bits:
                raise ValueError("a page ends within its numbers")
            at += groups * bits
            ones = np.unpackbits(packed, bitorder="little").reshape(-1, bits) if bits else np.zeros((8 * groups, 0), np.uint8)
            some = ones.astype(np.int64) @ (1 << np.arange(bits, dtype=np.int64))
        else:
            width = (bits + 7) // 8
            some = np.full(min(head >> 1, count - have), int.from_bytes(data[at : at + width], "little"), np.int64)
            at += width
            if not len(some):
                raise ValueError("a page has a run of no length")
        found.append(some)
        have += len(some)
    return np.concatenate(found)[:count] if found else np.zeros(0, np.int64)


# ---- Thrift's compact protocol, as far as page headers need it


def _header(file: BinaryIO, at: int) -> tuple[dict[int, Any], int]:
    """A page header by field numbers, and where the body begins."""
    for part in _HEADER_PARTS:
        file.seek(at)
        data = memoryview(file.read(part))
        try:
            found, length = _struct(data, 0, 0)
            if not {1, 2, 3} <= set(found) or {_DATA: 5, _DICTIONARY: 7, _DATA_2: 8}.get(found[1], 1) not in found:
                raise ValueError("a page has no header")
            return found, at + length
        except IndexError:
            if len(data) < part:
                break
    raise ValueError("the file ends within the header of a page")


def _struct(data: memoryview, at: int, depth: int) -> tuple[dict[int, Any], int]:
    found: dict[int, Any] = {}
    number = 0
    if depth > 4:
        raise ValueError("a page has no header")
    while head := data[at]:
        at += 1
        kind = head & 15
        if head >> 4:
            number += head >> 4
        else:
            number, at = _signed(data, at)
        if kind in (1, 2):
            found[number] = kind == 1
        elif kind in (3, 4, 5, 6):
            found[number], at = _signed(data, at)
        elif kind == 8:
            length, at = _varint(data, at)
            at += length
        elif kind == 12:
            found[number], at = _struct(data, at, depth + 1)
        else:
            raise ValueError("a page has no header")
    return found, at + 1


def _signed(data: memoryview, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    return value >> 1 ^ -(value & 1), at


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("a page has a number that is none")
