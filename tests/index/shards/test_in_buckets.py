"""Archives and shards in a bucket: rows, labels and pixels are those of the same files on a disk, and images are read by ranges."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shard_files import LIMIT, Members, fault, relative, write_parquet, write_tar, write_tfrecord, write_webdataset, write_zip

import imgstream as ims
from bucket_server import CUT, BucketServer, Stored, folder_as_bucket
from imgstream.errors import DatasetError, NoImagesError
from imgstream.files import objects
from imgstream.files.reader import FileReader, FileVersion, file_version, read_declared, read_digest
from imgstream.index import ImageIndex
from imgstream.index.shards import scan as scan_module
from imgstream.stream.workers import batch_loader

SPEC = ims.SampleSpec(size=(24, 32))


def batches(index: ImageIndex, **options: Any) -> list[tuple[np.ndarray, ...]]:
    stream = ims.Stream(index, SPEC, **{"augment": "light", "shuffle": True, "batch_size": 7, "seed": 3, **options})
    return [(images.copy(), labels.copy()) for images, labels in stream.batches()]


def assert_equal(some: list[tuple[np.ndarray, ...]], others: list[tuple[np.ndarray, ...]]) -> None:
    assert len(some) == len(others)
    for mine, theirs in zip(some, others, strict=True):
        np.testing.assert_array_equal(mine[0], theirs[0])
        np.testing.assert_array_equal(mine[1], theirs[1])


@pytest.fixture
def tfrecord(bucket: BucketServer, members: Members, tmp_path: Path) -> str:
    """The address of a shard."""
    bucket.buckets["photos"] = {"t/a.tfrecord": Stored(write_tfrecord(tmp_path / "a.tfrecord", members).read_bytes())}
    return "s3://photos/t/a.tfrecord"


def test_every_form_gives_the_rows_the_labels_and_the_pixels_of_the_same_file_on_a_disk(bucket: BucketServer, packed: Path) -> None:
    bucket.buckets["photos"] = {f"shards/{packed.name}": Stored(packed.read_bytes())}
    local, index = ims.scan(packed), pickle.loads(pickle.dumps(ims.scan(f"s3://photos/shards/{packed.name}")))
    assert relative(index) == relative(local)
    assert (index.class_names, index.labels.tolist()) == (local.class_names, local.labels.tolist())
    assert index.path(3) == f"s3://photos/shards/{packed.name}/dark/03.jpg"
    bucket.requests.clear()
    assert_equal(batches(index), batches(local))
    assert set(bucket.requests) == {f"GET shards/{packed.name}"}
    assert sum(bucket.requests.values()) <= len(index)
    for row in (0, 39):
        path, on_disk = index.path_bytes(row), local.path_bytes(row)
        assert bytes(FileReader().read(path, LIMIT)[0]) == bytes(FileReader().read(on_disk, LIMIT)[0])
        assert read_declared(path, LIMIT) == read_declared(on_disk, LIMIT)
        assert read_digest(path, 10) == read_digest(on_disk, 10)


def test_of_a_shard_only_the_bytes_of_its_images_are_asked_for(bucket: BucketServer, members: Members, tfrecord: str) -> None:
    index = ims.scan(tfrecord)
    answered = []
    answer = bucket.answer
    bucket.answer = lambda *request: answered.append(answer(*request)) or answered[-1]  # type: ignore[method-assign,func-returns-value]
    batches(index)
    assert sorted(len(body) for _, _, body, _ in answered) == sorted(map(len, members.values()))


def test_of_a_zip_only_the_directory_and_the_heads_of_its_members_are_read_to_list_it(
    bucket: BucketServer, members: Members, tmp_path: Path
) -> None:
    large = {name: data + bytes(100_000) for name, data in members.items()}
    bucket.buckets["photos"] = {"p.zip": Stored(write_zip(tmp_path / "p.zip", large).read_bytes())}
    answered = []
    answer = bucket.answer
    bucket.answer = lambda *request: answered.append(answer(*request)) or answered[-1]  # type: ignore[method-assign,func-returns-value]
    assert relative(ims.scan("s3://photos/p.zip")) == list(large)
    assert sum(len(body) for _, headers, body, _ in answered if "content-range" in headers) < 200_000


def test_prefixes_and_patterns_name_the_shards_that_they_name_on_a_disk(bucket: BucketServer, members: Members, tmp_path: Path) -> None:
    items = list(members.items())
    names = ["train/a.tar", "train/b.tar", "val/a.tar", "val/.hidden.tar"]
    for part, name in enumerate(names):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        write_webdataset(tmp_path / "set" / name, dict(items[part * 10 : part * 10 + 10]))
    (tmp_path / "set" / "readme.txt").write_text("hello")
    bucket.buckets["photos"] = folder_as_bucket(tmp_path / "set", "set/")
    for source in ("set", "set/train/*.tar", "set/*/a.tar", "set/**/a.tar", "set/train/[b-z].tar", "set/t*/?.tar"):
        local, index = ims.scan(tmp_path / source), ims.scan(f"s3://photos/{source}")
        assert relative(index) == relative(local)
        assert (index.class_names, index.labels.tolist()) == (local.class_names, local.labels.tolist())
        assert_equal(batches(index), batches(local))
    for mine, theirs in zip(ims.scan("s3://photos/set/").split(), ims.scan(tmp_path / "set").split(), strict=True):
        assert relative(mine) == relative(theirs)
    with pytest.raises(NoImagesError, match=r"s3://photos/set/x\*\.tar is no archive or shard"):
        ims.scan("s3://photos/set/x*.tar")


def test_images_beside_shards_come_first_as_in_a_folder(bucket: BucketServer, members: Members, tmp_path: Path) -> None:
    bucket.buckets["photos"] = {
        "a/1.jpg": Stored(next(iter(members.values()))),
        "p.tar": Stored(write_tar(tmp_path / "p.tar", members).read_bytes()),
    }
    assert relative(ims.scan("s3://photos")) == ["a/1.jpg"]


def test_columns_name_the_features_of_shards_below_a_prefix(bucket: BucketServer, members: Members, tfrecord: str) -> None:
    found = ims.scan("s3://photos/t", columns={"label": "image/filename"})
    assert found.class_names == sorted(members)
    with pytest.raises(DatasetError, match="has no feature x"):
        ims.scan("s3://photos/t", columns={"image": "x"})


def test_a_listing_is_used_again_until_the_etag_of_a_shard_changes(bucket: BucketServer, members: Members, tfrecord: str) -> None:
    first = ims.scan(tfrecord)
    bucket.requests.clear()
    assert relative(ims.scan(tfrecord)) == list(members)
    assert dict(bucket.requests) == {"HEAD t/a.tfrecord": 1}
    data = bytearray(bucket.buckets["photos"]["t/a.tfrecord"].data)
    at = data.index(b"dark/00.jpg")
    del data[at]  # as long as before, and written in the same second
    bucket.buckets["photos"]["t/a.tfrecord"] = Stored(bytes(data) + b"\0")
    assert fault(first) == f"read error: {tfrecord} has changed since it was listed; list it again"
    assert fault(ims.scan(tfrecord)) == "corrupt: the checksum of its record is wrong"


def test_only_the_shards_that_changed_are_read_again(bucket: BucketServer, members: Members, tmp_path: Path) -> None:
    items = list(members.items())
    stored = [Stored(write_tfrecord(tmp_path / "a", dict(items[at : at + 10])).read_bytes()) for at in (0, 10, 20)]
    bucket.buckets["photos"] = {"t/a.tfrecord": stored[0], "t/b.tfrecord": stored[1]}
    ims.scan("s3://photos/t")
    bucket.buckets["photos"]["t/b.tfrecord"] = stored[2]
    bucket.requests.clear()
    assert relative(ims.scan("s3://photos/t")) == [name for name, _ in items[:10] + items[20:30]]
    assert "GET t/a.tfrecord" not in bucket.requests


@pytest.mark.parametrize("workers", [4, pytest.param(12, marks=pytest.mark.slow)])
def test_ranges_are_asked_for_before_their_turn(bucket: BucketServer, tfrecord: str, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_loader, "WORTH_PROCESSES", 1)
    index = ims.scan(tfrecord)
    expected = batches(index)
    bucket.requests.clear()
    bucket.delay = 0.1
    assert_equal(batches(index, workers=workers), expected)
    assert bucket.most_in_flight > 2 * workers
    assert bucket.requests["GET t/a.tfrecord"] == len(index)


def test_a_packed_page_of_rows_that_follow_one_another_is_not_asked_for_by_each(
    bucket: BucketServer, members: Members, tmp_path: Path
) -> None:
    bucket.buckets["photos"] = {"p.parquet": Stored(write_parquet(tmp_path / "p.parquet", members).read_bytes())}
    index = ims.scan("s3://photos/p.parquet")
    bucket.requests.clear()
    batches(index, shuffle=False, workers=1)
    assert bucket.requests["GET p.parquet"] == 3  # one a row group


@pytest.mark.parametrize("pipeline", ["python", "tf"])
def test_with_a_cache_nothing_is_fetched_after_the_first_epoch(bucket: BucketServer, tfrecord: str, tmp_path: Path, pipeline: str) -> None:
    (tmp_path / "pixels").mkdir()
    index = ims.scan(tfrecord)
    options = {"pipeline": pipeline, "cache": tmp_path / "pixels", "augment": None}
    first = batches(index, **options)
    bucket.requests.clear()
    assert_equal(batches(index, **options), first)
    assert not bucket.requests
    path = index.path_bytes(0)
    assert file_version(path) == FileVersion(path.length, path.container.modified)  # type: ignore[attr-defined]


def test_throttling_and_cut_connections_that_pass_change_nothing(bucket: BucketServer, tfrecord: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    bucket.fault = lambda request: int(rng.choice([0, 0, 503, CUT]))
    index = ims.scan(tfrecord)
    found = batches(index, workers=2)
    bucket.fault = lambda request: 0
    assert_equal(found, batches(ims.scan(tmp_path / "a.tfrecord")))


def test_a_shard_that_cannot_be_read_is_an_error_that_says_what_to_set(
    bucket: BucketServer, members: Members, tfrecord: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "RETRIES", 0)
    with pytest.raises(DatasetError, match=r"s3://photos/t/b\.tar cannot be read: there is no such object"):
        ims.scan("s3://photos/t/b.tar")
    bucket.buckets["photos"] |= {
        name: Stored(write(tmp_path / "p", members).read_bytes())
        for name, write in {"t/p.tar": write_tar, "t/p.zip": write_zip, "t/p.parquet": write_parquet}.items()
    }
    for name in bucket.buckets["photos"]:
        bucket.fault = lambda request: 403 if request.startswith("GET") else 0
        with pytest.raises(DatasetError, match=rf"^s3://photos/{name} cannot be read: the server refuses it .*set AWS_ACCESS_KEY_ID"):
            ims.scan(f"s3://photos/{name}")
        bucket.fault = lambda request: 503 if request.startswith("GET") else 0
        with pytest.raises(DatasetError, match=rf"^s3://photos/{name} cannot be read: the server answers 503"):
            ims.scan(f"s3://photos/{name}")


def test_a_shard_that_is_written_again_while_it_is_listed_is_an_error(
    bucket: BucketServer, tfrecord: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan_module, "RANGE", 1000)
    stored = bucket.buckets["photos"]

    def rewrite(request: str) -> int:
        if bucket.requests["GET t/a.tfrecord"] == 3:
            stored["t/a.tfrecord"] = Stored(stored["t/a.tfrecord"].data + b"\0")
        return 0

    bucket.fault = rewrite
    with pytest.raises(DatasetError, match=r"a\.tfrecord cannot be read: it was written again while it was listed"):
        ims.scan(tfrecord)


def test_a_shard_that_vanishes_in_mid_epoch_ends_nothing_but_its_rows(bucket: BucketServer, tfrecord: str) -> None:
    index = ims.scan(tfrecord)
    bucket.fault = lambda request: 404 if bucket.requests[request] > 20 else 0
    stream = ims.Stream(index, SPEC, batch_size=7)
    assert sum(len(labels) for _, labels in stream.batches()) + len(stream.skipped) == 40
    assert {reason for _, reason in stream.skipped} == {"missing"}


def test_damage_in_a_bucket_is_damage_on_a_disk(bucket: BucketServer, members: Members, tmp_path: Path) -> None:
    tfrecord = write_tfrecord(tmp_path / "a.tfrecord", members)
    tar = write_tar(tmp_path / "b.tar", members)
    os.truncate(tfrecord, tfrecord.stat().st_size // 2)
    os.truncate(tar, tar.stat().st_size // 2)
    bucket.buckets["photos"] = folder_as_bucket(tmp_path)
    for name in ("a.tfrecord", "b.tar"):
        local, index = ims.scan(tmp_path / name), ims.scan(f"s3://photos/{name}")
        assert relative(index) == relative(local)
        last = len(index) - 1
        assert fault(index, last) == fault(local, last).replace(os.fspath(tmp_path), "s3://photos")


def test_arrays_in_a_bucket_are_refused(bucket: BucketServer) -> None:
    with pytest.raises(
        DatasetError, match=r"X\.npy: of a bucket, images, archives and shards \(tfrecord, tar, zip, parquet\) and manifests are read"
    ):
        ims.scan("s3://photos/X.npy")
