"""Damage that the structure of a WebP allows: the rest stays as a decoder expects it, so that the decoder gets far."""

from __future__ import annotations

import struct
from random import Random

from fuzzing.damage.any_kind import ANY, Damage, shuffled, write_extreme


def _riff_chunks(data: bytes) -> list[bytes]:
    chunks, at = [], 12
    while at + 8 <= len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        end = at + 8 + length + length % 2
        chunks.append(data[at:end])
        at = end
    return chunks


def _riff(chunks: list[bytes]) -> bytes:
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _webp_shuffle(data: bytes, rng: Random) -> bytes:
    return _riff(shuffled(_riff_chunks(data), rng, keep=0))


def _webp_size(data: bytes, rng: Random) -> bytes:
    """Width and height in the frame, the canvas or an animation's frame."""
    chunks = _riff_chunks(data)
    if not chunks:
        return data
    i = rng.randrange(len(chunks))
    name, at = chunks[i][:4], rng.choice((0, 1))
    if name == b"VP8 ":
        chunks[i] = write_extreme(chunks[i], rng, 14 + 2 * at, "<H")
    elif name == b"VP8L":
        chunks[i] = write_extreme(chunks[i], rng, 9 + 2 * at, "<H")
    elif name == b"VP8X":
        chunks[i] = write_extreme(chunks[i], rng, 12 + 3 * at, "<H")
    elif name == b"ANMF":
        chunks[i] = write_extreme(chunks[i], rng, rng.choice((8, 11, 14, 17, 20)), "<H")
    return _riff(chunks)


def _webp_body(data: bytes, rng: Random) -> bytes:
    """Damage in a chunk whose length stays right; early in it, where its header and partitions are declared, or anywhere."""
    chunks = _riff_chunks(data)
    if not chunks:
        return data
    i = rng.randrange(len(chunks))
    head, body = chunks[i][:8], chunks[i][8:]
    reach = rng.choice((12, 40, len(body)))
    changed = rng.choice(ANY)(body[:reach], rng) + body[reach:]
    chunks[i] = head[:4] + struct.pack("<I", len(changed)) + changed + b"\0" * (len(changed) % 2)
    return _riff(chunks)


def _webp_lengths(data: bytes, rng: Random) -> bytes:
    """The file's declared length, or a chunk's."""
    places, at = [4], 12
    for part in _riff_chunks(data):
        places.append(at + 4)
        at += len(part)
    return write_extreme(data, rng, rng.choice(places), "<I")


def _webp_flags(data: bytes, rng: Random) -> bytes:
    """What an extended header promises; or an extended header before a simple file."""
    chunks = _riff_chunks(data)
    canvas = struct.pack("<4sIBBBB", b"VP8X", 10, rng.choice((0, 2, 8, 16, 32, 255)), 0, 0, 0) + b"\x1f\0\0\x1f\0\0"
    if chunks and chunks[0][:4] == b"VP8X":
        chunks[0] = chunks[0][:8] + bytes((rng.randrange(256),)) + chunks[0][9:]
    else:
        chunks.insert(0, canvas)
    return _riff(chunks)


DAMAGES: tuple[Damage, ...] = (
    _webp_shuffle,
    _webp_size,
    _webp_size,
    _webp_body,
    _webp_lengths,
    _webp_flags,
)
