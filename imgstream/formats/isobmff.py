"""Reads the structure of an AVIF or HEIC: boxes within boxes, which of its images is the main one, and how that is coded.

ISO/IEC 14496-12 (boxes), 23008-12 (images and their properties) and the AV1 bitstream specification, 5.5, are the source of the rules.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from imgstream.errors import BadImage

Bytes = bytes | memoryview

_AVIF_BRANDS = {b"avif", b"avis"}
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1", b"mif2"}
_CONTAINERS = {b"meta": 4, b"iprp": 0, b"ipco": 0}  # boxes that hold boxes, and the bytes before the first
_MOST_PARTS = 1_000_000


class Picture(NamedTuple):
    """The main image of a file."""

    kind: str  # avif or heic
    width: int  # before it is turned
    height: int
    turns: int  # quarters, against the clock
    mirror: int | None  # then mirrored: 0 top-bottom, 1 left-right
    coded_pixels: int  # of the largest AV1 frame in the file, as its own header has it; 0 where none was found


def iso_boxes(data: Bytes, at: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, start of body and end of each box between two offsets; an end may lie past the data if the data was cut."""
    for _ in range(_MOST_PARTS):
        if at + 8 > end:
            return
        size, name = struct.unpack_from(">I4s", data, at)
        body = at + 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, body)
            body += 8
        after = at + size if size else end
        if after < body:
            raise BadImage("corrupt", f"a box {name!r} of {size} bytes")
        yield name, body, after
        at = after


def read_picture(data: Bytes) -> Picture | None:
    """What a file declares; None if its brand is neither AVIF's nor HEIC's. Raises BadImage; IndexError or struct.error where it is cut."""
    (size,) = struct.unpack_from(">I", data)
    brands = {bytes(data[at : at + 4]) for at in (8, *range(16, min(size, 512), 4))}
    kind = "avif" if brands & _AVIF_BRANDS else "heic" if brands & _HEIC_BRANDS else None
    if kind is None:
        return None
    primary, properties, used, extents, items = 1, [], {}, [], 0
    stack = [(0, len(data))]
    while stack:
        for name, start, end in iso_boxes(data, *stack.pop()):
            if name in _CONTAINERS:
                if end > len(data):
                    raise IndexError
                stack.append((start + _CONTAINERS[name], end))
                if name == b"ipco":
                    properties = list(iso_boxes(data, start, end))
            elif name == b"pitm":
                (primary,) = struct.unpack_from(">I" if data[start] else ">H", data, start + 4)
            elif name == b"ipma":
                used = _associations(data, start)
            elif name == b"iloc":
                extents = _extents(data, start)
            elif name == b"idat":
                items = start
    width = height = turns = 0
    mirror = crop = None
    for index in used.get(primary, ()):
        if not 1 <= index <= len(properties):
            continue
        name, start, _ = properties[index - 1]
        if name == b"ispe":
            width, height = struct.unpack_from(">II", data, start + 4)
        elif name == b"irot":
            turns = data[start] & 3
        elif name == b"imir":
            mirror = data[start] & 1
        elif name == b"clap":
            crop = struct.unpack_from(">IIII", data, start)
    if not width:
        raise BadImage("truncated" if not properties else "corrupt", "declares no size for its main image")
    if kind == "heic":
        if crop and crop[1] and crop[3]:
            width, height = crop[0] // crop[1], crop[2] // crop[3]
        return Picture(kind, width, height, turns, mirror, 0)
    coded = max((_av1_pixels(data, offset + (items if inside else 0)) for inside, offset in extents), default=0)
    return Picture(kind, width, height, turns, mirror, coded)


def _associations(data: Bytes, start: int) -> dict[int, list[int]]:
    """Which properties (1-based) belong to which item: the body of an ipma box."""
    version, flags, items = struct.unpack_from(">B2xBI", data, start)
    item_form, index_form, index_mask = ">I" if version else ">H", ">H" if flags & 1 else ">B", 0x7FFF if flags & 1 else 0x7F
    at, used = start + 8, {}
    for _ in range(min(items, _MOST_PARTS)):
        (item,) = struct.unpack_from(item_form, data, at)
        at += struct.calcsize(item_form)
        count = data[at]
        at += 1
        width = struct.calcsize(index_form)
        used[item] = [struct.unpack_from(index_form, data, at + i * width)[0] & index_mask for i in range(count)]
        at += count * width
    return used


def _extents(data: Bytes, start: int) -> list[tuple[bool, int]]:
    """Where the first bytes of each item lie, and whether that counts from the idat box, from the body of an iloc box."""
    version, sizes, more = struct.unpack_from(">B3xBB", data, start)
    offset_size, length_size, base_size, index_size = sizes >> 4, sizes & 15, more >> 4, more & 15 if version in (1, 2) else 0
    at = start + 6
    (count,) = struct.unpack_from(">I" if version == 2 else ">H", data, at)
    at += 4 if version == 2 else 2
    found = []
    for _ in range(min(count, _MOST_PARTS)):
        at += 4 if version == 2 else 2
        method = 0
        if version in (1, 2):
            method = data[at + 1] & 15
            at += 2
        at += 2
        base = int.from_bytes(data[at : at + base_size], "big")
        at += base_size
        (parts,) = struct.unpack_from(">H", data, at)
        at += 2
        if parts and method < 2:
            first = at + index_size
            found.append((method == 1, base + int.from_bytes(data[first : first + offset_size], "big")))
        at += parts * (index_size + offset_size + length_size)
    return found


_SEQUENCE, _DELIMITER = 1, 2


def _av1_pixels(data: Bytes, at: int) -> int:
    """Width times height of the frames that an AV1 stream's sequence header, at or near `at`, allows; 0 if there is none."""
    try:
        for _ in range(4):
            head = data[at]
            kind, extended, sized = head >> 3 & 15, head >> 2 & 1, head >> 1 & 1
            at += 1 + extended
            length, shift = 0, 0
            while sized:
                length |= (data[at] & 127) << shift
                shift += 7
                at += 1
                if data[at - 1] < 128 or shift > 28:
                    break
            if kind == _SEQUENCE:
                width, height = _sequence_size(_Bits(bytes(data[at : at + 80])))
                return width * height
            if kind != _DELIMITER or not sized:
                return 0
            at += length
    except IndexError:
        pass
    return 0


def _sequence_size(bits: _Bits) -> tuple[int, int]:
    bits.take(4)  # profile, still picture
    if bits.take(1):  # a reduced header
        bits.take(5)
    else:
        delay_bits = None
        if bits.take(1):  # timing
            bits.take(64)
            if bits.take(1):  # equal intervals: how long, with as many bits as zeros before it
                zeros = 0
                while not bits.take(1) and zeros < 32:
                    zeros += 1
                bits.take(zeros)
            if bits.take(1):  # a decoder model
                delay_bits = bits.take(5) + 1
                bits.take(42)
        initial_delay = bits.take(1)
        for _ in range(bits.take(5) + 1):  # operating points
            bits.take(12)
            if bits.take(5) > 7:
                bits.take(1)
            if delay_bits is not None and bits.take(1):
                bits.take(2 * delay_bits + 1)
            if initial_delay and bits.take(1):
                bits.take(4)
    across, down = bits.take(4) + 1, bits.take(4) + 1
    return bits.take(across) + 1, bits.take(down) + 1


class _Bits:
    """The bits of bytes, highest first; IndexError past the end."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def take(self, count: int) -> int:
        """The next `count` bits as a number."""
        self._left -= count
        if self._left < 0:
            raise IndexError
        return self._value >> self._left & ((1 << count) - 1)
