"""Damage that the structure of a GIF allows: the rest stays as a decoder expects it, so that the decoder gets far."""

from __future__ import annotations

from random import Random

from fuzzing.damage.any_kind import Damage, write_extreme


def _gif_canvas(data: bytes, rng: Random) -> bytes:
    return write_extreme(data, rng, rng.choice((6, 8)), "<H")


def gif_frames(data: bytes) -> list[tuple[int, int]]:
    """Start of each image descriptor, and the end of its data."""
    frames = []
    at = 13 + (3 << (data[10] & 7) + 1 if len(data) > 10 and data[10] & 0x80 else 0)
    while at + 10 < len(data) and data[at] in (0x21, 0x2C):
        start = at
        at += 2 if data[at] == 0x21 else 11 + (3 << (data[at + 9] & 7) + 1 if data[at + 9] & 0x80 else 0)
        while at < len(data) and data[at]:
            at += 1 + data[at]
        at += 1
        if data[start] == 0x2C:
            frames.append((start, at))
    return frames


def _gif_frame(data: bytes, rng: Random) -> bytes:
    """Place, size, flags, or the size of the first code."""
    frames = gif_frames(data)
    if not frames:
        return data
    at, _ = frames[0] if rng.random() < 0.7 else rng.choice(frames)
    offset, form = rng.choice(((1, "<H"), (3, "<H"), (5, "<H"), (7, "<H"), (9, "<B"), (10, "<B")))
    return write_extreme(data, rng, at + offset, form)


def _gif_frames(data: bytes, rng: Random) -> bytes:
    """Frames again and again, elsewhere or missing."""
    frames = gif_frames(data)
    if not frames:
        return data
    start, end = rng.choice(frames)
    times = min(rng.choice((0, 2, 2, 3, 50, 1000)), 1 + 50_000 // max(1, end - start))
    return data[:start] + data[start:end] * times + data[end:]


def _gif_flags(data: bytes, rng: Random) -> bytes:
    return write_extreme(data, rng, rng.choice((10, 11)), "<B")


DAMAGES: tuple[Damage, ...] = (
    _gif_canvas,
    _gif_frame,
    _gif_frame,
    _gif_frames,
    _gif_flags,
)
