"""Limits on the memory and time of decoding: files that declare too much for their bytes are refused by their header, before decoding.

The figures were measured with Pillow 13.0, OpenCV 5.0, simplejpeg 1.9 and pillow-heif 1.8: bench/decoding_limits.py.
"""

from __future__ import annotations

from imgstream.errors import BadImage
from imgstream.formats.header import Header
from imgstream.spec import DEFAULT_MAX_PIXELS

MEMORY_AT_ONCE = 144 << 20
"""Bytes that all decoders of a process may take together (decode/memory_budget.py): TensorFlow itself takes 660 MB, 900 with it."""

MEMORY, MEMORY_A_BYTE = 400 << 20, 128
"""Bytes that one file may take, decoded alone: MEMORY_AT_ONCE plus MEMORY_A_BYTE for each of its own, up to MEMORY; proportionally more if
a spec's max_pixels is above the default. A photograph of 48 MP has the megabytes that this takes, a bomb has not.
"""

_PASSES = {"jpeg": (8_000_000, 64), "bmp": (1_500_000, 40)}
"""Header.passes that a kind may have, and how many more for each byte of the file. A pass over a block of a JPEG takes 8 to 60 ns; ten
scans of an encoder make 5 passes a byte, those of an empty page 40. A pixel that a BMP's runs leave out takes Pillow 400 ns.
"""

_NARROW = 64
"""An image more than so many times as long as wide is taken to be too narrow for its samples to be reduced, whatever their size."""

_PIXELS = {"tiff": 24_000_000, "gif": 64_000_000}
_PIXELS_A_BYTE = 300
"""Pixels of kinds in which a few bytes can declare more than memory limits; each takes 10 to 35 ns, even if it is empty. A photograph has
10 pixels a byte, a drawing 100.
"""


def check_limits(header: Header, size: int, max_pixels: int) -> None:
    """Raise BadImage "too large", "truncated" or "corrupt" if a file of `size` bytes with this header must not be decoded."""
    kind, width, height = header.kind, header.width, header.height
    pixels = width * height
    if pixels > max_pixels:
        raise BadImage("too large", f"declares {width}×{height} = {megapixels(pixels)}; the limit is {megapixels(max_pixels)}")
    if size < header.least:
        raise BadImage("truncated", f"declares {width}×{height} pixels, which take {header.least:,} bytes or more, in {size:,}")
    memory = decoder_memory(header, size)
    most = min(MEMORY, MEMORY_AT_ONCE + MEMORY_A_BYTE * size) * max(max_pixels, DEFAULT_MAX_PIXELS) // DEFAULT_MAX_PIXELS
    if memory > most:
        form = f"declares {width}×{height} pixels, in a form that takes {memory / 1e6:,.0f} MB to decode"
        raise BadImage("too large", f"{form}; the limit for {size:,} bytes is {most / 1e6:,.0f} MB, and grows with max_pixels")
    if header.passes:
        passes, a_byte = _PASSES[kind]
        if header.passes > passes + a_byte * size:
            raise BadImage("corrupt", f"a decompression bomb: {header.passes:,} steps to decode {size:,} bytes")
    if kind in _PIXELS and header.pixel_bytes > 1 and pixels > _PIXELS[kind] + _PIXELS_A_BYTE * size:
        raise BadImage("too large", f"a decompression bomb: declares {megapixels(pixels)} in {size:,} bytes")


def decoder_memory(header: Header, size: int, reduction: int = 8) -> int:
    """The most bytes that decoding a file of `size` bytes takes, including its decoded image, but not the file as it was read.

    reduction: 1, 2, 4 or 8; an image that is very long and narrow is not reduced, whatever is asked for.
    """
    pixels = header.width * header.height
    if header.kind == "jpeg":
        return header.held + 3 * pixels // reduction**2
    if _NARROW * min(header.width, header.height) < max(header.width, header.height):
        reduction = 1
    reduced = 3 * pixels // reduction**2 if reduction < 8 else 0  # pixel_bytes was measured with an eighth
    return (
        header.held + pixels * header.pixel_bytes + reduced + 8 * header.height + size
    )  # Pillow has a pointer a row, and a copy of the file


def megapixels(pixels: int) -> str:
    """A number of pixels as text for people."""
    return f"{pixels // 1_000_000:,} MP" if pixels >= 10_000_000 else f"{pixels:,} pixels"
