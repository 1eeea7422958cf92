from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest

import imgstream as ims
from imgstream.errors import RunError
from imgstream.evaluation.drift import LEVELS, Profile, ProfileBuilder, compare, sample_headers
from imgstream.formats.header import Header

SPEC = ims.SampleSpec(size=(8, 8), scale="unit")


def profile(headers: Iterable[Header] = (), brightness: Iterable[float] = (), scores: np.ndarray | None = None) -> Profile:
    builder = ProfileBuilder()
    for header in headers:
        builder.add_header(header)
    levels = np.array(list(brightness), np.float32)
    builder.add_images(np.broadcast_to(levels[:, None, None, None], (len(levels), 8, 8, 3)), SPEC)
    if scores is not None:
        builder.add_scores(scores)
    return builder.profile()


def photographs(n: int, seed: int = 0, kind: str = "jpeg", width: int = 500, height: int = 375, spread: float = 0.2) -> list[Header]:
    """Of about one size, landscape and portrait."""
    rng = np.random.default_rng(seed)
    found = []
    for scale, upright in zip(np.exp(rng.normal(0, spread, n)), rng.random(n) < 0.4, strict=True):
        sides = int(width * scale), int(height * scale)
        found.append(Header(kind, *(sides[::-1] if upright else sides), 1))
    return found


def names(lines: list[str]) -> list[str]:
    return [line.partition(":")[0] for line in lines]


def test_a_profile_holds_the_figures_of_what_it_was_given() -> None:
    rng = np.random.default_rng(0)
    headers = [Header("jpeg", 400, 200, 1)] * 3 + [Header("png", 400, 200, 6)]
    brightness = rng.random(1000)
    found = profile(headers, brightness, np.array([[0.9, 0.1], [0.3, 0.7]], np.float32))
    assert found.kinds == {"jpeg": 0.75, "png": 0.25}
    assert found.log2_pixels.n == 4
    assert found.log2_pixels.mean == pytest.approx(np.log2(80_000), abs=1e-6)
    assert found.log2_aspect.mean == pytest.approx(0.5)  # a turn by a quarter swaps the sides
    np.testing.assert_allclose(found.brightness.quantiles, np.quantile(brightness, LEVELS), atol=0.005)
    assert found.brightness.mean == pytest.approx(brightness.mean(), abs=1e-5)
    assert found.brightness.deviation == pytest.approx(brightness.std(), abs=1e-5)
    assert found.confidence.mean == pytest.approx(0.8)


@pytest.mark.parametrize("scale", ["unit", "signed", "imagenet", "caffe", "raw"])
def test_brightness_is_that_of_the_pixels_whatever_the_scale(scale: str) -> None:
    spec = ims.SampleSpec(size=(12, 10), scale=scale)  # type: ignore[arg-type]
    pixels = np.random.default_rng(0).integers(0, 256, (4, 12, 10, 3)).astype(np.uint8)
    images = np.zeros(pixels.shape, np.float32)
    spec.to_float(pixels, images)
    builder = ProfileBuilder()
    builder.add_images(images, spec)
    assert builder.profile().brightness.mean == pytest.approx(pixels.mean() / 255, abs=1e-6)


def test_a_profile_is_read_back_and_another_version_or_a_damaged_one_is_refused() -> None:
    found = profile(photographs(50), [0.1, 0.2], np.full((4, 2), 0.5, np.float32))
    data = json.loads(json.dumps(found.to_json()))
    assert Profile.from_json(data) == found
    for damage, words in (({"format": 2}, "format 2"), ({"kinds": None}, "damaged"), ({"brightness": {"n": 1}}, "damaged")):
        with pytest.raises(RunError, match=words):
            Profile.from_json({**data, **damage})
    with pytest.raises(RunError, match="list"):
        Profile.from_json([])


@pytest.mark.slow
def test_images_of_one_kind_with_those_of_training_are_no_drift() -> None:
    rng = np.random.default_rng(5)
    for seed in range(20):
        trained = profile(photographs(1000, seed), rng.normal(0.45, 0.1, 1000), rng.dirichlet((8, 1), 1000).astype(np.float32))
        new = profile(photographs(60, 100 + seed), rng.normal(0.45, 0.1, 60), rng.dirichlet((8, 1), 60).astype(np.float32))
        assert compare(trained, new) == []


def test_quantiles_do_not_lie_in_the_gap_between_two_kinds_of_images() -> None:
    quantiles = np.array(profile([Header("jpeg", 640, 480, 1)] * 58 + [Header("jpeg", 640, 480, 6)] * 42).log2_aspect.quantiles)
    np.testing.assert_allclose(quantiles, np.log2(np.where(LEVELS <= 0.42, 480 / 640, 640 / 480)), atol=0.01)


def test_images_that_are_all_equal_differ_from_equal_ones_by_nothing() -> None:
    trained = profile([Header("jpeg", 640, 480, 1)] * 100, [0.5] * 100)
    assert compare(trained, profile([Header("jpeg", 640, 480, 1)] * 100, [0.5] * 100)) == []
    assert compare(trained, profile([Header("jpeg", 650, 480, 1)] * 100, [0.51] * 100)) == []  # another, but not by what matters


def test_a_few_more_upright_ones_are_no_drift() -> None:
    landscape, upright = [Header("jpeg", 640, 480, 1)], [Header("jpeg", 640, 480, 6)]
    assert compare(profile(landscape * 55 + upright * 45), profile(landscape * 45 + upright * 55)) == []


@pytest.mark.parametrize(
    ("headers", "brightness", "told"),
    [
        (photographs(50, 1, width=4000, height=3000), 0.45, ["size"]),
        (photographs(50, 1, width=250, height=187), 0.45, ["size"]),
        (photographs(50, 1, kind="heic"), 0.45, ["kind"]),
        (photographs(50, 1)[:38] + photographs(12, 2, kind="png"), 0.45, ["kind"]),
        (photographs(50, 1)[:45] + photographs(5, 2, kind="png"), 0.45, []),
        ([Header("jpeg", 820, 300, 1)] * 50, 0.45, ["width/height"]),
        (photographs(50, 1), 0.12, ["brightness"]),
        ([Header("png", 2480, 3508, 1)] * 50, 0.93, ["kind", "size", "width/height", "brightness"]),
    ],
)
def test_other_images_are_told_with_the_figures(headers: list[Header], brightness: float, told: list[str]) -> None:
    rng = np.random.default_rng(3)
    trained = profile(photographs(1000), rng.normal(0.45, 0.1, 1000))
    assert names(compare(trained, profile(headers, rng.normal(brightness, 0.02 if brightness != 0.45 else 0.1, 50)))) == told


def test_a_line_holds_both_medians_and_the_share_outside() -> None:
    trained, new = profile([], np.linspace(0.3, 0.6, 200)), profile([], [0.1] * 60)
    assert compare(trained, new) == ["brightness: median 0.10 here, 0.45 in training, where 90 % lie from 0.31 to 0.58; here 0 % do"]


def test_a_model_that_is_less_sure_is_told_once_it_cannot_be_chance() -> None:
    sure, unsure = np.tile(np.float32([0.95, 0.05]), (200, 1)), np.tile(np.float32([0.75, 0.25]), (200, 1))
    trained = profile(scores=sure)
    assert compare(trained, profile(scores=unsure)) == ["confidence: 0.75 on average here, 0.95 on validation"]
    assert compare(trained, profile(scores=unsure[:29])) == []
    mixed = np.concatenate([sure[:18], np.tile(np.float32([0.5, 0.5]), (12, 1))])
    assert compare(trained, profile(scores=mixed)) == ["confidence: 0.77 on average here, 0.95 on validation"]
    assert compare(profile(scores=unsure), profile(scores=sure)) == []


def test_profiles_that_were_collected_apart_become_the_profile_of_all() -> None:
    rng = np.random.default_rng(0)
    pixels, scores = rng.integers(0, 256, (20, 8, 8, 3), np.uint8), rng.random((20, 3), np.float32)
    headers = [Header("jpeg", 100 + i, 80, 1) for i in range(20)]
    whole, first, second = ProfileBuilder(), ProfileBuilder(), ProfileBuilder()
    for builder, chosen in ((whole, slice(None)), (first, slice(0, 7)), (second, slice(7, None))):
        builder.add_images(pixels[chosen], SPEC)
        builder.add_scores(scores[chosen])
        for header in headers[chosen]:
            builder.add_header(header)
    first.merge(second)
    assert first.profile() == whole.profile()


def test_headers_are_sampled_evenly_and_bad_files_ignored(tmp_path: Path) -> None:
    for i in range(60):
        cv2.imwrite(str(tmp_path / f"{i:02}.png"), np.zeros((1 + i, 7, 3), np.uint8))
    (tmp_path / "30.png").write_bytes(b"<html>")
    (tmp_path / "31.png").unlink()
    os.mkfifo(tmp_path / "31.png")
    index = ims.scan(tmp_path)
    assert sorted(h.height for h in sample_headers(index)) == [h for h in range(1, 61) if h not in (31, 32)]
    heights = sorted(h.height for h in sample_headers(index, 5))
    assert heights[0] == 1
    assert heights[-1] == 60
    assert sample_headers(index, 5) == sample_headers(index, 5)


def test_headers_of_files_that_were_read_before_are_known_without_opening_them(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(5):
        cv2.imwrite(str(folder / f"{i}.png"), np.zeros((3, 7 + i, 3), np.uint8))
    index = ims.scan(folder, index="auto")
    before = sample_headers(index)
    list(ims.Stream(index, SPEC).batches())
    for path in folder.iterdir():
        path.unlink()
    after = sample_headers(index)
    assert [(h.kind, h.width, h.height, h.orientation) for h in after] == [(h.kind, h.width, h.height, h.orientation) for h in before]
    assert len(after) == 5
