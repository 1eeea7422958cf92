"""SampleSpec: what it refuses, how pixels become floats, and that it survives JSON."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from imgstream.errors import SpecError
from imgstream.spec import SampleSpec, read_levels


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("size", (0, 10)),
        ("size", (10, 8193)),
        ("size", (10.5, 10)),
        ("size", (float("nan"), 10)),
        ("size", (float("inf"), 10)),
        ("size", (10, 10, 3)),
        ("size", "large"),
        ("size", None),
        ("size", True),
        ("fit", "zoom"),
        ("channels", 4),
        ("channels", "3"),
        ("scale", "tanh"),
        ("max_pixels", 0),
        ("max_pixels", 1.5),
        ("max_pixels", True),
        ("levels", (0, 0)),
        ("levels", (5, 4)),
        ("levels", (0, float("inf"))),
        ("levels", (0, 1, 2)),
        ("levels", "01"),
        ("levels", 4095),
    ],
)
def test_a_wrong_spec_cannot_be_built_and_the_error_names_the_field(field: str, value: Any) -> None:
    with pytest.raises(SpecError, match=field):
        SampleSpec(**{field: value})


@pytest.mark.parametrize("scale", ["imagenet", "caffe"])
def test_scales_with_a_mean_for_each_channel_need_three(scale: Any) -> None:
    with pytest.raises(SpecError, match=f"{scale}.*channels=3"):
        SampleSpec(scale=scale, channels=1)


def test_one_number_is_a_square() -> None:
    assert SampleSpec(size=32).size == (32, 32)  # type: ignore[arg-type]


def test_numbers_that_are_equal_to_whole_ones_become_plain_ints() -> None:
    spec = SampleSpec(size=np.array([8, 9]), channels=np.int64(3))  # type: ignore[arg-type]
    assert json.loads(json.dumps(spec.to_json()))["channels"] == 3
    assert spec == SampleSpec(size=(8, 9))
    assert type(SampleSpec(channels=1.0).channels) is int  # type: ignore[arg-type]


def test_a_spec_is_frozen_and_its_shape_is_height_width_channels() -> None:
    spec = SampleSpec(size=(4, 6), channels=1)
    assert spec.shape == (4, 6, 1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.channels = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        ("unit", [[0, 0, 0], [1, 0.2, 0.4]]),
        ("raw", [[0, 0, 0], [255, 51, 102]]),
        ("signed", [[-1, -1, -1], [1, -0.6, -0.2]]),
        ("imagenet", [[-2.117904, -2.035714, -1.804444], [2.248908, -1.142857, -0.026667]]),
        ("caffe", [[-103.939, -116.779, -123.68], [-1.939, -65.779, 131.32]]),
    ],
)
def test_each_scale_gives_the_floats_it_promises(scale: Any, expected: list[list[float]]) -> None:
    pixels = np.array([[[0, 0, 0], [255, 51, 102]]], np.uint8)
    out = np.full((1, 2, 3), np.nan, np.float32)
    SampleSpec(size=(1, 2), scale=scale).to_float(pixels, out)
    np.testing.assert_allclose(out[0], expected, atol=1e-5)


@pytest.mark.parametrize(("scale", "low", "high"), [("unit", 0, 1), ("signed", -1, 1), ("raw", 0, 255)])
def test_no_pixel_leaves_the_promised_range(scale: Any, low: float, high: float) -> None:
    out = np.empty((16, 16, 1), np.float32)
    SampleSpec(size=(16, 16), channels=1, scale=scale).to_float(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), out)
    assert (out.min(), out.max()) == (low, high)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("scale", ["unit", "signed", "imagenet", "caffe", "raw"])
def test_the_limits_are_what_black_and_white_become(scale: Any, channels: int) -> None:
    if scale in ("imagenet", "caffe") and channels == 1:
        pytest.skip(f"{scale} is of three channels")
    spec = SampleSpec(size=(1, 2), scale=scale, channels=channels)
    out = np.full((2, channels), np.nan, np.float32)
    spec.to_float(np.array([[0] * channels, [255] * channels], np.uint8), out)
    black, white = spec.limits()
    assert black.dtype == white.dtype == np.float32
    assert black.shape == white.shape == (channels,)
    assert np.array_equal([black, white], out)


def test_a_spec_survives_json() -> None:
    spec = SampleSpec(size=(7, 9), fit="pad", channels=1, scale="signed", max_pixels=12)
    assert SampleSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


@pytest.mark.parametrize(
    ("change", "message"),
    [({"format": 2}, "format 2"), ({"colour": "sRGB"}, "colour"), ({"size": 0.5}, "size"), ({"size": ["a", "b"]}, "size")],
)
def test_json_of_another_format_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        SampleSpec.from_json(SampleSpec().to_json() | change)


def test_json_without_a_field_is_refused_and_named() -> None:
    data = SampleSpec().to_json()
    del data["size"], data["fit"]
    with pytest.raises(SpecError, match="fit, size"):
        SampleSpec.from_json(data)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("scale", ["unit", "signed", "imagenet", "caffe", "raw"])
def test_several_samples_at_once_become_what_each_becomes_alone_to_the_bit(scale: Any, channels: int) -> None:
    if scale in ("imagenet", "caffe") and channels == 1:
        pytest.skip(f"{scale} is of three channels")
    spec = SampleSpec(size=(5, 7), scale=scale, channels=channels)
    pixels = np.random.default_rng(0).integers(0, 256, (4, *spec.shape), np.uint8)
    batch, alone = np.full((6, *spec.shape), np.nan, np.float32), np.full(spec.shape, np.nan, np.float32)
    spec.to_float(pixels, batch[1:5])
    gain, bias = spec.affine()
    for one, sample in zip(batch[1:5], pixels, strict=True):
        spec.to_float(sample, alone)
        assert np.array_equal(one, alone)
        np.testing.assert_allclose(one, (sample[..., ::-1] if spec.bgr else sample) * gain + bias, atol=1e-5)
    assert np.isnan(batch[[0, 5]]).all()


def test_with_levels_pixels_have_16_bits_and_each_becomes_another_float() -> None:
    for scale in ("unit", "signed", "imagenet", "caffe", "raw"):
        spec, eight = SampleSpec(levels=(0, 4095), scale=scale), SampleSpec(scale=scale)  # type: ignore[arg-type]
        pixels = np.repeat(np.arange(65_536, dtype=np.uint16).reshape(256, 256, 1), 3, axis=2)
        assert (pixels.dtype, spec.white) == (spec.pixel_type, 65_535)
        samples = np.empty(pixels.shape, np.float32)
        spec.to_float(pixels, samples)
        assert [len(np.unique(samples[..., c])) for c in range(3)] == [65_536] * 3
        np.testing.assert_allclose(spec.limits(), eight.limits(), rtol=1e-5, atol=1e-5)


def test_stored_values_are_what_pixels_were_made_of() -> None:
    spec = SampleSpec(levels=(-1000, 3095))
    np.testing.assert_allclose(spec.stored_values(np.array([0, 65_535], np.uint16)), [-1000, 3095])
    np.testing.assert_array_equal(SampleSpec().stored_values(np.array([0, 7, 255], np.uint8)), [0, 7, 255])


def test_levels_survive_json_and_a_spec_without_them_is_written_as_before_there_were_any() -> None:
    spec = SampleSpec(levels=(0, 4095))
    assert SampleSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    assert "levels" not in SampleSpec().to_json()


def test_levels_are_read_as_the_command_line_has_them() -> None:
    assert read_levels("0:4095") == (0, 4095)
    assert read_levels("-1e3:0.5") == (-1000, 0.5)
    for text in ("4095", "0:x", "5:5", "", "0:1:2", "nan:1"):
        with pytest.raises(SpecError, match=r"levels are LOW:HIGH, .* such as 0:4095"):
            read_levels(text)
