"""The tf.data path by value: the same batches as Stream.batches gives, whatever the files are, however the dataset is used."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import albumentations as A  # noqa: N812 - as its own documentation has it
import numpy as np
import pytest
from PIL import Image

import imgstream as ims
from imgstream.decode.reference import Decoder
from imgstream.errors import AugmentError, SpecError
from imgstream.stream.tf.dataset import TfPipeline

tf = pytest.importorskip("tensorflow")
keras = pytest.importorskip("keras")

Folder = Callable[..., Path]
Batches = list[tuple[np.ndarray, np.ndarray]]

LEVEL = 1 / 255


def mirrored(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return image[:, ::-1].copy() if rng.random() < 0.5 else image


def noise(height: int, width: int, rng: np.random.Generator) -> Image.Image:
    """Waves under noise, as a photograph has both."""
    y, x = np.mgrid[:height, :width]
    waves = 127 + 100 * np.sin(np.stack([x / 5, y / 4, (x + y) / 6], -1) + rng.uniform(0, 6, 3))
    return Image.fromarray(np.clip(waves + rng.normal(0, 12, (height, width, 3)), 0, 255).astype(np.uint8))


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 files of all kinds in classes a and b, six of them bad; see `mixed_index` for the one that vanishes."""
    root = tmp_path_factory.mktemp("mixed")
    rng = np.random.default_rng(8)

    def save(name: str, size: tuple[int, int] | None = None, mode: str = "RGB", **options: Any) -> Path:
        path = root / name
        path.parent.mkdir(exist_ok=True)
        height, width = size if size is not None else rng.integers(22, 70, 2)
        noise(height, width, rng).convert(mode).save(path, **options)
        return path

    for i in range(5):
        save(f"a/420-{i}.jpg", quality=90, subsampling=2)
        save(f"b/444-{i}.jpg", quality=90, subsampling=0)
        save(f"a/progressive-{i}.jpg", progressive=True)
        save(f"b/grey-{i}.jpg", mode="L")
    for orientation in range(1, 9):
        save(f"{'ab'[orientation % 2]}/turned-{orientation}.jpg", (61, 90), exif=turned(orientation))
    for i, size in enumerate([(101, 77), (95, 170), (205, 190), (321, 260), (400, 171), (5, 3)]):  # 1/2, 1/4, 1/8, and enlarged
        save(f"a/large-{i}.jpg", size, quality=85)
    save("b/rgb.jpg", keep_rgb=True)
    save("b/cmyk.jpg", mode="CMYK")
    for name in ("a/0.png", "b/1.webp", "a/2.gif", "b/3.bmp", "a/4.png"):
        save(name, (130, 121))
    whole = save("b/cut.jpg").read_bytes()
    (root / "b/cut.jpg").write_bytes(whole[: len(whole) * 2 // 3])
    (root / "b/cut-end.jpg").write_bytes(whole[:-2])
    (root / "a/page.jpg").write_text("<html>not found</html>")
    (root / "b/page.png").write_text("<html>not found</html>")
    (root / "a/empty.jpg").touch()
    return root


@pytest.fixture
def mixed_index(photos: Path) -> ims.ImageIndex:
    gone = photos / "a" / "gone.jpg"
    gone.write_bytes((photos / "a" / "420-0.jpg").read_bytes())
    index = ims.scan(photos)
    gone.unlink()
    return index


def batches(dataset: Any) -> Batches:
    return [(images.numpy(), labels.numpy()) for images, labels in dataset]


def assert_alike(found: Batches, expected: Batches, most: float = LEVEL + 1e-6, mean: float | None = None) -> None:
    """Equal labels in equal batches, and no pixel further away than `most`, or, on average, than `mean`."""
    assert [images.shape for images, _ in found] == [images.shape for images, _ in expected]
    for (images, labels), (expected_images, expected_labels) in zip(found, expected, strict=True):
        assert images.dtype == np.float32
        assert labels.dtype == expected_labels.dtype
        np.testing.assert_allclose(labels, expected_labels, rtol=0, atol=1e-6)
        np.testing.assert_allclose(images, expected_images, rtol=0, atol=most)
    if mean is not None:
        differences = [np.abs(images - others).ravel() for (images, _), (others, _) in zip(found, expected, strict=True)]
        assert np.concatenate(differences).mean() <= mean


def equal(one: Batches, other: Batches) -> bool:
    return len(one) == len(other) and all(
        a.dtype == b.dtype and np.array_equal(a, b) for x, y in zip(one, other, strict=True) for a, b in zip(x, y, strict=True)
    )


# ---- the same batches


@pytest.mark.quick("crop-3-None", "crop-3-strong", "pad-1-None", "pad-3-standard", "stretch-1-strong", "stretch-3-light")
@pytest.mark.parametrize("augment", [None, "light", "standard", "strong"])
@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_both_paths_agree_on_every_kind_of_file(mixed_index: ims.ImageIndex, fit: Any, channels: int, augment: str | None) -> None:
    spec = ims.SampleSpec(size=(24, 20), fit=fit, channels=channels)
    stream = ims.Stream(mixed_index, spec, augment=augment, batch_size=7, shuffle=True, seed=3)
    other = stream.replace()
    dataset = other.to_tf()
    expected = list(stream.batches())
    assert sum(len(images) for images, _ in expected) == len(mixed_index) - 6
    if augment is None:
        assert_alike(batches(dataset), expected)
    else:
        assert_alike(batches(dataset), expected, 3 * LEVEL + 1e-6, 0.1 * LEVEL)
    assert len(other.skipped) == 6
    assert set(other.skipped) == set(stream.skipped)
    assert {reason for _, reason in other.skipped} == {"truncated", "wrong kind", "empty", "missing"}


@pytest.mark.quick("None-unit-3", "None-imagenet-3", "strong-signed-1", "strong-raw-3")
@pytest.mark.parametrize(("scale", "channels"), [("unit", 3), ("signed", 1), ("imagenet", 3), ("caffe", 3), ("raw", 3)])
@pytest.mark.parametrize("augment", [None, "strong"])
def test_every_scale_gives_the_same_floats(folder: Folder, scale: Any, channels: int, augment: str | None) -> None:
    spec = ims.SampleSpec(size=(16, 12), channels=channels, scale=scale)
    stream = ims.Stream(ims.scan(folder(12)), spec, augment=augment, batch_size=5)
    levels = 1 if augment is None else 3
    assert_alike(batches(stream.to_tf()), list(stream.batches()), (levels + 1e-3) * float(spec.affine()[0].max()))


@pytest.mark.parametrize("scale", ["unit", "signed", "imagenet", "caffe", "raw"])
def test_black_and_white_are_the_scales_limits_to_the_bit(tmp_path: Path, scale: Any) -> None:
    for name, level in (("0", 0), ("1", 255)):
        Image.new("RGB", (16, 16), (level,) * 3).save(tmp_path / f"{name}.png")
    spec = ims.SampleSpec(size=(4, 4), scale=scale)
    stream = ims.Stream(ims.scan(tmp_path), spec)
    ((images, _),) = batches(stream.to_tf())
    assert np.array_equal(images, next(stream.batches())[0])
    assert [tuple(image[0, 0]) for image in images] == [tuple(limit) for limit in spec.limits()]


def test_files_that_need_neither_crop_nor_resize_are_equal_to_the_bit(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for i in range(6):
        noise(20, 20, rng).save(tmp_path / f"{i}.jpg", exif=turned(i + 1))
    stream = ims.Stream(ims.scan(tmp_path), ims.SampleSpec(size=(20, 20)), batch_size=4)
    assert equal(batches(stream.to_tf()), list(stream.batches()))


@pytest.mark.slow
def test_the_order_is_right_beyond_one_block_of_it(folder: Folder) -> None:
    index = ims.scan(folder(5)).take(np.arange(2500) % 5)
    stream = ims.Stream(index, ims.SampleSpec(size=(1, 1)), batch_size=700, shuffle=True, seed=1)
    expected = list(stream.batches(2))
    assert_alike(batches(stream.to_tf(epoch=2)), expected)
    assert_alike(batches(stream.to_tf(epoch=2, start=2)), expected[2:])  # from 1400, within the first block, into the second


@pytest.mark.parametrize("size", [1, 4, 11, 50])
def test_any_batch_size_gives_the_same_rows(folder: Folder, spec: ims.SampleSpec, size: int) -> None:
    stream = ims.Stream(ims.scan(folder(11)), spec, augment="standard", batch_size=size, shuffle=True)
    assert_alike(batches(stream.to_tf()), list(stream.batches()), 3 * LEVEL + 1e-6)


@pytest.mark.parametrize("augment", [None, "strong", mirrored], ids=["none", "strong", "callable"])
def test_batches_are_the_same_to_the_bit_for_any_number_of_workers(mixed_index: ims.ImageIndex, augment: Any) -> None:
    stream = ims.Stream(mixed_index, ims.SampleSpec(size=(24, 20)), augment=augment, batch_size=7, shuffle=True, workers=1)
    other = stream.replace(workers=4)
    assert equal(batches(stream.to_tf()), batches(other.to_tf()))
    assert set(stream.skipped) == set(other.skipped)


def test_shards_are_those_of_batches_and_an_empty_one_is_an_empty_dataset(folder: Folder, spec: ims.SampleSpec) -> None:
    stream = ims.Stream(ims.scan(folder(5)), spec, augment="light", batch_size=2, shuffle=True, seed=2)
    for k, n in ((0, 2), (1, 2), (2, 7), (6, 7)):
        part = stream.shard(k, n)
        dataset = part.to_tf()
        assert int(dataset.cardinality()) == len(part)
        assert_alike(batches(dataset), list(part.batches()), 3 * LEVEL + 1e-6)
    assert len(part) == 0


@pytest.mark.parametrize("augment", ["light", "strong"])
def test_images_without_labels_come_too(folder: Folder, spec: ims.SampleSpec, augment: str) -> None:
    index = ims.ImageIndex.from_paths(sorted(folder(9).rglob("*.*")))
    stream = ims.Stream(index, spec, augment=augment, batch_size=4)
    expected = list(stream.batches())
    assert [len(images) for images, _ in expected] == [4, 4, 1]
    assert_alike(batches(stream.to_tf()), expected, 3 * LEVEL + 1e-6)


def test_a_subset_keeps_the_draws_of_its_rows(folder: Folder, spec: ims.SampleSpec) -> None:
    stream = ims.Stream(ims.scan(folder(20)).take([17, 3, 8]), spec, augment="standard", batch_size=2)
    assert_alike(batches(stream.to_tf(epoch=5)), list(stream.batches(5)), 3 * LEVEL + 1e-6)


# ---- who decodes


def test_plain_jpegs_are_decoded_by_tensorflow_alone(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = sorted(path for path in photos.rglob("*.jpg") if path.stem.split("-")[0] in ("420", "444", "progressive", "grey", "turned"))
    stream = ims.Stream(ims.ImageIndex.from_paths(paths), ims.SampleSpec(size=(24, 20), fit="pad"), batch_size=16)
    expected = list(stream.batches())

    def refuse(*arguments: Any) -> None:
        raise AssertionError("the reference decoder was asked")

    monkeypatch.setattr(Decoder, "decode", refuse)
    assert_alike(batches(stream.to_tf()), expected)
    with pytest.raises(tf.errors.OpError, match="the reference decoder was asked"):  # so that this test can fail
        batches(stream.replace(index=ims.ImageIndex.from_paths([photos / "b" / "cmyk.jpg"])).to_tf())


def test_a_jpeg_that_tensorflow_refuses_is_left_out_for_the_reference_decoders_reason(folder: Folder, spec: ims.SampleSpec) -> None:
    index = ims.scan(folder(12))
    data = Path(index.path(3)).read_bytes()
    Path(index.path(3)).write_bytes(data[: len(data) // 2])
    Path(index.path(6)).write_bytes(data[:-2])  # the end marker alone is missing
    stream = ims.Stream(index, spec, batch_size=5)
    dataset = stream.to_tf()
    assert_alike(batches(dataset), list(stream.replace().batches()))
    assert sorted(stream.skipped) == [(index.path(3), "truncated"), (index.path(6), "truncated")]
    batches(dataset)
    assert len(stream.skipped) == 2  # each once, however often it is met


def test_files_that_are_no_jpegs_are_no_matter_for_the_log(folder: Folder, spec: ims.SampleSpec, capfd: pytest.CaptureFixture[str]) -> None:
    stream = ims.Stream(ims.scan(folder(9)), spec)
    assert sum(len(images) for images, _ in batches(stream.to_tf())) == 9
    assert "OP_REQUIRES failed" not in capfd.readouterr().err


@pytest.mark.quick("0")
@pytest.mark.parametrize("seed", range(4))
def test_damaged_jpegs_have_the_same_fate_on_both_paths(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for i in range(24):
        path = tmp_path / f"{i:02}.jpg"
        noise(*rng.integers(20, 60, 2), rng).save(path, progressive=bool(i % 2), subsampling=i % 3)
        data = bytearray(path.read_bytes())
        for at in rng.integers(2, len(data), 1 + i % 4):
            data[at] = rng.integers(256)
        path.write_bytes(data[: rng.integers(2, len(data))] if i % 5 == 0 else data)
    stream = ims.Stream(ims.scan(tmp_path), ims.SampleSpec(size=(16, 16), max_pixels=100_000), batch_size=8)
    expected = list(stream.batches())
    other = stream.replace()
    assert_alike(batches(other.to_tf()), expected)
    assert set(other.skipped) == set(stream.skipped)
    assert stream.skipped


# ---- length, epochs, starts


@pytest.mark.parametrize("augment", [None, "strong"])
def test_the_dataset_says_what_its_elements_are(folder: Folder, augment: str | None) -> None:
    stream = ims.Stream(ims.scan(folder(9)), ims.SampleSpec(size=(16, 12), channels=1), augment=augment, batch_size=4)
    images, labels = stream.to_tf().element_spec
    assert (images.shape.as_list(), images.dtype) == ([None, 16, 12, 1], tf.float32)
    assert (labels.shape.as_list(), labels.dtype) == (([None], tf.int32) if augment is None else ([None, 3], tf.float32))


@pytest.mark.parametrize("augment", [None, "strong"])
def test_a_wholly_bad_batch_is_missing_and_the_length_stays(folder: Folder, spec: ims.SampleSpec, augment: str | None) -> None:
    stream = ims.Stream(ims.scan(folder(14, bad=(1, 4, 5, 6, 7))), spec, augment=augment, batch_size=4)
    dataset = stream.to_tf()
    assert int(dataset.cardinality()) == len(dataset) == len(stream) == 4
    for epoch in range(2):
        found = batches(dataset)
        assert [len(images) for images, _ in found] == [3, 4, 2]
        assert_alike(found, list(stream.batches(epoch)), 3 * LEVEL + 1e-6)


@pytest.mark.parametrize("augment", [None, "strong"])
def test_a_folder_of_bad_files_alone_ends_quietly(folder: Folder, spec: ims.SampleSpec, augment: str | None) -> None:
    stream = ims.Stream(ims.scan(folder(6, bad=tuple(range(6)))), spec, batch_size=4, augment=augment)
    assert batches(stream.to_tf()) == []
    assert len(stream.skipped) == 6


def test_take_gives_the_first_batches_and_each_pass_is_the_next_epoch(folder: Folder, spec: ims.SampleSpec) -> None:
    stream = ims.Stream(ims.scan(folder(11)), spec, augment="light", batch_size=4, shuffle=True)
    few = stream.to_tf().take(2)
    assert int(few.cardinality()) == 2
    for epoch in range(3):  # a pass that is left early is a pass
        assert_alike(batches(few), list(stream.batches(epoch))[:2], 3 * LEVEL + 1e-6)


def test_each_repetition_is_the_next_epoch(folder: Folder, spec: ims.SampleSpec) -> None:
    stream = ims.Stream(ims.scan(folder(11)), spec, augment="light", batch_size=4, shuffle=True)
    expected = [batch for epoch in range(3) for batch in stream.batches(epoch)]
    repeated = stream.to_tf().repeat(3)
    assert int(repeated.cardinality()) == 9
    assert_alike(batches(repeated), expected, 3 * LEVEL + 1e-6)
    assert_alike(batches(stream.to_tf().repeat().take(7)), expected[:7], 3 * LEVEL + 1e-6)


def test_two_datasets_of_one_stream_count_their_epochs_apart(folder: Folder, spec: ims.SampleSpec) -> None:
    stream = ims.Stream(ims.scan(folder(7)), spec, augment="light", batch_size=4, shuffle=True)
    one, other = stream.to_tf(), stream.to_tf()
    first = batches(one)
    assert equal(batches(other), first)
    assert not equal(batches(one), first)


def test_with_an_epoch_every_pass_is_that_epoch(folder: Folder, spec: ims.SampleSpec) -> None:
    stream = ims.Stream(ims.scan(folder(11)), spec, augment="light", batch_size=4, shuffle=True)
    dataset, expected = stream.to_tf(epoch=3), list(stream.batches(3))
    for _ in range(2):
        assert_alike(batches(dataset), expected, 3 * LEVEL + 1e-6)


def test_a_start_gives_the_tail_of_the_epoch(folder: Folder, spec: ims.SampleSpec) -> None:
    stream = ims.Stream(ims.scan(folder(14, bad=(2,))), spec, augment="light", batch_size=4, shuffle=True)
    whole = list(stream.batches(1))
    for start in (0, 2, 4):
        dataset = stream.to_tf(epoch=1, start=start)
        assert int(dataset.cardinality()) == 4 - start
        for _ in range(2):
            assert_alike(batches(dataset), whole[start:], 3 * LEVEL + 1e-6)


@pytest.mark.parametrize("arguments", [{"epoch": -1}, {"epoch": 0, "start": -1}, {"epoch": 0, "start": 4}, {"start": 1}])
def test_an_impossible_epoch_or_start_is_refused(folder: Folder, arguments: dict[str, int]) -> None:
    stream = ims.Stream(ims.scan(folder(9)), batch_size=3)
    with pytest.raises(SpecError, match="start"):
        stream.to_tf(**arguments)


@pytest.mark.quick("0-none", "3-strong", "3-callable")
@pytest.mark.parametrize("augment", [None, "strong", mirrored], ids=["none", "strong", "callable"])
@pytest.mark.parametrize("done", [0, 3])
def test_a_checkpointed_iterator_goes_on_with_the_same_batches(
    folder: Folder, spec: ims.SampleSpec, tmp_path: Path, augment: Any, done: int
) -> None:
    index = ims.scan(folder(24, bad=(4,)))

    def iterator() -> Any:
        return iter(ims.Stream(index, spec, augment=augment, batch_size=4, shuffle=True, workers=2).to_tf())

    first = iterator()
    for _ in range(done):
        next(first)
    saved = tf.train.Checkpoint(iterator=first).save(str(tmp_path / "checkpoint"))
    second = iterator()
    tf.train.Checkpoint(iterator=second).restore(saved).assert_consumed()
    rest = batches(second)
    assert len(rest) == 6 - done
    assert equal(rest, batches(first))


@pytest.mark.quick("1-60-0", "3-6-1")
@pytest.mark.parametrize(("done", "size", "initial_epoch"), [(1, 60, 0), (32, 60, 0), (3, 6, 1)])
def test_a_restored_repetition_goes_on_to_the_next_epoch(
    folder: Folder, spec: ims.SampleSpec, tmp_path: Path, done: int, size: int, initial_epoch: int
) -> None:
    """Where the epoch was over, the new pipeline cannot know which it was, and is told."""
    index = ims.scan(folder(size))

    def iterator(initial_epoch: int = initial_epoch) -> Any:
        stream = ims.Stream(index, spec, augment="light", batch_size=2, shuffle=True, workers=1)
        return iter(stream.to_tf(initial_epoch=initial_epoch).repeat(3))

    first = iterator(0)
    for _ in range(done):
        next(first)
    saved = tf.train.Checkpoint(iterator=first).save(str(tmp_path / "checkpoint"))
    second = iterator()
    tf.train.Checkpoint(iterator=second).restore(saved)
    rest = batches(second)
    assert len(rest) == 3 * size // 2 - done
    assert equal(rest, batches(first))


# ---- augmentation in Python


@pytest.mark.parametrize("channels", [1, 3])
def test_a_callable_gets_the_same_sample_and_the_same_generator(mixed_index: ims.ImageIndex, channels: int) -> None:
    stream = ims.Stream(mixed_index, ims.SampleSpec(size=(24, 20), channels=channels), augment=mirrored, batch_size=9, shuffle=True, seed=6)
    assert_alike(batches(stream.to_tf(epoch=2)), list(stream.batches(2)))


def test_an_albumentations_policy_gets_the_same_sample_and_the_same_generator(mixed_index: ims.ImageIndex) -> None:
    compose = A.Compose([A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5), A.Transpose(p=0.5)])
    stream = ims.Stream(mixed_index, ims.SampleSpec(size=(20, 20)), augment=compose, batch_size=9, shuffle=True)
    assert_alike(batches(stream.to_tf()), list(stream.batches()))


def test_a_callable_is_never_given_a_bad_file(folder: Folder, spec: ims.SampleSpec) -> None:
    seen = []

    def note(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        seen.append(bool(image.any()))
        return image

    batches(ims.Stream(ims.scan(folder(9, bad=(0, 5))), spec, augment=note, batch_size=4).to_tf())
    assert seen == [True] * 7


def test_a_callable_that_fails_ends_the_pass_with_its_own_words(folder: Folder, spec: ims.SampleSpec) -> None:
    def breaks(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        raise KeyError("the mask is missing")

    index = ims.scan(folder(4)).take([2])
    stream = ims.Stream(index, spec, augment=breaks)
    with pytest.raises(tf.errors.OpError, match="breaks failed: KeyError: 'the mask is missing'") as caught:
        batches(stream.to_tf())
    assert index.path(0) in str(caught.value)
    with pytest.raises(AugmentError, match="the mask is missing"):
        list(TfPipeline(stream).traced_batches())


# ---- bad files, odd names


def test_on_bad_raise_ends_the_pass_and_names_the_file(folder: Folder, spec: ims.SampleSpec) -> None:
    index = ims.scan(folder(20, bad=(7,)))
    dataset = ims.Stream(index, spec, batch_size=5, on_bad="raise").to_tf()
    for _ in range(2):
        with pytest.raises(tf.errors.OpError) as caught:
            batches(dataset)
        assert index.path(7) in str(caught.value)
        assert "wrong kind: an HTML page" in str(caught.value)


def test_traced_batches_are_those_of_the_stream(mixed_index: ims.ImageIndex) -> None:
    stream = ims.Stream(mixed_index, ims.SampleSpec(size=(24, 20)), augment="strong", batch_size=7, shuffle=True)
    for start in (0, 3):
        for found, expected in zip(TfPipeline(stream).traced_batches(1, start), stream.traced_batches(1, start), strict=True):
            assert_alike([(found.images, found.labels)], [(expected.images, expected.labels)], 3 * LEVEL + 1e-6)
            assert found.number == expected.number
            assert np.array_equal(found.positions, expected.positions)
            assert [(at, str(error)) for at, error in found.bad] == [(at, str(error)) for at, error in expected.bad]


def test_traced_batches_raise_the_bad_file_itself(folder: Folder, spec: ims.SampleSpec) -> None:
    index = ims.scan(folder(20, bad=(7,)))
    with pytest.raises(ims.BadImage) as caught:
        list(TfPipeline(ims.Stream(index, spec, batch_size=5, on_bad="raise")).traced_batches())
    assert (caught.value.path, caught.value.reason) == (index.path(7), "wrong kind")


ODD_NAMES = [b"new\nline.jpg", b"quo'te\".jpg", b"\xff\xfe.jpg", b"sp ace%s {x}.jpg", "søren→.jpg".encode(), b"a:b?c*#.jpg"]


@pytest.fixture
def odd_folder(tmp_path: Path) -> bytes:
    """A folder of JPEGs whose names are in ODD_NAMES; skips where a file system has no such names."""
    root = os.fsencode(tmp_path / "odd")
    os.mkdir(root)
    rng = np.random.default_rng(2)
    for name in ODD_NAMES:
        try:
            with open(os.path.join(root, name), "wb") as file:
                noise(30, 25, rng).save(file, "JPEG")
        except OSError:
            pytest.skip("this file system takes UTF-8 names alone")
    return root


def test_names_may_be_any_bytes(odd_folder: bytes, spec: ims.SampleSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = ims.Stream(ims.ImageIndex.from_paths([os.path.join(odd_folder, name) for name in ODD_NAMES]), spec)
    expected = list(stream.batches())
    assert len(expected[0][0]) == len(ODD_NAMES)

    def refuse(*arguments: Any) -> None:
        raise AssertionError("the reference decoder was asked")

    monkeypatch.setattr(Decoder, "decode", refuse)
    assert_alike(batches(stream.to_tf()), expected)


def test_bad_files_with_odd_names_are_written_down(odd_folder: bytes, spec: ims.SampleSpec) -> None:
    paths = [os.path.join(odd_folder, name) for name in ODD_NAMES]
    for path in paths[1:]:
        with open(path, "wb") as file:
            file.write(b"<html>")
    stream = ims.Stream(ims.ImageIndex.from_paths(paths), spec)
    assert [len(images) for images, _ in batches(stream.to_tf())] == [1]
    assert sorted(stream.skipped) == sorted((os.fsdecode(path), "wrong kind") for path in paths[1:])


@pytest.mark.parametrize("name", ODD_NAMES, ids=ascii)
def test_an_error_names_a_file_with_an_odd_name(odd_folder: bytes, spec: ims.SampleSpec, name: bytes) -> None:
    path = os.path.join(odd_folder, name)
    with open(path, "wb") as file:
        file.write(b"<html>")
    stream = ims.Stream(ims.ImageIndex.from_paths([path]), spec, on_bad="raise")
    with pytest.raises(ims.BadImage) as bad:
        list(TfPipeline(stream).traced_batches())
    assert bad.value.path == os.fsdecode(path)
    with pytest.raises(tf.errors.OpError) as caught:
        batches(stream.to_tf())
    assert "wrong kind: an HTML page" in str(caught.value)
    assert os.fsdecode(path).encode("utf-8", "backslashreplace").decode() in str(caught.value)


def test_a_path_through_a_link_and_back_is_the_file_that_the_system_means(tmp_path: Path, spec: ims.SampleSpec) -> None:
    rng = np.random.default_rng(4)
    (tmp_path / "far" / "folder").mkdir(parents=True)
    noise(20, 30, rng).save(tmp_path / "x.jpg")  # what link/../x.jpg is by its letters
    noise(30, 20, rng).save(tmp_path / "far" / "x.jpg")  # what it is
    (tmp_path / "link").symlink_to(tmp_path / "far" / "folder")
    names = ["link/../x.jpg", "far/x.jpg", "./far//x.jpg", "x.jpg"]
    stream = ims.Stream(ims.ImageIndex.from_paths([f"{tmp_path}/{name}" for name in names]), spec)
    ((images, _),) = batches(stream.to_tf())
    assert_alike([(images, np.full(4, -1, np.int32))], list(stream.batches()))
    assert np.abs(images[0] - images[1]).max() <= LEVEL + 1e-6
    assert np.abs(images[0] - images[3]).max() > 0.1


def test_relative_paths_begin_at_the_working_directory(folder: Folder, spec: ims.SampleSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder(9)
    monkeypatch.chdir(root)
    names = [path.relative_to(root) for path in sorted(root.rglob("*.*"))]
    stream = ims.Stream(ims.ImageIndex.from_paths([*names, "../photos/a/000.jpg"]), spec)
    expected = list(stream.batches())
    assert len(expected[0][0]) == 10
    assert_alike(batches(stream.to_tf()), expected)


def test_an_empty_name_is_missing_on_both_paths(spec: ims.SampleSpec) -> None:
    stream = ims.Stream(ims.ImageIndex.from_paths([""]), spec)
    other = stream.replace()
    assert list(stream.batches()) == batches(other.to_tf()) == []
    assert other.skipped == stream.skipped == [("", "missing")]


# ---- Keras


def total(batches: Batches) -> np.ndarray:
    return np.array([image.sum(dtype=np.float64) for images, _ in batches for image in images])


@pytest.fixture
def summing_model() -> Any:
    """Its prediction is the sum of each image: it tells which images it was given. Training moves it by nothing."""
    inputs = keras.Input((16, 12, 3))
    sums = keras.layers.Lambda(lambda x: keras.ops.sum(x, axis=(1, 2, 3))[:, None], output_shape=(1,))(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1, kernel_initializer="ones")(sums))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    return model


def test_keras_predicts_and_evaluates_every_image_once(folder: Folder, spec: ims.SampleSpec, summing_model: Any) -> None:
    stream = ims.Stream(ims.scan(folder(18, bad=(3, 8))), spec, batch_size=4)
    expected = list(stream.batches())
    predicted = summing_model.predict(stream.to_tf(epoch=0), verbose=0)
    np.testing.assert_allclose(predicted[:, 0], total(expected), rtol=1e-3)
    labels = np.concatenate([labels for _, labels in expected])
    loss = summing_model.evaluate(stream.to_tf(epoch=0), verbose=0)
    assert loss == pytest.approx(float(np.mean((predicted[:, 0] - labels) ** 2)), rel=1e-4)


@pytest.mark.slow
def test_keras_warns_of_a_wholly_bad_batch_and_loses_nothing_else(folder: Folder, spec: ims.SampleSpec, summing_model: Any) -> None:
    stream = ims.Stream(ims.scan(folder(14, bad=(4, 5, 6, 7))), spec, batch_size=4)
    with pytest.warns(UserWarning, match="ran out of data"):
        predicted = summing_model.predict(stream.to_tf(epoch=0), verbose=0)
    np.testing.assert_allclose(predicted[:, 0], total(list(stream.batches())), rtol=1e-3)
    with pytest.warns(UserWarning, match="ran out of data"):
        history = summing_model.fit(stream.to_tf(), epochs=3, shuffle=False, verbose=0)
    assert history.epoch == [0, 1, 2]


@pytest.mark.parametrize("augment", ["light", "strong"])
def test_keras_fits_each_epoch_on_the_next_pass(folder: Folder, spec: ims.SampleSpec, augment: str) -> None:
    stream = ims.Stream(ims.scan(folder(14)), spec, augment=augment, batch_size=4, shuffle=True)
    expected = [[images.mean() for images, _ in stream.batches(epoch)] for epoch in range(3)]
    seen: list[list[float]] = []

    class Watched(keras.Model):
        def train_step(self, data: Any) -> dict[str, Any]:
            images, labels = data
            seen[-1].append(float(keras.ops.mean(images)))
            return {"loss": keras.ops.sum(labels) * 0}

    class Epochs(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            seen.append([])

    inputs = keras.Input((16, 12, 3))
    model = Watched(inputs, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(inputs)))
    model.compile("sgd", "mse", run_eagerly=True)
    model.fit(stream.to_tf(), epochs=3, shuffle=False, verbose=0, callbacks=[Epochs()])
    assert [len(epoch) for epoch in seen] == [4, 4, 4]
    np.testing.assert_allclose(seen, expected, atol=0.2 * LEVEL)
