"""Every kind but plain JPEG, through Pillow: silent, right for all the odd modes, and within 20 % of OpenCV's time on the common ones.

OpenCV is not asked: its libpng writes to stderr whatever one sets, and its GIF, APNG and bit-field BMP pixels differ from the stored ones.
Plugins are opened directly: Image.open would apply Pillow's own pixel limit, where SampleSpec.max_pixels is ours.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
import io
import logging
import struct
import warnings
from typing import Any

import numpy as np

from imgstream.errors import BadImage
from imgstream.header import Header, iso_boxes, png_chunks

_PLUGINS = {
    "jpeg": ("PIL.JpegImagePlugin", "JpegImageFile"),
    "png": ("PIL.PngImagePlugin", "PngImageFile"),
    "gif": ("PIL.GifImagePlugin", "GifImageFile"),
    "bmp": ("PIL.BmpImagePlugin", "BmpImageFile"),
    "webp": ("PIL.WebPImagePlugin", "WebPImageFile"),
    "tiff": ("PIL.TiffImagePlugin", "TiffImageFile"),
    "avif": ("PIL.AvifImagePlugin", "AvifImageFile"),
    "heic": ("pillow_heif.as_plugin", "HeifImageFile"),
}


def load(data: memoryview, header: Header, reduction: int = 1, grey: bool = False) -> np.ndarray:
    """uint8 (h, w) grey or (h, w, 3) RGB, as stored (not oriented), of the first picture in a file of any kind.

    A JPEG comes at 1/reduction, and as its own luma with grey=True; other kinds at full size. Raises BadImage.
    """
    image = None
    try:
        with _plugin(header.kind)(_stream(data, header.kind)) as image:
            expected = header.oriented if header.kind == "tiff" else (header.width, header.height)
            if image.size != expected:  # the size that was checked must be the one that is decoded
                raise BadImage("corrupt", f"declares two sizes: {expected[0]}×{expected[1]} and {image.width}×{image.height}")
            if header.kind == "jpeg":
                image.draft("L" if grey else None, (max(1, header.width // reduction), max(1, header.height // reduction)))
            image.load()
            pixels = _to_8_bit(image)
    except BadImage:
        raise
    except Exception as error:  # decoders raise nearly everything on damaged files
        if header.kind == "tiff" and image is not None and _is_cut(image, len(data)):
            raise BadImage("truncated", f"a TIFF whose pixels lie behind its end, at {len(data):,} bytes") from None
        raise _bad(error, header.kind) from None
    return _unturned(pixels, header.orientation) if header.kind == "tiff" else pixels


@functools.cache
def _plugin(kind: str) -> Any:
    """The class that opens a kind; Pillow is imported, and told to be quiet, when the first file needs it."""
    module, name = _PLUGINS[kind]
    try:
        plugin = getattr(importlib.import_module(module), name)
    except ImportError:
        if kind == "heic":
            raise BadImage("unsupported", "HEIC needs pillow-heif: pip install 'imgstream[heic]'") from None
        raise
    _silence_pillow()
    return plugin


@functools.cache
def _silence_pillow() -> None:
    """A damaged file is reported once, by us: Python warnings and log lines of Pillow, and libtiff's lines on fd 2, are noise.

    libtiff is reached through Pillow's own extension module, which is linked against it; a build that hides it stays noisy.
    """
    from PIL import _imaging

    warnings.filterwarnings("ignore", module=r"PIL\.")
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    for setter in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
        with contextlib.suppress(OSError, AttributeError):
            getattr(ctypes.CDLL(_imaging.__file__), setter)(None)


def _stream(data: memoryview, kind: str) -> io.BytesIO:
    """The file as Pillow reads it. Raises BadImage "truncated" for a container that goes on behind the end of the data."""
    if kind == "png":
        return io.BytesIO(_bare_png(data))
    declared = 0
    if kind == "webp":
        declared = 8 + int.from_bytes(data[4:8], "little")
    elif kind in ("avif", "heic"):
        declared = max(end for _, _, end in iso_boxes(data, 0, len(data)))
        if declared < len(data):  # the head of one more box, cut
            declared += 8
    if declared > len(data):
        raise BadImage("truncated", f"{len(data):,} of the {declared:,} bytes it declares")
    return io.BytesIO(data)


_PIXEL_CHUNKS = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})


def _bare_png(data: memoryview) -> bytes:
    """A PNG without what does not make pixels here: alpha, animation, profiles, text (and the bombs and damage in them)."""
    parts, last, headers = [data[:8]], b"", 0
    for last, start, end in png_chunks(data):
        headers += last == b"IHDR"
        if last in _PIXEL_CHUNKS:
            parts.append(data[start:end])
    if last != b"IEND":
        raise BadImage("truncated", "a PNG that ends before its end mark")
    if headers != 1:
        raise BadImage("corrupt", f"a PNG with {headers} headers")
    return b"".join(parts)


def _to_8_bit(image: Any) -> np.ndarray:
    mode = image.mode
    if mode.startswith("I;16"):
        return _high_byte(image)
    if mode in ("I", "F"):
        raise BadImage("unsupported", "32-bit or float samples, which have no agreed black and white; save it with 8 or 16 bits")
    if mode in ("1", "LA", "La"):
        image = image.convert("L")
    elif mode not in ("L", "RGB"):
        image = image.convert("RGB")
    return np.asarray(image)


def _high_byte(image: Any) -> np.ndarray:
    """The highest 8 of the 9 to 16 bits that a sample has (a TIFF may have 12), black as 0."""
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(258, (16,))[0]
    pixels = (np.asarray(image) >> (bits - 8)).astype(np.uint8)
    return 255 - pixels if tags.get(262) == 0 else pixels  # WhiteIsZero


def _unturned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pillow turns TIFFs while loading; here all kinds are turned alike, after the reduction."""
    if orientation == 1:
        return pixels
    pixels = pixels[:: -1 if orientation in (3, 4, 7, 8) else 1, :: -1 if orientation in (2, 3, 6, 7) else 1]
    return np.ascontiguousarray(pixels.swapaxes(0, 1) if orientation > 4 else pixels)


_SIGNS_OF_AN_END = ("truncat", "not enough image data", "unexpected end", "requires a buffer")
_SIGNS_OF_A_LIMIT = ("unsupported", "not supported", "unknown", "not installed", "unable to handle")


def _bad(error: Exception, kind: str) -> BadImage:
    """What a decoder's exception says about the file."""
    text = " ".join(str(error).split())[:200] or type(error).__name__
    if isinstance(error, MemoryError) or type(error).__name__ == "DecompressionBombError":
        return BadImage("too large", f"needs more memory than can be had: {text}")
    signs = text.lower()
    if any(sign in signs for sign in _SIGNS_OF_AN_END) or isinstance(error, EOFError | struct.error):
        return BadImage("truncated", text)
    if any(sign in signs for sign in _SIGNS_OF_A_LIMIT) or isinstance(error, NotImplementedError):
        return BadImage("unsupported", text)
    return BadImage("corrupt", f"{kind.upper()} data that cannot be decoded ({text})")


def _is_cut(image: Any, size: int) -> bool:
    """Whether a TIFF keeps a strip or tile behind the end of the file; libtiff's errors do not tell."""
    tags = image.tag_v2
    try:
        starts, counts = (tags[273], tags[279]) if 273 in tags else (tags[324], tags[325])
        return any(start + count > size for start, count in zip(starts, counts, strict=False))
    except Exception:  # the tags may be as damaged as the rest
        return False
