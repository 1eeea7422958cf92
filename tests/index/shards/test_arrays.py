"""Arrays of many images: each slice is a row with its label."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import imgstream as ims
from imgstream.errors import BadImage, DatasetError
from imgstream.index import kind_of

COUNT = 12


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (COUNT, 20, 24, 3), np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def pixels(source: Path, **options: object) -> np.ndarray:
    """All images, as they are stored."""
    index = ims.scan(source)
    spec = ims.SampleSpec(size=(20, 24), scale="raw", **options)  # type: ignore[arg-type]
    return np.concatenate([batch for batch, _ in ims.Stream(index, spec).batches()])


def test_an_array_with_its_labels_beside_it_is_read_slice_by_slice(folder: Path, images: np.ndarray) -> None:
    np.save(folder / "X.npy", images)
    np.save(folder / "y.npy", np.arange(COUNT) % 3)
    for source in (folder / "X.npy", folder):
        index = ims.scan(source)
        assert (index.class_names, index.labels.tolist()) == (["0", "1", "2"], [0, 1, 2] * 4)
        np.testing.assert_array_equal(pixels(source), images)
    assert (ims.scan(folder / "X.npy").path(5), ims.scan(folder).path(5)) == (f"{folder}/X.npy/5", f"{folder}/X.npy/5")
    np.save(folder / "y.npy", np.array(["b", "a"] * 6))
    assert ims.scan(folder / "X.npy").class_names == ["a", "b"]  # another file of labels is read anew


@pytest.mark.slow
def test_the_tf_pipeline_and_an_augmentation_give_what_image_files_give(folder: Path, images: np.ndarray) -> None:
    from PIL import Image

    np.save(folder / "X.npy", images)
    (folder / "files").mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"files/{number:02}.png")
    spec = ims.SampleSpec(size=(16, 16))
    slices = ims.Stream(ims.scan(folder / "X.npy"), spec, augment="standard", shuffle=True)
    files = slices.replace(index=ims.scan(folder / "files"))
    tensors = slices.replace(pipeline="tf")
    for (one, _), (two, _), (three, _) in zip(slices.batches(), files.batches(), tensors.batches(), strict=True):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_allclose(one, three, atol=3 / 255)


def test_grey_images_have_three_axes_or_a_last_one_of_one(folder: Path, images: np.ndarray) -> None:
    np.save(folder / "X.npy", images[..., 0])
    np.save(folder / "other_x.npy", images[..., :1])
    np.testing.assert_array_equal(pixels(folder / "X.npy", channels=1), images[..., :1])
    np.testing.assert_array_equal(pixels(folder / "other_x.npy", channels=1), images[..., :1])


def test_an_npz_of_training_and_test_images_has_its_split(folder: Path, images: np.ndarray) -> None:
    labels = np.arange(COUNT) % 2
    np.savez(folder / "d.npz", x_train=images[:8], y_train=labels[:8, None], x_test=images[8:], y_test=labels[8:], other=np.zeros(3))
    index = ims.scan(folder / "d.npz")
    assert (index.relative_bytes(8), index.labels.tolist()) == (b"test/0", [0, 1] * 6)
    assert {part: rows.tolist() for part, rows in (index.explicit_split or {}).items()} == {"train": [*range(8)], "test": [*range(8, 12)]}
    np.testing.assert_array_equal(pixels(folder / "d.npz"), images)
    np.savez(folder / "one.npz", images)
    np.testing.assert_array_equal(pixels(folder / "one.npz"), images)


def test_a_folder_of_arrays_of_one_image_each_is_a_folder_of_images(folder: Path, images: np.ndarray) -> None:
    for number, image in enumerate(images):
        (folder / "ab"[number % 2]).mkdir(exist_ok=True)
        np.save(folder / "ab"[number % 2] / f"{number:02}.npy", image)
    (folder / "a/notes.txt").touch()
    index = ims.scan(folder)
    assert (len(index), index.class_names, index.skipped_extensions) == (COUNT, ["a", "b"], {".txt": 1})
    np.testing.assert_array_equal(pixels(folder), np.concatenate([images[::2], images[1::2]]))
    assert kind_of(folder / "a/00.npy") == "image"
    (folder / "a/x.jpg").write_bytes(b"")
    index = ims.scan(folder)
    assert (len(index), index.skipped_extensions) == (1, {".npy": COUNT, ".txt": 1})  # beside images, arrays are something else


def test_an_array_that_was_cut_off_has_truncated_rows(folder: Path, images: np.ndarray) -> None:
    np.save(folder / "X.npy", images)
    (folder / "X.npy").write_bytes((folder / "X.npy").read_bytes()[:-100])
    stream = ims.Stream(ims.scan(folder / "X.npy"), ims.SampleSpec(size=(8, 8)))
    assert sum(len(batch) for batch, _ in stream.batches()) == COUNT - 1
    assert stream.skipped == [(f"{folder}/X.npy/11", "truncated")]


def test_arrays_of_more_than_8_bits_are_read_by_the_levels_of_the_spec(folder: Path, images: np.ndarray) -> None:
    np.savez(folder / "a.npz", x=257 * images.astype(np.uint16), y=np.arange(COUNT) % 2)
    np.save(folder / "X.npy", images / np.float32(255))
    spec = ims.SampleSpec(size=images.shape[1:3], scale="raw")
    for name, levels in (("a.npz", (0, 65_535)), ("X.npy", (0, 1))):
        stream = ims.Stream(ims.scan(folder / name), dataclasses.replace(spec, levels=levels))
        np.testing.assert_allclose(np.concatenate([batch for batch, _ in stream.batches()]), images, atol=0.002)
        assert stream.skipped == []
    stream = ims.Stream(ims.scan(folder / "X.npy"), spec, on_bad="raise")
    with pytest.raises(
        BadImage, match="unsupported: an array of float32, of which levels have to say what is black and white: --levels auto"
    ):
        next(stream.batches())


def test_wrong_shapes_types_and_lengths_say_which(folder: Path, images: np.ndarray) -> None:
    for array, words in (
        (images > 99, "is an array of bool; an image has uint8, other integers or floats"),
        (images[..., :2], r"an array of shape \(20, 24, 2\)"),
        (np.asfortranarray(images), "in Fortran order, in which an image is scattered: save np.ascontiguousarray"),
    ):
        np.save(folder / "X.npy", array)
        with pytest.raises(DatasetError, match=words):
            ims.scan(folder / "X.npy")
    np.save(folder / "X.npy", images)
    for labels, words in (
        (np.arange(5), "has 12 images, and y.npy has 5 labels"),
        (np.zeros((COUNT, 3)), r"has labels, y\.npy, of float64 \(12, 3\)"),
    ):
        np.save(folder / "y.npy", labels)
        with pytest.raises(DatasetError, match=words):
            ims.scan(folder / "X.npy")
    np.save(folder / "y.npy", np.array([print] * COUNT), allow_pickle=True)
    with pytest.raises(DatasetError, match=r"has labels, y\.npy, that cannot be read \(Object arrays cannot be loaded"):
        ims.scan(folder / "X.npy")
    np.savez_compressed(folder / "a.npz", x=images, y=np.arange(COUNT))
    with pytest.raises(DatasetError, match=r"is compressed, .* save it with np.savez"):
        ims.scan(folder / "a.npz")
    np.savez(folder / "b.npz", one=images, two=images)
    with pytest.raises(DatasetError, match=r"no arrays named as images and labels, .* it has one, two"):
        ims.scan(folder / "b.npz")
    (folder / "c.npz").write_bytes(b"PK")
    with pytest.raises(DatasetError, match=r"cannot be read as \.npz"):
        ims.scan(folder / "c.npz")
