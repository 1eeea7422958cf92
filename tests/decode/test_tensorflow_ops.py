"""The TensorFlow ops of the tf.data path by value: against the reference decoder's pixels, NumPy's turns and cv2.resize."""

from __future__ import annotations

import io
import itertools
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from imgstream.decode.reference import Decoder
from imgstream.formats.header import read_header

tf = pytest.importorskip("tensorflow")

from imgstream.decode.tensorflow_ops import crop_and_resize, decode_jpeg, turn  # noqa: E402 - it needs TensorFlow


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(height * width).integers(0, 256, (height, width, channels), np.uint8)


def jpeg(pixels: np.ndarray, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def decoded(data: bytes, channels: int, step: int, shape: tuple[int, ...]) -> np.ndarray:
    return decode_jpeg(tf.constant(data), channels, tf.constant(step), tf.constant(shape)).numpy()


def resized(pixels: np.ndarray, start: tuple[int, int], size: tuple[int, int], out: tuple[int, int], rounding: float) -> np.ndarray:
    channels = pixels.shape[2]
    places = (tf.constant([*start, 0]), tf.constant([*size, channels]), tf.constant(out), tf.constant(rounding))
    return crop_and_resize(tf.constant(pixels), *places).numpy()


# ---- decoding

KINDS: dict[str, tuple[int, dict[str, Any]]] = {
    "4:2:0": (3, {"subsampling": 2}),
    "4:2:2": (3, {"subsampling": 1}),
    "4:4:4": (3, {"subsampling": 0}),
    "progressive": (3, {"progressive": True, "quality": 60}),
    "restarts": (3, {"restart_marker_blocks": 2}),
    "rgb": (3, {"keep_rgb": True}),
    "grey": (1, {}),
}


@pytest.mark.parametrize("step", range(4))
@pytest.mark.parametrize("kind", KINDS)
def test_a_jpeg_has_the_reference_decoders_pixels_to_the_bit(kind: str, step: int) -> None:
    stored_channels, options = KINDS[kind]
    for height, width in ((61, 83), (16, 32), (9, 70), (1, 1)):
        data = jpeg(noise(height, width, stored_channels), **options)
        for channels in (1, 3):
            expected = Decoder().decode(memoryview(data), read_header(data), 2**step, channels)
            assert expected.shape == (-(-height // 2**step), -(-width // 2**step), channels)
            assert np.array_equal(decoded(data, channels, step, expected.shape), expected)


@pytest.mark.parametrize("shape", [(10, 12, 3), (11, 12, 3), (12, 10, 3), (1, 12, 3), (10, 12, 1), (5, 6, 3)])
def test_a_picture_of_another_shape_than_planned_is_refused(shape: tuple[int, ...]) -> None:
    data = jpeg(noise(10, 12))
    if shape == (10, 12, 3):
        assert decoded(data, 3, 0, shape).shape == shape
    else:
        with pytest.raises(tf.errors.InvalidArgumentError):
            decoded(data, 3, 0, shape)


@pytest.mark.parametrize("shape", [(10, 12, 3), (1, 12, 3), (10, 1, 3)])
def test_a_picture_of_one_pixel_is_none_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError):
        decoded(jpeg(noise(1, 1)), 3, 0, shape)


@pytest.mark.parametrize("data", [b"", b"<html>", b"\xff\xd8\xff", jpeg(noise(40, 40))[:900], jpeg(noise(40, 40), progressive=True)[:900]])
def test_what_cannot_be_decoded_is_refused(data: bytes) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError):
        decoded(data, 3, 0, (40, 40, 3))


# ---- turning


@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 0, 2)])
@pytest.mark.parametrize("steps", list(itertools.product((1, -1), (1, -1))))
@pytest.mark.parametrize("channels", [1, 3])
def test_axes_are_reordered_then_read_in_their_direction(axes: tuple[int, ...], steps: tuple[int, int], channels: int) -> None:
    pixels = noise(5, 7, channels)
    expected = pixels.transpose(axes)[:: steps[0], :: steps[1]]
    assert np.array_equal(turn(tf.constant(pixels), tf.constant(axes), tf.constant([*steps, 1])), expected)


# ---- cropping and resizing


def test_a_window_that_is_not_resized_keeps_its_pixels() -> None:
    pixels = noise(20, 30)
    for rounding in (0.375, 0.5):
        assert np.array_equal(resized(pixels, (3, 5), (11, 13), (11, 13), rounding), pixels[3:14, 5:18])


def test_pixel_centres_lie_half_a_pixel_in() -> None:
    row = np.array([0, 100, 200, 40], np.uint8).reshape(1, 4, 1)
    assert resized(row, (0, 0), (1, 4), (1, 8), 0.5).ravel().tolist() == [0, 25, 75, 125, 175, 160, 80, 40]
    assert resized(row, (0, 0), (1, 4), (1, 2), 0.5).ravel().tolist() == [50, 120]
    assert resized(row, (0, 1), (1, 2), (1, 1), 0.5).ravel().tolist() == [150]  # nothing outside the window is looked at
    assert resized(row.reshape(4, 1, 1), (0, 0), (4, 1), (2, 1), 0.5).ravel().tolist() == [50, 120]


def test_the_rounding_is_what_is_added_before_the_fraction_goes() -> None:
    row = np.array([0, 1, 0, 3], np.uint8).reshape(1, 4, 1)  # means of pairs: 0.5 and 1.5
    assert resized(row, (0, 0), (1, 4), (1, 2), 0.5).ravel().tolist() == [1, 2]
    assert resized(row, (0, 0), (1, 4), (1, 2), 0.375).ravel().tolist() == [0, 1]
    white = np.full((3, 3, 1), 255, np.uint8)
    assert (resized(white, (0, 0), (3, 3), (7, 5), 0.5) == 255).all()


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    out=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    start=st.tuples(st.integers(0, 5), st.integers(0, 5)),
    channels=st.sampled_from([1, 3]),
)
def test_a_window_is_resized_as_opencv_does_within_a_level(
    size: tuple[int, int], out: tuple[int, int], start: tuple[int, int], channels: int
) -> None:
    pixels = noise(46, 47, channels)
    rounding = 0.5 if size == (2 * out[0], 2 * out[1]) else 0.375  # as row_plans has it
    window = np.ascontiguousarray(pixels[start[0] : start[0] + size[0], start[1] : start[1] + size[1]])
    expected = cv2.resize(window, (out[1], out[0]), interpolation=cv2.INTER_LINEAR).reshape(*out, channels)
    found = resized(pixels, start, size, out, rounding)
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() <= 1
