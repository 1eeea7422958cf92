"""What is left of a TIFF for Pillow: its pixels' tags, in place."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from imgstream.errors import BadImage
from imgstream.formats.tiff import ORIENTATION, WIDTH, Directory, find_number


def encode(mode: str = "RGB", **options: object) -> bytes:
    pixels = np.random.default_rng(2).integers(0, 255, (20, 30, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, "TIFF", **options)
    return buffer.getvalue()


def opened(data: bytes | bytearray) -> Image.Image:
    return Image.open(io.BytesIO(bytes(data)))


@pytest.mark.parametrize("options", [{}, {"big_tiff": True}, {"compression": "tiff_lzw"}, {"compression": "jpeg"}])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "P"])
def test_a_bare_tiff_has_its_pixels_and_neither_orientation_nor_exif(mode: str, options: dict[str, object]) -> None:
    if options.get("compression") == "jpeg" and mode == "P":
        pytest.skip("no palette in a JPEG")
    plain = encode(mode, **options)
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a description"
    full = encode(mode, exif=exif, **options)
    bare = Directory(full).bare()
    assert find_number(full, ORIENTATION) == 6
    assert find_number(bare, ORIENTATION) is None
    assert len(bare) == len(full)
    with opened(bare) as image, opened(plain) as expected:
        assert 0x010E not in image.tag_v2  # type: ignore[attr-defined]
        np.testing.assert_array_equal(np.asarray(image), np.asarray(expected))


def test_further_pages_are_not_there() -> None:
    full = encode(save_all=True, append_images=[Image.new("RGB", (5, 5))] * 3)
    with opened(full) as image, opened(Directory(full).bare()) as bare:
        assert (image.n_frames, bare.n_frames) == (4, 1)  # type: ignore[attr-defined]


def test_tags_that_share_their_values_are_a_bomb() -> None:
    tags = [256, 257, 258, 262, 273, 277, 278, 279, 320, 347]
    entries = b"".join(struct.pack("<HHII", tag, 1, 900, 200) for tag in tags)
    data = b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(1000)
    with pytest.raises(BadImage, match="corrupt: a TIFF whose tags share their values"):
        Directory(data).bare()


def test_values_behind_the_end_are_truncated() -> None:
    data = b"II*\0\x08\0\0\0" + struct.pack("<HHHII", 1, 273, 4, 100, 22) + bytes(8)
    with pytest.raises(BadImage, match="truncated: a TIFF whose tags lie behind its end"):
        Directory(data).bare()


def test_a_tag_that_is_a_fraction_is_left_out() -> None:  # 1e-40 is 0 in some threads, and in others it is not
    data = b"II*\0\x08\0\0\0" + struct.pack("<HHHIfHHII", 2, 262, 11, 1, 1e-40, WIDTH, 4, 1, 7) + bytes(4)
    bare = Directory(Directory(data).bare())
    assert bare.number(262) is None
    assert bare.number(WIDTH) == 7
    assert bare.bare() == Directory(data).bare()
