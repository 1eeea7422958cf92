"""What an AVIF says of its main picture, and of the frames that its AV1 stream really holds."""

from __future__ import annotations

import io
import struct

import pytest
from PIL import Image

from imgstream.errors import BadImage
from imgstream.formats.header import read_header
from imgstream.formats.isobmff import read_picture
from imgstream.formats.limits import check_limits
from imgstream.spec import DEFAULT_MAX_PIXELS


def encode(size: tuple[int, int], mode: str = "RGB", **options: object) -> bytearray:
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, "AVIF", **options)
    return bytearray(buffer.getvalue())


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
@pytest.mark.parametrize("size", [(1, 1), (64, 48), (301, 7), (1200, 900)])
def test_the_size_of_the_coded_frames_is_found(mode: str, size: tuple[int, int]) -> None:
    found = read_picture(encode(size, mode))
    assert found is not None
    assert (found.kind, found.width, found.height) == ("avif", *size)
    assert found.coded_pixels == size[0] * size[1]


def test_of_an_animation_too() -> None:
    found = read_picture(encode((40, 30), save_all=True, append_images=[Image.new("RGB", (40, 30), "red")]))
    assert found is not None
    assert found.coded_pixels == 1200


def declaring(data: bytearray, width: int, height: int) -> bytes:
    """The file with another size in its properties than its frames have."""
    at = data.index(b"ispe") + 8
    struct.pack_into(">II", data, at, width, height)
    return bytes(data)


def test_a_small_picture_with_large_frames_is_judged_by_its_frames() -> None:
    lying = declaring(encode((4500, 4500), speed=10), 64, 64)
    with pytest.raises(BadImage, match="too large: declares 64×64 pixels, in a form that takes 223 MB"):
        check_limits(read_header(lying), len(lying), DEFAULT_MAX_PIXELS)


def test_what_is_no_stream_has_no_frames() -> None:
    data = encode((64, 48))
    found = read_picture(data)
    assert found is not None
    start = data.index(b"mdat") + 4
    data[start : start + 4] = b"\xff" * 4
    damaged = read_picture(data)
    assert damaged == found._replace(coded_pixels=0)
