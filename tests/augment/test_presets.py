"""The built-in augmentations by value: what each number does to a sample."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgstream.augment.presets import PRESETS, Mix, Preset, mix_batch
from imgstream.order import DRAWS

STANDARD, STRONG = PRESETS["standard"], PRESETS["strong"]
(AREA, ASPECT, LEFT, TOP, FLIP, BRIGHTNESS, CONTRAST, SATURATION, ROTATION) = range(9)
(ERASE, ERASE_AREA, ERASE_ASPECT, ERASE_LEFT, ERASE_TOP, MIX, MIX_SHARE, MIX_LEFT, MIX_TOP) = range(9, 18)

numbers_of_a_sample = st.lists(st.floats(0, 1, exclude_max=True), min_size=DRAWS, max_size=DRAWS).map(np.array)


def numbers(**changes: float) -> np.ndarray:
    """All 0.5, which changes no colour, turns nothing, flips nothing."""
    values = np.full(DRAWS, 0.5)
    for name, value in changes.items():
        values[globals()[name]] = value
    return values


def noise(height: int = 9, width: int = 7, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), np.uint8)


def applied(preset: Preset, image: np.ndarray, values: np.ndarray) -> np.ndarray:
    return preset.apply(image.copy(), values, np.zeros_like(image)).copy()


# ---- the random crop


@given(numbers_of_a_sample, st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 300), st.integers(1, 300))
def test_the_box_lies_in_the_image(values: np.ndarray, width: int, height: int, target_width: int, target_height: int) -> None:
    box = STANDARD.box(values, width, height, target_width, target_height)
    assert 0 <= box.x <= box.x + box.width <= width * (1 + 1e-12)
    assert 0 <= box.y <= box.y + box.height <= height * (1 + 1e-12)
    assert box.width > 0
    assert box.height > 0
    assert box.width * box.height <= width * height * (1 + 1e-12)


@given(numbers_of_a_sample)
def test_area_and_aspect_are_in_their_ranges_where_the_image_has_the_room(values: np.ndarray) -> None:
    roomy = Preset(name="roomy", area=(0.2, 0.5))
    box = roomy.box(values, 1000, 1000, 20, 10)  # the largest box of this aspect is 1000×500
    if box.width < 1000 and box.height < 1000:  # else it met the image's edge
        assert 0.2 - 1e-9 <= box.width * box.height / 500_000 <= 0.5 + 1e-9
        assert 3 / 4 - 1e-9 <= box.width / box.height / 2 <= 4 / 3 + 1e-9


def test_the_box_by_value() -> None:
    box = STANDARD.box(numbers(AREA=0, ASPECT=0.5, LEFT=0.25, TOP=1.0), 200, 100, 10, 10)
    side = math.sqrt(0.35 * 100 * 100)
    assert box == pytest.approx(((200 - side) / 4, 100 - side, side, side))
    assert STANDARD.box(numbers(AREA=1.0), 200, 100, 10, 10) == pytest.approx((50, 0, 100, 100))


# ---- colour, flip, rotation


@pytest.mark.parametrize("channels", [1, 3])
def test_the_colour_matrix_of_middling_numbers_changes_nothing(channels: int) -> None:
    matrix = STANDARD.colour_matrix(numbers(), channels)
    assert matrix is not None
    np.testing.assert_allclose(matrix, np.eye(channels, channels + 1), atol=1e-12)
    image = noise(channels=channels)
    assert np.array_equal(applied(STANDARD, image, numbers()), image)


def test_contrast_turns_about_mid_grey() -> None:
    matrix = STANDARD.colour_matrix(numbers(CONTRAST=0), 3)
    assert matrix is not None
    np.testing.assert_allclose(matrix @ [127.5, 127.5, 127.5, 1], [127.5] * 3)
    np.testing.assert_allclose(matrix @ [227.5, 127.5, 27.5, 1], [207.5, 127.5, 47.5])


def test_brightness_shifts_every_channel_alike() -> None:
    image = np.full((2, 2, 3), (10, 100, 250), np.uint8)
    assert applied(STANDARD, image, numbers(BRIGHTNESS=0))[0, 0].tolist() in ([0, 74, 224], [0, 75, 225])  # 25.5 less, none below 0
    assert applied(STANDARD, image[..., :1], numbers(BRIGHTNESS=1))[0, 0, 0] in (35, 36)


def test_saturation_leaves_grey_and_luma_alone() -> None:
    matrix = STANDARD.colour_matrix(numbers(SATURATION=0), 3)
    assert matrix is not None
    np.testing.assert_allclose(matrix @ [90, 90, 90, 1], [90] * 3)
    changed = matrix @ [255, 0, 0, 1]
    np.testing.assert_allclose(changed, 0.8 * np.array([255, 0, 0]) + 0.2 * 0.299 * 255)
    assert changed @ [0.299, 0.587, 0.114] == pytest.approx(0.299 * 255)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_low_number_mirrors_left_to_right(channels: int) -> None:
    image = noise(channels=channels)
    assert np.array_equal(applied(PRESETS["light"], image, numbers(FLIP=0.49)), image[:, ::-1])
    assert np.array_equal(applied(PRESETS["light"], image, numbers(FLIP=0.5)), image)


@pytest.mark.parametrize("channels", [1, 3])
def test_rotation_turns_about_the_centre(channels: int) -> None:
    quarter = Preset(name="quarter", rotation=90)
    image = noise(9, 9, channels)
    turned = applied(quarter, image, numbers(ROTATION=1.0))
    assert any(np.array_equal(turned, np.rot90(image, turns)) for turns in (1, 3))
    assert np.array_equal(applied(quarter, image, numbers(ROTATION=0.0)), np.rot90(turned, 2))
    assert np.array_equal(applied(quarter, image, numbers()), image)


# ---- erasing


@given(numbers_of_a_sample, st.integers(1, 300), st.integers(1, 300))
def test_the_erased_rectangle_lies_in_the_sample(values: np.ndarray, width: int, height: int) -> None:
    erased = Preset(name="always", erase=1.0).erased(values, width, height)
    assert erased is not None
    left, top, patch_width, patch_height = erased
    assert 0 <= left < left + patch_width <= width
    assert 0 <= top < top + patch_height <= height


@pytest.mark.parametrize("channels", [1, 3])
def test_erasing_paints_its_rectangle_mid_grey_and_nothing_else(channels: int) -> None:
    preset = Preset(name="always", erase=0.3)
    image = np.zeros((20, 30, channels), np.uint8)
    values = numbers(ERASE=0.29)
    erased = preset.erased(values, 30, 20)
    assert erased is not None
    left, top, width, height = erased
    assert (width, height) == (8, 8)  # sqrt(0.11 × 600) = 8.1
    expected = image.copy()
    expected[top : top + height, left : left + width] = 127
    assert np.array_equal(applied(preset, image, values), expected)
    assert preset.erased(numbers(ERASE=0.3), 30, 20) is None


# ---- mixing


def test_half_of_the_mixing_is_mixup_and_half_cutmix() -> None:
    assert STRONG.mixing(numbers(MIX=0.2, MIX_SHARE=0.5)) == Mix("mixup", 0.75, 0.5, 0.5)
    assert STRONG.mixing(numbers(MIX=0.3, MIX_SHARE=0.0, MIX_LEFT=0.1, MIX_TOP=0.2)) == Mix("cutmix", 0.5, 0.1, 0.2)
    assert STRONG.mixing(numbers(MIX=0.5)) is None
    assert STANDARD.mixing(numbers(MIX=0.0)) is None


def test_mixup_of_a_batch_by_value() -> None:
    images = np.stack([np.full((2, 2, 1), v, np.float32) for v in (0.0, 1.0, 0.5)])
    shares = mix_batch(images, np.array([0, 1, 2], np.int32), [Mix("mixup", 0.75, 0, 0), None, Mix("mixup", 0.5, 0, 0)], 3)
    assert images[:, 0, 0, 0].tolist() == [0.25, 1.0, 0.25]  # the last is mixed with the first as it was
    assert shares.dtype == np.float32
    assert shares.tolist() == [[0.75, 0.25, 0], [0, 1, 0], [0.5, 0, 0.5]]


def test_cutmix_of_a_batch_by_value() -> None:
    images = np.stack([np.full((4, 8, 3), v, np.float32) for v in (0.0, 1.0)])
    shares = mix_batch(images, np.array([1, 0], np.int32), [Mix("cutmix", 0.75, 0.5, 0.99), Mix("cutmix", 0.75, 0.0, 0.0)], 2)
    first, second = np.zeros((4, 8, 3)), np.ones((4, 8, 3))
    first[2:4, 2:6] = 1  # half of the width and height; a patch of 4×2 has 5 places across and 3 down
    second[0:2, 0:4] = 0
    assert np.array_equal(images[0], first)
    assert np.array_equal(images[1], second)
    assert shares.tolist() == [[0.25, 0.75], [0.75, 0.25]]


def test_cutmix_counts_the_pixels_that_it_took() -> None:
    images = np.stack([np.zeros((7, 5, 1), np.float32), np.ones((7, 5, 1), np.float32)])
    shares = mix_batch(images, np.array([0, 1], np.int32), [Mix("cutmix", 0.6, 0.3, 0.7), None], 2)
    assert shares[0, 1] == pytest.approx(images[0].mean())


def test_a_batch_of_one_is_never_mixed() -> None:
    images = np.full((1, 2, 2, 1), 0.5, np.float32)
    assert mix_batch(images, np.array([1], np.int32), [Mix("mixup", 0.5, 0, 0)], 2).tolist() == [[0, 1]]
    assert (images == 0.5).all()


def test_a_sample_without_a_label_has_a_row_of_zeros() -> None:
    images = np.zeros((2, 2, 2, 1), np.float32)
    assert mix_batch(images, np.array([-1, 1], np.int32), [None, None], 2).tolist() == [[0, 0], [0, 1]]


def test_light_standard_and_strong_take_the_same_box_of_a_row() -> None:
    values = np.random.default_rng(1).random(DRAWS)
    assert len({PRESETS[name].box(values, 500, 300, 64, 64) for name in PRESETS}) == 1


@given(numbers_of_a_sample)
def test_which_array_holds_the_result_is_known_before(values: np.ndarray) -> None:
    for preset in PRESETS.values():
        image = noise()
        scratch = np.zeros_like(image)
        assert (preset.apply(image, values, scratch) is scratch) == preset.ends_in_scratch(values)


def test_a_preset_that_was_used_travels_to_another_process() -> None:
    values = np.random.default_rng(1).random(DRAWS)
    box = STRONG.box(values, 500, 300, 64, 64)
    other = pickle.loads(pickle.dumps(STRONG))
    assert other == STRONG
    assert other.box(values, 500, 300, 64, 64) == box
