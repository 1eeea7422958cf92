"""The images below a prefix of a bucket: the rows and labels of a folder of the same names, and what has changed since."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bucket_server import BucketServer, Stored
from imgstream.errors import BadImage, DatasetError, DatasetWarning, NoImagesError
from imgstream.files import object_file, objects
from imgstream.files.addresses import Address
from imgstream.files.reader import FileReader, FileVersion, file_version, read_declared, read_digest
from imgstream.index import ImageIndex, open_index, scan, scan_folder
from imgstream.index.buckets import scan_bucket
from imgstream.index.header_scan import scan_headers
from imgstream.index.manifest.read import read_manifest

LIMIT = 1_000_000
KEYS = ["cats/1.jpg", "cats/b/2.PNG", "cats/a.jpg", "cats-and/1.jpg", "dogs/ü.jpg", "dogs/notes.txt", "dogs/.h.jpg", ".x/1.jpg", "top.jpg"]


def relative(index: ImageIndex) -> list[str]:
    return [os.fsdecode(index.relative_bytes(i)) for i in range(len(index))]


def labels(index: ImageIndex) -> list[str | None]:
    return [index.class_names[label] if label >= 0 else None for label in index.labels.tolist()]


def store(bucket: BucketServer, *keys: str, data: bytes = b"x") -> None:
    bucket.buckets["photos"] |= {key: Stored(data) for key in keys}


def both(bucket: BucketServer, root: Path, keys: list[str], **options: Any) -> tuple[ImageIndex, ImageIndex]:
    """The indexes of a folder and of a bucket with the same files."""
    for key in keys:
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        (root / key).write_bytes(b"x")
    store(bucket, *(f"p/{key}" for key in keys))
    return scan(root, **options), scan("s3://photos/p", **options)


@pytest.mark.parametrize("options", [{}, {"label_pattern": r"(?P<label>[a-z]+)/[^/]*$"}], ids=["folders", "pattern"])
def test_rows_and_labels_are_those_of_the_folder(bucket: BucketServer, tmp_path: Path, options: dict[str, Any]) -> None:
    folder, objects_ = both(bucket, tmp_path / "p", KEYS, **options)
    assert relative(objects_) == relative(folder)
    assert labels(objects_) == labels(folder)
    assert objects_.fingerprint == folder.fingerprint
    assert objects_.skipped_extensions == folder.skipped_extensions
    assert objects_.path(0) == "s3://photos/p/top.jpg"
    assert pickle.loads(pickle.dumps(objects_)).path_bytes(0) == b"s3://photos/p/top.jpg"


def test_folders_named_train_and_val_are_the_split(bucket: BucketServer, tmp_path: Path) -> None:
    keys = ["train/cats/1.jpg", "train/dogs/1.jpg", "val/cats/2.jpg", "readme.txt"]
    folder, objects_ = both(bucket, tmp_path / "p", keys)
    for mine, theirs in zip(objects_.split(), folder.split(), strict=True):
        assert relative(mine) == relative(theirs)
        assert labels(mine) == labels(theirs)


NAME = st.text(st.sampled_from("ab-. é'<&%"), min_size=1, max_size=3).filter(lambda name: name not in (".", ".."))


@settings(max_examples=10)
@given(st.lists(st.tuples(st.lists(NAME, max_size=3), NAME), min_size=1, max_size=12), st.booleans())
def test_whatever_the_names_rows_are_those_of_the_folder(
    shared_bucket: BucketServer, tmp_path_factory: pytest.TempPathFactory, paths: list[tuple[list[str], str]], is_split: bool
) -> None:
    root = tmp_path_factory.mktemp("p")
    keys = {"/".join([*(["train"] if is_split else []), *folders, name + ".jpg"]) for folders, name in paths}
    keys |= {f"{'train/' if is_split else ''}one.jpg"}
    kept: list[str] = []
    for key in sorted(keys):
        try:
            (root / key).parent.mkdir(parents=True, exist_ok=True)
            (root / key).write_bytes(b"x")
            kept.append(key)
        except OSError:  # a.jpg is a folder already
            continue
    shared_bucket.buckets["photos"] = {f"p/{key}": Stored(b"x") for key in kept}
    folder, objects_ = scan_folder(root), scan_bucket("s3://photos/p/")  # which warn of nothing
    shutil.rmtree(root)
    assert relative(objects_) == relative(folder)
    assert objects_.fingerprint == folder.fingerprint


def test_a_later_listing_tells_what_changed_and_keeps_what_is_known_of_the_rest(bucket: BucketServer, two_classes: Path) -> None:
    image = (two_classes / "dark" / "00.jpg").read_bytes()
    store(bucket, "cats/1.jpg", "cats/2.jpg", "dogs/1.jpg", "dogs/2.jpg", data=image)
    first = open_index("s3://photos")
    assert not first.changes
    scan_headers(first, LIMIT)
    del bucket.buckets["photos"]["cats/2.jpg"]
    store(bucket, "cats/3.jpg", "dogs/1.jpg", data=image + b"more")
    told: list[str] = []
    second = open_index("s3://photos", notice=told.append)
    assert told == ["Since the last time: 1 new image (such as cats/3.jpg), 1 gone (such as cats/2.jpg), 1 changed (such as dogs/1.jpg)"]
    assert second.facts_at(np.arange(4))["state"].tolist() == [1, 0, 0, 1]
    assert not open_index("s3://photos").changes


def test_a_table_that_is_saved_keeps_versions_and_a_selection_too(bucket: BucketServer, tmp_path: Path) -> None:
    store(bucket, *KEYS, data=b"12345")
    index = scan("s3://photos")
    version = file_version(index.path_bytes(2))
    assert version is not None
    assert (version.size, version.modified // 10**9) == (5, 1_700_000_000)
    index.take([2, 0]).save(tmp_path / "some.arrow")
    bucket.requests.clear()
    loaded = scan(tmp_path / "some.arrow")
    assert (loaded.path(0), file_version(loaded.path_bytes(0))) == (index.path(2), version)
    assert not bucket.requests


def test_what_a_file_reader_and_its_neighbours_say_is_what_they_say_of_a_file(bucket: BucketServer, two_classes: Path) -> None:
    file = two_classes / "light" / "03.jpg"
    store(bucket, "a/1.jpg", data=file.read_bytes())
    store(bucket, "a/2.jpg", data=b"")
    good, empty = (scan("s3://photos").path_bytes(row) for row in (0, 1))
    data, header = FileReader().read(good, LIMIT)
    assert bytes(data) == file.read_bytes()
    assert (header, len(data)) == read_declared(good, LIMIT) == read_declared(bytes(file), LIMIT)
    assert read_digest(good) == read_digest(os.fsencode(file))
    assert read_digest(good, 100) == read_digest(os.fsencode(file), 100)
    with pytest.raises(BadImage, match="empty"):
        FileReader().read(empty, LIMIT)


def test_a_large_object_that_is_no_image_is_refused_by_its_first_part(bucket: BucketServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imgstream.files.reader.LARGEST_KEPT", 1000)
    store(bucket, "a/1.jpg", data=b"<html>" * 1_000_000)
    with pytest.raises(BadImage, match="wrong kind"):
        FileReader().read(scan("s3://photos").path_bytes(0), LIMIT)


def test_a_folder_marker_is_no_row(bucket: BucketServer) -> None:
    store(bucket, "cats/", "cats/1.jpg", "dogs/")
    assert relative(scan("s3://photos")) == ["cats/1.jpg"]


@pytest.mark.parametrize(
    ("source", "error", "said"),
    [
        ("s3://photos/nothing", NoImagesError, "there is no object whose key begins so"),
        ("s3://photos/text", NoImagesError, "Looked for .jpg .* found 1 .csv, 1 without extension"),
        ("s3://photos/arrays", NoImagesError, "Arrays are read from a disk"),
        ("s3://elsewhere", DatasetError, "there is no such bucket"),
        ("s3://photos/x.npz", DatasetError, "copy this file to a disk"),
        ("s3://photos/table.arrow", DatasetError, "copy this file to a disk"),
        ("s3://photos/list.csv", DatasetError, "list.csv cannot be read: there is no such object"),
        ("https://a.org/photos", DatasetError, "Give a manifest"),
        ("ftp://a.org/photos", DatasetError, "of a kind that is not read"),
    ],
)
def test_what_cannot_be_listed_is_a_clear_error(bucket: BucketServer, source: str, error: type[Exception], said: str) -> None:
    store(bucket, "text/a.csv", "text/b", "arrays/X.npy")
    with pytest.raises(error, match=said):
        scan(source)


@pytest.mark.parametrize("kind", ["txt", "csv"])
def test_a_manifest_may_name_objects_files_and_web_pages(bucket: BucketServer, two_classes: Path, tmp_path: Path, kind: str) -> None:
    bucket.key_id = None
    image = (two_classes / "dark" / "00.jpg").read_bytes()
    store(bucket, "cats/1 a.jpg", "dogs/2.jpg", data=image)
    (tmp_path / "c.jpg").write_bytes(image)
    paths = ["s3://photos/cats/1 a.jpg", f"{bucket.endpoint}/photos/cats/1%20a.jpg", "c.jpg", "s3://photos/gone.jpg"]
    file = tmp_path / f"list.{kind}"
    file.write_text("\n".join((["path"] if kind == "csv" else []) + paths) + "\n")
    index = scan(file)
    assert [os.path.relpath(path, tmp_path) if path.endswith("c.jpg") else path for path in map(index.path, range(4))] == paths
    assert isinstance(index.path_bytes(0), Address)
    assert file_version(index.path_bytes(0)) == FileVersion(0, 0)
    for row in range(3):
        assert bytes(FileReader().read(index.path_bytes(row), LIMIT)[0]) == image
    with pytest.raises(BadImage, match="missing: there is no such object"):
        FileReader().read(index.path_bytes(3), LIMIT)
    assert bucket.requests["HEAD cats/1 a.jpg"] == 1  # one was tried


def test_a_manifest_may_be_relative_to_a_bucket(bucket: BucketServer, tmp_path: Path) -> None:
    store(bucket, "p/cats/1.jpg")
    file = tmp_path / "list.csv"
    file.write_text("path,label\ncats/1.jpg,cat\n./cats/x/../2.jpg,cat\n../out.jpg,cat\ns3://photos/p/dogs/3.jpg,dog\n")
    with pytest.warns(DatasetWarning, match="outside the root"):
        index = scan(file, root="s3://photos/p/")
    assert relative(index) == ["cats/1.jpg", "cats/2.jpg", "dogs/3.jpg"]
    assert index.path(2) == "s3://photos/p/dogs/3.jpg"


def test_a_manifest_of_a_bucket_that_cannot_be_read_is_one_error(
    bucket: BucketServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(bucket, *(f"{number}.jpg" for number in range(9)))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "another")
    file = tmp_path / "list.txt"
    file.write_text("".join(f"s3://photos/{number}.jpg\n" for number in range(9)))
    with pytest.raises(DatasetError, match=r"s3://photos cannot be read: the server refuses it .*set AWS_ACCESS_KEY_ID"):
        scan(file)
    assert sum(bucket.requests.values()) <= 3


def test_neither_table_nor_error_holds_a_secret(bucket: BucketServer, tmp_path: Path) -> None:
    store(bucket, "cats/1.jpg")
    scan("s3://photos").save(tmp_path / "table.arrow")
    for file in (tmp_path / "table.arrow", *Path(os.environ["IMGSTREAM_CACHE"]).rglob("*.arrow")):
        assert b"secret" not in file.read_bytes()
        assert b"the-key" not in file.read_bytes()


@pytest.fixture(scope="module")
def shared_bucket() -> Any:
    pytest.importorskip("obstore", reason="buckets are read with obstore: pip install 'imgstream[cloud]'")
    with pytest.MonkeyPatch.context() as patch, BucketServer({"photos": {}}) as server:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        objects.require("s3://")
        yield server


@pytest.mark.slow
def test_another_server_is_read_the_same_way(monkeypatch: pytest.MonkeyPatch, two_classes: Path) -> None:
    moto = pytest.importorskip("moto.server", reason="pip install 'moto[server]', which is too large for the dev extra")
    boto3 = pytest.importorskip("boto3", reason="moto brings it")
    server = moto.ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        for name, value in {
            "ENDPOINT_URL": f"http://{host}:{port}",
            "ACCESS_KEY_ID": "a",
            "SECRET_ACCESS_KEY": "b",
            "REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="photos")
        names = [os.fspath(path.relative_to(two_classes)) for path in sorted(two_classes.rglob("*.jpg"))]
        for name in [*names, "dark/é <x>&'.jpg", "light/"]:
            data = (two_classes / name).read_bytes() if name in names else b""
            client.put_object(Bucket="photos", Key=name, Body=data)
        index = scan("s3://photos")
        assert relative(index) == sorted([*names, "dark/é <x>&'.jpg"])
        for row in (0, len(index) - 1):
            path = index.path_bytes(row)
            data, _ = FileReader().read(path, LIMIT)
            assert bytes(data) == (two_classes / relative(index)[row]).read_bytes()
            got = objects.describe(path)
            assert file_version(path) == (got.size, got.modified)
        with pytest.raises(BadImage, match="empty"):
            FileReader().read(index.path_bytes(relative(index).index("dark/é <x>&'.jpg")), LIMIT)
        with pytest.raises(DatasetError, match="there is no such bucket"):
            scan("s3://elsewhere")
    finally:
        server.stop()


LISTED = {
    "list.csv": b"path,label,split\ncats/1.jpg,cat,train\n../dogs/2.jpg,dog,val\ns3://photos/p/dogs/1.jpg,dog,val\n",
    "list.jsonl": b'{"path": "cats/1.jpg", "label": "cat"}\n{"path": "dogs/1.jpg", "label": "dog"}\n',
    "list.txt": b"cats/1.jpg\ndogs/1.jpg\n",
}


@pytest.mark.parametrize("name", LISTED)
@pytest.mark.parametrize("source", ["s3://photos", "endpoint"])
def test_a_manifest_in_a_bucket_names_what_lies_beside_it(bucket: BucketServer, name: str, source: str) -> None:
    bucket.key_id = None
    source = source.replace("endpoint", f"{bucket.endpoint}/photos")
    store(bucket, "p/cats/1.jpg", "p/dogs/1.jpg")
    store(bucket, f"p/{name}", data=LISTED[name])
    found, report = read_manifest(f"{source}/p/{name}")
    assert [found.path(row) for row in range(2)] == [
        f"{source}/p/cats/1.jpg",
        "s3://photos/p/dogs/1.jpg" if name == "list.csv" else f"{source}/p/dogs/1.jpg",
    ]
    assert labels(found) == ([None, None] if name == "list.txt" else ["cat", "dog"])
    assert report.bad_counts == ({"outside the root": 1} if name == "list.csv" else {})


def test_a_large_manifest_is_copied_by_ranges_and_read_as_the_same_file(
    bucket: BucketServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_file, "RANGE", 1000)
    store(bucket, "p/list.csv", data=b"path,label\n" + b"".join(b"a/%d.jpg,%d\n" % (row, row % 3) for row in range(500)))
    (tmp_path / "list.csv").write_bytes(bucket.buckets["photos"]["p/list.csv"].data)
    found, local = scan("s3://photos/p/list.csv"), read_manifest(tmp_path / "list.csv", check_files=False)[0]
    assert relative(found) == relative(local)
    assert labels(found) == labels(local)
    assert bucket.requests["GET p/list.csv"] > 5


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"", "list.csv is empty"), (b"\0\1\2\n", "list.csv is no CSV"), (b"path\n/etc/a.jpg\n", "rows of s3://photos/p/list.csv")],
)
def test_an_error_in_a_manifest_names_its_address(bucket: BucketServer, data: bytes, said: str) -> None:
    store(bucket, "p/list.csv", data=data)
    with pytest.raises((NoImagesError, DatasetError)) as error:
        scan("s3://photos/p/list.csv")
    assert said in str(error.value)
    assert "s3://photos/p/list.csv" in str(error.value)
