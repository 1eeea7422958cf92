"""Deep images in both pipelines: every value arrives, the pipelines agree, caches and augmentations keep the depth."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import albumentations
import cv2
import keras
import numpy as np
import pytest
from deep_images import by_pillow, png16

import imgstream as ims
from imgstream.errors import AugmentError, SpecError

SPEC = ims.SampleSpec(size=(20, 24), channels=1, levels=(0, 4095))


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> ims.ImageIndex:
    """12-bit scans as PNG, float and int32 TIFF, in grey and colour, of two sizes, with a JPEG and a damaged file between."""
    folder, rng = tmp_path_factory.mktemp("scans"), np.random.default_rng(0)
    for number in range(12):
        (folder / "ab"[number % 2]).mkdir(exist_ok=True)
        path, values = folder / "ab"[number % 2] / f"{number:02}", rng.integers(0, 4096, (20 + number % 3, 24 + number % 2), np.uint16)
        if number % 4 == 0:
            png16(path.with_suffix(".png"), values)
        elif number % 4 == 1:
            png16(path.with_suffix(".png"), np.dstack([values, values // 2, values // 3]))
        elif number % 4 == 2:
            by_pillow(np.float32 if number > 5 else np.int32)(path.with_suffix(".tif"), values)
        else:
            assert cv2.imwrite(str(path.with_suffix(".jpg")), (values >> 4).astype(np.uint8))
    (folder / "a/99.png").write_bytes((folder / "a/00.png").read_bytes()[:200])
    return ims.scan(folder)


def batches(stream: ims.Stream, epoch: int = 0) -> tuple[np.ndarray, np.ndarray]:
    images, labels = zip(*stream.batches(epoch), strict=True)
    return np.concatenate(images), np.concatenate(labels)


@pytest.mark.quick("strong-3-3-0.1")
@pytest.mark.parametrize(
    ("augment", "channels", "most", "mean"), [(None, 3, 1, None), ("standard", 1, 3, 0.1), ("strong", 3, 3, 0.1)], ids=str
)
def test_the_pipelines_agree_on_deep_images(
    index: ims.ImageIndex, augment: str | None, channels: int, most: float, mean: float | None
) -> None:
    spec = dataclasses.replace(SPEC, channels=channels, size=(16, 16))
    python = ims.Stream(index, spec, augment=augment, batch_size=5, shuffle=True, seed=3)
    tf = python.replace(pipeline="tf")
    (a, labels), (b, others) = batches(python), batches(tf)
    np.testing.assert_allclose(labels, others, atol=1e-6)
    assert [reason for _, reason in python.skipped] == ["truncated"]
    assert python.skipped == tf.skipped
    difference = 255 * np.abs(a - b)
    assert difference.max() <= most + 1e-3
    assert mean is None or difference.mean() <= mean
    assert len(np.unique(a)) > 1000


@pytest.mark.slow
def test_the_batches_of_pixels_are_the_floats_before_scaling(index: ims.ImageIndex) -> None:
    stream = ims.Stream(index, SPEC, batch_size=4)
    floats, deep, eight = (batches(stream.replace(dtype=dtype))[0] for dtype in ("float32", "uint16", "uint8"))
    assert (deep.dtype, eight.dtype) == (np.uint16, np.uint8)
    np.testing.assert_allclose(floats, deep / 65_535, atol=1e-7)
    np.testing.assert_array_equal(eight, deep >> 8)
    for dtype in ("uint16", "uint8"):
        tf = batches(stream.replace(dtype=dtype, pipeline="tf"))[0]
        assert tf.dtype == dtype
        assert np.abs(tf.astype(int) - batches(stream.replace(dtype=dtype))[0]).max() <= {"uint16": 257, "uint8": 1}[dtype]
    with pytest.raises(SpecError, match=r"uint16.* needs a spec with levels"):
        ims.Stream(index, dtype="uint16")


@pytest.mark.parametrize("augment", [None, "standard"])
def test_the_cache_keeps_the_depth_and_levels_are_part_of_its_form(index: ims.ImageIndex, augment: str | None, tmp_path: Path) -> None:
    for path in map(index.path, range(len(index))):
        settle(path)
    plain = ims.Stream(index, SPEC, augment=augment, batch_size=5, cache=tmp_path)
    first, second = batches(plain)[0], batches(plain)[0]
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(batches(ims.Stream(index, SPEC, augment=augment, batch_size=5, cache=tmp_path))[0], first)
    assert len(np.unique(first)) > 1000
    other = ims.Stream(index, dataclasses.replace(SPEC, levels=(0, 65_535)), augment=augment, batch_size=5, cache=tmp_path)
    assert batches(other)[0].mean() < first.mean()


def settle(path: str) -> None:
    """Make a file older than the cache's doubts about files that were just written."""
    os.utime(path, (1, 1))


def doubled(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    assert image.dtype == np.float32
    return 2 * image


@pytest.mark.quick("albumentations")
@pytest.mark.parametrize(
    "augment",
    [doubled, albumentations.HorizontalFlip(p=1), keras.layers.RandomFlip("horizontal"), keras.layers.RandomBrightness(0.1)],
    ids=["function", "albumentations", "keras flip", "keras brightness"],
)
def test_the_users_augmentations_work_at_depth(index: ims.ImageIndex, augment: Any) -> None:
    stream = ims.Stream(index, SPEC, batch_size=32, augment=augment, seed=1)
    found, plain = batches(stream)[0], batches(stream.replace(augment=None))[0]
    assert len(np.unique(found)) > 1000
    if augment is doubled:
        np.testing.assert_allclose(found, np.minimum(1, 2 * plain), atol=1e-4)
    elif not isinstance(augment, keras.layers.RandomBrightness):
        np.testing.assert_array_equal(np.sort(found, axis=2), np.sort(plain, axis=2))
    np.testing.assert_array_equal(batches(stream.replace(pipeline="tf", workers=1))[0].shape, found.shape)


@pytest.mark.parametrize("name", ["randaugment", "trivialaugment"])
def test_operations_on_8_bits_are_refused_at_depth(index: ims.ImageIndex, name: str) -> None:
    with pytest.raises(AugmentError, match=rf"{name} is made of operations on images of 8 bits, and the spec has levels"):
        ims.Stream(index, SPEC, augment=name)
