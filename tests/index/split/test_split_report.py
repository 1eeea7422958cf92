"""What a split tells of itself: how many there are on each side, and whether anything is on both."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from imgstream.index import ImageIndex, scan, selection
from imgstream.index.manifest.read import read_manifest
from imgstream.index.split.groups import ListedGroups, PatternGroups
from imgstream.index.split.validation import SplitReport

Tree = Callable[..., Path]
PATIENTS = PatternGroups(re.compile(r"(?P<group>p\d+)_"))


def manifest(root: Path, *rows: str) -> ImageIndex:
    (root / "list.csv").write_text("\n".join(("path,label,split", *rows)))
    return read_manifest(root / "list.csv", check_files=False)[0]


def test_it_counts_both_sides_and_names_the_classes_without_validation(tree: Tree) -> None:
    index = scan(tree("a/1.jpg", "a/2.jpg", "a/3.jpg", "b/4.jpg", "c/5.jpg"))
    report = SplitReport.of(index.take([0, 1, 3, 4]), index.take([2]), how="by hand")
    assert report == SplitReport(how="by hand", train=4, val=1, crossing=0, without_validation=["b", "c"])
    assert str(report) == (
        "Split (by hand): 4 images to train on, 1 (20.0 %) to validate on; 2 classes have none to validate on, such as b, c; "
        "nothing is on both sides"
    )


def test_a_split_of_ours_has_nothing_on_both_sides(tree: Tree) -> None:
    index = scan(tree(*(f"{c}/p{i // 4}_{i}.jpg" for c in "ab" for i in range(100))))
    train, val = index.split(0.3, 1, group=PATIENTS)
    report = SplitReport.of(train, val, how="by hash", group=PATIENTS)
    assert report == SplitReport(how="by hash", train=len(train), val=len(val), crossing=0, without_validation=[])
    assert report.train + report.val == 200
    assert str(report).endswith("validate on; nothing is on both sides")
    train, val = index.split(0.3, 1)  # every file for itself: patients have images on both sides
    patients = [[Path(side.path(i)).name.split("_")[0] for i in range(len(side))] for side in (train, val)]
    crossing = sum(patient in patients[0] for patient in patients[1])
    assert SplitReport.of(train, val, how="", group=PATIENTS).crossing == crossing > 0
    assert SplitReport.of(train, val, how="").crossing == 0


@pytest.mark.parametrize("rows", [1, 3, 1 << 16])
def test_a_file_that_a_manifest_lists_on_both_sides_crosses(rows: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "_SELECT_ROWS", rows)
    index = manifest(
        tmp_path, "a/1.jpg,a,train", "a/2.jpg,a,train", "b/3.jpg,b,train", "./a/1.jpg,a,val", "b/4.jpg,b,val", "a/1.jpg,a,test"
    )
    report = SplitReport.of(*index.split(), how="as given")
    assert report == SplitReport(how="as given", train=3, val=2, crossing=1, without_validation=[])
    assert str(report).endswith("; 1 is on both sides")
    everything = SplitReport.of(index, index, how="as given")
    assert (everything.train, everything.val, everything.crossing) == (6, 6, 6)


def test_an_image_whose_path_and_group_are_both_on_the_other_side_crosses_once(tmp_path: Path) -> None:
    index = manifest(
        tmp_path, "p1_a.jpg,a,train", "p2_a.jpg,b,train", "p1_a.jpg,a,val", "p1_b.jpg,a,val", "p3_a.jpg,b,val", "none.jpg,b,val"
    )
    train, val = index.split()
    assert SplitReport.of(train, val, how="").crossing == 1
    assert SplitReport.of(train, val, how="", group=PATIENTS).crossing == 2
    assert SplitReport.of(train, val, how="", group=ListedGroups([(b"p2_a.jpg", b"x"), (b"none.jpg", b"x")])).crossing == 2


def test_paths_below_other_roots_are_other_files(tree: Tree, tmp_path: Path) -> None:
    root = tree("a/1.jpg", "b/2.jpg")
    (tmp_path / "other" / "a").mkdir(parents=True)
    (tmp_path / "other" / "a" / "1.jpg").touch()
    assert SplitReport.of(scan(root), scan(tmp_path / "other"), how="").crossing == 0
    assert SplitReport.of(scan(root), scan(root), how="").crossing == 2


def test_sides_without_images_cross_nothing(tree: Tree) -> None:
    index = scan(tree("a/1.jpg", "b/2.jpg"))
    nothing = index.take([])
    assert SplitReport.of(index, nothing, how="") == SplitReport(how="", train=2, val=0, crossing=0, without_validation=["a", "b"])
    assert SplitReport.of(nothing, index, how="", group=PATIENTS).crossing == 0
    assert "0 (0.0 %)" in str(SplitReport.of(nothing, nothing, how=""))


def test_its_json_makes_the_same_report_again(tree: Tree) -> None:
    report = SplitReport.of(scan(tree("a/1.jpg")), scan(tree("a/1.jpg")), how="fold 1/3")
    assert report.to_json() == {"how": "fold 1/3", "train": 1, "val": 1, "crossing": 1, "without_validation": []}
    assert SplitReport(**json.loads(json.dumps(report.to_json()))) == report
