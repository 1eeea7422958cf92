"""The samples that a SavedModel makes of encoded images are those of the reference reader, within 1/255."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from imgstream.decode.sample import SampleReader
from imgstream.export.encoded_images import decode_sample
from imgstream.runs import Run
from imgstream.runtimes.savedmodel import SavedModel
from imgstream.spec import SampleSpec

SPECS = (
    SampleSpec(size=(32, 48)),
    SampleSpec(size=(40, 24), fit="pad"),
    SampleSpec(size=(33, 33), fit="stretch", channels=1),
)


def drawn(height: int, width: int, mode: str = "RGB") -> Image.Image:
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([127 + 100 * np.sin(x / 17), 127 + 100 * np.cos(y / 11), (x + y) % 256], axis=-1)
    return Image.fromarray(pixels.astype(np.uint8)).convert(mode)


def encoded(image: Image.Image, kind: str, **how: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    return buffer.getvalue()


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x010F] = "a maker"  # before it
    exif[0x0112] = orientation
    return encoded(drawn(120, 200), "JPEG", quality=90, exif=exif)


FILES = {
    "jpeg": encoded(drawn(300, 500), "JPEG", quality=90),
    "small jpeg": encoded(drawn(20, 15), "JPEG", quality=90),
    "grey jpeg": encoded(drawn(200, 131, "L"), "JPEG", quality=90),
    "png": encoded(drawn(301, 203), "PNG"),
    "png with alpha": encoded(drawn(100, 150, "RGBA"), "PNG"),
    "grey png": encoded(drawn(64, 64, "L"), "PNG"),
    "palette": encoded(drawn(90, 70, "P"), "PNG"),
    "one pixel": encoded(drawn(1, 1), "PNG"),
    **{f"orientation {number}": turned(number) for number in range(1, 10)},
}


@pytest.mark.slow
@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.fit)
def test_samples_of_encoded_images_are_those_of_the_reference_reader(spec: SampleSpec) -> None:
    decode = tf.function(lambda data: decode_sample(data, spec), input_signature=[tf.TensorSpec((), tf.string)], autograph=False)
    for name, data in FILES.items():
        expected = np.zeros(spec.shape, np.uint8)
        SampleReader(spec).decode(data, expected)
        found = decode(tf.constant(data)).numpy()
        assert int(np.abs(found.astype(int) - expected).max()) <= 1, name


def test_what_is_no_image_or_too_large_a_one_is_an_error_of_tensorflow() -> None:
    spec = SampleSpec(size=(8, 8), max_pixels=10_000)
    decode = tf.function(lambda data: decode_sample(data, spec), input_signature=[tf.TensorSpec((), tf.string)], autograph=False)
    assert decode(tf.constant(encoded(drawn(100, 100), "PNG"))).shape == (8, 8, 3)
    for data in (b"", b"\xff\xd8", b"<html>", FILES["jpeg"][:200], encoded(drawn(101, 100), "PNG"), encoded(drawn(101, 100), "JPEG")):
        with pytest.raises(tf.errors.OpError):
            decode(tf.constant(data))


@pytest.mark.slow
def test_a_saved_model_takes_encoded_images_and_gives_the_scores_of_its_run(
    run: Run, exported: Callable[[str], Path], two_classes: Path
) -> None:
    files = sorted(two_classes.rglob("*.jpg"))
    found = SavedModel().call(exported("savedmodel"), "encoded", [file.read_bytes() for file in files])
    np.testing.assert_allclose(found, np.array([p.scores for p in run.predict([str(file) for file in files])]), atol=2e-3)
