"""What read_header says of files drawn here, of files that are no images, and of the odd ones."""

from __future__ import annotations

import io
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from imgstream.errors import BadImage
from imgstream.formats.header import Header, read_header

ODD = Path(__file__).resolve().parents[2] / "../shared/data/odd"


def encode(kind: str, size: tuple[int, int] = (31, 17), orientation: int = 1, mode: str = "RGB", **options: object) -> bytes:
    image = Image.fromarray(np.arange(size[0] * size[1] * 3, dtype=np.uint32).astype(np.uint8).reshape(size[1], size[0], 3)).convert(mode)
    if orientation != 1:
        exif = Image.Exif()
        exif[0x0112] = orientation
        options["exif"] = exif
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def declared(data: bytes | memoryview, size: int | None = None) -> tuple[object, ...]:
    """Kind, width, height, orientation and components."""
    return read_header(data, size)[:5]


def read_or_reason(data: bytes | memoryview) -> Header | BadImage:
    try:
        return read_header(data)
    except BadImage as error:
        return error


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"optimize": True}, {"subsampling": 0}, {"comment": b"x" * 60_000}])
def test_a_jpeg_says_its_size(options: dict[str, object]) -> None:
    assert declared(encode("JPEG", **options)) == ("jpeg", 31, 17, 1, 3)


@pytest.mark.parametrize(
    ("kind", "format_", "options"),
    [
        ("png", "PNG", {}),
        ("gif", "GIF", {}),
        ("bmp", "BMP", {}),
        ("webp", "WEBP", {}),
        ("webp", "WEBP", {"lossless": True}),
        ("tiff", "TIFF", {}),
        ("tiff", "TIFF", {"big_tiff": True}),
        ("tiff", "TIFF", {"compression": "tiff_lzw"}),
        ("avif", "AVIF", {}),
    ],
)
def test_every_kind_says_its_size(kind: str, format_: str, options: dict[str, object]) -> None:
    assert declared(memoryview(encode(format_, **options))) == (kind, 31, 17, 1, 0)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_orientation_is_read_wherever_a_kind_keeps_it(format_: str, orientation: int) -> None:
    header = read_header(encode(format_, orientation=orientation))
    assert (header.width, header.height, header.orientation) == (31, 17, orientation)
    assert header.oriented == ((17, 31) if orientation > 4 else (31, 17))


def test_an_orientation_that_does_not_exist_is_none() -> None:
    assert read_header(encode("JPEG", orientation=9)).orientation == 1


def test_png_orientation_behind_the_pixels_counts() -> None:
    data = encode("PNG", orientation=6)
    start = data.index(b"eXIf") - 4
    end = start + 12 + struct.unpack_from(">I", data, start)[0]
    moved = data[:start] + data[end:-12] + data[start:end] + data[-12:]
    assert read_header(moved).orientation == 6


def test_fill_bytes_and_junk_between_jpeg_segments_are_skipped() -> None:
    data = encode("JPEG")
    assert declared(data[:2] + b"\xff" * 9 + data[2:]) == ("jpeg", 31, 17, 1, 3)
    assert declared(data[:20] + b"junk" * 500 + data[20:]) == ("jpeg", 31, 17, 1, 3)


def test_a_bmp_whose_rows_run_from_the_top_has_a_positive_height() -> None:
    data = bytearray(encode("BMP"))
    struct.pack_into("<i", data, 22, -17)
    assert declared(data) == ("bmp", 31, 17, 1, 0)


def test_a_gif_frame_that_reaches_over_the_canvas_widens_it() -> None:
    data = bytearray(encode("GIF"))
    struct.pack_into("<HH", data, 6, 5, 5)
    assert declared(data) == ("gif", 31, 17, 1, 0)


@pytest.mark.parametrize(
    ("data", "reason", "detail"),
    [
        (b"", "empty", "0 bytes"),
        (b"\n <!DOCTYPE html><html>", "wrong kind", "an HTML page"),
        (b"%PDF-1.7 ...", "wrong kind", "a PDF document"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0isommp42", "wrong kind", "an MP4 video"),
        (b"PK\3\4" + b"\0" * 40, "wrong kind", "a ZIP archive"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "wrong kind", "a WAV recording"),
        (b"version https://git-lfs.github.com/spec/v1\n", "wrong kind", "Git LFS"),
        ("søren\n".encode() * 90, "wrong kind", "plain text"),
        (b"\0" * 100, "wrong kind", "zeros"),
        (b"\xff\xd8\x00\x10rest of no jpeg", "wrong kind", "ff d8 00 10"),
        (b"<?xml version='1.0'?><svg xmlns='...'>", "unsupported", "SVG"),
        (b"8BPS\0\1", "unsupported", "Photoshop"),
        (b"\xff\x0a\xfa\x7f", "unsupported", "JPEG XL"),
        (b"\xff", "truncated", "1 byte"),
        (b"\x89PNG\r\n\x1a\n\0\0", "truncated", "10 bytes"),
        (b"GIF89a\5\0\5\0\0\0\0;", "corrupt", "without a frame"),
        (b"\xff\xd8\xff\xc0\0\x11\x0c\0\x10\0\x10\3" + b"\0" * 20, "unsupported", "12 bits"),
        (b"\xff\xd8\xff\xc0\0\x11\x08\0\0\0\x10\3" + b"\0" * 20, "unsupported", "height"),
        (b"\xff\xd8\xff\xda\0\2", "corrupt", "never declared"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + b"\0" * 17, "corrupt", "0×0"),
    ],
)
def test_what_is_no_usable_image_is_named(data: bytes, reason: str, detail: str) -> None:
    with pytest.raises(BadImage) as caught:
        read_header(data)
    assert caught.value.reason == reason
    assert detail in caught.value.detail
    assert "\n" not in caught.value.detail


@pytest.mark.parametrize(("mode", "components"), [("L", 1), ("RGB", 3), ("CMYK", 4)])
def test_a_jpeg_says_how_many_components_it_has(mode: str, components: int) -> None:
    assert read_header(encode("JPEG", mode=mode)).components == components


def test_a_jpeg_of_one_scan_is_told_from_its_beginning() -> None:
    data = encode("JPEG", orientation=6)
    part = data[: data.index(b"\xff\xda") + 14]
    assert read_header(part, size=len(data)) == read_header(data)
    assert declared(part, len(data)) == ("jpeg", 31, 17, 6, 3)
    with pytest.raises(BadImage, match="truncated"):
        read_header(part[:-12], size=len(data))


def test_a_progressive_jpeg_is_told_from_all_its_scans() -> None:
    data = encode("JPEG", progressive=True)
    assert declared(data) == ("jpeg", 31, 17, 1, 3)
    with pytest.raises(BadImage, match="truncated"):
        read_header(data[:-1], size=len(data))


def test_what_a_decoder_holds_besides_the_pixels_is_told() -> None:
    assert read_header(encode("JPEG")).held == 0
    blocks = 4 * 3 + 2 * 2 + 2 * 2  # of 31×17 pixels, chroma halved both ways
    assert read_header(encode("JPEG", progressive=True)).held == 128 * blocks
    assert read_header(encode("TIFF")).held == 31 * 17 * 3


@pytest.mark.parametrize(
    ("format_", "mode", "pixel_bytes"),
    [
        *[("PNG", "RGB", 4), ("PNG", "RGBA", 4), ("PNG", "L", 1), ("PNG", "1", 1), ("PNG", "P", 1), ("PNG", "I;16", 2), ("PNG", "LA", 4)],
        *[("TIFF", "RGB", 4), ("TIFF", "L", 1), ("TIFF", "I;16", 2), ("BMP", "RGB", 4), ("BMP", "L", 1), ("GIF", "P", 2)],
    ],
)
def test_what_a_pixel_takes_while_it_is_decoded_is_told(format_: str, mode: str, pixel_bytes: int) -> None:
    assert read_header(encode(format_, mode=mode)).pixel_bytes == pixel_bytes


@pytest.mark.parametrize("side", [0, 2**31, 2**32, 2**63, 2**64 - 1])
@pytest.mark.parametrize("tag", [256, 257])
def test_a_side_that_is_no_size_is_corrupt(tag: int, side: int) -> None:
    sides = {256: 5, 257: 5} | {tag: side}
    entries = b"".join(struct.pack("<HHQQ", tag, 16, 1, value) for tag, value in sides.items())
    data = b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 2) + entries + bytes(8)
    with pytest.raises(BadImage, match=r"corrupt: declares .*×.* pixels"):
        read_header(data)


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "AVIF"])
def test_every_beginning_of_a_file_gives_its_size_or_a_reason(format_: str) -> None:
    data = encode(format_, orientation=6) if format_ not in ("GIF", "BMP") else encode(format_)
    for length in range(len(data)):
        read = read_or_reason(memoryview(data)[:length])
        if isinstance(read, BadImage):
            assert read.reason in ("empty", "truncated", "wrong kind", "corrupt")
        else:
            assert (read.width, read.height) == (31, 17)


@given(
    format_=st.sampled_from(["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "AVIF"]),
    changes=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_damage_gives_a_header_or_a_reason_and_nothing_else(format_: str, changes: list[tuple[int, int]]) -> None:
    data = bytearray(encode(format_))
    for at, value in changes:
        data[at % len(data)] = value
    check(read_or_reason(data))


def test_a_tiff_size_with_many_values_is_no_size() -> None:
    data = bytearray(encode("TIFF"))
    found = re.search(rb"\x01\x01[\x03\x04]\0\x01\0\0\0", data)  # tag 257, SHORT or LONG, one value
    assert found
    at = found.start()
    struct.pack_into("<I", data, at + 4, 106)
    with pytest.raises(BadImage, match="declares no size"):
        read_header(data)


def test_an_offset_beyond_all_memory_is_beyond_the_end() -> None:
    with pytest.raises(BadImage, match="truncated"):
        read_header(b"II+\0\x08\0\0\0" + b"\xff" * 8)


@given(st.binary(max_size=200))
def test_any_bytes_give_a_header_or_a_reason(data: bytes) -> None:
    check(read_or_reason(data))


def check(read: Header | BadImage) -> None:
    if isinstance(read, BadImage):
        assert read.detail
        assert "\n" not in read.detail
    else:
        assert min(read.width, read.height) > 0
        assert 1 <= read.orientation <= 8


@pytest.mark.skipif(not ODD.is_dir(), reason="the shared odd files are not here")
def test_the_odd_files_pillow_opens_have_the_size_it_says() -> None:
    checked = 0
    for path in sorted(ODD.glob("*/*")):
        data = path.read_bytes()
        try:
            with Image.open(io.BytesIO(data)) as image:
                image.load()
                size = (image.width, image.height)
                turned = image.format == "TIFF"
        except Exception:
            continue
        header = read_header(data)
        assert (header.oriented if turned else (header.width, header.height)) == size, path.name
        checked += 1
    assert checked > 100
