"""Damage that the structure of AVIF and HEIC allows: the rest stays as a decoder expects it, so that the decoder gets far."""

from __future__ import annotations

import struct
from random import Random

from fuzzing.damage.any_kind import ANY, Damage, shuffled, write_extreme

_MOST_BOXES = 2000
_HOLDS_BOXES = {b"meta": 4, b"iprp": 0, b"ipco": 0, b"moov": 0, b"trak": 0, b"mdia": 0, b"minf": 0, b"stbl": 0, b"dinf": 0}


def iso_boxes(data: bytes) -> list[tuple[int, int, bytes]]:
    """Start, end and name of every box, boxes within boxes too."""
    found: list[tuple[int, int, bytes]] = []
    stack = [(0, len(data))]
    while stack:
        at, end = stack.pop()
        while at + 8 <= end and len(found) < _MOST_BOXES:
            size, name = struct.unpack_from(">I4s", data, at)
            after = min(end, at + size) if size >= 8 else end
            found.append((at, after, name))
            if name in _HOLDS_BOXES:
                stack.append((at + 8 + _HOLDS_BOXES[name], after))
            at = after
    return found


def _iso_length(data: bytes, rng: Random) -> bytes:
    boxes = iso_boxes(data)
    return write_extreme(data, rng, rng.choice(boxes)[0], ">I") if boxes else data


def _iso_size(data: bytes, rng: Random) -> bytes:
    """The sides of a picture as its properties have them."""
    sizes = [start for start, _, name in iso_boxes(data) if name == b"ispe"]
    return write_extreme(data, rng, rng.choice(sizes) + rng.choice((12, 16)), ">I") if sizes else data


def _iso_body(data: bytes, rng: Random) -> bytes:
    """Damage in a box that is not the pixels, of the same length."""
    boxes = [box for box in iso_boxes(data) if box[2] not in (b"mdat", b"meta", b"moov", b"iprp", b"ipco")]
    if not boxes:
        return data
    start, end, _ = rng.choice(boxes)
    body = data[start + 8 : end]
    changed = rng.choice(ANY)(body, rng)[: len(body)].ljust(len(body), b"\0")
    return data[: start + 8] + changed + data[end:]


def _iso_number(data: bytes, rng: Random) -> bytes:
    """An extreme among the numbers of one box: where items lie, which properties they have."""
    boxes = [box for box in iso_boxes(data) if box[2] not in (b"mdat", b"moov", b"trak")]
    if not boxes:
        return data
    start, end, _ = rng.choice(boxes)
    return write_extreme(data, rng, rng.randrange(start, max(start + 1, end)), rng.choice((">B", ">H", ">I")))


def _iso_shuffle(data: bytes, rng: Random) -> bytes:
    """A box at the top or among the properties is missing, there again or elsewhere; the lengths around it stay."""
    outer = [(start, end) for start, end, name in iso_boxes(data) if name == rng.choice((b"ipco", b"meta"))]
    first, last = (outer[0][0] + 8, outer[0][1]) if outer and rng.random() < 0.5 else (0, len(data))
    parts, at = [], first
    while at + 8 <= last:
        size = int.from_bytes(data[at : at + 4], "big")
        after = min(last, at + size) if size >= 8 else last
        parts.append(data[at:after])
        at = after
    return data[:first] + b"".join(shuffled(parts, rng, keep=0)) + data[last:]


def _iso_pixels(data: bytes, rng: Random) -> bytes:
    """Damage within the coded data."""
    boxes = [box for box in iso_boxes(data) if box[2] == b"mdat"]
    if not boxes:
        return data
    start, end, _ = boxes[0]
    body = data[start + 8 : end]
    return data[: start + 8] + rng.choice(ANY)(body, rng)[: len(body)].ljust(len(body), b"\0") + data[end:]


DAMAGES: tuple[Damage, ...] = (
    _iso_length,
    _iso_size,
    _iso_size,
    _iso_body,
    _iso_number,
    _iso_shuffle,
    _iso_pixels,
)
