"""Damage that the structure of a PNG allows: the rest stays as a decoder expects it, so that the decoder gets far."""

from __future__ import annotations

import functools
import struct
import zlib
from random import Random

from fuzzing.damage.any_kind import ANY, Damage, extreme, shuffled, write_extreme
from fuzzing.seeds import chunk


def png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Name and body of each chunk that is whole."""
    chunks, at = [], 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if at + 12 + length > len(data):
            break
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return chunks


def _png(chunks: list[tuple[bytes, bytes]]) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(name, body) for name, body in chunks)


def _png_size(data: bytes, rng: Random) -> bytes:
    return _png(
        [(name, write_extreme(body, rng, rng.choice((0, 4)), ">I") if name == b"IHDR" else body) for name, body in png_chunks(data)]
    )


def _png_header(data: bytes, rng: Random) -> bytes:
    """Bits, colour type, compression, filter, interlacing."""

    def change(body: bytes) -> bytes:
        at = rng.randrange(8, 13)
        return body[:at] + bytes((rng.choice((0, 1, 2, 3, 4, 6, 8, 16, 32, 255)),)) + body[at + 1 :]

    return _png([(name, change(body) if name == b"IHDR" else body) for name, body in png_chunks(data)])


def _png_shuffle(data: bytes, rng: Random) -> bytes:
    parts = shuffled([chunk(*part) for part in png_chunks(data)], rng, keep=0)
    return data[:8] + b"".join(parts)


def _png_body(data: bytes, rng: Random) -> bytes:
    """A chunk's contents are damaged, its check sum is right."""
    chunks = png_chunks(data)
    if chunks:
        i = rng.randrange(len(chunks))
        name, body = chunks[i]
        chunks[i] = name, rng.choice(ANY)(body, rng)
    return _png(chunks)


def _png_pixels(data: bytes, rng: Random) -> bytes:
    """More or fewer pixels than declared, filters that are none, or damage before compression; in one chunk or many."""
    chunks = png_chunks(data)
    try:
        pixels = zlib.decompress(b"".join(body for name, body in chunks if name == b"IDAT"))
    except zlib.error:
        return data
    zeros = b"\0" * (1 << rng.choice((0, 4, 8, 12, 16, 20)))
    pixels = rng.choice((pixels + zeros, pixels[: rng.randrange(len(pixels) + 1)], rng.choice(ANY)(pixels, rng)))
    packed = zlib.compress(pixels, rng.choice((0, 1, 9)))
    step = max(1, rng.choice((len(packed), 100, 4096)))
    bodies = [(b"IDAT", packed[at : at + step]) for at in range(0, len(packed), step)]
    before = [part for part in chunks if part[0] not in (b"IDAT", b"IEND")]
    return _png([*before, *bodies, (b"IEND", b"")])


@functools.cache
def _zeros(bits: int) -> bytes:
    """2 to the power of `bits` zeros, packed."""
    return zlib.compress(bytes(1 << bits), 9)


def _png_chunk(data: bytes, rng: Random) -> bytes:
    """One chunk more: a palette, transparency, a profile or text that swells, an orientation, an animation, one that nobody knows."""
    bomb = _zeros(rng.choice((4, 16, 24)))
    orientation = b"II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 274, 3, 1, rng.randrange(10)) + b"\0\0\0\0"
    new = rng.choice(
        (
            (b"PLTE", rng.randbytes(rng.choice((0, 1, 3, 30, 768, 771)))),
            (b"tRNS", rng.randbytes(rng.choice((0, 1, 2, 6, 256)))),
            (b"iCCP", b"profile\0\0" + bomb),
            (b"zTXt", b"Comment\0\0" + bomb),
            (b"iTXt", b"Comment\0\1\0\0\0" + bomb),
            (b"eXIf", orientation),
            (b"acTL", struct.pack(">II", extreme(2, rng, 32), 0)),
            (b"fcTL", struct.pack(">IIIIIHHBB", 0, extreme(24, rng, 32), 24, 0, 0, 1, 10, 0, 0)),
            (b"gAMA", struct.pack(">I", extreme(45455, rng, 32))),
            (b"cHRM", rng.randbytes(32)),
            (b"sBIT", rng.randbytes(rng.randint(0, 5))),
            (b"IHDR", rng.randbytes(13)),
            (b"IEND", b""),
            (b"ABCD", b""),
            (b"abCd", rng.randbytes(20)),
        )
    )
    chunks = png_chunks(data)
    chunks.insert(rng.randrange(len(chunks) + 1), new)
    return _png(chunks)


DAMAGES: tuple[Damage, ...] = (
    _png_size,
    _png_size,
    _png_header,
    _png_shuffle,
    _png_body,
    _png_pixels,
    _png_chunk,
)
