from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps, UnidentifiedImageError

import draw_sample_data

COMMITTED = Path(__file__).parents[2] / "sample_data"
MEGABYTE = 1_000_000
BAD = ("new/holiday-07.jpg", "new/holiday-12.jpg", "new/holiday-18.jpg")


@pytest.fixture(scope="module")
def redrawn() -> dict[str, bytes]:
    return draw_sample_data.sample_data()


def committed() -> dict[str, bytes]:
    return {path.relative_to(COMMITTED).as_posix(): path.read_bytes() for path in COMMITTED.rglob("*") if path.is_file()}


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), np.int16)


@pytest.mark.slow
def test_redrawing_gives_the_committed_files(redrawn: dict[str, bytes]) -> None:
    files = committed()
    assert sorted(files) == sorted(redrawn)
    for name, data in files.items():
        if data == redrawn[name]:
            continue
        # Another release of an encoder or of OpenCV may round differently; another picture would differ by tens of levels.
        assert name not in BAD[1:], name
        if name != BAD[0]:
            assert np.abs(pixels(data) - pixels(redrawn[name])).mean() < 2, name


@pytest.mark.slow
def test_two_drawings_in_one_process_are_the_same_bytes(redrawn: dict[str, bytes]) -> None:
    assert draw_sample_data.sample_data() == redrawn


def test_there_are_seventy_of_each_class_and_twenty_new_ones() -> None:
    folders = [name.split("/")[0] for name in committed()]
    assert {folder: folders.count(folder) for folder in set(folders)} == {"cats": 70, "dogs": 70, "new": 20}


def test_the_folder_stays_under_three_megabytes() -> None:
    assert sum(map(len, committed().values())) < 3 * MEGABYTE


def test_three_new_files_are_bad_each_in_its_own_way() -> None:
    files = committed()
    truncated, page, empty = (files[name] for name in BAD)
    with pytest.raises(OSError, match="truncated"):
        Image.open(io.BytesIO(truncated)).load()
    assert page.startswith(b"<!DOCTYPE html>")
    with pytest.raises(UnidentifiedImageError):
        Image.open(io.BytesIO(page))
    assert empty == b""


def test_every_other_file_decodes_to_a_picture() -> None:
    for name, data in committed().items():
        if name not in BAD:
            assert pixels(data).std() > 10, name  # not one flat colour


def test_one_new_photograph_lies_on_its_side() -> None:
    files = committed()
    orientations = {name: Image.open(io.BytesIO(data)).getexif().get(0x0112, 1) for name, data in files.items() if name not in BAD}
    assert {name: value for name, value in orientations.items() if value != 1} == {"new/holiday-04.jpg": 6}
    stored = Image.open(io.BytesIO(files["new/holiday-04.jpg"]))
    assert stored.size == (320, 240)
    assert ImageOps.exif_transpose(stored).size == (240, 320)


def test_sizes_and_kinds_vary() -> None:
    images = [Image.open(io.BytesIO(data)) for name, data in committed().items() if name not in BAD]
    assert {image.format for image in images} == {"JPEG", "PNG", "WEBP"}
    assert {image.mode for image in images} >= {"RGB", "L", "RGBA", "P"}
    assert len({image.size for image in images}) >= 10
