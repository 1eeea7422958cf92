"""Images inside archives and shards: the same rows, labels and pixels as in a folder, and damage that is a reason."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import pickle
import shutil
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from shard_files import LIMIT, WRITERS, Members, fault, relative, write_tar, write_tfrecord, write_webdataset, write_zip

import imgstream as ims
from imgstream.errors import DatasetError, DatasetWarning, NoImagesError, OutputError
from imgstream.files.reader import FileReader, file_version, read_declared, read_digest
from imgstream.index import ImageIndex
from imgstream.index.header_scan import scan_headers
from imgstream.index.manifest.write import write_manifest
from imgstream.index.shards import scan as scan_module
from imgstream.index.shards.records import Reader, Reading, Record
from imgstream.index.shards.scan import scan_shards

SPEC = ims.SampleSpec(size=(24, 32))


def labels(index: ImageIndex) -> list[str | None]:
    return [index.class_names[label] if label >= 0 else None for label in index.labels.tolist()]


def stream_of(index: ImageIndex, **options: Any) -> ims.Stream:
    return ims.Stream(index, SPEC, augment="light", shuffle=True, batch_size=7, seed=3, **options)


def reasons(index: ImageIndex) -> dict[str, str]:
    stream = ims.Stream(index, SPEC)
    for _ in stream.batches():
        pass
    return dict(stream.skipped)


def test_every_form_gives_the_rows_the_labels_the_split_and_the_pixels_of_the_folder(packed: Path, two_classes: Path) -> None:
    folder, index = ims.scan(two_classes), ims.scan(packed)
    assert relative(index) == relative(folder)
    assert (index.class_names, index.labels.tolist()) == (folder.class_names, folder.labels.tolist())
    assert [relative(side) for side in index.split(0.3, seed=5)] == [relative(side) for side in folder.split(0.3, seed=5)]
    assert index.path(3) == f"{packed}/dark/03.jpg"
    for (images, classes), (expected, numbers) in zip(stream_of(index).batches(), stream_of(folder).batches(), strict=True):
        np.testing.assert_array_equal(images, expected)
        np.testing.assert_array_equal(classes, numbers)


def test_the_bytes_of_a_row_are_those_of_its_file_however_they_are_read(packed: Path, members: Members) -> None:
    index = ims.scan(packed)
    for row, data in enumerate(list(members.values())[:5]):
        path = index.path_bytes(row)
        assert bytes(FileReader().read(path, LIMIT)[0]) == data
        assert read_declared(path, LIMIT)[1] == len(data)
        assert read_digest(path, 10) == read_digest_of(data[10:])
        assert file_version(path) is not None


def read_digest_of(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


@pytest.mark.quick("tfrecord")
def test_both_pipelines_the_cache_and_worker_processes_read_shards_alike(packed: Path, tmp_path: Path) -> None:
    index = pickle.loads(pickle.dumps(ims.scan(packed)))
    expected = [images.copy() for images, _ in ims.Stream(index, SPEC).batches()]
    for stream in (ims.Stream(index, SPEC, pipeline="tf"), *2 * [ims.Stream(index, SPEC, cache=tmp_path / "pixels")]):
        for images, one in zip(stream.batches(), expected, strict=True):
            np.testing.assert_allclose(images[0], one, atol=1 / 255 + 1e-6)
    assert pickle.loads(pickle.dumps(index.path_bytes(0))).address == index.path_bytes(0).address  # type: ignore[attr-defined]


@pytest.mark.quick("deflated zip", "parquet")
def test_a_saved_table_and_a_selection_find_the_bytes_again(packed: Path, members: Members, tmp_path: Path) -> None:
    ims.scan(packed).take([30, 2]).save(tmp_path / "part.arrow")
    index = ims.scan(tmp_path / "part.arrow")
    assert relative(index) == [list(members)[30], list(members)[2]]
    assert bytes(FileReader().read(index.path_bytes(0), LIMIT)[0]) == list(members.values())[30]


def test_a_listing_is_used_again_until_a_file_changes(tmp_path: Path, members: Members, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tfrecord(tmp_path / "a.tfrecord", members)
    first = ims.scan(tmp_path / "a.tfrecord")
    before = first.table.path
    with monkeypatch.context() as patch:
        patch.setattr("imgstream.index.shards.scan._READERS", {})  # nothing is read
        assert relative(ims.scan(tmp_path / "a.tfrecord")) == list(members)
    write_tfrecord(tmp_path / "a.tfrecord", dict(list(members.items())[5:]))
    assert fault(first) == f"read error: {tmp_path}/a.tfrecord has changed since it was listed; list it again"
    second = ims.scan(tmp_path / "a.tfrecord")
    assert (relative(second), second.table.path) == (list(members)[5:], before)


@pytest.mark.parametrize("kind", ["labelled", "nameless", "by folder"])
def test_only_the_shards_that_changed_are_read_again_and_the_rows_are_those_of_a_whole_listing(
    kind: str, tmp_path: Path, members: Members, monkeypatch: pytest.MonkeyPatch
) -> None:
    items, folder = list(members.items()), tmp_path / "set"
    folder.mkdir()

    def write(number: int, some: list[tuple[str, bytes]]) -> None:
        if kind == "by folder":  # no label but the folder in the name
            images = pa.array([data for _, data in some]), pa.array([name for name, _ in some])
            pq.write_table(pa.table(list(images), ["image", "path"]), folder / f"{number}.parquet")
        else:
            write_tfrecord(folder / f"{number}.tfrecord", dict(some), named=kind != "nameless")

    for number in range(3):
        write(number, items[10 * number : 10 * number + 10])
    damaged = next(folder.glob("0.*"))
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 1
    if kind != "by folder":
        damaged.write_bytes(data)
    first = ims.scan(folder)
    assert len(first) == 30
    write(1, items[12:30])
    (folder / next(folder.glob("2.*"))).unlink()
    write(3, items[30:35])
    read = []
    original = dict(scan_module._READERS)
    for form, reader in original.items():

        def noting(file: BinaryIO, size: int, reading: Reading, reader: Reader = reader) -> Iterator[Record]:
            read.append(os.path.basename(file.name)[:1])
            return reader(file, size, reading)

        monkeypatch.setitem(scan_module._READERS, form, noting)
    found = ims.scan(folder)
    assert read == [b"1", b"3"]
    whole = scan_shards(folder, full=True)
    assert read == [b"1", b"3", b"0", b"1", b"3"]
    assert (relative(found), found.labels.tolist(), found.class_names) == (relative(whole), whole.labels.tolist(), whole.class_names)
    assert [found.path_bytes(row).address for row in range(33)] == [whole.path_bytes(row).address for row in range(33)]  # type: ignore[attr-defined]
    assert found.class_names == ["dark", "light"]


def test_a_folder_of_shards_is_one_index_with_the_split_that_their_names_give(tmp_path: Path, members: Members) -> None:
    items, folder = list(members.items()), tmp_path / "set"
    folder.mkdir()
    write_tfrecord(folder / "train-00000-of-00002", dict(items[:10]))
    write_tfrecord(folder / "train-00001-of-00002", dict(items[10:25]), named=False)
    write_tfrecord(folder / "validation-00000-of-00001", dict(items[25:]))
    (folder / "README.md").touch()
    index = ims.scan(folder)
    assert len(index) == 40
    assert relative(index)[10] == "train-00001-of-00002/0"
    assert index.path(10) == f"{folder}/train-00001-of-00002/0"
    assert index.path(0) == f"{folder}/train-00000-of-00002/dark/00.jpg"
    assert [len(side) for side in index.split()] == [25, 15]
    assert len(ims.scan(f"{folder}/train-*")) == 25
    assert ims.scan(f"{folder}/train-*").explicit_split is None


def test_folders_named_train_and_val_in_an_archive_or_of_archives_are_the_split(tmp_path: Path, members: Members) -> None:
    items = list(members.items())
    whole = {f"set/{'val' if at % 4 == 0 else 'train'}/{name}": data for at, (name, data) in enumerate(items)}
    index = ims.scan(write_zip(tmp_path / "set.zip", whole))
    assert (index.class_names, [len(side) for side in index.split()]) == (["dark", "light"], [30, 10])
    for part, some in (("train", items[:30]), ("Valid", items[30:])):
        (tmp_path / "shards" / part).mkdir(parents=True)
        write_tar(tmp_path / "shards" / part / "0.tar", dict(some))
    assert [len(side) for side in ims.scan(tmp_path / "shards").split()] == [30, 10]


def test_a_folder_of_images_with_an_archive_beside_them_is_a_folder_of_images(tmp_path: Path, two_classes: Path, members: Members) -> None:
    shutil.copytree(two_classes, tmp_path / "photos")
    write_zip(tmp_path / "photos" / "old.zip", members)
    index = ims.scan(tmp_path / "photos")
    assert (len(index), index.in_containers, index.skipped_extensions) == (40, False, {".zip": 1})


def test_a_folder_of_shards_may_have_other_folders_in_it(tmp_path: Path, members: Members) -> None:
    (tmp_path / "set/logs").mkdir(parents=True)
    (tmp_path / "set/logs/x.txt").touch()
    write_tar(tmp_path / "set/0.tar", members)
    assert relative(ims.scan(tmp_path / "set")) == list(members)


@pytest.mark.parametrize(
    ("sidecars", "expected"),
    [
        ({"cls": b"2\n"}, "2"),
        ({"json": b'{"label": 7, "w": 3}'}, "7"),
        ({"json": b'{"cls": "red \xc3\xa9"}'}, "red é"),
        ({"txt": b"a word"}, "a word"),
        ({"txt": b"a caption", "cls": b"5", "json": b"{"}, "5"),
        ({"cls": b"5", "json": b'{"label": "five"}'}, "five"),
        ({"json": b"[1]"}, None),
    ],
)
def test_the_class_of_a_key_is_what_lies_beside_it(
    sidecars: dict[str, bytes], expected: str | None, tmp_path: Path, members: Members
) -> None:
    data = next(iter(members.values()))
    index = ims.scan(
        write_tar(tmp_path / "w.tar", {"0/x.cls": b"1", "0/x.jpg": data, "0/k.jpg": data, **{f"0/k.{e}": d for e, d in sidecars.items()}})
    )
    assert labels(index) == ["1", expected]
    assert relative(index) == ["0/x.jpg", "0/k.jpg"]


def test_whole_numbers_are_classes_in_the_order_of_numbers(tmp_path: Path, members: Members) -> None:
    data = next(iter(members.values()))
    pairs = {name: value for at in (10, 2, 1) for name, value in ((f"{at}.jpg", data), (f"{at}.cls", b"%d" % at))}
    index = ims.scan(write_tar(tmp_path / "w.tar", pairs))
    assert (index.class_names, index.labels.tolist()) == (["1", "2", "10"], [2, 1, 0])


def test_features_of_other_names_are_named_with_columns_and_the_error_says_which_there_are(tmp_path: Path, members: Members) -> None:
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(tmp_path / "x.tfrecord")) as writer:
        for number, data in enumerate(list(members.values())[:3]):
            feature = {
                "jpeg": tf.train.Feature(bytes_list=tf.train.BytesList(value=[data])),
                "kind": tf.train.Feature(int64_list=tf.train.Int64List(value=[number - 1])),
                "weight": tf.train.Feature(float_list=tf.train.FloatList(value=[0.5])),
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())
    with pytest.raises(
        DatasetError, match=r"no feature image/encoded or image .*; there is jpeg \(bytes\), kind \(whole numbers\), weight"
    ):
        ims.scan(tmp_path / "x.tfrecord")
    index = ims.scan(tmp_path / "x.tfrecord", columns={"image": "jpeg", "label": "kind"})
    assert (labels(index), reasons(index)) == ([None, "0", "1"], {})
    with pytest.raises(DatasetError, match="columns of shards name image, label, path; 'group' is none"):
        ims.scan(tmp_path / "x.tfrecord", columns={"group": "kind"})


# ---- damage


def flipped(path: Path, at: int) -> Path:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
    return path


def test_a_record_with_a_wrong_checksum_is_bad_and_the_others_are_not(tmp_path: Path, members: Members) -> None:
    path = write_tfrecord(tmp_path / "a.tfrecord", members)
    second = 16 + struct.unpack("<Q", path.read_bytes()[:8])[0]
    index = ims.scan(flipped(path, second + 200))
    assert len(index) == 40
    assert fault(index, 1) == "corrupt: the checksum of its record is wrong"
    assert reasons(index) == {f"{path}/1": "corrupt"}


def test_what_follows_a_wrong_length_cannot_be_found_and_is_one_bad_row(tmp_path: Path, members: Members) -> None:
    path = write_tfrecord(tmp_path / "a.tfrecord", members)
    second = 16 + struct.unpack("<Q", path.read_bytes()[:8])[0]
    left = path.stat().st_size - second
    index = ims.scan(flipped(path, second + 1))
    assert len(index) == 2
    assert fault(index, 1).startswith(
        f"corrupt: the checksum of a record's length is wrong, at byte {second:,}: what follows, {left:,} bytes"
    )


@pytest.mark.parametrize("form", ["tfrecord", "tar", "webdataset"])
def test_a_shard_that_was_cut_off_gives_what_it_has_and_one_truncated_row(form: str, tmp_path: Path, members: Members) -> None:
    name, write = WRITERS[form]
    path = write(tmp_path / name, members)
    index = ims.scan(path)
    last = index.path_bytes(20)
    os.truncate(path, last.offset + last.length // 2)  # type: ignore[attr-defined]
    index = ims.scan(path)
    assert len(index) == 21
    assert list(reasons(index).values()) == ["truncated"]


def test_a_zip_without_its_end_is_an_error_alone_and_a_bad_row_beside_others(tmp_path: Path, members: Members) -> None:
    (tmp_path / "set").mkdir()
    write_zip(tmp_path / "set/a.zip", members)
    os.truncate(write_zip(tmp_path / "set/b.zip", members), 5000)
    with pytest.raises(DatasetError, match=r"b\.zip is no zip file, or was cut off: .* Copy it again"):
        ims.scan(tmp_path / "set/b.zip")
    index = ims.scan(tmp_path / "set")
    assert (len(index), list(reasons(index).values())) == (41, ["corrupt"])


def test_a_tar_with_junk_in_its_middle_tells_what_was_lost(tmp_path: Path, members: Members) -> None:
    path = write_tar(tmp_path / "a.tar", members)
    second = ims.scan(path).path_bytes(1).offset - 512  # type: ignore[attr-defined]
    data = bytearray(path.read_bytes())
    data[second : second + 512] = bytes(range(256)) * 2
    path.write_bytes(data)
    index = ims.scan(path)
    assert len(index) == 2
    assert f"corrupt: no member begins at byte {second:,}: what follows, {len(data) - second:,} bytes, cannot be found" == fault(index, 1)


def test_links_and_ways_out_of_a_tar_are_names_and_nothing_more(tmp_path: Path, members: Members) -> None:
    data = next(iter(members.values()))
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as archive:
        for name, kind, target in (("link.jpg", tarfile.SYMTYPE, "/etc/passwd"), ("hard.jpg", tarfile.LNKTYPE, "x.jpg")):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            archive.addfile(member)
        for name in ("../../up.jpg", "/root/a.jpg", "./b//c.jpg", ".hidden/d.jpg", "__MACOSX/._e.jpg", "f.txt"):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    index = ims.scan(path)
    assert relative(index) == ["link.jpg", "hard.jpg", "../../up.jpg", "root/a.jpg", "b/c.jpg"]
    assert labels(index) == [None, None, None, "root", "b"]
    assert fault(index, 0) == fault(index, 1) == "not a regular file: a link in an archive"
    assert sorted(reasons(index).values()) == 2 * ["not a regular file"]
    assert sorted(os.listdir(tmp_path)) == ["a.tar", "cache"]


ODD_NAMES = {
    b"cats\\\\0.jpg": ("cats/0.jpg", "cats"),
    b"dogs\\deep/1.jpg": ("dogs/deep/1.jpg", "dogs"),
    b"/abs/path/2.jpg": ("abs/path/2.jpg", "abs"),
    b"C:\\x\\3.jpg": ("C:/x/3.jpg", "C:"),
    b"\\\\host\\share\\4.jpg": ("host/share/4.jpg", "host"),
    b"../../5.jpg": ("../../5.jpg", None),
    b"..\\6.jpg": ("../6.jpg", None),
    b"cats/../dogs/7.jpg": ("cats/../dogs/7.jpg", None),
    b"./cats//8.jpg": ("cats/8.jpg", "cats"),
    b"~/9.jpg": ("~/9.jpg", "~"),
}
"""Names in a zip by a program of Windows, and what they are called and labelled."""


@pytest.mark.parametrize("by_windows", [True, False])
def test_odd_names_in_a_zip_are_rows_with_a_label_that_follows_from_them_and_nothing_is_written(
    by_windows: bool, tmp_path: Path, members: Members
) -> None:
    (tmp_path / "deep/here").mkdir(parents=True)
    path, written = tmp_path / "deep/here/a.zip", {}
    with zipfile.ZipFile(path, "w") as archive:
        for number, (name, data) in enumerate(zip(ODD_NAMES, members.values(), strict=False)):
            entry = zipfile.ZipInfo(f"{number:_<{len(name)}}")  # zipfile puts such names right as it writes them
            entry.create_system = 0 if by_windows else 3
            written[entry.filename.encode()] = name
            archive.writestr(entry, data)
    whole = path.read_bytes()
    for placeholder, name in written.items():
        whole = whole.replace(placeholder, name)
    path.write_bytes(whole)
    index = ims.scan(path)
    labels = [index.class_names[label] if label >= 0 else None for label in index.labels.tolist()]
    if by_windows:
        assert list(zip(relative(index), labels, strict=True)) == list(ODD_NAMES.values())
    else:  # there a backslash is a letter like others, and what begins with a dot is hidden
        assert relative(index)[:3] == ["cats\\\\0.jpg", "dogs\\deep/1.jpg", "abs/path/2.jpg"]
        assert labels[:3] == [None, "dogs\\deep", "abs"]
        assert (relative(index)[5:7], labels[5:7]) == (["../../5.jpg", "cats/../dogs/7.jpg"], [None, None])
    stream = stream_of(index)
    assert sum(len(images) for images, _ in stream.batches()) == len(ODD_NAMES) - (not by_windows)
    assert stream.skipped == []
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file() and "cache" not in path.parts) == ["a.zip"]


def test_names_that_are_no_utf_8_or_end_in_a_slash_or_come_twice_are_rows_too(tmp_path: Path, members: Members) -> None:
    data = next(iter(members.values()))
    path = write_tar(tmp_path / "a.tar", {"\udcff/1.jpg": data, "a\n<b>/2.jpg": data, "c/3.jpg/": data})
    index = ims.scan(path)
    assert [index.relative_bytes(i) for i in range(len(index))] == [b"\xff/1.jpg", b"a\n<b>/2.jpg", b"c/3.jpg"]
    assert (index.class_names, reasons(index)) == (["\\xff", "a\n<b>", "c"], {})
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("a/1.jpg", data)
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a/1.jpg", data)
    with pytest.warns(DatasetWarning, match=r"1 image has a name that another before has too, such as a/1\.jpg: each is a row"):
        index = ims.scan(tmp_path / "b.zip")
    assert relative(index) == ["a/1.jpg", "a/1.jpg"]
    assert index.path_bytes(0).address != index.path_bytes(1).address  # type: ignore[attr-defined]


def bomb(size: int, tail: int) -> bytes:
    """A BMP that declares a few pixels, and zeros behind them."""
    buffer = io.BytesIO()
    Image.new("RGB", (size, size)).save(buffer, "BMP")
    return buffer.getvalue() + bytes(tail)


def test_entries_that_are_encrypted_unknown_or_bombs_are_bad_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/bomb.bmp", bomb(8, 64 << 20), compresslevel=1)
        archive.writestr("a/good.bmp", bomb(8, 0))
        archive.writestr("a/other.bmp", bomb(8, 0), zipfile.ZIP_BZIP2)
        archive.writestr("a/secret.bmp", bomb(8, 0))
    data = bytearray(path.read_bytes())
    data[data.rindex(b"PK\1\2") + 8] |= 1  # the flag of encryption
    path.write_bytes(data)
    index = ims.scan(path)
    assert fault(index, 0) == "too large: more than 34 MB when it is unpacked"
    assert fault(index, 2).startswith("unsupported: compressed by bzip2 in its archive")
    assert fault(index, 3).startswith("unsupported: encrypted in its archive")
    assert len(reasons(index)) == 3


def test_deflated_data_that_is_damaged_is_corrupt(tmp_path: Path, members: Members) -> None:
    path = write_zip(tmp_path / "a.zip", members, zipfile.ZIP_DEFLATED)
    span = ims.scan(path).path_bytes(0)
    data = bytearray(path.read_bytes())
    data[span.offset] = 0xFF  # type: ignore[attr-defined]
    path.write_bytes(data)
    assert fault(ims.scan(path)).startswith("corrupt: it cannot be unpacked")


def test_compressed_shards_say_that_they_cannot_be_read_at_random_and_what_to_do(tmp_path: Path, members: Members) -> None:
    for name, words in (
        ("a.tfrecord", "no record can be read without all before it. Unpack it"),
        ("b.tar", "no image can be read without all"),
    ):
        (tmp_path / name).write_bytes(gzip.compress(write_tar(tmp_path / "plain.tar", members).read_bytes()))
        with pytest.raises(DatasetError, match=words):
            ims.scan(tmp_path / name)


def test_what_holds_no_image_says_what_it_holds(tmp_path: Path) -> None:
    with pytest.raises(NoImagesError, match=r"No images in .*a\.zip: it holds 2 \.txt, 1 without extension"):
        ims.scan(write_zip(tmp_path / "a.zip", {"a.txt": b"", "b.TXT": b"", "c": b""}))
    (tmp_path / "a.tfrecord").touch()
    with pytest.raises(NoImagesError, match="no records at all"):
        ims.scan(tmp_path / "a.tfrecord")
    with pytest.raises(NoImagesError, match=r"no archive or shard .* matches .*z-\*\.tfrecord"):
        ims.scan(tmp_path / "z-*.tfrecord")


def test_a_manifest_cannot_list_what_is_no_file(tmp_path: Path, members: Members) -> None:
    index = ims.scan(write_tar(tmp_path / "a.tar", members))
    with pytest.raises(OutputError, match=r"lie inside archives or shards, and a manifest is a list of files: write a table"):
        write_manifest(index, tmp_path / "x.csv")
    assert not (tmp_path / "x.csv").exists()


def test_what_is_known_of_a_row_is_kept_until_its_shard_changes(tmp_path: Path, members: Members) -> None:
    path = write_webdataset(tmp_path / "a.tar", members)
    assert scan_headers(ims.scan(path), LIMIT) == (0, [])
    facts = ims.scan(path).facts_at(np.arange(2))
    assert (facts["width"].tolist(), facts["height"].tolist(), facts["size"][1]) == ([48, 48], [40, 40], len(list(members.values())[1]))
    os.utime(path, ns=(0, 0))
    assert scan_headers(ims.scan(path), LIMIT)[0] == 40


def test_a_pattern_takes_labels_from_names_in_an_archive(tmp_path: Path, members: Members) -> None:
    path = write_webdataset(tmp_path / "a.tar", members)
    assert ims.scan(path, label_pattern=r"(?P<label>\d)\.jpg").class_names == list("0123456789")


def test_the_command_tells_of_shards_as_of_folders(tmp_path: Path, members: Members, capsys: pytest.CaptureFixture[str]) -> None:
    from imgstream.cli import main

    write_tfrecord(tmp_path / "a.tfrecord", members)
    with pytest.raises(SystemExit):
        main(["index", str(tmp_path / "a.tfrecord"), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert (told["images"], told["classes"], told["other_files"]) == (40, {"dark": 20, "light": 20}, {})
    with warnings.catch_warnings(), pytest.raises(SystemExit) as ended:
        main(["index", str(tmp_path / "a.tfrecord"), "-o", str(tmp_path / "a.csv")])
    assert ended.value.code == 1
    assert "a manifest is a list of files" in capsys.readouterr().err


def test_archives_of_a_whole_folder_each_are_told_of_because_their_folders_become_classes(tmp_path: Path, members: Members) -> None:
    (tmp_path / "two").mkdir()
    for name in ("a", "b"):
        write_zip(tmp_path / "two" / f"{name}.zip", {f"{name}/{member}": data for member, data in members.items()})
    with pytest.warns(DatasetWarning, match=r"each archive holds one folder with others in it, such as .*give --label-pattern"):
        index = ims.scan(tmp_path / "two")
    assert index.class_names == ["a", "b"]
    again = ims.scan(tmp_path / "two", label_pattern="^[^/]+/(?P<label>[^/]+)/")
    assert again.class_names == sorted({name.partition("/")[0] for name in members})
