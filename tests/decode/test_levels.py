"""Every value of a deep image reaches the sample: kinds, colours, orders of bytes, and what lies outside of the levels."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from deep_images import by_pillow, png16, tiff
from PIL import Image

from imgstream.decode.depth import Depth, choose_levels, depth_of
from imgstream.decode.levels import at_levels
from imgstream.decode.sample import SampleReader
from imgstream.errors import BadImage
from imgstream.index import ImageIndex, scan
from imgstream.spec import SampleSpec

ALL_12_BITS = np.random.default_rng(0).permutation(4096).astype(np.uint16).reshape(64, 64)
COLOUR = np.dstack([ALL_12_BITS, ALL_12_BITS[::-1], ALL_12_BITS.T])


def pixels(path: Path, levels: tuple[float, float] | None = (0, 4095), **spec: Any) -> np.ndarray:
    """The sample of a file, of the size of ALL_12_BITS, as pixels."""
    spec_ = SampleSpec(**{"size": ALL_12_BITS.shape, "channels": 1, "levels": levels, **spec})
    out = np.full(spec_.shape, 99, spec_.pixel_type)
    SampleReader(spec_).read(bytes(path), out)
    return out


@pytest.mark.parametrize(
    ("ending", "write"),
    [
        (".png", png16),
        (".tif", tiff(1)),
        (".tif", tiff(5)),
        (".tif", by_pillow(np.int32)),
        (".tif", by_pillow(np.float32)),
        (".npy", np.save),
        (".npy", lambda path, values: np.save(path, values.astype(">f8"))),
        (".npy", lambda path, values: np.save(path, values.astype(np.int64))),
    ],
)
def test_all_4096_values_of_12_bits_become_different_pixels_and_floats(
    ending: str, write: Callable[[Path, np.ndarray], None], tmp_path: Path
) -> None:
    write(path := tmp_path / f"a{ending}", ALL_12_BITS)
    found = pixels(path)
    np.testing.assert_array_equal(found[..., 0], np.rint(ALL_12_BITS * (65_535 / 4095)))
    samples = np.empty(found.shape, np.float32)
    SampleSpec(size=ALL_12_BITS.shape, channels=1, levels=(0, 4095)).to_float(found, samples)
    assert (len(np.unique(samples)), samples.min(), samples.max()) == (4096, 0, 1)


@pytest.mark.parametrize(("ending", "write"), [(".png", png16), (".tif", tiff(1)), (".tif", tiff(5)), (".tif", tiff(8)), (".npy", np.save)])
def test_colours_keep_both_of_their_bytes(ending: str, write: Callable[[Path, np.ndarray], None], tmp_path: Path) -> None:
    write(path := tmp_path / f"a{ending}", 16 * COLOUR + 7)
    np.testing.assert_array_equal(pixels(path, (0, 65_535), channels=3), 16 * COLOUR + 7)


def test_alpha_is_dropped_at_depth_too(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    png16(path, np.dstack([COLOUR, ALL_12_BITS]))
    np.testing.assert_array_equal(pixels(path, (0, 65_535), channels=3), COLOUR)
    png16(path, np.dstack([ALL_12_BITS, 65_535 - ALL_12_BITS]))
    np.testing.assert_array_equal(pixels(path, (0, 65_535))[..., 0], ALL_12_BITS)


@pytest.mark.slow
def test_images_larger_than_a_band_are_whole(tmp_path: Path) -> None:
    values = np.arange(1100 * 1300, dtype=np.uint32).reshape(1100, 1300)
    grey, colour = (values % 65_521).astype(np.uint16), np.dstack([(values * k % 65_521).astype(np.uint16) for k in (1, 2, 3)])
    path = tmp_path / "a.png"
    for array, channels in ((grey, 1), (colour, 3)):
        png16(path, array)
        np.testing.assert_array_equal(pixels(path, (0, 65_535), size=(1100, 1300), channels=channels).squeeze(), array)


def test_files_of_8_bits_keep_their_own_black_and_white(tmp_path: Path) -> None:
    grey = np.arange(4096, dtype=np.uint32).reshape(64, 64).astype(np.uint8)
    for name in ("a.png", "a.bmp"):
        Image.fromarray(grey).save(tmp_path / name)
        np.testing.assert_array_equal(pixels(tmp_path / name, (0, 100))[..., 0], 257 * grey.astype(np.uint16))


def test_the_mean_of_pixels_is_taken_at_depth(tmp_path: Path) -> None:
    png16(path := tmp_path / "a.png", np.tile(np.array([[100, 101], [101, 102]], np.uint16), (64, 64)))
    assert np.unique(pixels(path, (0, 65_535), size=(16, 16))).tolist() == [101]  # by halves inside, by resizing, to the value between


def test_orientation_and_padding_hold_at_depth(tmp_path: Path) -> None:
    image = Image.fromarray(ALL_12_BITS[:32])
    image.save(path := tmp_path / "a.tif", tiffinfo={274: 6})
    found = pixels(path, (0, 65_535), fit="pad")
    np.testing.assert_array_equal(found[:, 16:48, 0], np.rot90(ALL_12_BITS[:32], -1))
    assert not found[:, :16].any()
    assert not found[:, 48:].any()


def test_white_is_zero_is_turned_round_and_12_bits_are_read_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    for bits, sense, stored, expected in ((16, 0, b"\x00\x00\xff\x0f", [65_535, 0]), (12, 1, b"\x00\x0f\xff", [0, 65_535])):
        tags = [(256, 2), (257, 1), (258, bits), (259, 1), (262, sense), (273, 122), (277, 1), (278, 1), (279, len(stored))]
        directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, 3, 1, value) for tag, value in tags) + b"\0\0\0\0"
        path.write_bytes(b"II*\0\x08\0\0\0" + directory + stored)
        assert pixels(path, size=(1, 2)).ravel().tolist() == expected


def test_what_lies_outside_of_the_levels_is_cut_off_and_what_is_no_number_is_black() -> None:
    values = np.array([[-9.0, -1.0, 0.0, 1.0, 9.0, np.inf, -np.inf, np.nan]], np.float32)
    assert at_levels(values, (-1, 1)).tolist() == [[0, 0, 32_768, 65_535, 65_535, 65_535, 0, 0]]
    assert at_levels(np.array([[0, 99, 100, 200, 65_535]], np.uint16), (100, 200)).tolist() == [[0, 0, 0, 65_535, 65_535]]
    assert at_levels(np.array([[-(2**31), 0, 2**31 - 1]], np.int32), (-(2.0**31), 2.0**31 - 1)).tolist() == [[0, 32_768, 65_535]]


def test_unsigned_32_bits_do_not_wrap_round(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.full((64, 64), 2**32 - 1, np.uint32))
    assert pixels(path, (0, 2**32 - 1)).min() == 65_535


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_without_levels_32_bits_and_floats_say_what_to_give(dtype: type, tmp_path: Path) -> None:
    by_pillow(dtype)(path := tmp_path / "a.tif", ALL_12_BITS)
    with pytest.raises(BadImage, match=r"unsupported: 32-bit or float samples, of which levels have to say .*--levels auto"):
        pixels(path, None)


# ---- what a sample of images holds


def index_of(folder: Path, **arrays: np.ndarray) -> ImageIndex:
    for name, array in arrays.items():
        (folder / name[0]).mkdir(exist_ok=True, parents=True)
        if array.dtype in (np.uint8, np.uint16):
            Image.fromarray(array).save(folder / name[0] / f"{name}.png")
        else:
            Image.fromarray(array).save(folder / name[0] / f"{name}.tif")
    return scan(folder)


def test_levels_are_the_whole_bits_that_hold_the_values(tmp_path: Path) -> None:
    low, high = np.full((8, 8), 12, np.uint16), np.full((8, 8), 3987, np.uint16)
    depth = depth_of(index_of(tmp_path, a=low, b=high, c=np.zeros((8, 8), np.uint8)))
    assert (depth.looked_at, depth.types, depth.low, depth.high, depth.levels) == (3, {"uint16": 2}, 12, 3987, (0, 4095))
    assert depth.needs_levels
    assert str(depth) == "2 of 3 images looked at hold uint16, 12 to 3,987"
    assert choose_levels("auto", scan(tmp_path)) == (0, 4095)
    assert (choose_levels("1:5", scan(tmp_path)), choose_levels(None, scan(tmp_path))) == ((1, 5), None)


@pytest.mark.parametrize(
    ("values", "levels"),
    [
        (np.array([[0.0, 0.5]], np.float32), (0, 1)),
        (np.array([[-0.5, 0.5]], np.float32), (-0.5, 0.5)),
        (np.array([[0, 255.5]], np.float32), (0, 255.5)),
        (np.array([[7.5, 7.5]], np.float32), (7.5, 8.5)),
        (np.array([[np.nan, np.inf, 0.25]], np.float32), (0, 1)),
        (np.array([[np.nan, np.nan]], np.float32), (0, 1)),
        (np.array([[-1000, 3000]], np.int32), (-1000, 3000)),
        (np.array([[0, 70_000]], np.int32), (0, 131_071)),
        (np.array([[0, 0]], np.int32), (0, 1)),
    ],
)
def test_levels_of_floats_and_signed_numbers_hold_them_all(values: np.ndarray, levels: tuple[float, float], tmp_path: Path) -> None:
    depth = depth_of(index_of(tmp_path, a=np.repeat(values, 3, axis=0)))
    assert depth.levels == levels
    assert depth.needs_levels


def test_images_that_use_their_16_bits_or_have_8_need_no_levels(tmp_path: Path) -> None:
    assert not depth_of(index_of(tmp_path, a=np.full((8, 8), 60_000, np.uint16))).needs_levels
    assert not Depth(looked_at=5).needs_levels
    assert Depth(looked_at=5).levels is None


def test_bad_files_are_left_out_of_the_look(tmp_path: Path) -> None:
    index = index_of(tmp_path, a=np.full((8, 8), 9, np.uint16))
    (tmp_path / "a/b.png").write_bytes((tmp_path / "a/a.png").read_bytes()[:60])
    assert depth_of(scan(tmp_path)).looked_at == depth_of(index).looked_at == 1
