"""Commands on a bucket write what they write on a folder of the same files."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

import imgstream as ims
from bucket_server import BucketServer, folder_as_bucket
from imgstream.cli import main


@pytest.fixture
def photos(bucket: BucketServer, two_classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of two classes, and the same in s3://photos; the current folder is an empty one."""
    bucket.buckets["photos"] = folder_as_bucket(two_classes)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return two_classes


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_:
        main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    assert "secret" not in out + err
    assert "Traceback" not in err
    return int(exit_.value.code or 0), out, err


def digests(folder: Path) -> dict[str, str]:
    """Of the shards and lists in a folder."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir()) if path.name != "dataset.json"}


def test_shards_that_are_packed_from_a_bucket_are_those_of_the_folder(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for source, out in ((photos, "a"), ("s3://photos", "b")):
        assert run(capsys, "pack", source, "-o", out, "--format", "webdataset")[0] == 0
    assert digests(Path("a")) == digests(Path("b"))


def test_check_finds_in_a_bucket_what_it_finds_in_a_folder(bucket: BucketServer, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored = bucket.buckets["photos"]
    stored["dark/copy.jpg"] = stored["light/00.jpg"]
    stored["dark/bad.jpg"] = stored["dark/00.jpg"]._replace(data=b"<html>")
    code, out, _ = run(capsys, "check", "s3://photos", "--json")
    found = json.loads(out)
    assert code == 3
    assert [(bad["path"], bad["reason"]) for bad in found["broken"]["first"]] == [("dark/bad.jpg", "wrong kind")]
    assert [[copy["path"] for copy in copies] for copies in found["exact_duplicates"]["first"]] == [["dark/copy.jpg", "light/00.jpg"]]


def test_shards_in_a_bucket_are_packed_again_and_checked_as_those_on_a_disk(
    bucket: BucketServer, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, "pack", photos, "-o", "shards", "--format", "tfrecord")[0] == 0
    bucket.buckets["photos"] = folder_as_bucket(Path("shards"), "set/")
    for source, out in (("shards", "a"), ("s3://photos/set/", "b"), ("s3://photos/set/images-*.tfrecord", "c")):
        assert run(capsys, "pack", source, "-o", out, "--format", "webdataset")[0] == 0
    assert digests(Path("a")) == digests(Path("b")) == digests(Path("c"))
    code, out, _ = run(capsys, "check", "s3://photos/set", "--json")
    assert (code, json.loads(out)["files"]) == (0, 40)
    code, _, err = run(capsys, "index", "s3://photos/set/none.tar")
    assert (code, err.strip()) == (1, "imgstream: s3://photos/set/none.tar cannot be read: there is no such object")


def test_sort_says_why_it_cannot(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("p.csv").write_text("path,label,score,error\ndark/00.jpg,dark,0.9,\n")
    code, _, err = run(capsys, "sort", "p.csv", "--from", "s3://photos", "--into", "sorted", "--copy")
    assert code == 1
    assert "objects in a bucket: there are no files to link, copy or move" in err
    assert not os.path.exists("sorted")


def test_without_a_key_the_error_is_one_line_that_says_what_to_set(
    photos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")
    code, _, err = run(capsys, "index", "s3://photos")
    assert code == 1
    assert len(err.strip().splitlines()) == 1
    assert "set AWS_ACCESS_KEY_ID" in err


@pytest.mark.slow
def test_predictions_of_a_bucket_are_those_of_the_folder_and_go_on_where_they_stopped(
    bucket: BucketServer, photos: Path, trained: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(capsys, "predict", trained, photos, "-o", "a.csv")[0] == 0
    assert run(capsys, "predict", trained, "s3://photos", "-o", "b.csv")[0] == 0
    assert Path("a.csv").read_text() == Path("b.csv").read_text()
    os.mkdir("elsewhere")
    bucket.requests.clear()
    monkeypatch.chdir("elsewhere")  # an address is the same from everywhere
    assert run(capsys, "predict", trained, "s3://photos", "-o", "../b.csv")[0] == 0
    assert not any(request.startswith("GET") for request in bucket.requests)
    assert run(capsys, "evaluate", trained, "s3://photos", "--json")[0] == 0


@pytest.mark.slow
def test_a_report_of_predictions_finds_the_images_in_shards_of_a_bucket(
    bucket: BucketServer, photos: Path, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, "pack", photos, "-o", "shards", "--format", "webdataset")[0] == 0
    bucket.buckets["photos"] = folder_as_bucket(Path("shards"), "set/")
    assert run(capsys, "predict", trained, photos, "-o", "a.csv")[0] == 0
    assert run(capsys, "predict", trained, "s3://photos/set", "-o", "b.csv")[0] == 0
    assert Path("a.csv").read_text() == Path("b.csv").read_text()
    assert run(capsys, "report", "b.csv", "-o", "b.html")[0] == 0
    page = Path("b.html").read_text()
    assert page.count("<img ") >= 4
    assert "missing: " not in page


@pytest.mark.slow
@pytest.mark.usefixtures("small_cnn")
def test_a_training_with_a_cache_fetches_each_object_once_and_keeps_no_secret(bucket: BucketServer, photos: Path) -> None:
    os.mkdir("pixels")
    ims.train("s3://photos", out="run", size=32, epochs=3, cache="pixels")
    fetched = {request: count for request, count in bucket.requests.items() if request.startswith("GET")}
    assert fetched == {f"GET {key}": 1 for key in bucket.buckets["photos"]}
    for file in Path("run").rglob("*"):
        assert not file.is_file() or (b"secret" not in file.read_bytes() and b"the-key" not in file.read_bytes())
