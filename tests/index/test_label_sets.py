from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import imgstream as ims
from imgstream.errors import DatasetError, DatasetWarning
from imgstream.index.manifest.write import write_manifest

ROWS = [("a.jpg", "dog|cat"), ("b.jpg", "cat"), ("c.jpg", " cat | dog |cat"), ("d.jpg", "|"), ("e.jpg", ""), ("f.jpg", "bird")]


def written(folder: Path, rows: list[tuple[str, ...]], header: str = "path,label") -> Path:
    for path, *_ in rows:
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).touch()
    file = folder / "list.csv"
    file.write_text("\n".join([header, *(",".join(row) for row in rows)]))
    return file


def labels_of(index: ims.ImageIndex) -> dict[str, list[str]]:
    """The class names of each image; those without a label are left out."""
    places, classes = index.classes_at(np.arange(len(index)))
    found: dict[str, list[str]] = {os.fsdecode(index.relative_bytes(i)): [] for i in range(len(index)) if index.labels[i] >= 0}
    for place, label in zip(places.tolist(), classes.tolist(), strict=True):
        found[os.fsdecode(index.relative_bytes(place))].append(index.class_names[label])
    return found


def test_names_between_bars_are_the_labels_of_an_image(tmp_path: Path) -> None:
    index = ims.scan(written(tmp_path, ROWS), multi_label=True)
    assert index.class_names == ["bird", "cat", "dog"]
    assert labels_of(index) == {"a.jpg": ["cat", "dog"], "b.jpg": ["cat"], "c.jpg": ["cat", "dog"], "d.jpg": [], "f.jpg": ["bird"]}
    assert index.class_counts().tolist() == [1, 3, 2]
    assert index.unlabelled_count() == 1


def test_targets_are_a_row_of_0_and_1_or_of_minus_1_without_a_label(tmp_path: Path) -> None:
    targets = ims.scan(written(tmp_path, ROWS), multi_label=True).targets_at(np.arange(6))
    assert targets.dtype == np.float32
    assert targets.tolist() == [[0, 1, 1], [0, 1, 0], [0, 1, 1], [0, 0, 0], [-1, -1, -1], [1, 0, 0]]


def test_without_multi_label_a_bar_is_a_part_of_a_name(tmp_path: Path) -> None:
    index = ims.scan(written(tmp_path, ROWS[:2]))
    assert (index.class_names, index.is_multi_label, index.label_sets) == (["cat", "dog|cat"], False, [])
    assert index.targets_at(np.arange(2)).tolist() == [1, 0]


def test_classes_that_are_numbers_come_by_value(tmp_path: Path) -> None:
    index = ims.scan(written(tmp_path, [("a.jpg", "10|9"), ("b.jpg", "2")]), multi_label=True)
    assert index.class_names == ["2", "9", "10"]


def test_columns_of_0_and_1_are_classes(tmp_path: Path) -> None:
    rows = [("a.jpg", "1", "1.0", "x"), ("b.jpg", "0", "true", "x"), ("c.jpg", "", "FALSE", "x"), ("d.jpg", "2", "0", "x")]
    file = written(tmp_path, rows, "path,cat,dog,note")
    with pytest.warns(DatasetWarning, match=r"not 0 or 1 1"):
        index = ims.scan(file, multi_label=True, columns={"label": "cat|dog"})
    assert labels_of(index) == {"a.jpg": ["cat", "dog"], "b.jpg": ["dog"], "c.jpg": []}


def test_a_column_that_is_missing_is_named_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"has no column 'cat\|horse' for label; it has 2 columns: path, cat"):
        ims.scan(written(tmp_path, [("a.jpg", "1")], "path,cat"), multi_label=True, columns={"label": "cat|horse"})


def test_an_image_linked_in_several_folders_is_one_row_with_all_their_labels(tmp_path: Path) -> None:
    for name in ("cat/1.jpg", "dog/2.jpg", "dog/3.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "bird").mkdir()
    os.link(tmp_path / "cat/1.jpg", tmp_path / "dog/one.jpg")
    os.symlink(tmp_path / "dog/2.jpg", tmp_path / "bird/two.jpg")
    os.symlink(tmp_path / "dog/2.jpg", tmp_path / "cat/2.jpg")
    os.symlink(tmp_path / "nowhere", tmp_path / "cat/broken.jpg")
    index = ims.scan(tmp_path, multi_label=True)
    assert labels_of(index) == {
        "bird/two.jpg": ["bird", "cat", "dog"],
        "cat/1.jpg": ["cat", "dog"],
        "cat/broken.jpg": ["cat"],
        "dog/3.jpg": ["dog"],
    }


def test_a_path_listed_twice_is_one_row(tmp_path: Path) -> None:
    index = ims.scan(written(tmp_path, [("a.jpg", "cat"), ("b.jpg", "cat"), ("a.jpg", "dog"), ("a.jpg", "")]), multi_label=True)
    assert labels_of(index) == {"a.jpg": ["cat", "dog"], "b.jpg": ["cat"]}


def test_sets_outlive_saving_taking_and_splitting(tmp_path: Path) -> None:
    index = ims.scan(written(tmp_path, ROWS), multi_label=True)
    expected = labels_of(index)
    index.take([5, 2, 0]).save(tmp_path / "some.arrow")
    again = ims.scan(tmp_path / "some.arrow", multi_label=True)
    assert labels_of(again) == {path: expected[path] for path in ("f.jpg", "c.jpg", "a.jpg")}
    assert again.rows.tolist() == [5, 2, 0]
    assert index.fingerprint != ims.scan(tmp_path / "list.csv").fingerprint


def test_a_table_whose_sets_name_no_class_is_refused(tmp_path: Path) -> None:
    index = ims.scan(written(tmp_path, ROWS), multi_label=True)
    with pytest.raises(pa.ArrowInvalid, match="a set of labels names a class that there is not"):
        index.with_label_sets(np.zeros(len(index), np.int32), ["cat"], [[1]])


def test_a_manifest_of_sets_says_the_same_again(tmp_path: Path) -> None:
    index = ims.scan(written(tmp_path, ROWS), multi_label=True)
    write_manifest(index, tmp_path / "again.csv")
    again = ims.scan(tmp_path / "again.csv", multi_label=True)
    assert labels_of(again) == labels_of(index)
    assert again.unlabelled_count() == 1


def test_with_classes_keeps_the_images_that_have_one_of_them(tmp_path: Path) -> None:
    index = ims.scan(written(tmp_path, ROWS), multi_label=True).with_classes(["dog", "bird"])
    assert index.class_names == ["bird", "dog"]
    assert labels_of(index) == {"a.jpg": ["dog"], "c.jpg": ["dog"], "f.jpg": ["bird"]}
    index.save(tmp_path / "two.arrow")
    assert labels_of(ims.scan(tmp_path / "two.arrow")) == labels_of(index)


def test_corrections_give_several_labels(tmp_path: Path) -> None:
    file = written(tmp_path, ROWS)
    (tmp_path / "corrections.csv").write_text("path,action,label\nb.jpg,label,dog|bird\na.jpg,label,cat|dog\nf.jpg,label,|\n")
    index = ims.scan(file, multi_label=True, corrections=tmp_path / "corrections.csv")
    assert {path: labels_of(index)[path] for path in ("a.jpg", "b.jpg", "f.jpg")} == {
        "a.jpg": ["cat", "dog"],
        "b.jpg": ["bird", "dog"],
        "f.jpg": [],
    }
    (tmp_path / "corrections.csv").write_text("path,action,label\nb.jpg,label,dog|horse\n")
    with pytest.raises(DatasetError, match="gives 'horse' as a label, which is no class"):
        ims.scan(file, multi_label=True, corrections=tmp_path / "corrections.csv")


@pytest.mark.parametrize("seed", range(20))
def test_every_class_that_can_is_on_both_sides_of_a_split(tmp_path: Path, seed: int) -> None:
    rare = [f"rare{i}" for i in range(4) for _ in range(2)]
    rows: list[tuple[str, ...]] = [(f"{i}.jpg", f"common|{rare[i]}" if i < 8 else "common") for i in range(40)]
    train, val = ims.scan(written(tmp_path, rows), multi_label=True).split(val=0.1, seed=seed)
    assert (train.class_counts() > 0).all()
    assert (val.class_counts() > 0).all()
