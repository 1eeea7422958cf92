"""Decodes every kind but plain JPEG with Pillow: silent, right for all unusual modes, and within 20 % of OpenCV's time on the common ones.

OpenCV is not used: its libpng always writes to stderr, and its GIF, APNG and bit-field BMP pixels differ from the stored ones. Plugins are
opened directly: Image.open would apply Pillow's own pixel limit instead of SampleSpec.max_pixels.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
import io
import logging
import re
import struct
import warnings
from typing import Any

import numpy as np

from imgstream.decode.area_mean import shrink
from imgstream.errors import BadImage
from imgstream.formats import tiff
from imgstream.formats.header import Header, png_chunks
from imgstream.formats.isobmff import iso_boxes
from imgstream.formats.jpeg import bare_jpeg, read_frame

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

_BAND = 1 << 20  # pixels that are made 8-bit RGB or grey at a time


def load(data: memoryview, header: Header, reduction: int = 1, grey: bool = False, alpha: bool = False) -> np.ndarray:
    """uint8 (h, w) grey or (h, w, 3) RGB at 1/reduction, as stored (not oriented), of the first image in a file of any kind; each side is
    ceil(stored side / reduction). With alpha=True (h, w, 4), RGB and alpha.

    A JPEG is scaled inside its decoder; with grey=True it gives its own luma. Raises BadImage.
    """
    try:
        with _plugin(header.kind)(io.BytesIO(_bare(data, header.kind, alpha))) as image:
            _check_size(image, header)  # the size that was checked must be the one that is decoded
            if header.kind == "jpeg":
                image.draft("L" if grey else None, (max(1, header.width // reduction), max(1, header.height // reduction)))
                if image.size != (header.width, header.height):
                    reduction = 1  # its decoder has reduced it already
                image.load()
            else:
                image.load()
                _check_size(image, header)  # the size of a HEIC may change when it is decoded
            return _pixels(image, reduction, alpha)
    except BadImage:
        raise
    except Exception as error:  # decoders raise nearly everything on damaged files
        if header.kind == "tiff" and tiff.Directory(data).is_cut_short:
            raise BadImage("truncated", f"a TIFF whose pixels lie behind its end, at {len(data):,} bytes") from None
        raise _as_bad_image(error, header.kind) from None


def _check_size(image: Any, header: Header) -> None:
    if image.size != (header.width, header.height):
        raise BadImage("corrupt", f"declares two sizes: {header.width}×{header.height} and {image.width}×{image.height}")


def _pixels(image: Any, reduction: int, alpha: bool) -> np.ndarray:
    """A decoded image in 8 bits, reduced; a band of rows at a time, so that there is no second copy of the whole."""
    width, height = image.size
    rows = max(1, _BAND // (8 * width)) * 8  # whole blocks, whatever the reduction
    if height <= rows:
        return shrink(_to_8_bit(image, image, alpha), reduction)
    out = None
    for top in range(0, height, rows):
        band = shrink(_to_8_bit(image.crop((0, top, width, min(top + rows, height))), image, alpha), reduction)
        if out is None:
            out = np.empty((-(-height // reduction), *band.shape[1:]), np.uint8)
        out[top // reduction : top // reduction + len(band)] = band
    assert out is not None
    return out


@functools.cache
def _plugin(kind: str) -> Any:
    """The class that opens a kind; Pillow is imported and silenced when the first file needs it."""
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
    """Silence Python warnings and log lines of Pillow, and libtiff's lines on fd 2: a damaged file is reported once, by us.

    libtiff is reached through Pillow's own extension module, which is linked against it; a build that hides it stays noisy.
    """
    from PIL import _imaging

    warnings.filterwarnings("ignore", module=r"PIL\.")
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    for setter in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
        with contextlib.suppress(OSError, AttributeError):
            getattr(ctypes.CDLL(_imaging.__file__), setter)(None)


def _bare(data: memoryview, kind: str, alpha: bool) -> bytes | bytearray | memoryview:
    """The file without parts that are not needed for pixels but that Pillow would read: orientation, further images, profiles, Exif blocks,
    with any bombs and damage in them. Raises BadImage "truncated" for a container that ends after the end of the data.
    """
    if kind == "jpeg":
        return bare_jpeg(data, read_frame(data))
    if kind == "png":
        return _bare_png(data, _PIXEL_CHUNKS | {b"tRNS"} if alpha else _PIXEL_CHUNKS)
    if kind == "tiff":
        return tiff.Directory(data).bare()
    if kind in ("avif", "heic"):
        return _bare_iso(data)
    if kind == "webp":
        _check_end(data, 8 + int.from_bytes(data[4:8], "little"))
    return data


def _check_end(data: memoryview, declared: int) -> None:
    if declared > len(data):
        raise BadImage("truncated", f"{len(data):,} of the {declared:,} bytes it declares")


def _bare_iso(data: memoryview) -> bytearray:
    """An AVIF or HEIC whose Exif and XMP items are renamed so that no decoder knows them; no byte moves."""
    bare, end = bytearray(data), 0
    for name, start, end in iso_boxes(data, 0, len(data)):
        if name == b"meta":
            for item, at, past in iso_boxes(data, start + 4, min(end, len(data))):
                if item == b"iinf":
                    bare[at:past] = bytes(data[at:past]).replace(b"Exif", b"none").replace(b"mime", b"none")
    _check_end(data, end + 8 if end < len(data) else end)  # the header of one more box that is cut off
    return bare


_PIXEL_CHUNKS = frozenset({b"IHDR", b"PLTE", b"IDAT", b"IEND"})


def _bare_png(data: memoryview, chunks: frozenset[bytes]) -> bytes:
    """A PNG of these `chunks` alone: without animation, profiles and text, with any bombs and damage in them."""
    parts, last, headers = [data[:8]], b"", 0
    for last, start, end in png_chunks(data):
        headers += last == b"IHDR"
        if last in chunks:
            parts.append(data[start:end])
    if last != b"IEND":
        raise BadImage("truncated", "a PNG that ends before its end mark")
    if headers != 1:
        raise BadImage("corrupt", f"a PNG with {headers} headers")
    return b"".join(parts)


def _to_8_bit(pixels: Any, image: Any, alpha: bool) -> np.ndarray:
    """uint8 (h, w) or (h, w, 3), or (h, w, 4) with `alpha`, of Pillow's `pixels`, a part of `image`, which holds the tags."""
    mode = pixels.mode
    if mode.startswith("I;16"):
        high = _high_byte(np.asarray(pixels), getattr(image, "tag_v2", {}))
        return np.dstack([high, high, high, np.full_like(high, 255)]) if alpha else high
    if mode in ("I", "F"):
        raise BadImage("unsupported", "32-bit or float samples, which have no agreed black and white; save it with 8 or 16 bits")
    if alpha:
        pixels = pixels.convert("RGBA")
    elif mode in ("1", "LA", "La"):
        pixels = pixels.convert("L")
    elif mode not in ("L", "RGB"):
        pixels = pixels.convert("RGB")
    return np.asarray(pixels)


def _high_byte(pixels: np.ndarray, tags: Any) -> np.ndarray:
    """The highest 8 of the 9 to 16 bits of a sample (a TIFF may have 12), black as 0."""
    high = (pixels >> (tags.get(258, (16,))[0] - 8)).astype(np.uint8)
    return 255 - high if tags.get(262) == 0 else high  # WhiteIsZero


_WORD = re.compile("[A-Za-z]{3}")
_SIGNS_OF_AN_END = ("truncat", "not enough image data", "unexpected end", "requires a buffer")
_SIGNS_OF_A_LIMIT = ("unsupported", "not supported", "unknown", "not installed", "unable to handle")


def _as_bad_image(error: Exception, kind: str) -> BadImage:
    """The BadImage for a decoder's exception."""
    text = " ".join(str(error).split())[:200]
    if not _WORD.search(text) or "0x" in text:  # some raise a number, or an object's address, which differs each time
        text = type(error).__name__
    if isinstance(error, MemoryError) or type(error).__name__ == "DecompressionBombError":
        return BadImage("too large", f"needs more memory than can be had: {text}")
    signs = text.lower()
    cut = isinstance(error, EOFError | struct.error) or (kind == "jpeg" and isinstance(error, IndexError))  # IndexError: Pillow before 13
    if cut or any(sign in signs for sign in _SIGNS_OF_AN_END):
        return BadImage("truncated", text)
    if any(sign in signs for sign in _SIGNS_OF_A_LIMIT) or isinstance(error, NotImplementedError):
        return BadImage("unsupported", text)
    return BadImage("corrupt", f"{kind.upper()} data that cannot be decoded ({text})")
