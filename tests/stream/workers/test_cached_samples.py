"""Streams with a cache: the same batches whatever it holds, close to those without one; and what it keeps of which files."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import imgstream as ims
from imgstream.cache import PixelCache
from imgstream.decode.sample import SampleReader
from imgstream.errors import CacheWarning

Folder = Callable[..., Path]
Batches = list[tuple[np.ndarray, np.ndarray]]
YEAR_2020 = 1_577_836_800


def shift(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.roll(image, int(rng.integers(1, 10)), axis=1)


AUGMENTATIONS = {"none": None, "callable": shift, "light": "light", "strong": "strong"}
EVERY = pytest.mark.parametrize("augment", AUGMENTATIONS.values(), ids=AUGMENTATIONS)


def settle(root: Path) -> Path:
    """Make all files old enough to be kept."""
    for path in root.rglob("*"):
        os.utime(path, (YEAR_2020, YEAR_2020))
    return root


@pytest.fixture
def photos(folder: Folder) -> Path:
    """24 files that are old enough to be kept, of which 5 and 16 are bad."""
    return settle(folder(24, bad=(5, 16)))


def equal(one: Batches, other: Batches) -> bool:
    return len(one) == len(other) and all(
        a.dtype == b.dtype and np.array_equal(a, b) for x, y in zip(one, other, strict=True) for a, b in zip(x, y, strict=True)
    )


def copies(batches: Iterator[tuple[np.ndarray, np.ndarray]]) -> Batches:
    return [(images.copy(), labels.copy()) for images, labels in batches]


def epochs(stream: ims.Stream, count: int = 2) -> Batches:
    return [batch for epoch in range(count) for batch in copies(stream.batches(epoch))]


def kept(cache: PixelCache) -> int:
    return sum(held.images for held in cache.held())


def replaced(path: str | Path, data: bytes) -> None:
    """Other contents of the same size, at the same time: nobody can tell without reading it."""
    status = os.stat(path)
    Path(path).write_bytes(data[: status.st_size].ljust(status.st_size, b"\0"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


# ---- batches do not depend on what the cache holds


@EVERY
@pytest.mark.parametrize("workers", [1, 3])
def test_batches_are_the_same_whether_the_cache_is_empty_half_full_full_at_its_limit_or_cleared(
    photos: Path, tmp_path: Path, spec: ims.SampleSpec, augment: Any, workers: int
) -> None:
    index = ims.scan(photos)
    options: dict[str, Any] = {"augment": augment, "batch_size": 5, "shuffle": True, "seed": 3}
    expected = epochs(ims.Stream(index, spec, workers=2, cache=tmp_path / "other", **options), 3)
    assert len(expected) == 15

    stream = ims.Stream(index, spec, workers=workers, cache=tmp_path / "kept", **options)
    assert equal(epochs(stream, 3), expected)  # empty, then full
    assert kept(PixelCache(tmp_path / "kept")) == 22
    assert equal(epochs(stream.replace(), 3), expected)

    half = tmp_path / "half"
    list(ims.Stream(index.take(np.arange(0, 24, 2)), spec, cache=half, **options).batches())
    assert 0 < kept(PixelCache(half)) < 22
    assert equal(epochs(ims.Stream(index, spec, workers=workers, cache=half, **options), 3), expected)

    limited = PixelCache(tmp_path / "limited", limit=8000)
    with pytest.warns(CacheWarning, match="limit") as told:
        found = epochs(ims.Stream(index, spec, workers=workers, cache=limited, **options), 3)
    assert equal(found, expected)
    assert len(told) == 1
    assert 0 < kept(limited) < 22
    assert sum(path.stat().st_size for path in limited.folder.rglob("*.pixels")) <= 8000

    cleared = []
    for number, batch in enumerate(batch for epoch in range(3) for batch in stream.batches(epoch)):
        if number in (2, 7):
            PixelCache(tmp_path / "kept").clear()
        cleared.append(batch)
    assert equal(cleared, expected)


@pytest.mark.parametrize("augment", [None, shift], ids=["none", "callable"])
@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_without_a_preset_the_cache_changes_nothing_at_all(photos: Path, tmp_path: Path, fit: Any, augment: Any) -> None:
    for channels in (1, 3):
        spec = ims.SampleSpec(size=(16, 12), fit=fit, channels=channels, scale="caffe" if channels == 3 else "signed")
        plain = ims.Stream(ims.scan(photos), spec, augment=augment, batch_size=7, shuffle=True)
        cached = plain.replace(cache=tmp_path / "kept")
        assert equal(epochs(cached), epochs(plain))
        assert cached.skipped == plain.skipped
        assert len(cached.skipped) == 2


@pytest.mark.parametrize("augment", ["light", "strong"])
@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_a_presets_windows_of_kept_images_are_close_to_those_of_the_files(tmp_path: Path, augment: str, fit: Any) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "drawn").mkdir()
    for number in range(12):
        height, width = rng.integers(120, 400, 2)
        y, x = np.mgrid[:height, :width] / 40
        waves = [127 + 120 * np.sin(a * x + b * y + c) for a, b, c in rng.uniform(-1, 1, (3, 3))]
        Image.fromarray(np.stack(waves, -1).astype(np.uint8)).save(tmp_path / "drawn" / f"{number}.{'jpg' if number % 2 else 'png'}")
    plain = ims.Stream(ims.scan(settle(tmp_path / "drawn")), ims.SampleSpec(size=(48, 64), fit=fit), augment=augment)
    for (images, labels), (others, shares) in zip(epochs(plain), epochs(plain.replace(cache=tmp_path / "kept")), strict=True):
        assert np.array_equal(labels, shares)
        assert 0 < np.abs(images - others).mean() < 3 / 255


@pytest.mark.quick("light")
@EVERY
def test_both_pipelines_give_the_same_samples_from_a_cache(photos: Path, tmp_path: Path, spec: ims.SampleSpec, augment: Any) -> None:
    stream = ims.Stream(ims.scan(photos), spec, augment=augment, batch_size=5, shuffle=True, cache=tmp_path / "kept")
    expected = epochs(stream)
    for cache in (tmp_path / "kept", tmp_path / "empty"):
        other = stream.replace(pipeline="tf", cache=cache)
        for (images, labels), (others, shares) in zip(expected, epochs(other), strict=True):
            np.testing.assert_allclose(shares, labels, atol=1e-6)
            # Colours and rotation are computed in float by TensorFlow: rounded once instead of thrice.
            np.testing.assert_allclose(others, images, atol=3 / 255 + 1e-6 if augment == "strong" else 1e-6)
        assert sorted(other.skipped) == sorted(stream.skipped)
        assert kept(PixelCache(cache)) == 22
        dataset = [(images.numpy(), labels.numpy()) for images, labels in other.to_tf(epoch=1)]
        assert equal(dataset, copies(other.batches(1)))


# ---- what is kept, and for which file


@pytest.mark.parametrize("augment", [None, "light"])
@pytest.mark.parametrize("pipeline", ["python", "tf"])
def test_an_image_that_is_kept_is_not_decoded_again(
    photos: Path, tmp_path: Path, spec: ims.SampleSpec, augment: Any, pipeline: Any
) -> None:
    stream = ims.Stream(ims.scan(photos), spec, augment=augment, cache=tmp_path / "kept", pipeline=pipeline)
    expected = copies(stream.batches())
    for path in photos.rglob("*g"):
        replaced(path, b"")
    assert equal(copies(stream.replace().batches()), expected)


@EVERY
def test_a_file_that_has_changed_is_read_anew(photos: Path, tmp_path: Path, spec: ims.SampleSpec, augment: Any) -> None:
    index = ims.scan(photos)
    stream = ims.Stream(index, spec, augment=augment, batch_size=5, cache=tmp_path / "kept")
    before = epochs(stream)
    Image.fromarray(np.full((33, 44, 3), 200, np.uint8)).save(index.path(1))
    Image.fromarray(np.full((33, 44, 3), 100, np.uint8)).save(index.path(8))
    os.utime(index.path(8), (YEAR_2020 + 1, YEAR_2020 + 1))
    now = epochs(ims.Stream(index, spec, augment=augment, batch_size=5, cache=tmp_path / "other"))
    assert equal(epochs(stream), now)
    assert equal(epochs(stream), now)
    assert not equal(now, before)
    if augment is None:
        np.testing.assert_allclose(now[0][0][1], 200 / 255, atol=1e-6)


def test_a_young_file_is_read_each_time_and_kept_when_it_has_settled(photos: Path, tmp_path: Path, spec: ims.SampleSpec) -> None:
    index = ims.scan(photos)
    future = 4_000_000_000
    os.utime(index.path(0), (future, future))
    os.utime(index.path(1))  # now
    stream = ims.Stream(index, spec, cache=tmp_path / "kept")
    list(stream.batches())
    assert kept(PixelCache(tmp_path / "kept")) == 21
    os.utime(index.path(1), (YEAR_2020, YEAR_2020))
    list(stream.batches())
    assert kept(PixelCache(tmp_path / "kept")) == 22


@EVERY
def test_bad_files_stay_bad_and_are_never_kept(photos: Path, tmp_path: Path, spec: ims.SampleSpec, augment: Any) -> None:
    index = ims.scan(photos)
    data = Path(index.path(3)).read_bytes()
    Path(index.path(2)).write_bytes(data[: len(data) // 2])
    Path(index.path(4)).write_bytes(b"")
    settle(photos)
    stream = ims.Stream(index, spec, augment=augment, cache=tmp_path / "kept")
    assert equal(epochs(stream), epochs(stream.replace()))
    reasons = {index.path(2): "truncated", index.path(4): "empty", index.path(5): "wrong kind", index.path(16): "wrong kind"}
    assert dict(stream.skipped) == reasons
    assert kept(PixelCache(tmp_path / "kept")) == 20


def test_a_file_that_is_mended_is_good_in_the_next_epoch(photos: Path, tmp_path: Path, spec: ims.SampleSpec) -> None:
    index = ims.scan(photos)
    stream = ims.Stream(index, spec, cache=tmp_path / "kept")
    assert sum(len(images) for images, _ in stream.batches()) == 22
    Path(index.path(5)).write_bytes(Path(index.path(4)).read_bytes())
    assert sum(len(images) for images, _ in stream.batches()) == 23


@EVERY
@pytest.mark.parametrize("pipeline", ["python", "tf"])
def test_a_file_that_was_kept_and_is_gone_is_missing(
    photos: Path, tmp_path: Path, spec: ims.SampleSpec, augment: Any, pipeline: Any
) -> None:
    index = ims.scan(photos)
    stream = ims.Stream(index, spec, augment=augment, cache=tmp_path / "kept", pipeline=pipeline)
    list(stream.batches())
    Path(index.path(7)).unlink()
    again = stream.replace()
    assert sum(len(images) for images, _ in again.batches()) == 21
    assert (index.path(7), "missing") in again.skipped


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_images_are_kept_upright(tmp_path: Path, orientation: int) -> None:
    colours = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]], [[0, 0, 0], [255, 255, 0]]], np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(colours.repeat(80, 0).repeat(80, 1)).save(tmp_path / "a.png", exif=exif)
    settle(tmp_path)
    for augment in (None, "light"):
        plain = ims.Stream(ims.scan(tmp_path), ims.SampleSpec(size=(24, 36)), augment=augment)
        cached = plain.replace(cache=tmp_path / "kept")
        for (expected, _), (first, _), (second, _) in zip(epochs(plain, 1), epochs(cached, 1), epochs(cached, 1), strict=True):
            assert np.abs(expected - first).mean() < 0.05
            assert np.array_equal(first, second)


def test_streams_of_several_sizes_share_one_set_of_images(photos: Path, tmp_path: Path) -> None:
    index = ims.scan(photos)
    cache = PixelCache(tmp_path / "kept", size=(24, 24))
    streams = [ims.Stream(index, ims.SampleSpec(size=size), augment="light", cache=cache) for size in ((16, 16), (24, 24), (20, 12))]
    expected = [epochs(stream.replace(cache=PixelCache(tmp_path / f"{i}", size=(24, 24)))) for i, stream in enumerate(streams)]
    assert [equal(epochs(stream), other) for stream, other in zip(streams, expected, strict=True)] == [True] * 3
    assert [(held.images, held.form["size"]) for held in cache.held()] == [(22, [24, 24])]


def test_training_and_validation_keep_what_each_needs_side_by_side(photos: Path, tmp_path: Path, spec: ims.SampleSpec) -> None:
    train, val = ims.scan(photos).split(0.3)
    cache = PixelCache(tmp_path / "kept")
    list(ims.Stream(train, spec, augment="standard", cache=cache).batches())
    list(ims.Stream(val, spec, cache=cache).batches())
    assert {held.form["kept"]: held.images for held in cache.held()}.keys() == {"images", "samples"}
    assert kept(cache) == 22


def test_a_row_that_comes_twice_is_right_both_times(photos: Path, tmp_path: Path, spec: ims.SampleSpec) -> None:
    index = ims.scan(photos).take([3, 3, 7, 3, 7, 5])
    plain = ims.Stream(index, spec, batch_size=2)
    assert equal(epochs(plain.replace(cache=tmp_path / "kept")), epochs(plain))


def test_auto_keeps_in_the_users_cache_folder(photos: Path, tmp_path: Path, spec: ims.SampleSpec) -> None:
    list(ims.Stream(ims.scan(photos), spec, cache="auto").batches())
    assert kept(PixelCache()) == 22
    assert PixelCache().folder == tmp_path / "cache" / "pixels"


@pytest.mark.parametrize("workers", [1, 3])
def test_a_cache_that_is_damaged_while_nobody_looks_changes_no_batch(
    photos: Path, tmp_path: Path, spec: ims.SampleSpec, workers: int
) -> None:
    cache = PixelCache(tmp_path / "kept", limit=100_000)
    expected = epochs(ims.Stream(ims.scan(photos), spec, cache=cache))
    rng = np.random.default_rng(workers)
    for path, count in [(path, 20) for path in cache.folder.rglob("*.rows")] + [(path, 80) for path in cache.folder.rglob("*.pixels")]:
        data = np.fromfile(path, np.uint8)
        data[rng.integers(0, min(len(data), 14_000), count)] ^= 7
        with path.open("r+b") as file:
            file.write(data)
    found = epochs(ims.Stream(ims.scan(photos), spec, workers=workers, cache=PixelCache(tmp_path / "kept")))
    assert equal(found, expected)
    assert kept(cache) > 25  # half of them were decoded again


def test_a_full_disk_changes_no_batch(photos: Path, tmp_path: Path, spec: ims.SampleSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    write, done = getattr(os, "pwrite", None), []
    if write is None:
        pytest.skip("no pwrite here")

    def full(descriptor: int, data: memoryview, at: int) -> int:
        done.append(at)
        if len(done) > 7:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data, at)

    stream = ims.Stream(ims.scan(photos), spec, augment="strong", batch_size=5, workers=3, shuffle=True)
    expected = epochs(stream.replace(cache=tmp_path / "other"))
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.warns(CacheWarning, match="No space") as told:
        assert equal(epochs(stream.replace(cache=tmp_path / "kept")), expected)
    assert len(told) == 1
    monkeypatch.undo()
    assert kept(PixelCache(tmp_path / "kept")) == 7
    assert equal(epochs(stream.replace(cache=tmp_path / "kept")), expected)


# ---- a process that is killed while it fills the cache


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_what_killed_processes_left_in_a_cache_is_right(folder: Folder, tmp_path: Path) -> None:
    code = (
        "import sys, imgstream as ims\n"
        "spec = ims.SampleSpec(size=(40, 40))\n"
        "stream = ims.Stream(ims.scan(sys.argv[1]), spec, augment='light', batch_size=4, workers=2, cache=sys.argv[2])\n"
        "for epoch in range(1000):\n"
        "    for batch in stream.batches(epoch): print(flush=True)"
    )
    photos = settle(folder(120))
    counts = []
    for batches in (1, 6, 14):
        command = [sys.executable, "-c", code, str(photos), str(tmp_path / "kept")]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert [process.stdout.readline() for _ in range(batches)] == [b"\n"] * batches
            process.kill()
        counts.append(kept(PixelCache(tmp_path / "kept")))
    assert counts == sorted(counts)
    assert counts[-1] > 40
    stream = ims.Stream(ims.scan(photos), ims.SampleSpec(size=(40, 40)), augment="light", batch_size=4, cache=tmp_path / "kept")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = epochs(stream)
    assert equal(found, epochs(stream.replace(cache=tmp_path / "fresh")))
    assert kept(PixelCache(tmp_path / "kept")) >= 120


def test_the_same_name_in_another_working_directory_is_another_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for place, level in (("one", 40), ("two", 200)):
        folder = tmp_path / place / "photos" / "a"
        folder.mkdir(parents=True)
        Image.fromarray(np.full((12, 12, 3), level, np.uint8)).save(folder / "x.bmp")
        os.utime(folder / "x.bmp", (10**9, 10**9))  # the same size and time
        monkeypatch.chdir(tmp_path / place)
        stream = ims.Stream(ims.scan("photos"), ims.SampleSpec(size=(8, 8), scale="raw"), cache=tmp_path / "cache", workers=1)
        found += [float(images.mean()) for images, _ in stream.batches()]
    assert found == [40, 200]


def test_every_pass_of_one_epoch_through_tensorflow_sees_what_the_one_before_has_kept(
    photos: Path, tmp_path: Path, spec: ims.SampleSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = ims.Stream(ims.scan(photos), spec, augment="light", batch_size=5, cache=tmp_path / "cache")
    dataset = stream.to_tf(epoch=0)
    first = [images.numpy() for images, _ in dataset]
    decoded: list[bytes] = []
    read = SampleReader.read_reduced

    def counted(self: SampleReader, path: bytes, *rest: Any) -> np.ndarray:
        decoded.append(path)
        return read(self, path, *rest)

    monkeypatch.setattr(SampleReader, "read_reduced", counted)
    second = [images.numpy() for images, _ in dataset]
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert len(decoded) <= len(stream.skipped)
