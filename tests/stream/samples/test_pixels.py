"""Streams of pixels: batches of uint8, which are scaled where the model computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import imgstream as ims
from imgstream.errors import SpecError
from imgstream.spec import Scale
from imgstream.stream.plan import Pipeline
from imgstream.stream.workers import batch_loader


@pytest.mark.parametrize("pipeline", ["python", "tf"])
@pytest.mark.parametrize(("augment", "scale"), [(None, "imagenet"), ("standard", "caffe")])
def test_pixels_are_what_samples_are_scaled_from(two_classes: Path, pipeline: Pipeline, augment: str | None, scale: Scale) -> None:
    spec = ims.SampleSpec(size=(24, 32), scale=scale)
    of_floats = ims.Stream(ims.scan(two_classes), spec, augment=augment, batch_size=4, shuffle=True, pipeline=pipeline)
    of_pixels = of_floats.replace(dtype="uint8")
    for (samples, labels), (pixels, same) in zip(of_floats.batches(1), of_pixels.batches(1), strict=True):
        assert pixels.dtype == np.uint8
        assert labels.tolist() == same.tolist()
        expected = np.empty(pixels.shape, np.float32)
        spec.to_float(pixels, expected)
        np.testing.assert_allclose(samples, expected, atol=1e-5)


@pytest.mark.parametrize("pipeline", ["python", "tf"])
def test_mixed_pixels_are_those_of_mixed_samples_rounded(two_classes: Path, pipeline: Pipeline) -> None:
    of_floats = ims.Stream(
        ims.scan(two_classes), ims.SampleSpec(size=(24, 24), scale="raw"), augment="strong", batch_size=8, pipeline=pipeline
    )
    mixed = 0
    for (samples, labels), (pixels, same) in zip(of_floats.batches(), of_floats.replace(dtype="uint8").batches(), strict=True):
        np.testing.assert_array_equal(labels, same)
        assert np.abs(samples - pixels).max() <= 0.5 + 1e-3
        mixed += int((samples != np.rint(samples)).any())
    assert mixed


def test_pixels_of_worker_processes_are_those_of_threads(two_classes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_loader, "WORTH_PROCESSES", 1)
    stream = ims.Stream(ims.scan(two_classes), ims.SampleSpec(size=(24, 32)), augment="light", batch_size=4, dtype="uint8", workers=1)
    for one, many in zip(stream.batches(), stream.replace(workers=9).batches(), strict=True):
        np.testing.assert_array_equal(one[0], many[0])


def test_numpys_own_names_of_dtypes_are_taken(two_classes: Path) -> None:
    for dtype in (np.uint8, np.dtype("uint8"), "uint8"):
        assert ims.Stream(ims.scan(two_classes), dtype=dtype).dtype == np.uint8  # type: ignore[arg-type]


def test_a_dtype_that_no_batch_has_is_an_error(two_classes: Path) -> None:
    with pytest.raises(SpecError, match='dtype must be "float32", scaled samples, or "uint8" or "uint16", pixels; got \'float16\''):
        ims.Stream(ims.scan(two_classes), dtype="float16")  # type: ignore[arg-type]
