from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps

import imgstream as ims
from imgstream.augment import OperationPreset, from_json, resolve, to_json
from imgstream.augment.operations import FILL, OPERATIONS, STANDARD, WIDE, apply_operation
from imgstream.errors import AugmentError
from imgstream.order import DRAWS

SUB_POLICIES = [[["Posterize", 0.4, 8], ["Rotate", 0.6, 9]], [["Solarize", 1, 10]], [["Equalize", 0.8, 0]]]


def photo(channels: int = 3) -> np.ndarray:
    rng = np.random.default_rng(5)
    coarse = rng.integers(30, 220, (6, 7, 3), np.uint8)
    image = cv2.resize(coarse, (32, 24), interpolation=cv2.INTER_CUBIC)
    return image if channels == 3 else image[..., :1].copy()


def changed(name: str, level: float, positive: bool = True, image: np.ndarray | None = None, wide: bool = False) -> np.ndarray:
    result = (photo() if image is None else image).copy()
    apply_operation(result, np.zeros_like(result), name, level, positive, WIDE if wide else STANDARD)
    return result


# ---- each operation is that of Pillow, by which the papers were made


@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize(
    ("name", "enhance"),
    [
        ("Brightness", ImageEnhance.Brightness),
        ("Contrast", ImageEnhance.Contrast),
        ("Color", ImageEnhance.Color),
        ("Sharpness", ImageEnhance.Sharpness),
    ],
)
def test_enhancements_are_as_pillow_has_them(name: str, enhance: Any, positive: bool) -> None:
    expected = np.asarray(enhance(Image.fromarray(photo())).enhance(1 + (0.45 if positive else -0.45)))
    difference = np.abs(changed(name, 0.5, positive).astype(int) - expected)
    assert difference.max() <= 2


def test_equalize_and_auto_contrast_are_as_pillow_has_them() -> None:
    image = Image.fromarray(photo())
    assert np.array_equal(changed("Equalize", 0), np.asarray(ImageOps.equalize(image)))
    assert np.abs(changed("AutoContrast", 0).astype(int) - np.asarray(ImageOps.autocontrast(image))).max() <= 1


def test_posterize_and_solarize_are_as_pillow_has_them() -> None:
    image = Image.fromarray(photo())
    assert np.array_equal(changed("Posterize", 0.5), np.asarray(ImageOps.posterize(image, 6)))
    assert np.array_equal(changed("Solarize", 0.5), np.asarray(ImageOps.solarize(image, 128)))
    assert np.array_equal(changed("Posterize", 1, wide=True), np.asarray(ImageOps.posterize(image, 2)))


def test_a_translation_moves_by_a_share_of_the_side_and_fills_with_grey() -> None:
    image = np.full((20, 20, 3), 200, np.uint8)
    moved = changed("TranslateX", 1, image=image)
    assert (moved[:, :11] == 200).all()
    assert (moved[:, 11:] == FILL).all()  # 0.45 of 20
    assert (changed("TranslateY", 1, positive=False, image=image)[:9] == FILL).all()


def test_a_rotation_turns_about_the_centre() -> None:
    image = np.zeros((21, 21, 3), np.uint8)
    image[10, 18] = 255
    turned = changed("Rotate", 90 / 135, image=image, wide=True)
    assert {tuple(at) for at in np.argwhere(turned[..., 0] > 200).tolist()} == {(2, 10)}


def test_shearing_one_way_and_back_keeps_the_middle_row() -> None:
    image = photo()
    one, other = changed("ShearX", 1, True), changed("ShearX", 1, False)
    assert not np.array_equal(one, other)
    np.testing.assert_allclose(one[11:13, 8:24].astype(int), image[11:13, 8:24], atol=40)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("size", [(1, 1), (2, 9), (24, 32)])
def test_every_operation_takes_every_size_grey_and_flat_images(name: str, channels: int, size: tuple[int, int]) -> None:
    for value in (0, 128, 255):
        image = np.full((*size, channels), value, np.uint8)
        for positive in (True, False):
            result = changed(name, 1, positive, image, wide=True)
            assert (result.shape, result.dtype) == (image.shape, np.uint8)


@pytest.mark.parametrize("name", [name for name in STANDARD if name != "Solarize"])
def test_level_0_changes_nothing(name: str) -> None:
    np.testing.assert_allclose(changed(name, 0).astype(int), photo(), atol=1)


# ---- what is chosen


@given(st.integers(0, 2**32 - 1))
def test_randaugment_does_two_operations_at_its_level(seed: int) -> None:
    preset = resolve("randaugment")
    assert isinstance(preset, OperationPreset)
    found = preset.operations(np.random.default_rng(seed).random(DRAWS))
    assert [operation.level for operation in found] == [9 / 31] * 2
    assert {operation.name for operation in found} <= set(OPERATIONS)


def test_trivialaugment_does_one_operation_at_any_level_each_as_often() -> None:
    preset = resolve("trivialaugment")
    assert isinstance(preset, OperationPreset)
    rng = np.random.default_rng(0)
    found = [operation for _ in range(7000) for operation in preset.operations(rng.random(DRAWS))]
    assert len(found) == 7000
    names, counts = np.unique([operation.name for operation in found], return_counts=True)
    assert set(names) == set(OPERATIONS)
    assert (np.abs(counts - 500) < 120).all()
    assert np.histogram([operation.level for operation in found], 4, (0, 1))[0].min() > 1600


def test_a_sub_policy_does_its_steps_with_their_probabilities(tmp_path: Path) -> None:
    (tmp_path / "policy.json").write_text(json.dumps(SUB_POLICIES))
    preset = resolve(tmp_path / "policy.json")
    assert isinstance(preset, OperationPreset)
    rng = np.random.default_rng(0)
    found = [tuple(operation.name for operation in preset.operations(rng.random(DRAWS))) for _ in range(6000)]
    assert found.count(("Solarize",)) == pytest.approx(2000, abs=150)
    assert found.count(("Posterize", "Rotate")) == pytest.approx(2000 * 0.4 * 0.6, abs=80)
    assert found.count(()) == pytest.approx(2000 * (0.6 * 0.4 + 0.2), abs=100)


@pytest.mark.parametrize(
    "text", [json.dumps({"sub_policies": SUB_POLICIES}), "sub_policies:\n- - [Posterize, 0.4, 8]\n  - [Rotate, 0.6, 9]\n"]
)
def test_sub_policies_come_back_from_a_run(tmp_path: Path, text: str) -> None:
    (tmp_path / "policy.yaml").write_text(text)
    preset = resolve(tmp_path / "policy.yaml")
    assert from_json(json.loads(json.dumps(to_json(preset)))) == preset
    assert from_json(to_json(resolve("randaugment"))) is resolve("randaugment")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"sub_policies": []}, "has no sub-policies"),
        ([[["Rotat", 0.5, 3]]], "there is no operation 'Rotat'; there are Identity, AutoContrast"),
        ([[["Rotate", 1.5, 3]]], r"Rotate needs a probability from 0 to 1 and a level from 0 to 10; got \[1.5, 3\]"),
        ([[["Rotate", 0.5, 11]]], "Rotate needs a probability"),
        ([[["Rotate", 0.5]]], r"an operation is \[name, probability, level\]"),
        ([[["Rotate", True, 1]]], r"an operation is \[name, probability, level\]"),
        ([[["Rotate", 0.5, 3]] * 4], "must be a list of 1 to 3 operations"),
        ({"sub_policies": [[]]}, "sub-policy 1 must be a list of 1 to 3"),
    ],
)
def test_a_file_that_holds_something_else_says_what(tmp_path: Path, data: Any, said: str) -> None:
    (tmp_path / "policy.json").write_text(json.dumps(data))
    with pytest.raises(AugmentError, match=said):
        resolve(tmp_path / "policy.json")


# ---- in a stream


@pytest.fixture
def index(tmp_path: Path) -> ims.ImageIndex:
    rng = np.random.default_rng(3)
    for i in range(24):
        image = cv2.resize(rng.integers(0, 255, (9, 12, 3), np.uint8), (120, 90), interpolation=cv2.INTER_CUBIC)
        assert cv2.imwrite(str(tmp_path / f"{i:02}.{'png' if i % 2 else 'jpg'}"), image)
    (tmp_path / "05.png").write_bytes(b"")
    return ims.scan(tmp_path)


@pytest.mark.parametrize("name", ["randaugment", "trivialaugment"])
@pytest.mark.parametrize("channels", [3, 1])
def test_both_pipelines_do_the_same_to_the_same_images(index: ims.ImageIndex, name: str, channels: Any) -> None:
    stream = ims.Stream(index, ims.SampleSpec(size=(40, 40), channels=channels), augment=name, batch_size=5, shuffle=True, dtype="uint8")
    for one, other in zip(stream.traced_batches(3), stream.replace(pipeline="tf").traced_batches(3), strict=True):
        assert one.positions.tolist() == other.positions.tolist()
        for position, a, b in zip(one.positions.tolist(), one.images.astype(int), other.images.astype(int), strict=True):
            difference = np.abs(a - b)
            if index.path(position).endswith(".png"):  # one decoder reads it for both
                assert not difference.any()
            assert difference.mean() <= 1.5


def test_a_sample_is_the_same_for_any_number_of_workers_and_differs_by_epoch(index: ims.ImageIndex) -> None:
    stream = ims.Stream(index, ims.SampleSpec(size=(40, 40)), augment="randaugment", batch_size=8, dtype="uint8")
    first = [images for images, _ in stream.replace(workers=1).batches(0)]
    for one, other in zip(first, (images for images, _ in stream.replace(workers=4).batches(0)), strict=True):
        assert np.array_equal(one, other)
    assert not np.array_equal(first[0], next(stream.batches(1))[0])
