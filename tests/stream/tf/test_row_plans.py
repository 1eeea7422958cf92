"""Plans for the tf.data path, carried out with NumPy and OpenCV alone, against what SampleReader makes of the same file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

import imgstream as ims
from imgstream.augment.presets import PRESETS
from imgstream.decode.reference import Decoder
from imgstream.decode.sample import SampleReader
from imgstream.errors import BadImage
from imgstream.formats.header import read_header
from imgstream.order import DRAWS, SampleDraws
from imgstream.stream.tf import row_plans
from imgstream.stream.tf.row_plans import GEOMETRY, RowPlanner, RowPlans, bad_image, fault


def save(path: Path, height: int, width: int, orientation: int = 1, mode: str = "RGB", **options: Any) -> Path:
    """A JPEG whose columns and rows can be told by red and green."""
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([x * 255 // width, y * 255 // height, (x + y) % 50], -1).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).convert(mode).save(path, "JPEG", quality=95, subsampling=0, exif=exif, **options)
    return path


def plan(path: Path | bytes, spec: ims.SampleSpec, augment: str | None = None, epoch: int = 0, row: int = 0, seed: int = 0) -> RowPlans:
    return RowPlanner(spec, None if augment is None else PRESETS[augment], seed)([os.fsencode(path)], epoch, [row])


def parts(plans: RowPlans) -> dict[str, list[int]]:
    ends = np.cumsum(list(GEOMETRY.values()))[:-1]
    return {name: part.tolist() for name, part in zip(GEOMETRY, np.split(plans.geometry[0], ends), strict=True)}


def carried_out(plans: RowPlans, spec: ims.SampleSpec) -> np.ndarray:
    """The sample that the first row's plan makes, the stored frame decoded by the reference decoder."""
    data = Path(os.fsdecode(plans.paths[0])).read_bytes()
    stored = Decoder().decode(memoryview(data), read_header(data)._replace(orientation=1), 2 ** int(plans.reductions[0]), spec.channels)
    told = parts(plans)
    assert list(stored.shape) == told["shape"]
    (y, x, _), (height, width, channels), (out_height, out_width) = told["start"], told["size"], told["out_size"]
    assert channels == spec.channels
    assert min(y, x) >= 0
    assert y + height <= stored.shape[0]
    assert x + width <= stored.shape[1]
    window = np.ascontiguousarray(stored[y : y + height, x : x + width])
    small = cv2.resize(window, (out_width, out_height), interpolation=cv2.INTER_LINEAR).reshape(out_height, out_width, channels)
    upright = small.transpose(told["axes"])[:: told["steps"][0], :: told["steps"][1], :: told["steps"][2]]
    return np.pad(upright, np.reshape(told["padding"], (3, 2)))


# ---- geometry


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize(("height", "width", "channels"), [(41, 70, 3), (230, 131, 3), (33, 34, 1)])
def test_a_plan_in_the_stored_frame_gives_the_references_sample(
    tmp_path: Path, orientation: int, fit: Any, height: int, width: int, channels: int
) -> None:
    spec = ims.SampleSpec(size=(24, 20), fit=fit, channels=channels)
    path = save(tmp_path / "a.jpg", height, width, orientation)
    plans = plan(path, spec)
    expected = np.zeros(spec.shape, np.uint8)
    SampleReader(spec).read(os.fsencode(path), expected)
    found = carried_out(plans, spec)
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() <= 1
    assert plans.faults[0] == b""


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_augmentations_box_and_flip_are_in_the_plan(tmp_path: Path, orientation: int) -> None:
    spec = ims.SampleSpec(size=(24, 20))
    path = save(tmp_path / "a.jpg", 120, 90, orientation)
    flips = set()
    for row in range(6):
        plans = plan(path, spec, "light", epoch=2, row=row, seed=7)
        numbers = SampleDraws(7)(2, row).copy()
        assert np.array_equal(plans.draws, [numbers])
        expected = np.zeros(spec.shape, np.uint8)
        SampleReader(spec).read(os.fsencode(path), expected, lambda *sizes, numbers=numbers: PRESETS["light"].box(numbers, *sizes))
        if PRESETS["light"].flips(numbers):
            expected = expected[:, ::-1]
        flips.add(PRESETS["light"].flips(numbers))
        assert np.abs(carried_out(plans, spec).astype(int) - expected).max() <= 1
    assert flips == {True, False}


def test_a_plan_by_value(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", 80, 163, orientation=6)  # seen, it is 80 wide and 163 high
    plans = plan(path, ims.SampleSpec(size=(40, 40), fit="pad"))
    assert plans.paths[0] == os.fsencode(path)
    assert plans.reductions.tolist() == [2]  # 1/4: 41 × 20, into 40 × 20
    assert parts(plans) == {
        "shape": [20, 41, 3],
        "start": [0, 0, 0],
        "size": [20, 41, 3],
        "out_size": [20, 40],
        "axes": [1, 0, 2],
        "steps": [1, -1, 1],
        "padding": [0, 0, 10, 10, 0, 0],
    }
    assert plans.roundings.tolist() == [0.375]
    assert plans.draws.shape == (1, 0)


@pytest.mark.parametrize(("height", "width", "rounding"), [(128, 64, 0.5), (128, 69, 0.375), (120, 64, 0.375), (64, 32, 0.375)])
def test_only_an_exact_half_is_rounded_to_nearest(tmp_path: Path, height: int, width: int, rounding: float) -> None:
    plans = plan(save(tmp_path / "a.jpg", height, width), ims.SampleSpec(size=(8, 4), fit="stretch"))
    assert plans.reductions.tolist() == [3]  # 1/8, so that 16×8 is left of the first
    assert plans.roundings.tolist() == [rounding]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_there_is_one_of_everything_for_each_jpeg(tmp_path: Path, count: int) -> None:
    path = os.fsencode(save(tmp_path / "a.jpg", 30, 30))
    plans = RowPlanner(ims.SampleSpec(size=(8, 8)), PRESETS["strong"], 0)([path] * count, 0, list(range(count)))
    assert [len(column) for column in plans] == [count] * 7
    assert plans.slots.tolist() == list(range(count))
    assert plans.draws.shape == (count, DRAWS)
    assert len({tuple(row) for row in plans.draws.tolist()}) == count
    dtypes = [plans.slots.dtype, plans.reductions.dtype, plans.geometry.dtype, plans.roundings.dtype, plans.draws.dtype]
    assert dtypes == [np.int32, np.int32, np.int32, np.float32, np.float64]


# ---- what is not for TensorFlow


def unplanned(plans: RowPlans) -> bool:
    """Whether the one row is neither for TensorFlow nor known to be bad."""
    told = (plans.slots, plans.paths, plans.reductions, plans.geometry, plans.roundings)
    assert len({len(column) for column in told}) == 1
    return len(plans.slots) == 0 and plans.faults.tolist() == [b""]


@pytest.mark.parametrize("between", ["/../pictures/", "/./", "//", "/../x/../pictures/./"])
def test_a_path_that_tensorflow_would_shorten_is_left_to_the_reference_decoder(tmp_path: Path, between: str) -> None:
    (tmp_path / "pictures").mkdir()
    save(tmp_path / "pictures" / "a.jpg", 30, 30)
    spec = ims.SampleSpec(size=(8, 8))
    assert unplanned(plan(os.fsencode(f"{tmp_path}/pictures{between}a.jpg"), spec))
    assert not unplanned(plan(os.fsencode(f"{tmp_path}/pictures/a.jpg"), spec))


@pytest.mark.parametrize("name", [b"..a.jpg", b"a..jpg", b".a.jpg", b"... .jpg", b"\xff\n'.jpg"])
def test_dots_within_a_name_are_part_of_it(tmp_path: Path, name: bytes) -> None:
    data = save(tmp_path / "plain.jpg", 30, 30).read_bytes()
    path = os.path.join(os.fsencode(tmp_path), name)
    try:
        with open(path, "wb") as file:
            file.write(data)
    except OSError:
        pytest.skip("this file system takes UTF-8 names alone")
    assert plan(path, ims.SampleSpec(size=(8, 8))).paths[0] == path


def test_relative_paths_become_absolute_unless_they_have_dots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "a.jpg", 30, 30)
    monkeypatch.chdir(tmp_path)
    spec = ims.SampleSpec(size=(8, 8))
    assert plan(b"a.jpg", spec).paths[0] == os.fsencode(tmp_path / "a.jpg")
    assert unplanned(plan(b"./a.jpg", spec))
    assert unplanned(plan(os.fsencode(f"../{tmp_path.name}/a.jpg"), spec))


def test_other_kinds_and_cmyk_are_left_to_the_reference_decoder(tmp_path: Path) -> None:
    spec = ims.SampleSpec(size=(8, 8))
    assert unplanned(plan(save(tmp_path / "cmyk.jpg", 30, 30, mode="CMYK"), spec))
    Image.new("RGB", (30, 30)).save(tmp_path / "a.png")
    assert unplanned(plan(tmp_path / "a.png", spec))
    assert plan(save(tmp_path / "grey.jpg", 30, 30, mode="L"), spec).paths[0]


def test_a_very_large_picture_is_left_to_the_reference_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.jpg", 60, 50)
    monkeypatch.setattr(row_plans, "_LARGE", 3000)
    assert plan(path, ims.SampleSpec(size=(40, 40))).paths[0]
    monkeypatch.setattr(row_plans, "_LARGE", 2999)
    assert unplanned(plan(path, ims.SampleSpec(size=(40, 40))))
    assert plan(path, ims.SampleSpec(size=(20, 20))).paths[0]  # decoded at half, it is no longer large


# ---- bad files


def test_bad_files_get_their_fault_and_no_path(tmp_path: Path) -> None:
    spec = ims.SampleSpec(size=(8, 8), max_pixels=1000)
    large = save(tmp_path / "large.jpg", 40, 30)
    (tmp_path / "folder.jpg").mkdir()
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(large.read_bytes()[:100])
    for path, reason in (
        (large, "too large"),
        (tmp_path / "no.jpg", "missing"),
        (tmp_path / "folder.jpg", "not a regular file"),
        (cut, "truncated"),
    ):
        plans = plan(path, spec, "strong")
        with pytest.raises(BadImage) as caught:
            SampleReader(spec).read(os.fsencode(path), np.zeros(spec.shape, np.uint8))
        assert len(plans.slots) == len(plans.paths) == 0
        assert plans.faults[0] == f"{reason}: {caught.value.detail}".encode()
        error = bad_image(plans.faults[0], os.fsencode(path))
        assert (error.reason, error.detail, error.path) == (caught.value.reason, caught.value.detail, str(path))


def test_files_that_are_no_images_are_left_to_the_reference_decoder_to_judge(tmp_path: Path) -> None:
    (tmp_path / "page.jpg").write_text("<html>")
    (tmp_path / "empty.jpg").touch()
    assert unplanned(plan(tmp_path / "page.jpg", ims.SampleSpec()))
    assert unplanned(plan(tmp_path / "empty.jpg", ims.SampleSpec()))


def test_one_bad_row_leaves_its_neighbours_alone(tmp_path: Path) -> None:
    path = os.fsencode(save(tmp_path / "a.jpg", 30, 30))
    plans = RowPlanner(ims.SampleSpec(size=(8, 8)), None, 0)([path, b"/no/such.jpg", path], 0, [0, 1, 2])
    assert plans.slots.tolist() == [0, 2]
    assert plans.paths.tolist() == [path, path]
    assert [bool(f) for f in plans.faults] == [False, True, False]
    assert np.array_equal(plans.geometry[0], plans.geometry[1])


@pytest.mark.parametrize("detail", ["plain", "with: a colon: in it", "søren → ×", "a \udcff byte", ""])
def test_a_fault_is_read_back_as_it_was_written(detail: str) -> None:
    error = bad_image(fault(BadImage("wrong kind", detail)), b"/a/\xff.jpg")
    assert (error.reason, error.detail, error.path) == ("wrong kind", detail, os.fsdecode(b"/a/\xff.jpg"))
