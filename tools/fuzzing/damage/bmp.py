"""Damage that the structure of a BMP allows: the rest stays as a decoder expects it, so that the decoder gets far."""

from __future__ import annotations

import struct
from random import Random

from fuzzing.damage.any_kind import Damage, write_extreme


def _bmp_field(data: bytes, rng: Random) -> bytes:
    """Offset of the pixels, size of the header, width, height, planes, bits, compression, bytes, colours, masks."""
    at, form = rng.choice(((10, "<I"), (14, "<I"), (26, "<H"), (28, "<H"), (30, "<I"), (34, "<I"), (46, "<I"), (54, "<I"), (58, "<I")))
    if at == 28 and len(data) > 30 and rng.random() < 0.7:
        return data[:28] + bytes((rng.choice((0, 1, 2, 4, 8, 16, 24, 32, 64)), 0)) + data[30:]
    if at == 30 and len(data) > 34 and rng.random() < 0.8:
        return data[:30] + bytes((rng.choice((0, 1, 2, 3, 4, 5, 6, 11)), 0, 0, 0)) + data[34:]
    return write_extreme(data, rng, at, form)


def _bmp_size(data: bytes, rng: Random) -> bytes:
    """Width or height; a height below 0 turns the rows."""
    at = rng.choice((18, 22))
    if rng.random() < 0.2 and len(data) >= 26:
        (value,) = struct.unpack_from("<i", data, at)
        return data[:at] + struct.pack("<I", -value & 0xFFFFFFFF) + data[at + 4 :]
    return write_extreme(data, rng, at, "<I")


DAMAGES: tuple[Damage, ...] = (
    _bmp_field,
    _bmp_field,
    _bmp_size,
)
