"""Damage that the structure of a JPEG allows: the rest stays as a decoder expects it, so that the decoder gets far."""

from __future__ import annotations

import re
import struct
from random import Random

from fuzzing.damage.any_kind import ANY, Damage, extreme, flip_bits, shuffled, write_extreme

_END_OF_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_FRAMES = (0xC0, 0xC1, 0xC2, 0xC9, 0xCA)
_MOST_PARTS = 2000


def jpeg_parts(data: bytes) -> list[bytes]:
    """A JPEG's SOI, segments, coded data and rest; together they are the file."""
    parts, at = [data[:2]], 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] not in (0xD9, 0x00, 0xFF) and len(parts) < _MOST_PARTS:
        end = at + 2 if 0xD0 <= data[at + 1] <= 0xD8 else at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        parts.append(data[at:end])
        if data[at + 1] == 0xDA:
            found = _END_OF_SCAN.search(data, end)
            start, end = end, found.start() if found else len(data)
            parts.append(data[start:end])
        at = end
    return [*parts, data[at:]]


def _is(part: bytes, *markers: int) -> bool:
    return len(part) > 2 and part[0] == 0xFF and part[1] in markers


def _where(parts: list[bytes], *markers: int) -> list[int]:
    return [i for i, part in enumerate(parts) if _is(part, *markers)]


def _changed_part(data: bytes, rng: Random, markers: tuple[int, ...], change: Damage) -> bytes:
    """One segment of these kinds is changed, behind its length."""
    parts = jpeg_parts(data)
    at = _where(parts, *markers)
    if at:
        chosen = rng.choice(at)
        parts[chosen] = parts[chosen][:4] + change(parts[chosen][4:], rng)
    return b"".join(parts)


def _jpeg_shuffle(data: bytes, rng: Random) -> bytes:
    return b"".join(shuffled(jpeg_parts(data), rng))


def _jpeg_size(data: bytes, rng: Random) -> bytes:
    def change(frame: bytes, rng: Random) -> bytes:
        for at in rng.choice(((1,), (3,), (1, 3))):
            frame = write_extreme(frame, rng, at, ">H")
        return frame

    return _changed_part(data, rng, _FRAMES, change)


def _jpeg_frame(data: bytes, rng: Random) -> bytes:
    """Precision, number of components, sampling factors, table numbers."""
    return _changed_part(data, rng, _FRAMES, lambda frame, rng: _one_byte(frame, rng, (0, *range(5, len(frame)))))


def _one_byte(part: bytes, rng: Random, places: tuple[int, ...]) -> bytes:
    at = rng.choice(places)
    if at >= len(part):
        return part
    value = rng.choice((0, 1, 2, 3, 4, 0x11, 0x12, 0x21, 0x22, 0x14, 0x41, 0x44, 0xFF, part[at] ^ 1 << rng.randrange(8)))
    return part[:at] + bytes((value,)) + part[at + 1 :]


def _jpeg_frame_kind(data: bytes, rng: Random) -> bytes:
    parts = jpeg_parts(data)
    for i in _where(parts, *_FRAMES):
        parts[i] = bytes((0xFF, rng.choice((0xC0, 0xC1, 0xC2, 0xC2, 0xC3, 0xC5, 0xC9, 0xCA)))) + parts[i][2:]
    return b"".join(parts)


def _jpeg_second_frame(data: bytes, rng: Random) -> bytes:
    """Another frame header somewhere: the same, or of another size or kind."""
    parts = jpeg_parts(data)
    frames = _where(parts, *_FRAMES)
    if frames:
        frame = parts[rng.choice(frames)]
        if rng.random() < 0.6:
            frame = frame[:4] + write_extreme(frame[4:], rng, rng.choice((1, 3)), ">H")
        if rng.random() < 0.3:
            frame = bytes((0xFF, rng.choice(_FRAMES))) + frame[2:]
        parts.insert(rng.randrange(1, len(parts) + 1), frame)
    return b"".join(parts)


def _jpeg_restarts(data: bytes, rng: Random) -> bytes:
    """A restart interval that is not the data's."""
    parts = [part for part in jpeg_parts(data) if not (_is(part, 0xDD) and rng.random() < 0.5)]
    interval = b"\xff\xdd\0\4" + rng.choice((0, 1, 2, 3, 7, 64, 0xFFFF)).to_bytes(2, "big")
    parts.insert(rng.randrange(1, max(2, len(parts) - 1)), interval)
    return b"".join(parts)


def _jpeg_restart_marks(data: bytes, rng: Random) -> bytes:
    """Restart markers in the coded data, out of order, missing or extra."""
    parts = jpeg_parts(data)
    scans = [i + 1 for i in _where(parts, 0xDA) if i + 1 < len(parts)]
    if scans:
        i = rng.choice(scans)
        coded, mark = parts[i], bytes((0xFF, 0xD0 + rng.randrange(8)))
        at = rng.randrange(len(coded) + 1)
        marks = [found.start() for found in re.finditer(rb"\xff[\xd0-\xd7]", coded)]
        if marks and rng.random() < 0.6:
            at = rng.choice(marks)
            parts[i] = coded[:at] + rng.choice((b"", mark)) + coded[at + 2 :]
        else:
            parts[i] = coded[:at] + mark + coded[at:]
    return b"".join(parts)


def _jpeg_tables(data: bytes, rng: Random) -> bytes:
    return _changed_part(data, rng, (0xC4, 0xDB), rng.choice((flip_bits, *ANY)))


def _jpeg_scan_header(data: bytes, rng: Random) -> bytes:
    """Components, tables, and the coefficients and bits that a scan says it holds."""
    return _changed_part(data, rng, (0xDA,), lambda scan, rng: _one_byte(scan, rng, tuple(range(len(scan))) or (0,)))


def _jpeg_repeat_scans(data: bytes, rng: Random) -> bytes:
    """A scan again and again, sometimes of a picture that says it is large, sometimes with hardly any data."""
    parts = jpeg_parts(data)
    scans = _where(parts, 0xDA)
    if not scans:
        return data
    i = rng.choice(scans)
    coded = parts[i + 1] if i + 1 < len(parts) else b""
    again = parts[i] + (coded if rng.random() < 0.5 else coded[: rng.randint(0, 8)])
    times = min(rng.choice((1, 2, 5, 20, 100, 450, 600)), 1 + 60_000 // max(1, len(again)))
    parts.insert(i + 2, again * times)
    out = b"".join(parts)
    return _jpeg_size(out, rng) if rng.random() < 0.4 else out


def _jpeg_drop_scans(data: bytes, rng: Random) -> bytes:
    """Some scans are not there, and the end follows, or does not."""
    parts = jpeg_parts(data)
    scans = _where(parts, 0xDA)
    gone = {i for i in scans if rng.random() < 0.5}
    return b"".join(part for i, part in enumerate(parts) if i not in gone and i - 1 not in gone)


def _jpeg_end(data: bytes, rng: Random) -> bytes:
    """An end mark early, twice, without a picture, or none."""
    if rng.random() < 0.3:
        return data[:-2] if data.endswith(b"\xff\xd9") else data
    parts = jpeg_parts(data)
    at = rng.randrange(1, len(parts))
    if rng.random() < 0.5:
        middle = rng.randrange(len(parts[at]) + 1)
        parts[at] = parts[at][:middle] + b"\xff\xd9" + parts[at][middle:]
    else:
        parts.insert(at, b"\xff\xd9")
    return b"".join(parts)


def _jpeg_junk(data: bytes, rng: Random) -> bytes:
    """Bytes between segments: fill bytes, zeros, noise, or a marker that means nothing."""
    parts = jpeg_parts(data)
    junk = rng.choice((b"\xff" * rng.randint(1, 9), b"\0" * rng.randint(1, 9), rng.randbytes(rng.randint(1, 40)), b"\xff\x01", b"\xff\xd8"))
    parts.insert(rng.randrange(1, len(parts) + 1), junk)
    return b"".join(parts)


def _jpeg_segment(data: bytes, rng: Random) -> bytes:
    """Another segment: colours turned (Adobe), an orientation, a comment, lines declared late, numbers of lines."""
    adobe = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0" + bytes((rng.choice((0, 1, 2, 3)),))
    entry = struct.pack("<HHII", 274, rng.choice((1, 3, 4, 9)), rng.choice((0, 1, 2)), rng.randrange(11))
    body = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + entry + b"\0\0\0\0"
    exif = b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body
    lines = b"\xff\xdc\0\4" + extreme(40, rng, 16).to_bytes(2, "big")
    comment = b"\xff\xfe" + rng.choice((2, 3, 40, 0, 1)).to_bytes(2, "big") + b" " * 38
    parts = jpeg_parts(data)
    parts.insert(rng.randrange(1, len(parts)), rng.choice((adobe, exif, exif, lines, comment)))
    return b"".join(parts)


def _jpeg_lengths(data: bytes, rng: Random) -> bytes:
    parts = jpeg_parts(data)
    at = [i for i, part in enumerate(parts) if len(part) > 4 and part[0] == 0xFF and part[1] >= 0xC0]
    if at:
        i = rng.choice(at)
        parts[i] = write_extreme(parts[i], rng, 2, ">H")
    return b"".join(parts)


def _jpeg_coded(data: bytes, rng: Random) -> bytes:
    """Damage within the coded data of one scan."""
    parts = jpeg_parts(data)
    scans = [i + 1 for i in _where(parts, 0xDA) if i + 1 < len(parts)]
    if scans:
        i = rng.choice(scans)
        parts[i] = rng.choice(ANY)(parts[i], rng)
    return b"".join(parts)


DAMAGES: tuple[Damage, ...] = (
    _jpeg_shuffle,
    _jpeg_size,
    _jpeg_frame,
    _jpeg_frame_kind,
    _jpeg_second_frame,
    _jpeg_restarts,
    _jpeg_restart_marks,
    _jpeg_tables,
    _jpeg_scan_header,
    _jpeg_repeat_scans,
    _jpeg_drop_scans,
    _jpeg_end,
    _jpeg_junk,
    _jpeg_segment,
    _jpeg_lengths,
    _jpeg_coded,
    _jpeg_coded,
)
