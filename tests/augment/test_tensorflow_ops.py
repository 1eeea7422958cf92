"""The built-in augmentation in TensorFlow ops, by value: against Preset.apply and mix_batch, which work with OpenCV and NumPy."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgstream.augment import presets
from imgstream.augment.presets import PRESETS, Preset
from imgstream.order import DRAWS, SampleDraws

tf = pytest.importorskip("tensorflow")

from imgstream.augment.tensorflow_ops import apply_preset, mix_batch, plan_preset  # noqa: E402 - it needs TensorFlow

(FLIP, BRIGHTNESS, CONTRAST, SATURATION, ROTATION, ERASE) = range(4, 10)
(MIX, MIX_SHARE) = 14, 15

numbers_of_a_sample = st.lists(st.floats(0, 1, exclude_max=True), min_size=DRAWS, max_size=DRAWS)


def draws(count: int, seed: int = 0) -> np.ndarray:
    """The numbers of `count` samples, none of which is flipped: planning before decoding does that."""
    drawn = SampleDraws(seed)
    values = np.stack([drawn(3, row) for row in range(count)])
    values[:, FLIP] = 0.9
    return values


def photos(count: int, height: int, width: int, channels: int, seed: int = 0) -> np.ndarray:
    """Edges and slopes with a little noise, as photographs are after they were resized."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 5, 5, channels), np.uint8)
    smooth = np.stack(
        [cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC).reshape(height, width, channels) for image in coarse]
    )
    return np.clip(smooth + rng.normal(0, 4, smooth.shape), 0, 255).astype(np.uint8)


def applied(preset: Preset, images: np.ndarray, values: np.ndarray) -> np.ndarray:
    """What the graph makes of a batch."""
    plans = plan_preset(preset, values, images.shape[1:])
    result = apply_preset(preset, tf.constant(images), type(plans)(*map(tf.constant, plans)))
    assert result.dtype == tf.float32
    assert result.shape == images.shape
    return result.numpy()


def expected(preset: Preset, images: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.stack([preset.apply(i.copy(), v, np.zeros_like(i)).copy() for i, v in zip(images, values, strict=True)]).astype(np.float32)


# ---- colour, rotation, erasing


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("height", "width"), [(40, 64), (64, 40), (33, 33)])
@pytest.mark.parametrize("name", ["light", "standard", "strong"])
def test_a_preset_gives_the_references_pixels_within_two_levels(name: str, height: int, width: int, channels: int) -> None:
    images, values = photos(24, height, width, channels), draws(24)
    found, reference = applied(PRESETS[name], images, values), expected(PRESETS[name], images, values)
    assert np.array_equal(found, np.rint(found))
    assert found.min() >= 0
    assert found.max() <= 255
    difference = np.abs(found - reference)
    assert difference.max() <= {"light": 0, "standard": 1, "strong": 2}[name]
    assert difference.mean() < 0.1
    if name != "light":
        assert np.abs(reference - images).mean() > 5  # there was something to do


@pytest.mark.parametrize("channels", [1, 3])
def test_colours_are_the_references_to_the_bit(channels: int) -> None:
    images, values = np.random.default_rng(1).integers(0, 256, (200, 16, 9, channels), np.uint8), draws(200, seed=5)
    assert np.array_equal(applied(PRESETS["standard"], images, values), expected(PRESETS["standard"], images, values))


@settings(max_examples=40, deadline=None)
@given(st.lists(numbers_of_a_sample, min_size=1, max_size=4), st.integers(1, 20), st.integers(1, 20), st.sampled_from([1, 3]))
def test_any_numbers_change_the_colours_as_the_reference_does(numbers: list[list[float]], height: int, width: int, channels: int) -> None:
    values = np.array(numbers)
    values[:, FLIP] = 0.9
    preset = Preset(name="coloured", colour=0.4, erase=0.5)
    images = np.random.default_rng(len(numbers)).integers(0, 256, (len(numbers), height, width, channels), np.uint8)
    assert np.abs(applied(preset, images, values) - expected(preset, images, values)).max() <= 1


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 1, exclude_max=True), st.integers(1, 50), st.integers(1, 50), st.sampled_from([5.0, 10.0, 45.0, 180.0]))
def test_any_angle_mirrors_the_border_as_the_reference_does(number: float, height: int, width: int, degrees: float) -> None:
    preset = Preset(name="turned", rotation=degrees)
    values = np.full((1, DRAWS), 0.9)
    values[0, ROTATION] = number
    y, x = np.mgrid[:height, :width]
    image = np.stack([x * 3, y * 3, 255 - x * 2 - y * 2], -1).astype(np.uint8)[None]  # slopes: cv2 rounds places to 1/32 of a pixel
    difference = np.abs(applied(preset, image, values) - expected(preset, image, values))
    assert difference.max() <= 2


def test_a_quarter_turn_is_exact_and_the_other_way_for_the_other_end() -> None:
    preset = Preset(name="quarter", rotation=90)
    image = np.random.default_rng(0).integers(0, 256, (1, 9, 9, 3), np.uint8)
    values = np.full((1, DRAWS), 0.9)
    for number in (0.0, 1.0, 0.5):
        values[0, ROTATION] = number
        assert np.array_equal(applied(preset, image, values), expected(preset, image, values))


def test_erasing_paints_its_rectangle_mid_grey_and_nothing_else() -> None:
    preset = Preset(name="erasing", erase=0.3)
    images = np.zeros((2, 20, 30, 3), np.uint8)
    values = np.full((2, DRAWS), 0.5)
    values[0, ERASE] = 0.29
    rectangle = preset.erased(values[0], 30, 20)
    assert rectangle is not None
    left, top, width, height = rectangle
    wanted = images.astype(np.float32)
    wanted[0, top : top + height, left : left + width] = 127
    assert np.array_equal(applied(preset, images, values), wanted)


# ---- mixing


def mixed(preset: Preset, images: np.ndarray, labels: np.ndarray, values: np.ndarray, class_count: int) -> tuple[np.ndarray, np.ndarray]:
    plans = plan_preset(preset, values, images.shape[1:])
    result = mix_batch(tf.constant(images), tf.constant(labels), type(plans)(*map(tf.constant, plans)), class_count)
    return result[0].numpy(), result[1].numpy()


def assert_mixed_alike(preset: Preset, images: np.ndarray, labels: np.ndarray, values: np.ndarray, class_count: int = 3) -> None:
    found, shares = mixed(preset, images, labels, values, class_count)
    reference = images.copy()
    wanted = presets.mix_batch(reference, labels, [preset.mixing(v) for v in values], class_count)
    assert found.dtype == shares.dtype == np.float32
    np.testing.assert_allclose(found, reference, rtol=0, atol=1e-6)
    np.testing.assert_allclose(shares, wanted, rtol=0, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    samples=st.lists(st.tuples(numbers_of_a_sample, st.integers(-1, 2)), min_size=1, max_size=6),
    size=st.tuples(st.integers(1, 12), st.integers(1, 12), st.sampled_from([1, 3])),
    mix=st.sampled_from([0.5, 1.0]),
)
def test_any_batch_is_mixed_as_the_reference_does(samples: list[Any], size: tuple[int, int, int], mix: float) -> None:
    values, labels = np.array([n for n, _ in samples]), np.array([label for _, label in samples], np.int32)
    images = np.random.default_rng(len(samples)).random((len(samples), *size), np.float32)
    assert_mixed_alike(Preset(name="mixing", mix=mix), images, labels, values)


def test_mixup_and_cutmix_by_value() -> None:
    images = np.stack([np.full((4, 8, 1), v, np.float32) for v in (0.0, 1.0, 0.5)])
    values = np.full((3, DRAWS), 0.5)
    values[:, MIX] = 0.1, 0.9, 0.3  # MixUp, nothing, CutMix
    values[:, MIX_SHARE] = 0.5
    found, shares = mixed(PRESETS["strong"], images, np.array([0, 1, 2], np.int32), values, 3)
    assert (found[0] == 0.25).all()
    assert (found[1] == 1).all()
    patch = np.zeros((4, 8, 1), bool)
    patch[1:3, 2:6] = True  # half of the width and height, in the middle
    assert np.array_equal(found[2], np.where(patch, 0.0, 0.5))  # the last takes from the first as it was
    assert shares.tolist() == [[0.75, 0.25, 0], [0, 1, 0], [0.25, 0, 0.75]]


def test_a_batch_of_one_is_never_mixed() -> None:
    for number in (0.1, 0.3):  # MixUp, CutMix
        values = np.full((1, DRAWS), 0.5)
        values[0, MIX] = number
        images = np.full((1, 4, 4, 1), 0.5, np.float32)
        found, shares = mixed(PRESETS["strong"], images, np.array([1], np.int32), values, 2)
        assert np.array_equal(found, images)
        assert shares.tolist() == [[0, 1]]
        assert_mixed_alike(PRESETS["strong"], images, np.array([1], np.int32), values)


def test_a_sample_without_a_label_has_a_row_of_zeros_and_gives_none() -> None:
    values = np.full((2, DRAWS), 0.5)
    values[0, MIX] = 0.1  # takes a quarter of the second's label
    _, shares = mixed(PRESETS["strong"], np.zeros((2, 2, 2, 1), np.float32), np.array([-1, 1], np.int32), values, 2)
    assert shares.tolist() == [[0, 0.25], [0, 1]]
    assert_mixed_alike(PRESETS["strong"], np.zeros((2, 2, 2, 1), np.float32), np.array([-1, -1], np.int32), values)


def test_a_batch_of_none_stays_empty() -> None:
    values = np.zeros((0, DRAWS))
    assert applied(PRESETS["strong"], np.zeros((0, 5, 6, 3), np.uint8), values).shape == (0, 5, 6, 3)
    images, shares = mixed(PRESETS["strong"], np.zeros((0, 5, 6, 3), np.float32), np.zeros(0, np.int32), values, 4)
    assert (images.shape, shares.shape) == ((0, 5, 6, 3), (0, 4))
