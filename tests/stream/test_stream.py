"""Stream by value: what is in a batch, in which order, with which numbers; and what becomes of bad files."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import albumentations as A  # noqa: N812 - as its own documentation has it
import numpy as np
import pytest
from PIL import Image

import imgstream as ims
from imgstream.decode.sample import SampleReader
from imgstream.errors import AugmentError, SpecError
from imgstream.order import permute

Folder = Callable[..., Path]
Batches = list[tuple[np.ndarray, np.ndarray]]


def shift(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.roll(image, int(rng.integers(1, 10)), axis=1)


COMPOSE = A.Compose([A.HorizontalFlip(p=0.5), A.GaussNoise(p=0.8), A.CoarseDropout(p=0.5)])
AUGMENTATIONS = {"none": None, "standard": "standard", "strong": "strong", "compose": COMPOSE, "callable": shift}


def equal(one: Batches, other: Batches) -> bool:
    return len(one) == len(other) and all(
        a.dtype == b.dtype and np.array_equal(a, b) for x, y in zip(one, other, strict=True) for a, b in zip(x, y, strict=True)
    )


def copies(batches: Iterator[tuple[np.ndarray, np.ndarray]]) -> Batches:
    return [(images.copy(), labels.copy()) for images, labels in batches]


def by_position(stream: ims.Stream, epoch: int = 0) -> dict[int, bytes]:
    """Row in the table → its pixels."""
    found = {}
    for batch in stream.traced_batches(epoch):
        for position, image in zip(batch.positions, batch.images, strict=True):
            found[stream.index.row(int(position))] = image.tobytes()
    return found


# ---- what is in a batch


def test_a_batch_holds_the_samples_of_its_rows_in_the_indexs_order(folder: Folder, spec: ims.SampleSpec) -> None:
    index = ims.scan(folder(10))
    stream = ims.Stream(index, spec, batch_size=4)
    batches = list(stream.batches())
    assert len(stream) == 3
    assert [images.shape for images, _ in batches] == [(4, 16, 12, 3), (4, 16, 12, 3), (2, 16, 12, 3)]
    labels = np.concatenate([labels for _, labels in batches])
    assert labels.dtype == np.int32
    assert np.array_equal(labels, index.labels)
    reader, pixels, expected = SampleReader(spec), np.zeros(spec.shape, np.uint8), np.zeros(spec.shape, np.float32)
    for i, image in enumerate(np.concatenate([images for images, _ in batches])):
        reader.read(index.path_bytes(i), pixels)
        spec.to_float(pixels, expected)
        assert np.array_equal(image, expected)


def test_a_shuffled_epoch_is_the_permutation_of_its_key(folder: Folder, spec: ims.SampleSpec) -> None:
    stream = ims.Stream(ims.scan(folder(23)), spec, batch_size=5, shuffle=True, seed=9)
    for epoch in (0, 3):
        positions = np.concatenate([batch.positions for batch in stream.traced_batches(epoch)])
        assert np.array_equal(positions, permute(np.arange(23), 23, 9, epoch))
        labels = np.concatenate([labels for _, labels in stream.batches(epoch)])
        assert np.array_equal(labels, stream.index.labels[positions])


@pytest.mark.parametrize("augment", AUGMENTATIONS.values(), ids=AUGMENTATIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_batches_are_the_same_to_the_bit_for_any_number_of_workers(folder: Folder, augment: Any, channels: int) -> None:
    index = ims.scan(folder(40, bad=(3, 17, 18, 39)))
    small = ims.SampleSpec(size=(16, 12), channels=channels)
    one, *others = [ims.Stream(index, small, augment=augment, batch_size=7, shuffle=True, seed=4, workers=workers) for workers in (1, 2, 8)]
    expected = copies(one.batches(2))
    assert sum(len(images) for images, _ in expected) == 36
    for other in others:
        assert equal(expected, copies(other.batches(2)))
        assert other.skipped == one.skipped


@pytest.mark.parametrize("augment", AUGMENTATIONS.values(), ids=AUGMENTATIONS)
def test_a_start_gives_the_tail_of_the_epoch(folder: Folder, spec: ims.SampleSpec, augment: Any) -> None:
    stream = ims.Stream(ims.scan(folder(30)), spec, augment=augment, batch_size=4, shuffle=True)
    whole = copies(stream.batches(1))
    for start in (0, 1, 5, 7, 8, 100):
        assert equal(whole[start:], copies(stream.batches(1, start)))


def test_order_is_right_beyond_one_block_of_it(folder: Folder) -> None:
    index = ims.scan(folder(5)).take(np.arange(4500) % 5)
    stream = ims.Stream(index, ims.SampleSpec(size=(1, 1)), batch_size=1000, shuffle=True, seed=1)
    requests = list(stream.requests(0, 0))
    assert np.array_equal(np.concatenate([r.positions for r in requests]), permute(np.arange(4500), 4500, 1, 0))
    assert [r.number for r in requests] == [0, 1, 2, 3, 4]
    assert np.array_equal(requests[3].positions, next(stream.requests(0, 3)).positions)


def test_strong_gives_float_shares_that_sum_to_one(folder: Folder, spec: ims.SampleSpec) -> None:
    index = ims.scan(folder(40, bad=(5,)))
    labels = np.concatenate([labels for _, labels in ims.Stream(index, spec, augment="strong", batch_size=8).batches()])
    assert labels.shape == (39, 3)
    assert labels.dtype == np.float32
    np.testing.assert_allclose(labels.sum(axis=1), 1, atol=1e-6)
    assert np.array_equal(labels.argmax(axis=1)[labels.max(axis=1) > 0.5], np.delete(index.labels, 5)[labels.max(axis=1) > 0.5])
    assert ((labels.max(axis=1) < 1).sum()) > 0


# ---- swapping the augmentation


def test_a_swapped_augmentation_changes_pixels_and_nothing_else(folder: Folder, spec: ims.SampleSpec) -> None:
    stream = ims.Stream(ims.scan(folder(30, bad=(4, 20))), spec, augment="standard", batch_size=4, shuffle=True, seed=3)
    expected = list(stream.traced_batches(1))
    for augment in ("none", "light", COMPOSE, shift):
        other = stream.replace(augment=augment)
        for one, two in zip(expected, other.traced_batches(1), strict=True):
            assert np.array_equal(one.positions, two.positions)
            assert np.array_equal(one.labels, two.labels)
            assert not np.array_equal(one.images, two.images)
        assert other.skipped == stream.skipped


def test_light_and_standard_take_the_same_box_of_a_row(folder: Folder, spec: ims.SampleSpec) -> None:
    root = folder(8)
    y, x = np.mgrid[:50, :60]
    for file in root.rglob("*.png"):  # pictures that tell where they were cut
        Image.fromarray(np.stack([x * 4, y * 5, x * 0], -1).astype(np.uint8)).save(file)
    index = ims.scan(root)
    light, standard = (np.concatenate([i for i, _ in ims.Stream(index, spec, augment=name).batches()]) for name in ("light", "standard"))
    for row in range(8):
        if index.path(row).endswith(".png"):
            ramp = np.corrcoef(light[row, ..., 0].ravel(), standard[row, ..., 0].ravel())[0, 1]
            assert ramp > 0.95  # colours differ; where the picture was cut, and whether it was mirrored, do not


@pytest.mark.parametrize("augment", ["standard", COMPOSE, shift], ids=["standard", "compose", "callable"])
def test_an_images_augmentation_depends_on_neither_subset_nor_batch_size(folder: Folder, spec: ims.SampleSpec, augment: Any) -> None:
    index = ims.scan(folder(30))
    whole = by_position(ims.Stream(index, spec, augment=augment, shuffle=True), 2)
    part = by_position(ims.Stream(index.take([29, 3, 11, 4]), spec, augment=augment, batch_size=3), 2)
    assert sorted(part) == [3, 4, 11, 29]
    assert all(whole[row] == image for row, image in part.items())
    train, val = index.split(0.3)
    assert by_position(ims.Stream(train, spec, augment=augment), 2) | by_position(ims.Stream(val, spec, augment=augment), 2) == whole


def test_every_epoch_and_seed_is_augmented_anew(folder: Folder, spec: ims.SampleSpec) -> None:
    stream = ims.Stream(ims.scan(folder(6)), spec, augment="light")
    seen = {tuple(by_position(s, epoch).values()) for s in (stream, stream.replace(seed=5)) for epoch in (0, 5)}
    assert len(seen) == 4


# ---- bad files


def test_bad_files_are_left_out_and_written_down_once_in_order(folder: Folder, spec: ims.SampleSpec) -> None:
    root = folder(20, bad=(2, 9, 13))
    index = ims.scan(root)
    Path(index.path(9)).write_bytes(b"")
    stream = ims.Stream(index, spec, batch_size=5)
    good = by_position(stream.replace(index=index.take([i for i in range(20) if i not in (2, 9, 13)])))
    batches = list(stream.batches())
    assert [len(images) for images, _ in batches] == [4, 4, 4, 5]
    assert np.array_equal(np.concatenate([labels for _, labels in batches]), np.delete(index.labels, [2, 9, 13]))
    assert [image.tobytes() for images, _ in batches for image in images] == list(good.values())
    expected = [(index.path(2), "wrong kind"), (index.path(9), "empty"), (index.path(13), "wrong kind")]
    assert stream.skipped == expected
    list(stream.batches(1))
    assert stream.skipped == expected


def test_a_batch_with_nothing_left_is_left_out(folder: Folder, spec: ims.SampleSpec) -> None:
    stream = ims.Stream(ims.scan(folder(12, bad=(4, 5, 6, 7))), spec, batch_size=4)
    assert [len(images) for images, _ in stream.batches()] == [4, 4]
    assert [(batch.number, len(batch.images), len(batch.bad)) for batch in stream.traced_batches()] == [(0, 4, 0), (1, 0, 4), (2, 4, 0)]


@pytest.mark.parametrize("augment", [None, "strong"])
def test_a_folder_of_bad_files_alone_ends_quietly(folder: Folder, spec: ims.SampleSpec, augment: str | None) -> None:
    stream = ims.Stream(ims.scan(folder(6, bad=tuple(range(6)))), spec, batch_size=4, augment=augment)
    assert list(stream.batches()) == []
    assert len(stream.skipped) == 6


def test_on_bad_raise_raises_the_first_with_its_path(folder: Folder, spec: ims.SampleSpec) -> None:
    index = ims.scan(folder(20, bad=(7, 8, 15)))
    batches = ims.Stream(index, spec, batch_size=5, on_bad="raise").batches()
    assert len(next(batches)[0]) == 5
    with pytest.raises(ims.BadImage) as caught:
        next(batches)
    assert (caught.value.path, caught.value.reason) == (index.path(7), "wrong kind")


def test_replace_starts_with_nothing_skipped_and_keeps_the_rest(folder: Folder, spec: ims.SampleSpec) -> None:
    stream = ims.Stream(ims.scan(folder(9, bad=(1,))), spec, augment="light", batch_size=4, shuffle=True, seed=3, on_bad="skip", workers=2)
    expected = copies(stream.batches(1))
    again = stream.replace()
    assert (len(stream.skipped), again.skipped) == (1, [])
    assert equal(copies(again.batches(1)), expected)
    with pytest.raises(SpecError, match="no argument colour"):
        stream.replace(colour=1)


def test_a_file_that_vanishes_after_the_scan_is_missing(folder: Folder, spec: ims.SampleSpec) -> None:
    index = ims.scan(folder(6))
    Path(index.path(2)).unlink()
    stream = ims.Stream(index, spec)
    assert len(next(stream.batches())[0]) == 5
    assert stream.skipped == [(index.path(2), "missing")]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
def test_pipes_and_names_that_are_no_utf8_do_not_stop_a_stream(folder: Folder, spec: ims.SampleSpec) -> None:
    root = folder(6)
    os.mkfifo(root / "a" / "000 pipe.png")
    os.mkdir(root / "a" / "000 folder.png")
    odd = os.fsencode(root / "a") + b"/new\nline \xff.png"
    try:
        Path(os.fsdecode(odd)).write_bytes(b"")
    except OSError:
        pytest.skip("this file system takes UTF-8 names alone")
    stream = ims.Stream(ims.scan(root), spec)
    assert sum(len(images) for images, _ in stream.batches()) == 6
    assert stream.skipped == [(str(root / "a" / "000 pipe.png"), "not a regular file"), (os.fsdecode(odd), "empty")]


# ---- shards


def test_shards_are_disjoint_complete_and_take_every_nth_position(folder: Folder, spec: ims.SampleSpec) -> None:
    stream = ims.Stream(ims.scan(folder(22)), spec, augment="light", batch_size=3, shuffle=True, seed=2)
    order, whole = permute(np.arange(22), 22, 2, 1), by_position(stream, 1)
    found: dict[int, bytes] = {}
    for k in range(4):
        part = stream.shard(k, 4)
        batches = list(part.traced_batches(1))
        assert len(part) == len(batches)
        assert np.array_equal(np.concatenate([batch.positions for batch in batches]), order[k::4])
        images = by_position(part, 1)
        assert not images.keys() & found.keys()
        found |= images
    assert found == whole


def test_more_shards_than_images_leaves_some_empty(folder: Folder, spec: ims.SampleSpec) -> None:
    stream = ims.Stream(ims.scan(folder(3)), spec)
    assert [len(list(stream.shard(k, 5).batches())) for k in range(5)] == [1, 1, 1, 0, 0]
    with pytest.raises(SpecError, match="already"):
        stream.shard(1, 2).shard(0, 2)


# ---- memory and iteration


def test_batches_that_are_kept_are_never_overwritten(folder: Folder, spec: ims.SampleSpec) -> None:
    stream = ims.Stream(ims.scan(folder(24, bad=(6,))), spec, augment="strong", batch_size=4, shuffle=True)
    kept, as_they_were = [], []
    for epoch in range(3):
        for images, labels in stream.batches(epoch):
            kept.append((images[1:], labels))  # a view holds as well as the whole
            as_they_were.append((images[1:].copy(), labels.copy()))
    assert equal(kept, as_they_were)


def test_memory_is_used_again_when_batches_are_let_go(folder: Folder, spec: ims.SampleSpec) -> None:
    stream = ims.Stream(ims.scan(folder(40)), spec, batch_size=2, workers=2)
    addresses = {images.__array_interface__["data"][0] for epoch in range(3) for images, _ in stream.batches(epoch)}
    assert len(addresses) < 12  # of 60 batches


def test_interleaved_passes_agree_with_separate_ones(folder: Folder, spec: ims.SampleSpec) -> None:
    stream = ims.Stream(ims.scan(folder(30)), spec, augment="standard", batch_size=4, shuffle=True, workers=2)
    expected = [copies(stream.batches(epoch)) for epoch in (0, 1)]
    first, second = [], []
    for one, two in zip(stream.batches(0), stream.batches(1), strict=True):
        first.append(one)
        second.append(two)
    assert equal(first, expected[0])
    assert equal(second, expected[1])


def test_leaving_early_ends_the_work(folder: Folder, spec: ims.SampleSpec) -> None:
    left, seen = threading.Event(), []

    def wait(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        seen.append(image)
        if len(seen) > 2:
            left.wait(60)
        return image

    stream = ims.Stream(ims.scan(folder(40)), spec, augment=wait, batch_size=2, workers=1)
    batches = stream.batches()
    next(batches)
    batches.close()  # what leaving a for loop does
    left.set()
    assert sum(len(images) for images, _ in stream.batches(1)) == 40  # its only thread is free for the next pass
    assert 42 <= len(seen) <= 43  # one may have been in hand


def test_threads_are_kept_from_epoch_to_epoch(folder: Folder, spec: ims.SampleSpec) -> None:
    seen: set[int] = set()

    def note(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        seen.add(threading.get_ident())
        return image

    stream = ims.Stream(ims.scan(folder(12)), spec, augment=note, batch_size=2, workers=2)
    for epoch in range(6):
        list(stream.batches(epoch))
    assert 1 <= len(seen) <= 2
    assert threading.get_ident() not in seen


# ---- what the user gave is wrong


def test_an_augmentation_that_fails_is_named_with_its_file(folder: Folder, spec: ims.SampleSpec) -> None:
    def breaks(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        raise KeyError("mask")

    index = ims.scan(folder(3))
    with pytest.raises(AugmentError, match=r"breaks failed: KeyError: 'mask'") as caught:
        list(ims.Stream(index.take([1]), spec, augment=breaks).batches())
    assert index.path(1) in str(caught.value)


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        (lambda image, rng: image[1:], r"<lambda> returned uint8 \(15, 12, 3\)"),
        (lambda image, rng: image / 255, r"<lambda> returned float64 \(16, 12, 3\)"),
        (A.Compose([A.VerticalFlip(p=1), A.Resize(8, 8)]), r"Resize gives uint8 \(8, 8, 3\)"),
    ],
)
def test_an_augmentation_that_returns_no_sample_is_named_with_its_file(
    folder: Folder, spec: ims.SampleSpec, augment: Any, message: str
) -> None:
    index = ims.scan(folder(3))
    with pytest.raises(AugmentError, match=message) as caught:
        list(ims.Stream(index.take([2]), spec, augment=augment).batches())
    assert index.path(2) in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size must be a whole number, 1 or more; got 0"),
        ({"batch_size": 2.0}, "batch_size"),
        ({"batch_size": True}, "batch_size"),
        ({"on_bad": "ignore"}, "on_bad"),
        ({"workers": 0}, "workers"),
        ({"shard": (2, 2)}, "shard"),
        ({"spec": (32, 32)}, r"a SampleSpec, such as SampleSpec\(size=\(32, 32\)\); got \(32, 32\)"),
        ({"cache": True}, 'None, "auto" or the path of a folder; got True'),
    ],
)
def test_impossible_arguments_are_refused(folder: Folder, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        ims.Stream(ims.scan(folder(3)), **arguments)


def test_a_folder_instead_of_an_index_says_what_to_do(folder: Folder) -> None:
    with pytest.raises(SpecError, match=r"imgstream\.scan\("):
        ims.Stream(str(folder(3)))  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="epoch"):
        next(ims.Stream(ims.scan(folder(3))).batches(epoch=-1))


# ---- without TensorFlow


def test_streaming_needs_neither_tensorflow_nor_keras(folder: Folder) -> None:
    code = (
        "import sys, imgstream as ims\n"
        "stream = ims.Stream(ims.scan(sys.argv[1]), ims.SampleSpec(size=(8, 8)), augment='strong', workers=2)\n"
        "assert sum(len(images) for images, _ in stream.batches()) == 6\n"
        "print([name for name in ('tensorflow', 'keras', 'albumentations') if name in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", code, str(folder(6))], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"
