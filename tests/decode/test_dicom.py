"""DICOM files: rescaled values by levels, their own window without, and damage of every kind."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import imgstream as ims
from imgstream.decode.depth import depth_of
from imgstream.decode.sample import SampleReader
from imgstream.errors import BadImage
from imgstream.formats import dicom
from imgstream.formats.header import read_header
from imgstream.formats.limits import check_limits
from imgstream.spec import SampleSpec

pydicom = pytest.importorskip("pydicom", reason="needs pip install 'imgstream[dicom]'")

CT = np.random.default_rng(0).permutation(4096).astype(np.int16).reshape(64, 64)


def written(values: np.ndarray, *, bits: int | None = None, **elements: Any) -> bytes:
    """(h, w), (n, h, w) or (h, w, 3) as an uncompressed DICOM file, by pydicom."""
    dataset, meta = pydicom.Dataset(), pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = elements.pop("syntax", pydicom.uid.ExplicitVRLittleEndian)
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = pydicom.uid.CTImageStorage, "1.2.3"
    dataset.file_meta = meta
    colour = values.ndim == 3 and values.shape[2] == 3
    dataset.Rows, dataset.Columns = values.shape[:2] if values.ndim == 2 or colour else values.shape[1:]
    dataset.SamplesPerPixel = 3 if colour else 1
    dataset.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    dataset.BitsAllocated = 8 * values.itemsize
    dataset.BitsStored, dataset.HighBit = bits or 8 * values.itemsize, (bits or 8 * values.itemsize) - 1
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    if colour:
        dataset.PlanarConfiguration = 0
    dataset.PixelData = values.tobytes() + b"\0" * (values.nbytes % 2)
    dataset["PixelData"].is_undefined_length = meta.TransferSyntaxUID.is_encapsulated
    for name, value in elements.items():
        if name == "PixelData":
            dataset["PixelData"].value = value
        elif value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    file = io.BytesIO()
    pydicom.dcmwrite(file, dataset, enforce_file_format=True)
    return file.getvalue()


def pixels(data: bytes, levels: tuple[float, float] | None = None, channels: int = 1) -> np.ndarray:
    spec = SampleSpec(size=(64, 64), channels=channels, levels=levels)
    out = np.zeros(spec.shape, spec.pixel_type)
    check_limits(read_header(data), len(data), spec.max_pixels)  # as a FileReader does
    SampleReader(spec).decode(data, out)
    return out


def bad(data: bytes, levels: tuple[float, float] | None = None) -> str:
    with pytest.raises(BadImage) as raised:
        pixels(data, levels)
    return str(raised.value)


def test_levels_are_in_rescaled_values_and_keep_all_of_them() -> None:
    data = written(CT, bits=12, PixelRepresentation=0, RescaleSlope=2, RescaleIntercept=-1024)
    found = pixels(data, (-1024, 2 * 4095 - 1024))
    np.testing.assert_array_equal(found[..., 0], np.rint(CT * (65_535 / 4095)))
    inverted = written(CT, bits=12, PixelRepresentation=0, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(pixels(inverted, (0, 4095))[..., 0], 65_535 - np.rint(CT * (65_535 / 4095)))


def test_without_levels_the_window_says_what_is_black_and_white_and_without_a_window_all_bits_do() -> None:
    windowed = pixels(written(CT, bits=12, PixelRepresentation=0, WindowCenter=[1000.5, 7], WindowWidth=[1001, 7]))[..., 0]
    assert (windowed[CT <= 500].max(), windowed[CT >= 1500].min()) == (0, 255)
    np.testing.assert_allclose(windowed[(CT > 500) & (CT < 1500)], (CT[(CT > 500) & (CT < 1500)] - 500) * 0.256, atol=1)
    np.testing.assert_array_equal(
        pixels(written(CT, bits=12, PixelRepresentation=0))[..., 0], np.rint(CT * (65_535 / 4095)).astype(int) >> 8
    )
    signed = pixels(written((CT - 2048).astype(np.int16), bits=12, RescaleSlope=1, RescaleIntercept=5))[..., 0]
    np.testing.assert_array_equal(signed, np.rint(CT * (65_535 / 4095)).astype(int) >> 8)


def test_colours_and_8_bits_are_as_they_are_and_the_first_frame_counts() -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    np.testing.assert_array_equal(pixels(written(rgb), channels=3), rgb)
    np.testing.assert_array_equal(pixels(written(rgb), (0, 4095), channels=3), 257 * rgb.astype(np.uint16))
    frames = np.stack([rgb[..., 0], rgb[..., 1]])
    np.testing.assert_array_equal(pixels(written(frames, NumberOfFrames=2))[..., 0], rgb[..., 0])


def test_compressed_files_are_read_or_say_which_codec_they_need() -> None:
    dataset = pydicom.dcmread(io.BytesIO(written(CT, bits=12, PixelRepresentation=0)))
    dataset.compress(pydicom.uid.RLELossless)
    file = io.BytesIO()
    pydicom.dcmwrite(file, dataset, enforce_file_format=True)
    np.testing.assert_array_equal(pixels(file.getvalue(), (0, 4095))[..., 0], np.rint(CT * (65_535 / 4095)))
    encapsulated = pydicom.encaps.encapsulate([b"no JPEG-LS"])
    of_another = written(CT, bits=12, PixelRepresentation=0, syntax=pydicom.uid.JPEGLSLossless, PixelData=encapsulated)
    assert bad(of_another).startswith("unsupported: compressed in a way that needs a codec: pip install pylibjpeg")
    deflated = written(CT, bits=12, PixelRepresentation=0, syntax=pydicom.uid.DeflatedExplicitVRLittleEndian)
    assert bad(deflated).startswith("unsupported: a DICOM file that is deflated as a whole")


def test_hostile_files_have_a_reason() -> None:
    data = written(CT, bits=12, PixelRepresentation=0)
    assert bad(data[:-100]).startswith("truncated: DICOM pixels that cannot be decoded")
    assert bad(data[:-1000]).startswith("truncated: declares 64×64 pixels, which take 8,192 bytes or more")
    assert bad(data[: len(data) - CT.nbytes - 12]).startswith("truncated: a DICOM file that ends before its pixels, or has none")
    assert bad(written(CT, Rows=65_535, Columns=65_535)).startswith("too large: declares 65535×65535")
    assert bad(written(CT, Rows=0)).startswith("corrupt: declares 64×0 pixels")
    assert bad(written(CT, Rows=None, Columns=None)) == "unsupported: a DICOM file without an image"
    assert bad(written(CT, SamplesPerPixel=200)).startswith("corrupt: a DICOM file whose SamplesPerPixel")
    for length in range(132, len(data) - CT.nbytes, 13):
        assert bad(data[:length]).split(":")[0] in ("truncated", "corrupt", "unsupported")
    rng = np.random.default_rng(0)
    for _ in range(40):
        damaged = bytearray(data)
        for at in rng.integers(132, len(data) - CT.nbytes, 4):
            damaged[at] = rng.integers(256)
        try:
            pixels(bytes(damaged))
        except BadImage:
            pass


def test_without_pydicom_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    data = written(CT)
    dicom.import_pydicom.cache_clear()
    monkeypatch.setitem(sys.modules, "pydicom", None)
    try:
        with pytest.raises(BadImage, match=r"unsupported: DICOM needs pydicom: pip install 'imgstream\[dicom\]'"):
            read_header(data)
    finally:
        dicom.import_pydicom.cache_clear()


def test_a_folder_of_dicom_files_is_a_folder_of_images(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / "ab"[number % 2]).mkdir(exist_ok=True)
        file = tmp_path / "ab"[number % 2] / f"{number}.DCM"
        file.write_bytes(written(CT, bits=12, PixelRepresentation=0, RescaleIntercept=-1024, RescaleSlope=1))
    index = ims.scan(tmp_path)
    stream = ims.Stream(index, SampleSpec(size=(64, 64), levels=(-1024, 3071)))
    (images, labels), (others, _) = next(stream.batches()), next(stream.replace(pipeline="tf").batches())
    assert labels.tolist() == [0, 0, 1, 1]
    assert len(np.unique(images)) == 4096
    np.testing.assert_array_equal(images, others)
    depth = depth_of(index)
    assert (depth.types, depth.levels, depth.needs_levels) == ({"dicom": 4}, (-1024, 3071), False)
