"""What is refused before any decoder is called: declared pixels, memory and work beyond what a file's bytes can be worth."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from imgstream.errors import BadImage
from imgstream.formats.header import read_header
from imgstream.formats.limits import MEMORY, check_limits, decoder_memory
from imgstream.spec import DEFAULT_MAX_PIXELS

SHARED = Path(__file__).resolve().parents[2] / "../shared/data"


def refused(data: bytes, max_pixels: int = DEFAULT_MAX_PIXELS) -> str | None:
    """ "reason: detail", or None."""
    try:
        check_limits(read_header(data), len(data), max_pixels)
    except BadImage as error:
        return str(error)
    return None


def encode(kind: str, size: tuple[int, int], mode: str = "RGB", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, 90 if mode in ("L", "P") else None).save(buffer, kind, **options)
    return buffer.getvalue()


def jpeg(width: int, height: int, scans: int, progressive: bool = True, size: int = 0) -> bytes:
    """A JPEG of one component that declares all this, and holds nothing; filled up to `size` bytes."""
    frame = b"\xff\xc2" if progressive else b"\xff\xc0"
    frame += struct.pack(">HBHHB", 11, 8, height, width, 1) + b"\1\x11\0"
    return (b"\xff\xd8" + frame + b"\xff\xda\0\x08\1\1\0\0\0\0\0" * scans).ljust(size, b"\0")


def tiff(width: int, height: int, **tags: int) -> bytes:
    numbers = {256: width, 257: height, 258: 8, 259: 8, 262: 1, 277: 1} | {int(tag[1:]): value for tag, value in tags.items()}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(numbers.items()))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(numbers)) + entries + bytes(4)


def test_declared_pixels_have_a_limit() -> None:
    assert refused(encode("PNG", (40, 30)), 1200) is None
    assert refused(encode("PNG", (40, 30)), 1199) == "too large: declares 40×30 = 1,200 pixels; the limit is 1,199 pixels"


def test_a_jpeg_whose_bytes_cannot_hold_its_blocks_is_truncated() -> None:
    blocks = 1000 * 1000 // 64
    assert refused(jpeg(1000, 1000, 1, size=blocks // 8 + 15)) is None
    assert str(refused(jpeg(1000, 1000, 1, size=blocks // 8 + 14))).startswith("truncated: declares 1000×1000 pixels")
    assert refused(encode("JPEG", (1500, 1000))) is None  # of one colour, as small as an encoder makes it


def test_what_a_progressive_jpeg_makes_its_decoder_hold_has_a_limit() -> None:
    assert refused(jpeg(13_000, 13_000, 1, size=3 << 20)) is None  # grey: 2 bytes a pixel
    assert read_header(jpeg(13_000, 13_000, 1, size=3 << 20)).held == 128 * 1625**2
    wide = jpeg(16_000, 16_000, 1, size=5 << 20)
    assert refused(wide, 300_000_000) is None  # whoever allows more pixels has more memory for them
    colour = bytearray(encode("JPEG", (90, 90), progressive=True, subsampling=0).ljust(5_000_000, b"\0"))
    struct.pack_into(">HH", colour, colour.index(b"\xff\xc2") + 5, 9000, 9000)
    assert str(refused(bytes(colour))).startswith("too large: declares 9000×9000 pixels, in a form that takes 490 MB")


def test_scans_without_end_are_a_bomb() -> None:
    assert refused(jpeg(8192, 8192, 7, size=140_000)) is None
    assert refused(jpeg(8192, 8192, 20, size=140_000)) == "corrupt: a decompression bomb: 20,971,520 steps to decode 140,000 bytes"


def test_a_tile_larger_than_all_images_is_too_large() -> None:
    assert refused(tiff(64, 64, t322=256, t323=256, t324=8, t325=8)) is None
    assert str(refused(tiff(64, 64, t322=1 << 16, t323=1 << 15, t324=8, t325=8))).startswith("too large: declares 64×64 pixels, in a form")
    assert refused(tiff(64, 64, t278=2**32 - 1)) is None  # rows a strip: all


def test_a_few_bytes_that_declare_a_very_large_picture_are_a_bomb() -> None:
    assert refused(tiff(4000, 4000, t277=3, t278=16)) is None
    assert refused(tiff(5000, 5000, t277=3, t278=16)) == "too large: a decompression bomb: declares 25 MP in 98 bytes"
    assert refused(tiff(5000, 5000, t277=3, t278=16) + bytes(10_000)) is None


def test_a_bmp_of_runs_that_gives_few_of_its_pixels_is_a_bomb() -> None:
    def runs(side: int) -> bytes:
        body = b"\xff\x07\0\0" * 1000 + b"\0\1"
        head = struct.pack("<IHHI", 1078 + len(body), 0, 0, 1078) + struct.pack(
            "<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(body), 0, 0, 256, 0
        )
        return b"BM" + head + bytes(1024) + body

    assert refused(runs(1200)) is None
    assert refused(runs(1600)) == "corrupt: a decompression bomb: 2,560,000 steps to decode 5,080 bytes"


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "WEBP"])
def test_large_photographs_of_every_kind_are_read(kind: str) -> None:
    width, height = 6000, 4000  # 24 MP
    header = read_header(encode(kind, (60, 40)))._replace(width=width, height=height)
    check_limits(header, width * height * 3, DEFAULT_MAX_PIXELS)
    assert decoder_memory(header, width * height * 3) < MEMORY / 1.5


def test_a_long_and_narrow_image_is_judged_by_what_it_takes_without_being_reduced() -> None:
    page = read_header(encode("PNG", (60, 40), "L"))
    check_limits(page._replace(width=8235, height=8235), 1187, DEFAULT_MAX_PIXELS)
    for width, height in ((45, 1_507_361), (1, 16_777_216), (1_507_361, 45)):  # 68 and 17 MP, too
        with pytest.raises(BadImage, match="in a form that takes"):
            check_limits(page._replace(width=width, height=height), 1187, DEFAULT_MAX_PIXELS)
    line = read_header(encode("PNG", (60, 40)))._replace(width=200_000, height=100)
    check_limits(line, 2_000_000, DEFAULT_MAX_PIXELS)  # a line of a scanned text
    assert decoder_memory(line, 0, 8) == decoder_memory(line, 0, 1) == (4 + 3) * 20_000_000 + 800


def test_a_blank_page_is_no_bomb() -> None:
    assert refused(encode("TIFF", (5000, 7000), "1", compression="group4")) is None
    assert refused(encode("PNG", (5000, 7000), "1")) is None
    assert refused(encode("JPEG", (5000, 7000), "L", progressive=True)) is None
    assert refused(encode("GIF", (5000, 7000), "P")) is None


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared photographs are not here")
@pytest.mark.parametrize("folder", ["camera", "photos", "cats_dogs/cats"])
def test_no_photograph_is_refused(folder: str) -> None:
    paths = [path for path in sorted((SHARED / folder).iterdir()) if path.is_file()][:500]
    assert [(path.name, reason) for path in paths if (reason := refused(path.read_bytes()))] == []


def test_a_png_is_judged_by_what_its_pixels_take() -> None:
    def png(colour: int, depth: int, size: int = 0) -> bytes:
        body = b"IHDR" + struct.pack(">IIBBBBB", 12_000, 12_000, depth, colour, 0, 0, 0)
        pixels = struct.pack(">I4s", size, b"IDAT") + bytes(size + 4)
        return b"\x89PNG\r\n\x1a\n\0\0\0\r" + body + struct.pack(">I", zlib.crc32(body)) + pixels

    assert refused(png(0, 8)) is None  # grey, 144 MB
    assert str(refused(png(0, 16))).startswith("too large: declares 12000×12000 pixels, in a form that takes 288 MB")
    assert refused(png(0, 16, 3_000_000)) is None  # a photograph has as many bytes
    assert str(refused(png(2, 8, 50_000_000))).startswith("too large: declares 12000×12000 pixels, in a form that takes 626 MB")
