"""Unpacks images that are kept compressed in a container, and no more of them than an image can have."""

from __future__ import annotations

import zlib

import pyarrow as pa

from imgstream.errors import BadImage
from imgstream.files.spans import PackedPage
from imgstream.formats.header import read_header
from imgstream.formats.limits import check_limits

_FIRST_PART = 1 << 20  # bytes that are unpacked and checked before the rest
_MORE = 32 << 20  # bytes that an image may have beside its pixels
_MOST_BYTES_A_PIXEL = 8  # 16-bit RGBA, uncompressed
_UNKNOWN = 1 << 62  # bytes: the size of an image that is not unpacked yet
LARGEST_PAGE = 256 << 20
"""Bytes, packed or not: for each image in a page the whole of it is unpacked."""


def inflated(data: memoryview, max_pixels: int) -> memoryview:
    """The image in raw DEFLATE data. Raises BadImage for damaged data, and for more than an image of the size that its head declares can
    have.
    """
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        first = inflater.decompress(data, _FIRST_PART)
        rest = b""
        if inflater.unconsumed_tail:
            limit = _limit(first, len(data), max_pixels)
            rest = inflater.decompress(inflater.unconsumed_tail, limit)
            if inflater.unconsumed_tail:
                raise BadImage("too large", f"more than {limit / 1e6:,.0f} MB when it is unpacked")
    except zlib.error as error:
        raise BadImage("corrupt", f"it cannot be unpacked ({error})") from None
    return memoryview(first + rest if rest else first).toreadonly()


def _limit(first: bytes, packed: int, max_pixels: int) -> int:
    """The most bytes of an image that begins with `first`."""
    try:
        header = read_header(first, _UNKNOWN)
    except BadImage as error:
        if error.reason != "truncated":
            raise
        return 8 * packed + _MORE  # a JPEG with many scans, which cannot be deflated by much
    if header.width * header.height > max_pixels:
        check_limits(header, packed, max_pixels)
    return header.width * header.height * _MOST_BYTES_A_PIXEL + _MORE


def unpacked_page(data: memoryview, page: PackedPage) -> memoryview:
    """A page's body. Raises BadImage where it cannot be unpacked."""
    if max(page.size, page.unpacked) > LARGEST_PAGE:
        raise BadImage("unsupported", f"in a page of {max(page.size, page.unpacked) >> 20:,} MB")
    try:
        return memoryview(pa.decompress(data, page.unpacked, page.codec)).cast("B")
    except (OSError, ValueError, pa.ArrowException) as error:
        raise BadImage("corrupt", f"its page cannot be unpacked ({error})") from None


def value_in_page(page: memoryview, offset: int, length: int) -> memoryview:
    """Bytes of an unpacked page. Raises BadImage where it is too short."""
    if not 0 <= offset <= offset + length <= len(page):
        raise BadImage("truncated", f"its {length:,} bytes end behind the end of its page")
    return page[offset : offset + length].toreadonly()
