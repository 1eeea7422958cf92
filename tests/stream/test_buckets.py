"""Batches of objects in a bucket are those of the same files on a disk, however the server behaves and however they are read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import imgstream as ims
from bucket_server import CUT, BucketServer, Stored, folder_as_bucket
from imgstream.files import objects
from imgstream.files.addresses import Address
from imgstream.stream.workers import batch_loader, objects_ahead
from imgstream.stream.workers.objects_ahead import ObjectsAhead

SPEC = ims.SampleSpec(size=(24, 32))


def batches(index: ims.ImageIndex, epoch: int = 0, **options: Any) -> tuple[list[tuple[np.ndarray, ...]], dict[str, str]]:
    stream = ims.Stream(index, SPEC, **{"augment": "light", "shuffle": True, "batch_size": 7, "seed": 3, **options})
    return list(stream.batches(epoch)), {path[len(index.root) + 1 :]: reason for path, reason in stream.skipped}


def assert_equal(some: list[tuple[np.ndarray, ...]], others: list[tuple[np.ndarray, ...]]) -> None:
    assert len(some) == len(others)
    for mine, theirs in zip(some, others, strict=True):
        np.testing.assert_array_equal(mine[0], theirs[0])
        np.testing.assert_array_equal(mine[1], theirs[1])


@pytest.fixture
def photos(bucket: BucketServer, folder: Callable[..., Path]) -> Path:
    """A folder of 40 images, two of them bad, and the same in s3://photos."""
    root = folder(40, bad=(7, 20))
    bucket.buckets["photos"] = folder_as_bucket(root)
    return root


def test_batches_and_bad_files_are_those_of_the_folder(bucket: BucketServer, photos: Path) -> None:
    expected, bad = batches(ims.scan(photos), epoch=2)
    found, also_bad = batches(ims.scan("s3://photos"), epoch=2, workers=3)
    assert_equal(found, expected)
    assert also_bad == bad
    assert len(bad) == 2
    assert {count for request, count in bucket.requests.items() if request.startswith("GET")} == {1}


@pytest.mark.parametrize("workers", [4, pytest.param(12, marks=pytest.mark.slow)])
def test_objects_are_asked_for_before_their_turn(bucket: BucketServer, photos: Path, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_loader, "WORTH_PROCESSES", 1)
    expected, _ = batches(ims.scan(photos))
    bucket.delay = 0.1
    found, _ = batches(ims.scan("s3://photos"), workers=workers)
    assert_equal(found, expected)
    assert bucket.most_in_flight > 2 * workers
    assert {count for request, count in bucket.requests.items() if request.startswith("GET")} == {1}


def test_the_tf_pipeline_reads_the_same_within_its_tolerance(bucket: BucketServer, photos: Path) -> None:
    expected, bad = batches(ims.scan(photos), augment=None)
    bucket.delay = 0.05
    found, also_bad = batches(ims.scan("s3://photos"), augment=None, pipeline="tf", workers=2)
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine[0], theirs[0], atol=1 / 255 + 1e-6)
        np.testing.assert_array_equal(mine[1], theirs[1])
    assert also_bad == bad
    assert bucket.most_in_flight > 4
    assert {count for request, count in bucket.requests.items() if request.startswith("GET")} == {1}


@pytest.mark.parametrize("pipeline", ["python", "tf"])
def test_with_a_cache_nothing_is_fetched_after_the_first_epoch(bucket: BucketServer, photos: Path, tmp_path: Path, pipeline: str) -> None:
    (tmp_path / "pixels").mkdir()
    index = ims.scan("s3://photos")
    options = {"pipeline": pipeline, "cache": tmp_path / "pixels", "augment": None}
    first, bad = batches(index, **options)
    bucket.requests.clear()
    again, _ = batches(index, **options)
    assert_equal(again, first)
    assert set(bucket.requests) == {f"GET {path}" for path in bad}  # what is bad is not kept


def test_an_object_that_is_written_again_is_fetched_again_once_it_is_listed(bucket: BucketServer, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "pixels").mkdir()
    options = {"cache": tmp_path / "pixels", "augment": None, "shuffle": False}
    batches(ims.scan("s3://photos"), **options)
    stored = bucket.buckets["photos"]
    key, other = list(stored)[:2]
    stored[key] = stored[other]
    bucket.requests.clear()
    found, _ = batches(ims.scan("s3://photos"), **options)
    assert bucket.requests[f"GET {key}"] == 1
    np.testing.assert_array_equal(found[0][0][0], found[0][0][1])


def test_a_web_address_without_a_listing_is_cached_too(bucket: BucketServer, photos: Path, tmp_path: Path) -> None:
    bucket.key_id = None
    (tmp_path / "pixels").mkdir()
    good = [path for path in folder_as_bucket(photos) if not (photos / path).read_bytes().startswith(b"<")][:5]
    index = ims.ImageIndex.from_paths([f"{bucket.endpoint}/photos/{path}" for path in good])
    for requests in (5, 0):
        bucket.requests.clear()
        batches(index, cache=tmp_path / "pixels")
        assert sum(bucket.requests.values()) == requests


def test_throttling_and_cut_connections_that_pass_change_nothing(bucket: BucketServer, photos: Path) -> None:
    expected, bad = batches(ims.scan(photos))
    index = ims.scan("s3://photos")
    rng = np.random.default_rng(5)
    faults = {f"GET {key}": int(rng.choice([0, 503, CUT])) for key in bucket.buckets["photos"]}
    bucket.fault = lambda request: faults.get(request, 0) if bucket.requests[request] == 1 else 0
    found, also_bad = batches(index, workers=2)
    assert_equal(found, expected)
    assert also_bad == bad


@pytest.mark.parametrize("pipeline", ["python", "tf"])
def test_faults_that_last_are_reasons_of_their_rows(
    bucket: BucketServer, photos: Path, monkeypatch: pytest.MonkeyPatch, pipeline: str
) -> None:
    monkeypatch.setattr(objects, "RETRIES", 1)
    index = ims.scan("s3://photos")
    denied, gone, throttled = list(bucket.buckets["photos"])[:3]
    del bucket.buckets["photos"][gone]
    bucket.fault = lambda request: {f"GET {denied}": 403, f"GET {throttled}": 503}.get(request, 0)
    found, bad = batches(index, pipeline=pipeline)
    assert {path: bad[path] for path in (denied, gone, throttled)} == {
        denied: "no permission",
        gone: "missing",
        throttled: "read error",
    }
    assert sum(len(batch[1]) for batch in found) == 35


@pytest.mark.parametrize("pipeline", ["python", "tf"])
def test_a_bucket_that_vanishes_in_mid_epoch_ends_nothing_but_its_rows(
    bucket: BucketServer, photos: Path, monkeypatch: pytest.MonkeyPatch, pipeline: str
) -> None:
    index = ims.scan("s3://photos")
    monkeypatch.setattr(objects_ahead, "SAMPLES", 7)
    bucket.fault = lambda request: 404 if sum(bucket.requests.values()) > 20 else 0
    found, bad = batches(index, pipeline=pipeline)
    assert sum(len(batch[1]) for batch in found) + len(bad) == 40
    assert list(bad.values()).count("missing") > 15


def test_with_on_bad_raise_the_first_bad_object_is_an_error_that_names_it(bucket: BucketServer, photos: Path) -> None:
    index = ims.scan("s3://photos")
    del bucket.buckets["photos"]
    with pytest.raises(ims.BadImage, match=r"s3://photos/a/0.*missing: there is no such bucket"):
        batches(index, on_bad="raise", shuffle=False)


def test_what_waits_to_be_decoded_is_bounded_in_bytes(bucket: BucketServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects_ahead, "BYTES", 10_000)
    bucket.buckets["photos"] = {f"{number:03}.jpg": Stored(bytes(1000)) for number in range(100)}
    ahead = ObjectsAhead(lambda path: True)
    for number in range(100):
        ahead.expect(number, Address(f"s3://photos/{number:03}.jpg".encode(), 1000, 1))
    taken = ahead.take(0)
    assert taken is not None
    assert taken.ahead.result().size == 1000
    for number in range(1, 11):
        address = ahead.take(number)
        assert address is not None
        assert address.ahead is not None
    beyond = ahead.take(50)  # whose turn has not come: it is not on its way, and not fetched twice
    assert beyond is not None
    assert beyond.ahead is None
    assert sum(bucket.requests.values()) <= 21
    ahead.close()


def test_passes_that_are_left_early_do_not_fill_the_room(bucket: BucketServer, photos: Path) -> None:
    stream = ims.Stream(ims.scan("s3://photos"), SPEC, batch_size=4)
    expected = next(stream.batches())
    for _ in range(20):
        np.testing.assert_array_equal(next(stream.batches())[0], expected[0])


def test_a_path_on_the_disk_beside_objects_is_read_as_ever(bucket: BucketServer, photos: Path, tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    paths = sorted(os.fspath(path.relative_to(photos)) for path in photos.rglob("*.png"))[:8]
    file.write_text("".join(f"{f's3://photos/{path}' if at % 2 else photos / path}\n" for at, path in enumerate(paths)))
    mixed, _ = batches(ims.scan(file, allow_outside=True), augment=None)
    plain, _ = batches(ims.ImageIndex.from_paths([photos / path for path in paths]), augment=None)
    assert_equal(mixed, plain)
