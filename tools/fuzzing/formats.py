"""Damage that only a format's own structure allows: the rest of the file stays as its decoder expects it, so that the decoder gets far."""

from __future__ import annotations

import functools
import re
import struct
import zlib
from random import Random

from fuzzing import tiff
from fuzzing.damage import ANY, Damage, extreme, flip_bits, write_extreme
from fuzzing.seeds import chunk


def _shuffled(parts: list[bytes], rng: Random, keep: int = 1) -> list[bytes]:
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


# ---- JPEG

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
    return b"".join(_shuffled(jpeg_parts(data), rng))


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


# ---- PNG


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
    parts = _shuffled([chunk(*part) for part in png_chunks(data)], rng, keep=0)
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


# ---- GIF


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


# ---- BMP


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


# ---- WebP


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
    return _riff(_shuffled(_riff_chunks(data), rng, keep=0))


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


# ---- TIFF

_TIFF_TAGS = (254, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 282, 284, 292, 293, 317, 320, 322, 323, 324, 325)
_MORE_TIFF_TAGS = (330, 338, 339, 347, 512, 513, 514, 529, 530, 531, 532, 700, 33723, 34665, 34675, 37724, 65000)
_TIFF_VALUES = {
    258: (1, 2, 4, 8, 12, 16, 24, 32, 64),
    259: (1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946, 34712, 34887, 34925, 50000, 50001),
    262: (0, 1, 2, 3, 4, 5, 6, 8, 32803),
    266: (1, 2),
    274: tuple(range(10)),
    277: (0, 1, 2, 3, 4, 5, 255, 65535),
    284: (1, 2, 3),
    317: (1, 2, 3, 4),
    322: (0, 1, 8, 15, 16, 17, 32, 4096, 16384, 65535, 2**31),
    323: (0, 1, 8, 15, 16, 17, 32, 4096, 16384, 65535, 2**31),
    338: (0, 1, 2, 3),
    339: (0, 1, 2, 3, 4, 5, 6),
}
_TIFF_SIZES = (256, 257, 278, 322, 323)


def _tiff_entry(data: bytes, rng: Random, tags: tuple[int, ...] | None = None) -> tuple[tiff.Directory, int] | None:
    """A directory and the offset of one of its entries, of these tags if they are given."""
    directory = tiff.directory(data)
    if directory is None or not directory.count:
        return None
    offsets = [directory.at(i) for i in range(min(directory.count, 1000))]
    if tags is not None:
        offsets = [at for at in offsets if directory.entry.unpack_from(data, at)[0] in tags]
    return (directory, rng.choice(offsets)) if offsets else None


def _tiff_value(data: bytes, rng: Random) -> bytes:
    """A tag's value is another that the format knows, or an extreme; its arrays stay where they are."""
    chosen = _tiff_entry(data, rng)
    if chosen is None:
        return data
    directory, at = chosen
    tag, form, count, _ = directory.entry.unpack_from(data, at)
    letter = tiff.value_format(form)
    inline = count * tiff.BYTES.get(form, 1) <= (8 if directory.big else 4)
    place = at + directory.entry.size - (8 if directory.big else 4)
    if not inline:
        (place,) = struct.unpack_from(directory.order + ("Q" if directory.big else "I"), data, place)
        place = min(place, len(data))
        place += rng.randrange(min(count, 64)) * struct.calcsize(letter)
    if tag in _TIFF_VALUES and rng.random() < 0.7 and place + struct.calcsize(letter) <= len(data):
        value = rng.choice(_TIFF_VALUES[tag]) & ((1 << 8 * struct.calcsize(letter)) - 1)
        packed = struct.pack(directory.order + letter, value)
        return data[:place] + packed + data[place + len(packed) :]
    return write_extreme(data, rng, place, directory.order + letter)


def _tiff_size(data: bytes, rng: Random) -> bytes:
    """Width, height, rows of a strip, sides of a tile."""
    chosen = _tiff_entry(data, rng, _TIFF_SIZES)
    if chosen is None:
        return data
    directory, at = chosen
    tag, form, count, value = directory.entry.unpack_from(data, at)
    if rng.random() < 0.25:  # as another type; a LONG8 takes in what follows it
        form = rng.choice((1, 3, 4, 16, 16))
        data = data[:at] + directory.entry.pack(tag, form, count, value) + data[at + directory.entry.size :]
    place = at + directory.entry.size - (8 if directory.big else 4)
    return write_extreme(data, rng, place, directory.order + tiff.value_format(form))


def _tiff_form(data: bytes, rng: Random) -> bytes:
    """A tag's type, its count, or the tag itself, is another."""
    chosen = _tiff_entry(data, rng)
    if chosen is None:
        return data
    directory, at = chosen
    tag, form, count, value = directory.entry.unpack_from(data, at)
    draw = rng.randrange(4)
    if draw == 0:
        form = rng.choice((0, 1, 2, 3, 4, 5, 7, 11, 12, 13, 16, 18, 99))
        if form == 16 and directory.big and rng.random() < 0.5:
            value = rng.choice((2**31, 2**32, 2**63, 2**64 - 1))
    elif draw == 1:
        count = extreme(count, rng, 64 if directory.big else 32)
    elif draw == 2:
        tag = rng.choice(_TIFF_TAGS + _MORE_TIFF_TAGS)
    else:
        value = extreme(value, rng, 64 if directory.big else 32)
    return data[:at] + directory.entry.pack(tag, form, count, value) + data[at + directory.entry.size :]


def _tiff_tags(data: bytes, rng: Random) -> bytes:
    """The directory is written anew behind the file, with a tag more, one less, one twice, out of order, or tiles in place of strips."""
    directory = tiff.directory(data)
    if directory is None or directory.count > 1000:
        return data
    entries = [directory.entry.unpack_from(data, directory.at(i)) for i in range(directory.count)]
    draw = rng.randrange(5)
    if draw == 0 and entries:
        del entries[rng.randrange(len(entries))]
    elif draw == 1 and entries:
        entries.insert(rng.randrange(len(entries)), rng.choice(entries))
    elif draw == 2:
        rng.shuffle(entries)
    elif draw == 3:
        as_tiles = {273: 324, 279: 325}
        sides = [(tag, 3, 1, rng.choice(_TIFF_VALUES[322])) for tag in (322, 323)]
        entries = sorted([(as_tiles.get(tag, tag), *rest) for tag, *rest in entries if tag != 278] + sides)
    else:
        tag = rng.choice(_TIFF_TAGS + _MORE_TIFF_TAGS)
        value = rng.choice(_TIFF_VALUES[tag]) if tag in _TIFF_VALUES else extreme(8, rng, 32)
        entries = sorted([*entries, (tag, rng.choice((1, 3, 4, 5, 7)), rng.choice((0, 1, 1, 1, 3, 1000)), value)])
    word = "Q" if directory.big else "I"
    packed = b"".join(_entry(directory, *entry) for entry in entries)
    following = rng.choice((0, 0, 0, 8, len(data)))  # a directory that leads back to itself
    new = (
        struct.pack(directory.order + ("Q" if directory.big else "H"), len(entries))
        + packed
        + struct.pack(directory.order + word, following)
    )
    at = 8 if directory.big else 4
    return data[:at] + struct.pack(directory.order + word, len(data)) + data[at + struct.calcsize(word) :] + new


def _entry(directory: tiff.Directory, tag: int, form: int, count: int, value: int) -> bytes:
    """An entry, whose `value` is what the field holds read as one number, or a SHORT that stands at its beginning."""
    size = 8 if directory.big else 4
    if directory.order == ">" and form == 3 and count == 1 and value < 0x10000:
        value <<= 8 * (size - 2)
    return directory.entry.pack(tag, form, count, value & ((1 << 8 * size) - 1))


# ---- AVIF, HEIC: ISO boxes

_HOLDS_BOXES = {b"meta": 4, b"iprp": 0, b"ipco": 0, b"moov": 0, b"trak": 0, b"mdia": 0, b"minf": 0, b"stbl": 0, b"dinf": 0}


def iso_boxes(data: bytes) -> list[tuple[int, int, bytes]]:
    """Start, end and name of every box, boxes within boxes too."""
    found: list[tuple[int, int, bytes]] = []
    stack = [(0, len(data))]
    while stack:
        at, end = stack.pop()
        while at + 8 <= end and len(found) < _MOST_PARTS:
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
    return data[:first] + b"".join(_shuffled(parts, rng, keep=0)) + data[last:]


def _iso_pixels(data: bytes, rng: Random) -> bytes:
    """Damage within the coded data."""
    boxes = [box for box in iso_boxes(data) if box[2] == b"mdat"]
    if not boxes:
        return data
    start, end, _ = boxes[0]
    body = data[start + 8 : end]
    return data[: start + 8] + rng.choice(ANY)(body, rng)[: len(body)].ljust(len(body), b"\0") + data[end:]


_ISO: tuple[Damage, ...] = (_iso_length, _iso_size, _iso_size, _iso_body, _iso_number, _iso_shuffle, _iso_pixels)

BY_KIND: dict[str, tuple[Damage, ...]] = {
    "jpeg": (
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
    ),
    "png": (_png_size, _png_size, _png_header, _png_shuffle, _png_body, _png_pixels, _png_chunk),
    "gif": (_gif_canvas, _gif_frame, _gif_frame, _gif_frames, _gif_flags),
    "bmp": (_bmp_field, _bmp_field, _bmp_size),
    "webp": (_webp_shuffle, _webp_size, _webp_size, _webp_body, _webp_lengths, _webp_flags),
    "tiff": (_tiff_value, _tiff_value, _tiff_size, _tiff_size, _tiff_form, _tiff_tags),
    "avif": _ISO,
    "heic": _ISO,
}
"""Damages of each kind; one that stands twice is as likely again."""
