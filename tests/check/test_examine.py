from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import imgstream as ims
from imgstream.check import Findings, examine
from imgstream.check.clusters import Clusters


def paths(findings: Findings, clusters: Clusters, numbers: Any = None) -> list[list[str]]:
    """The relative paths of each cluster."""
    return [[findings.path(row) for row in clusters[number]] for number in (range(len(clusters)) if numbers is None else numbers)]


def test_a_clean_folder_has_no_findings(folder: Path) -> None:
    findings = examine(ims.scan(folder), decode=True)
    assert findings.clean
    assert findings.classes() == [("a", 10, 0), ("b", 10, 0)]
    assert findings.facts.kinds() == {"jpeg": 20}
    assert findings.sizes()["width_pixels"] == (200, 200, 200)
    assert findings.sizes()["height_pixels"] == (150, 150, 150)


def test_headers_alone_find_copies_and_labels_but_no_near_duplicates(folder: Path) -> None:
    shutil.copy(folder / "a" / "3.jpg", folder / "a" / "copy.jpg")
    shutil.copy(folder / "a" / "4.jpg", folder / "b" / "wrong.jpg")
    findings = examine(ims.scan(folder))
    assert paths(findings, findings.exact) == [["a/3.jpg", "a/copy.jpg"], ["a/4.jpg", "b/wrong.jpg"]]
    assert paths(findings, findings.alike, findings.conflicts) == [["a/4.jpg", "b/wrong.jpg"]]
    assert findings.to_json()["near_duplicates"] is None
    assert not findings.clean


@pytest.mark.parametrize(
    ("name", "scale", "options"),
    [
        ("again.jpg", (1, 1), {"quality": 30}),
        ("again.png", (1, 1), {}),
        ("again.webp", (1, 1), {"quality": 40}),
        ("small.jpg", (0.3, 0.3), {"quality": 60}),
        ("large.jpg", (2, 2), {"quality": 75}),
        ("wider.jpg", (1.2, 1.1), {"quality": 75}),
    ],
)
def test_a_picture_encoded_again_or_resized_is_a_near_duplicate(folder: Path, name: str, scale: tuple[float, float], options: Any) -> None:
    image = Image.open(folder / "a" / "5.jpg")
    image.resize((round(200 * scale[0]), round(150 * scale[1]))).save(folder / "b" / name, **options)
    findings = examine(ims.scan(folder), decode=True)
    assert paths(findings, findings.alike) == [["a/5.jpg", f"b/{name}"]]
    assert findings.near.tolist() == findings.conflicts.tolist() == [0]
    assert not len(findings.exact)


def test_copies_of_a_near_duplicate_belong_to_its_cluster(folder: Path) -> None:
    Image.open(folder / "a" / "5.jpg").save(folder / "a" / "again.png")
    shutil.copy(folder / "a" / "again.png", folder / "a" / "and_again.png")
    findings = examine(ims.scan(folder), decode=True)
    assert paths(findings, findings.exact) == [["a/again.png", "a/and_again.png"]]
    assert paths(findings, findings.alike) == [["a/5.jpg", "a/again.png", "a/and_again.png"]]
    assert findings.near.tolist() == [0]


@pytest.mark.parametrize(
    ("orientation", "turn"), [(3, Image.Transpose.ROTATE_180), (5, Image.Transpose.TRANSPOSE), (6, Image.Transpose.ROTATE_90)]
)
def test_a_turned_picture_is_the_same_where_its_orientation_turns_it_back(folder: Path, orientation: int, turn: Any) -> None:
    turned = Image.open(folder / "a" / "5.jpg").resize((203, 149)).transpose(turn)
    exif = Image.Exif()
    exif[274] = orientation
    turned.save(folder / "a" / "turned.jpg", exif=exif)
    turned.save(folder / "a" / "other.jpg")
    findings = examine(ims.scan(folder), decode=True)
    assert paths(findings, findings.alike) == [["a/5.jpg", "a/turned.jpg"]]


def test_other_colours_make_another_picture(folder: Path) -> None:
    image = Image.open(folder / "a" / "5.jpg")
    image.convert("L").save(folder / "a" / "grey.png")
    findings = examine(ims.scan(folder), decode=True)
    assert findings.clean


def test_plain_pictures_are_no_near_duplicates_and_counted(folder: Path) -> None:
    for level in range(8):
        Image.new("RGB", (200, 150), (level, 0, 0)).save(folder / "a" / f"plain{level}.png")
    findings = examine(ims.scan(folder), decode=True)
    assert findings.clean
    assert findings.plain == 8


def test_symmetric_drawings_are_found_though_half_of_their_frequencies_are_empty(folder: Path) -> None:
    for i in range(6):
        drawing = np.full((120, 120, 3), 255, np.uint8)
        drawing[10 + 4 * i : 110 - 4 * i, 30:90] = (200, 30, 40 * i)
        Image.fromarray(drawing).save(folder / "a" / f"box{i}.png")
        Image.fromarray(drawing).resize((90, 90)).save(folder / "a" / f"box{i}.jpg", quality=70)
    findings = examine(ims.scan(folder), decode=True)
    assert paths(findings, findings.alike) == [[f"a/box{i}.jpg", f"a/box{i}.png"] for i in range(6)]


def test_decoding_finds_the_bad_files_that_a_stream_skips(folder: Path) -> None:
    whole = (folder / "a" / "0.jpg").read_bytes()
    (folder / "a" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "a" / "page.jpg").write_text("<html>gone</html>")
    (folder / "a" / "line\nend.png").write_bytes(b"")
    (folder / "b" / os.fsdecode(b"\xff\xfe.gif")).write_bytes(b"GIF89a")
    (folder / "b" / "folder.jpg").symlink_to(folder / "nowhere")
    os.mkfifo(folder / "b" / "pipe.jpg")
    index = ims.scan(folder)
    stream = ims.Stream(index, ims.SampleSpec(size=(64, 48)), batch_size=8)
    for _ in stream.batches():
        pass
    decoded, headers = examine(index, decode=True), examine(index)
    assert [(os.path.join(folder, path), bad.reason) for path, bad in decoded.bad_files()] == sorted(stream.skipped)
    assert len(stream.skipped) == decoded.bad == 6
    assert {path for path, _ in decoded.bad_files()} - {path for path, _ in headers.bad_files()} == {"a/cut.jpg"}
    assert decoded.facts.reasons() == {"truncated": 2, "missing": 1, "empty": 1, "wrong kind": 1, "not a regular file": 1}


def test_bad_files_are_nobodys_duplicates(folder: Path) -> None:
    for i in range(4):
        (folder / "a" / f"empty{i}.jpg").write_bytes(b"")
        (folder / "b" / f"page{i}.jpg").write_text("<html>gone</html>")
    findings = examine(ims.scan(folder), decode=True)
    assert findings.bad == 8
    assert not len(findings.alike)


def test_too_many_declared_pixels_are_found_before_anything_is_decoded(folder: Path) -> None:
    for decode in (False, True):
        findings = examine(ims.scan(folder), decode=decode, max_pixels=200 * 150 - 1)
        assert findings.facts.reasons() == {"too large": 20}


def test_an_aspect_is_extreme_beyond_4_to_1(folder: Path, photo: Any) -> None:
    photo(30, 400, 100).save(folder / "a" / "four.png")
    photo(31, 401, 100).save(folder / "a" / "wide.png")
    photo(32, 20, 100).save(folder / "a" / "high.png")
    findings = examine(ims.scan(folder))
    assert [findings.path(row) for row in findings.extreme] == ["a/high.png", "a/wide.png"]
    assert list(findings.extremes(1)) == [(findings.extreme[0], 20, 100)]
    assert not findings.clean


def test_folders_named_train_and_val_are_the_split_that_duplicates_cross(tmp_path: Path, photo: Any) -> None:
    for part, first in (("train", 0), ("val", 4)):
        for name in "xy":
            (tmp_path / part / name).mkdir(parents=True)
            for i in range(2):
                photo(first + 2 * (name == "y") + i).save(tmp_path / part / name / f"{i}.jpg")
    shutil.copy(tmp_path / "train" / "x" / "0.jpg", tmp_path / "val" / "x" / "seen.jpg")
    shutil.copy(tmp_path / "train" / "x" / "1.jpg", tmp_path / "train" / "x" / "twice.jpg")
    findings = examine(ims.scan(tmp_path))
    assert findings.split_by == "folders"
    assert paths(findings, findings.alike, findings.across) == [["train/x/0.jpg", "val/x/seen.jpg"]]
    assert [findings.part(row) for row in findings.alike[0]] == ["train", "val"]


def test_without_folders_the_split_is_the_one_that_train_makes(folder: Path) -> None:
    index = ims.scan(folder)
    _, val = index.split(val=0.2, seed=0)
    findings = examine(index)
    assert findings.split_by == "hash"
    assert [row for row in range(len(index)) if findings.part(row) == "val"] == val.rows.tolist()


def test_files_without_labels_have_no_split(folder: Path) -> None:
    findings = examine(ims.scan(folder / "a"))
    assert findings.split_by is None
    assert findings.classes() == [(None, 10, 0)]
    assert findings.to_json()["across_splits"] is None


def test_large_files_that_end_alike_are_no_copies(folder: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (400, 300, 3), np.uint8)
    for i in range(3):
        noise[-1, 0, 0] = min(i, 1)  # a BMP's last row comes first
        Image.fromarray(noise).save(folder / "a" / f"noise{i}.bmp")
    findings = examine(ims.scan(folder))
    assert paths(findings, findings.exact) == [["a/noise1.bmp", "a/noise2.bmp"]]


@pytest.mark.parametrize("decode", [False, True])
def test_findings_are_the_same_for_any_number_of_workers_and_nothing_is_touched(folder: Path, decode: bool) -> None:
    Image.open(folder / "a" / "5.jpg").save(folder / "b" / "again.png")
    (folder / "a" / "page.jpg").write_text("<html>gone</html>")
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*.*")}
    index = ims.scan(folder)
    found = [examine(index, decode=decode, workers=workers).to_json() | {"seconds": 0} for workers in (1, 5)]
    assert found[0] == found[1]
    assert before == {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*.*")}


def test_a_folder_of_one_picture_under_many_encodings_is_one_cluster(tmp_path: Path, photo: Any) -> None:
    for quality in range(10, 95):
        photo(1).save(tmp_path / f"{quality}a.jpg", quality=quality)
        photo(1, 150, 113).save(tmp_path / f"{quality}b.jpg", quality=quality)
    findings = examine(ims.scan(tmp_path), decode=True)
    assert [len(rows) for rows in findings.alike] == [170]


def test_copies_across_the_sides_of_a_run_are_found_by_its_own_split(two_classes: Path, tmp_path: Path) -> None:
    shutil.copytree(two_classes, tmp_path / "photos")
    index = ims.scan(tmp_path / "photos")
    train, val = index.split(val=0.3, seed=11)
    shutil.copy(train.path(0), val.path(0))
    findings = examine(index, sides={"train": train, "val": val})
    assert [[findings.part(row) for row in findings.alike[number]] for number in findings.across] in (
        [["train", "val"]],
        [["val", "train"]],
    )
    assert findings.split_by == "run"
    assert int((findings.parts == 1).sum()) == len(val)
