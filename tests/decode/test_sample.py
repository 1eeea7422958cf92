"""From a file to a sample's pixels, by value: what fit, EXIF, reduction and an augmentation's box make of a picture of known colours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from imgstream.decode.sample import SampleReader
from imgstream.errors import BadImage
from imgstream.geometry import Box
from imgstream.spec import SampleSpec

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def quarters(width: int, height: int) -> np.ndarray:
    """Red | green above blue | white."""
    pixels = np.empty((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2], pixels[: height // 2, width // 2 :] = RED, GREEN
    pixels[height // 2 :, : width // 2], pixels[height // 2 :, width // 2 :] = BLUE, WHITE
    return pixels


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "image.png"


def sample(path: Path, box: Box | None = None, **spec: Any) -> np.ndarray:
    spec_ = SampleSpec(**spec)
    out = np.full(spec_.shape, 99, np.uint8)
    SampleReader(spec_).read(bytes(path), out, None if box is None else lambda *_: box)
    return out


def test_a_picture_of_the_targets_size_is_untouched(path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 10, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    for fit in ("crop", "pad", "stretch"):
        assert np.array_equal(sample(path, size=(12, 10), fit=fit), pixels)


def test_crop_takes_the_middle(path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (10, 30, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    assert np.array_equal(sample(path, size=(10, 10)), pixels[:, 10:20])


@pytest.mark.parametrize("channels", [1, 3])
def test_pad_is_black_around_with_the_odd_pixel_below(path: Path, channels: int) -> None:
    Image.fromarray(np.full((5, 10, 3), 200, np.uint8)).save(path)
    out = sample(path, size=(10, 10), fit="pad", channels=channels)
    assert (out[2:7] == 200).all()
    assert not out[:2].any()
    assert not out[7:].any()


def test_pad_beside_a_tall_picture_that_is_resized_clears_what_was_there(path: Path) -> None:
    Image.fromarray(np.full((90, 30, 3), 200, np.uint8)).save(path)
    out = sample(path, size=(9, 9), fit="pad", channels=3)
    assert (out[:, 3:6] == 200).all()
    assert not out[:, :3].any()
    assert not out[:, 6:].any()


def test_stretch_keeps_every_corner(path: Path) -> None:
    Image.fromarray(quarters(40, 10)).save(path)
    out = sample(path, size=(20, 4), fit="stretch")
    assert [tuple(out[y, x]) for y in (0, -1) for x in (0, -1)] == [RED, GREEN, BLUE, WHITE]


@pytest.mark.parametrize("size", [(10, 10), (80, 80)])
def test_an_augmentations_box_is_what_is_seen(path: Path, size: tuple[int, int]) -> None:
    Image.fromarray(quarters(160, 160)).save(path)
    out = sample(path, Box(80, 0, 80, 80), size=size, fit="pad")
    assert (out == GREEN).all()


def test_the_box_is_asked_for_with_the_oriented_size(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned clockwise to be seen
    Image.fromarray(quarters(40, 20)).save(path, exif=exif)
    asked = []

    def box_of(*sizes: int) -> Box:
        asked.append(sizes)
        return Box(0, 0, 10, 20)  # of the seen picture, 20 wide and 40 high: its upper left quarter

    out = np.zeros((8, 4, 3), np.uint8)
    SampleReader(SampleSpec(size=(8, 4))).read(bytes(path), out, box_of)
    assert asked == [(20, 40, 4, 8)]
    assert (out == BLUE).all()


@pytest.mark.parametrize("reduction", [1, 2, 4, 8])
def test_a_reduced_jpeg_shows_the_same_picture(path: Path, reduction: int) -> None:
    jpeg = path.with_suffix(".jpg")
    Image.fromarray(quarters(16 * reduction, 16 * reduction)).save(jpeg, quality=98, subsampling=0)
    out = sample(jpeg, size=(16, 16)).astype(int)
    for (y, x), colour in {(2, 2): RED, (2, 13): GREEN, (13, 2): BLUE, (13, 13): WHITE}.items():
        assert np.abs(out[y, x] - colour).max() <= 4


def test_a_picture_of_one_pixel_fills_the_sample(path: Path) -> None:
    Image.fromarray(np.full((1, 1, 3), 77, np.uint8)).save(path)
    for fit in ("crop", "pad", "stretch"):
        assert (sample(path, size=(5, 5), fit=fit) == 77).all()


def test_bytes_and_file_give_the_same_pixels_and_a_reader_can_be_used_again(path: Path) -> None:
    spec, pictures = SampleSpec(size=(7, 9)), np.random.default_rng(1).integers(0, 256, (3, 30, 20, 3), np.uint8)
    reader, out, again = SampleReader(spec), np.zeros(spec.shape, np.uint8), np.zeros(spec.shape, np.uint8)
    for picture in pictures:
        Image.fromarray(picture).save(path)
        reader.read(bytes(path), out)
        SampleReader(spec).decode(path.read_bytes(), again)
        assert np.array_equal(out, again)


def test_too_many_declared_pixels_are_refused(path: Path) -> None:
    Image.fromarray(quarters(20, 20)).save(path)
    assert sample(path, size=(4, 4), max_pixels=400).shape == (4, 4, 3)
    with pytest.raises(BadImage) as caught:
        sample(path, size=(4, 4), max_pixels=399)
    assert caught.value.reason == "too large"


# ---- whole images, reduced


def test_a_reduced_image_covers_the_margin_upright_and_whole(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned clockwise to be seen: 100 wide, 200 high
    Image.fromarray(quarters(200, 100)).save(path, exif=exif)
    reduced = SampleReader(SampleSpec(size=(20, 20))).read_reduced(bytes(path), (20, 20), 1.5)
    assert reduced.shape == (60, 30, 3)
    assert [tuple(reduced[y, x]) for y, x in ((0, 0), (0, -1), (-1, 0), (-1, -1))] == [BLUE, RED, WHITE, GREEN]


@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_that_is_small_already_is_kept_as_it_is(path: Path, channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (25, 29, 3), np.uint8)
    Image.fromarray(pixels if channels == 3 else pixels[..., 0]).save(path)
    reader = SampleReader(SampleSpec(size=(20, 20), channels=channels))
    assert np.array_equal(reader.read_reduced(bytes(path), (20, 20), 1.3), pixels[..., :channels])
    assert reader.version.size == path.stat().st_size
    assert reader.version.modified == path.stat().st_mtime_ns


def test_one_reader_reduces_images_of_many_sizes_one_after_another(path: Path) -> None:
    reader = SampleReader(SampleSpec(size=(20, 20)))
    for side in (90, 30, 400, 5, 60):
        Image.fromarray(np.full((side, side, 3), side % 256, np.uint8)).save(path)
        kept = min(side, 26)
        assert reader.read_reduced(bytes(path), (20, 20), 1.3).tolist() == np.full((kept, kept, 3), side % 256).tolist()
    path.write_bytes(b"<html>")
    with pytest.raises(BadImage):
        reader.read_reduced(bytes(path), (20, 20), 1.3)
