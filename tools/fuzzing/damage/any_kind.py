"""What may happen to a file of any kind: bits, blocks, ends and numbers. Each takes bytes and a generator, and gives bytes."""

from __future__ import annotations

import struct
from collections.abc import Callable
from random import Random

Damage = Callable[[bytes, Random], bytes]

_TINY = (0, 1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 63, 64, 65, 127, 128, 255, 256, 257)
_HUGE = (2**15 - 1, 2**15, 2**16 - 1, 2**16, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1)
_LARGE = (1000, 1024, 4096, 8000, 10_000, 13_342, 16_383, 16_384, 20_000, 30_000)
_LARGE_SHARE = 0.08
"""Sizes that are refused cost nothing, those that are decoded cost much: enough of them to find what takes too long, and no more."""


def extreme(value: int, rng: Random, bits: int) -> int:
    """Another number of `bits` bits for a field that holds `value`: at the edge of what it can be, or beside what it is."""
    draw = rng.random()
    if draw < _LARGE_SHARE:
        number = rng.choice(_LARGE)
    elif draw < 0.35:
        number = rng.choice(_TINY)
    elif draw < 0.65:
        number = rng.choice(_HUGE)
    elif draw < 0.9:
        number = value + rng.choice((-16, -8, -2, -1, 1, 1, 2, 7, 8, value, 3 * value, 7 * value))
    else:
        number = rng.getrandbits(bits)
    return number & ((1 << bits) - 1)


def write_extreme(data: bytes, rng: Random, at: int, form: str) -> bytes:
    """`data` with another number at an offset; `form`: struct's, with byte order. As it is where no such number lies there."""
    size = struct.calcsize(form)
    if at < 0 or at + size > len(data):
        return data
    (value,) = struct.unpack_from(form, data, at)
    unsigned = form.upper()
    return data[:at] + struct.pack(unsigned, extreme(value, rng, 8 * size)) + data[at + size :]


def _block(data: bytes, rng: Random) -> tuple[int, int]:
    """Start and end of a part of the file, more often a short one."""
    start = rng.randrange(len(data) + 1)
    return start, min(len(data), start + int(len(data) ** rng.random()))


def flip_bits(data: bytes, rng: Random) -> bytes:
    """One to eight bits, anywhere."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        if out:
            out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def flip_early_bits(data: bytes, rng: Random) -> bytes:
    """One to three bits of the first 64 bytes or 256."""
    first = rng.choice((64, 256))
    return flip_bits(data[:first], Random(rng.random())) + data[first:]


def set_bytes(data: bytes, rng: Random) -> bytes:
    """One to four bytes, as 0, 255 or any."""
    out = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        if out:
            out[rng.randrange(len(out))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    return bytes(out)


def cut(data: bytes, rng: Random) -> bytes:
    """The file ends early: anywhere, or a few bytes before its end."""
    return data[: rng.randrange(len(data) + 1)] if rng.random() < 0.5 else data[: -rng.randint(1, 24)]


def append(data: bytes, rng: Random) -> bytes:
    """Junk, zeros or the file itself behind its end."""
    return data + rng.choice((b"\0" * rng.randint(1, 600), rng.randbytes(rng.randint(1, 600)), data, data[: rng.randrange(len(data) + 1)]))


def remove_block(data: bytes, rng: Random) -> bytes:
    """A part is missing."""
    start, end = _block(data, rng)
    return data[:start] + data[end:]


def repeat_block(data: bytes, rng: Random) -> bytes:
    """A part is there several times."""
    start, end = _block(data, rng)
    return data[:end] + data[start:end] * rng.choice((1, 1, 2, 8)) + data[end:]


def move_block(data: bytes, rng: Random) -> bytes:
    """A part lies elsewhere."""
    start, end = _block(data, rng)
    rest = data[:start] + data[end:]
    to = rng.randrange(len(rest) + 1)
    return rest[:to] + data[start:end] + rest[to:]


def blank_block(data: bytes, rng: Random) -> bytes:
    """A part is zeros, ones or noise, as of a disk that was not written."""
    start, end = _block(data, rng)
    size = end - start
    return data[:start] + rng.choice((b"\0" * size, b"\xff" * size, rng.randbytes(size))) + data[end:]


def extreme_number(data: bytes, rng: Random) -> bytes:
    """A number of 1 to 8 bytes, in either order, is at the edge of what it can be; mostly within the first 200 bytes."""
    reach = len(data) if rng.random() < 0.3 else min(len(data), 200)
    form = rng.choice("<>") + rng.choice("BHHIIIQ")
    return write_extreme(data, rng, rng.randrange(reach + 1), form)


ANY: tuple[Damage, ...] = (
    flip_bits,
    flip_early_bits,
    set_bytes,
    cut,
    append,
    remove_block,
    repeat_block,
    move_block,
    blank_block,
    extreme_number,
    extreme_number,
)


def splice(data: bytes, other: bytes, rng: Random) -> bytes:
    """The beginning of one file and the end of another: cut at the same share of both, at the same offset, or anywhere."""
    draw = rng.random()
    if draw < 0.4:
        share = rng.random()
        at, to = int(share * len(data)), int(share * len(other))
    elif draw < 0.7:
        at = to = rng.randrange(min(len(data), len(other)) + 1)
    else:
        at, to = rng.randrange(len(data) + 1), rng.randrange(len(other) + 1)
    return data[:at] + other[to:]


def shuffled(parts: list[bytes], rng: Random, keep: int = 1) -> list[bytes]:
    """A part (but none of the first `keep`) is missing, there again, elsewhere, or two are in each other's place."""
    if len(parts) <= keep:
        return parts
    parts, at = list(parts), rng.randrange(keep, len(parts))
    draw = rng.randrange(4)
    if draw == 0:
        del parts[at]
    elif draw == 1:
        parts[at:at] = [parts[at]] * rng.choice((1, 1, 2, 5))
    elif draw == 2:
        parts.insert(rng.randrange(keep, len(parts)), parts.pop(at))
    else:
        to = rng.randrange(keep, len(parts))
        parts[at], parts[to] = parts[to], parts[at]
    return parts
