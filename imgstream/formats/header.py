"""Reads a file's header: kind, stored size, orientation, and the memory that its decoder needs. Nothing is decoded; both pipelines plan by
it.

Walks the containers' markers, chunks and boxes with struct, in place, in a few microseconds a JPEG (jpeg.py, tiff.py). Every loop is
bounded, because sizes and counts come from the file and may be wrong.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple, NoReturn

import numpy as np

from imgstream.errors import BadImage
from imgstream.formats import dicom, isobmff, npy, tiff
from imgstream.formats.jpeg import passes, read_frame

Bytes = bytes | memoryview

MOST_SIDE = 2**31 - 1
"""The longest side that any decoder can express."""


class Header(NamedTuple):
    """What a file declares. It is not trusted: the decoder compares it with what it gets."""

    kind: str  # jpeg png gif bmp webp tiff avif heic npy dicom
    width: int  # as stored, before orientation; for HEIC, which its decoder turns, as decoded
    height: int
    orientation: int  # EXIF 1..8: how the stored rows and columns are to be turned; 1 if none or invalid
    components: int = 0  # of a JPEG: 1 grey, 3 colour, 4 CMYK or YCCK; 0 for other kinds
    pixel_bytes: int = 4  # for each pixel while decoding, for all kinds but JPEG; Pillow's: 1 grey or palette, 2 for 16 bits
    held: int = 0  # further bytes that the decoder needs: a TIFF's largest part, a JPEG's coefficients if it has many scans
    passes: int = 0  # for a JPEG with many scans, the 8 × 8 blocks of all of them; for a run-length BMP, its pixels
    least: int = 0  # fewest bytes that can hold all pixels, where known; else 0
    bits: int = 8  # of a value: more than 8 in some PNG, TIFF and .npy; less than 8 does not count

    @property
    def oriented(self) -> tuple[int, int]:
        """(width, height) after orientation."""
        return (self.height, self.width) if self.orientation > 4 else (self.width, self.height)


def read_header(data: Bytes, size: int | None = None) -> Header:
    """The header of a whole image file, or of its first part if that holds everything needed.

    `size`: bytes of the whole file, where `data` is its first part. Raises BadImage: "empty", "truncated" (it ends before the header does),
    "corrupt", "wrong kind" or "unsupported"; the detail says what was found.
    """
    try:
        if data[:3] == b"\xff\xd8\xff":
            return _of_possible_size(_jpeg(data, len(data) if size is None else size))
        head = bytes(data[:32])
        if not head:
            raise BadImage("empty", "0 bytes")
        if data[dicom.MAGIC_AT : dicom.MAGIC_AT + 4] == dicom.MAGIC:
            return _of_possible_size(_dicom(data, len(data) if size is None else size))
        for signature, reader in _READERS:
            if signature.match(head):
                return _of_possible_size(reader(data))
        _refuse(data)
    except (struct.error, IndexError, OverflowError):  # every read past the end arrives here
        raise BadImage("truncated", f"ends within its header, after {_count(len(data))}") from None


def _of_possible_size(header: Header) -> Header:
    if 1 <= header.width <= MOST_SIDE and 1 <= header.height <= MOST_SIDE:
        return header
    raise BadImage("corrupt", f"declares {header.width}×{header.height} pixels")


_MOST_PARTS = 1_000_000
"""Markers, chunks or boxes followed before a file is called corrupt: a 1.4 GB PNG in the usual 8 KB chunks has 170,000."""


# ---- JPEG


def _jpeg(data: Bytes, size: int) -> Header:
    frame = read_frame(data)
    least = held = total = 0
    if not frame.is_arithmetic and frame.most_units > 8 * (size - frame.end):
        least = frame.end + sum(frame.units()) // 8  # each block takes at least one bit
    if not frame.one_scan_holds_all:
        if len(data) < size:
            raise IndexError  # its scans lie behind this part
        total = passes(data, frame)
        held = sum(frame.units()) * (4 if frame.is_lossless else 128)  # 64 coefficients of two bytes
    elif frame.is_lossless:
        held = 4 * frame.most_units
    orientation = _exif_orientation(data[frame.exif[0] : frame.exif[1]]) if frame.exif[1] else 1
    components = len(frame.table) // 3
    return Header("jpeg", frame.width, frame.height, orientation, components, held=held, passes=total, least=least)


def _exif_orientation(exif: Bytes) -> int:
    """The orientation in a TIFF-shaped EXIF block; 1 if there is none, or the block is damaged."""
    try:
        value = tiff.find_number(exif, tiff.ORIENTATION)
    except (struct.error, IndexError, OverflowError, BadImage):
        return 1
    return value if value is not None and 1 <= value <= 8 else 1


# ---- PNG


def png_chunks(data: Bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and end of each whole chunk of a PNG (length, name, body and check sum), up to IEND or the end of the data.

    Raises BadImage "corrupt" where no chunk can be.
    """
    at, end = 8, len(data)
    for _ in range(_MOST_PARTS):
        if at + 12 > end:
            return
        length, name = struct.unpack_from(">I4s", data, at)
        if not name.isalpha():
            raise BadImage("corrupt", f"a PNG whose chunks break off after {at:,} bytes")
        after = at + 12 + length
        if after > end:
            return
        yield name, at, after
        if name == b"IEND":
            return
        at = after


def _png(data: Bytes) -> Header:
    name, width, height, depth, colour = struct.unpack_from(">4sIIBB", data, 12)
    if name == b"CgBI":
        raise BadImage("unsupported", "an iOS-only PNG (CgBI)")
    if name != b"IHDR":
        raise BadImage("corrupt", "a PNG whose first chunk is no IHDR")
    orientation = 1
    for name, start, end in png_chunks(data):  # eXIf may lie behind the pixels
        if name == b"eXIf":
            orientation = _exif_orientation(data[start + 8 : end - 4])
    pixel_bytes = 4 if colour not in (0, 3) else 2 if depth == 16 else 1  # 0: grey, 3: palette
    return Header("png", width, height, orientation, pixel_bytes=pixel_bytes, bits=max(8, depth))


# ---- GIF


def _gif(data: Bytes) -> Header:
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13 + _colours(flags)
    for _ in range(_MOST_PARTS):
        block = data[at]
        if block == 0x2C:  # the first frame; as in browsers, it widens the canvas if it reaches over it
            x, y, frame_width, frame_height = struct.unpack_from("<HHHH", data, at + 1)
            if not frame_width or not frame_height:
                raise BadImage("corrupt", f"its first frame is {frame_width}×{frame_height} pixels")
            data[at + 10 + _colours(data[at + 9])]  # IndexError unless its colours are there
            return Header("gif", max(width, x + frame_width), max(height, y + frame_height), 1, pixel_bytes=2)
        if block == 0x3B:
            raise BadImage("corrupt", "a GIF without a frame")
        if block != 0x21:  # skip it, as decoders do
            at += 1
            continue
        at += 2
        while data[at]:
            at += 1 + data[at]
        at += 1
    raise BadImage("corrupt", f"more than {_MOST_PARTS:,} GIF blocks before the first frame")


def _colours(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


# ---- BMP


def _bmp(data: Bytes) -> Header:
    (header_size,) = struct.unpack_from("<I", data, 14)
    runs = False
    if header_size == 12:
        width, height, bits = struct.unpack_from("<HH2xH", data, 18)
    elif header_size in (16, 40, 52, 56, 64, 108, 124):
        width, height, bits = struct.unpack_from("<ii2xH", data, 18)
        runs = header_size > 16 and data[30] in (1, 2)  # BI_RLE8, BI_RLE4
    else:
        raise BadImage("unsupported", f"a BMP with a header of {header_size} bytes")
    height = abs(height)  # a negative one says that rows run from the top
    return Header("bmp", width, height, 1, pixel_bytes=3 if runs else 1 if bits <= 8 else 4, passes=width * height if runs else 0)


# ---- WebP


_WEBP, _WEBP_ANIMATED = 7, 16  # bytes a pixel, as measured: bench/decoding_limits.py


def _webp(data: Bytes) -> Header:
    name = bytes(data[12:16])
    if name == b"VP8 ":
        sync, width, height = struct.unpack_from("<3sHH", data, 23)
        if sync != b"\x9d\x01\x2a":
            raise BadImage("corrupt", "a WebP whose first frame is no key frame")
        return Header("webp", width & 0x3FFF, height & 0x3FFF, 1, pixel_bytes=_WEBP)
    if name == b"VP8L":
        mark, bits = struct.unpack_from("<BI", data, 20)
        if mark != 0x2F:
            raise BadImage("corrupt", "a lossless WebP without its signature")
        return Header("webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, 1, pixel_bytes=_WEBP)
    if name != b"VP8X":
        raise BadImage("corrupt", f"a WebP that starts with a chunk {name!r}")
    (flags,) = struct.unpack_from("<B", data, 20)
    width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
    if len(data) < 30:
        raise IndexError
    orientation = _webp_orientation(data) if flags & 0x08 else 1
    return Header("webp", width, height, orientation, pixel_bytes=_WEBP_ANIMATED if flags & 0x02 else _WEBP)


def _webp_orientation(data: Bytes) -> int:
    at = 30
    for _ in range(_MOST_PARTS):
        if at + 8 > len(data):
            break
        name, length = struct.unpack_from("<4sI", data, at)
        if name == b"EXIF":
            exif = data[at + 8 : at + 8 + length]
            return _exif_orientation(exif[6:] if exif[:4] == b"Exif" else exif)  # some writers keep JPEG's prefix
        at += 8 + length + length % 2
    return 1


# ---- TIFF


def _tiff(data: Bytes) -> Header:
    tags = tiff.Directory(data)
    if tags.is_cut:
        raise IndexError
    if bytes(data[:4]) == b"MM\0+":
        raise BadImage("unsupported", "a BigTIFF whose numbers have their high bytes first")
    width, height = tags.number(tiff.WIDTH), tags.number(tiff.HEIGHT)
    if width is None or height is None:
        raise BadImage("corrupt", "a TIFF whose first directory declares no size")
    orientation = tags.number(tiff.ORIENTATION, 1)
    assert orientation is not None
    samples, bits = tags.number(tiff.SAMPLES, 1), tags.number(tiff.BITS, 1, many=True)
    across, down = tags.number(tiff.TILE_WIDTH), tags.number(tiff.TILE_HEIGHT)
    if across is None or down is None:  # strips, which reach over the whole width
        across, down = width, min(tags.number(tiff.ROWS_PER_STRIP, height) or height, height)
    assert samples is not None
    assert bits is not None
    pixel_bytes = 4 if samples > 1 or bits > 16 else 2 if bits > 8 else 1
    part = across * down * samples * max(1, bits) // 8
    orientation = orientation if 1 <= orientation <= 8 else 1
    return Header("tiff", width, height, orientation, pixel_bytes=pixel_bytes, held=part, bits=max(8, bits))


# ---- AVIF and HEIC

_AVIF, _HEIC = 11, 8  # bytes a pixel, as measured: bench/decoding_limits.py


def _iso(data: Bytes) -> Header:
    found = isobmff.read_picture(data)
    if found is None:
        _refuse(data)
    turned = found.kind == "heic" and found.turns % 2
    width, height = (found.height, found.width) if turned else (found.width, found.height)
    pixel_bytes = _AVIF if found.kind == "avif" else _HEIC
    held = pixel_bytes * max(0, found.coded_pixels - width * height)
    orientation = _TURNS[found.turns, found.mirror] if found.kind == "avif" else 1
    return Header(found.kind, width, height, orientation, pixel_bytes=pixel_bytes, held=held)


_TURNS = {  # EXIF orientation of (quarter turns against the clock, then mirrored: None, 0 top-bottom, 1 left-right)
    (0, None): 1, (0, 0): 4, (0, 1): 2,
    (1, None): 8, (1, 0): 5, (1, 1): 7,
    (2, None): 3, (2, 0): 2, (2, 1): 4,
    (3, None): 6, (3, 0): 7, (3, 1): 5,
}  # fmt: skip


# ---- everything else


def _npy(data: Bytes) -> Header:
    header = npy.array_header(data)
    height, width, channels = npy.image_shape(header)
    size = np.dtype(header.dtype).itemsize
    pixel_bytes = channels * size
    return Header("npy", width, height, 1, pixel_bytes=pixel_bytes, least=header.begins + height * width * pixel_bytes, bits=8 * size)


_DICOM = 16  # bytes a value: stored, rescaled as float64, and as pixels


def _dicom(data: Bytes, size: int) -> Header:
    whole = len(data) >= size
    try:
        found = dicom.image_header(data, whole)
    except BadImage as error:
        if error.reason in ("corrupt", "truncated") and not whole:
            raise IndexError from None  # it may lie behind this part
        raise
    pixel_bytes = _DICOM * found.samples
    return Header("dicom", found.width, found.height, 1, pixel_bytes=pixel_bytes, least=found.least, bits=16 if found.bits > 8 else 8)


_READERS = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), _png),
    (re.compile(rb"GIF8[79]a"), _gif),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), _webp),
    (re.compile(rb"II[*+]\0|MM\0[*+]"), _tiff),
    (re.compile(rb"BM.{12}[\x0c-\x7c]\0\0\0", re.DOTALL), _bmp),
    (re.compile(rb"....ftyp", re.DOTALL), _iso),
    (re.compile(re.escape(npy.MAGIC)), _npy),
)

_OTHER_IMAGES = (
    (rb"\xff\x0a|\x00\x00\x00\x0cJXL ", "a JPEG XL image"),
    (rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (rb"8BPS", "a Photoshop document"),
    (rb"\x00\x00[\x01\x02]\x00.\x00", "an icon (ICO)"),
    (rb"P[1-7][ \t\r\n]", "a Netpbm image (PBM, PGM, PPM)"),
    (rb"\x76\x2f\x31\x01", "an OpenEXR image"),
    (rb"#\?RADIANCE", "a Radiance HDR image"),
    (rb"qoif", "a QOI image"),
    (rb"DDS ", "a DDS texture"),
    (rb"\x8aMNG|\x8bJNG", "an MNG or JNG"),
    (rb"BM.{4}\x00\x00\x00\x00.{8}", "a BMP with an unknown header"),
)
_NO_IMAGES = (
    (rb"(?i:<!doctype\s+html|<html|<head|<body|<script)", "an HTML page"),
    (rb"%PDF", "a PDF document"),
    (rb"%!PS", "a PostScript document"),
    (rb"PK\x03\x04", "a ZIP archive"),
    (rb"Rar!", "a RAR archive"),
    (rb"7z\xbc\xaf", "a 7-Zip archive"),
    (rb"\x1f\x8b", "gzip-compressed data"),
    (rb"RIFF....AVI ", "an AVI video"),
    (rb"RIFF....WAVE", "a WAV recording"),
    (rb"....ftypqt", "a QuickTime video"),
    (rb"....ftyp", "an MP4 video"),
    (rb"\x1aE\xdf\xa3", "a Matroska or WebM video"),
    (rb"ID3|\xff[\xfb\xf3\xf2]", "an MP3 recording"),
    (rb"\x7fELF|MZ", "a program"),
    (rb"\x00\x05\x16\x07", "a macOS resource file"),
    (rb"version https://git-lfs", "a Git LFS pointer; run git lfs pull"),
    (rb"[\[{]", "JSON or other text"),
    (rb"<", "an XML or HTML text"),
)
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"GIF87a", b"II*\0", b"MM\0*")


def _refuse(data: Bytes) -> NoReturn:
    """Raise BadImage for bytes that are no supported kind, saying what they seem to be."""
    head = bytes(data[:512])
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"<") and b"<svg" in bytes(data[:4096]).lower():
        raise BadImage("unsupported", "an SVG drawing")
    for pattern, name in _OTHER_IMAGES:
        if re.match(pattern, head, re.DOTALL):
            raise BadImage("unsupported", name)
    for pattern, name in _NO_IMAGES:
        if re.match(pattern, text, re.DOTALL):
            raise BadImage("wrong kind", name)
    cut = any(head.startswith(start) and len(head) < least for start, least in ((b"RIFF", 12), (b"BM", 18)))
    if cut or any(signature.startswith(head) for signature in _SIGNATURES):
        raise BadImage("truncated", f"ends after {_count(len(head))}")
    if not head.strip(b"\0"):
        raise BadImage("wrong kind", "starts with zeros only")
    if all(byte in b"\t\n\r\f" or 32 <= byte != 127 for byte in head) and _is_text(head):
        raise BadImage("wrong kind", "plain text")
    raise BadImage("wrong kind", f"no image signature; starts with {head[:8].hex(' ')}")


def _is_text(head: bytes) -> bool:
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return len(head) > 3 and error.start >= len(head) - 3  # cut within a character
    return True


def _count(size: int) -> str:
    return "1 byte" if size == 1 else f"{size:,} bytes"
