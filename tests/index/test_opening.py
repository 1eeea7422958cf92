"""What commands take for images."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import imgstream as ims
from imgstream.errors import DatasetError, DatasetWarning, NoImagesError
from imgstream.index import ImageIndex, open_index, scan

Tree = Callable[..., Path]
NAMES = ["a/1.jpg", "a/2.jpg", "b/3.jpg", "b/deep/4.jpg"]


@pytest.fixture
def photos(tree: Tree) -> Path:
    return tree(*NAMES)


def relative(index: ImageIndex) -> list[str]:
    return [os.fsdecode(index.relative_bytes(i)) for i in range(len(index))]


def test_a_folder_is_scanned_and_refreshed_and_what_changed_is_told(photos: Path, tree: Tree) -> None:
    told: list[str] = []
    counted: list[int] = []
    first = open_index(photos, notice=told.append, progress=counted.append)
    assert (relative(first), first.class_names, first.labels.tolist()) == (NAMES, ["a", "b"], [0, 0, 1, 1])
    assert relative(open_index(str(photos), notice=told.append)) == NAMES
    assert told == []
    tree("a/0.jpg")
    (photos / "b" / "3.jpg").unlink()
    assert relative(open_index(photos, notice=told.append)) == ["a/0.jpg", "a/1.jpg", "a/2.jpg", "b/deep/4.jpg"]
    assert told == ["Since the last time: 1 new image (such as a/0.jpg), 1 gone (such as b/3.jpg)"]
    assert relative(open_index(photos)) == ["a/0.jpg", "a/1.jpg", "a/2.jpg", "b/deep/4.jpg"]  # nobody has to listen


@pytest.mark.parametrize("source", [None, 7])
def test_what_cannot_be_scanned_says_what_can(source: Any) -> None:
    with pytest.raises(DatasetError, match=f"^scan takes the path of a folder, .* or an index; got {source}$"):
        scan(source)


def test_a_pattern_gives_the_labels_of_a_folder(photos: Path) -> None:
    index = open_index(photos, r"(?P<label>\d)")
    assert (index.class_names, index.labels.tolist()) == (["1", "2", "3", "4"], [0, 1, 2, 3])


@pytest.mark.parametrize("name", ["list.csv", "list.tsv", "list.jsonl", "list.txt"])
def test_a_manifest_is_read_whatever_its_kind(name: str, photos: Path) -> None:
    lines = {
        "list.csv": 'path,label\nb/3.jpg,x\n"a/1.jpg",y\n',
        "list.tsv": "path\tlabel\nb/3.jpg\tx\na/1.jpg\ty\n",
        "list.jsonl": '{"path": "b/3.jpg", "label": "x"}\n{"path": "a/1.jpg", "label": "y"}\n',
        "list.txt": "b/3.jpg\na/1.jpg\n",
    }
    (photos / name).write_text(lines[name])
    counted: list[int] = []
    index = open_index(photos / name, progress=counted.append)
    assert relative(index) == ["b/3.jpg", "a/1.jpg"]
    assert index.class_names == ([] if name == "list.txt" else ["x", "y"])
    assert index.path(1) == str(photos / "a/1.jpg")
    assert counted[-1] == 2


def test_of_a_manifest_root_columns_and_outside_are_heeded(photos: Path, tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text(f"img,species\na/1.jpg,cat\n{tmp_path}/elsewhere.jpg,dog\n")
    (tmp_path / "elsewhere.jpg").touch()
    options: dict[str, Any] = {"root": photos, "columns": {"path": "img", "label": "species"}}
    with pytest.warns(DatasetWarning, match="outside the root"):
        assert relative(open_index(file, **options)) == ["a/1.jpg"]
    index = open_index(file, allow_outside=True, **options)
    assert [index.path(i) for i in range(2)] == [str(photos / "a/1.jpg"), str(tmp_path / "elsewhere.jpg")]
    assert index.class_names == ["cat", "dog"]


def test_bad_rows_are_one_warning_that_counts_them_and_names_the_first(photos: Path) -> None:
    file = photos / "list.csv"
    file.write_text("path,label\na/1.jpg,x\n../up.jpg,y\nb/gone.jpg,y\n,y\nb/3.jpg,y\n")
    with pytest.warns(DatasetWarning) as caught:
        index = open_index(file)
    assert [str(warning.message) for warning in caught] == [
        f"{file}: Bad rows: 3 of 5 (no path 1, outside the root 1, missing file 1), line 3: outside the root: ../up.jpg, and 2 more; "
        "imgstream index lists them"
    ]
    assert relative(index) == ["a/1.jpg", "b/gone.jpg", "b/3.jpg"]


def test_a_saved_table_is_loaded_with_its_classes_and_root(photos: Path, tmp_path: Path) -> None:
    scan(photos).take([3, 0]).save(tmp_path / "part.arrow")
    index = open_index(tmp_path / "part.arrow")
    assert (relative(index), index.labels.tolist(), index.rows.tolist()) == (["b/deep/4.jpg", "a/1.jpg"], [1, 0], [3, 0])
    assert (index.root, index.class_names) == (str(photos), ["a", "b"])
    (tmp_path / "part.arrow").write_bytes(b"ARROW1, or so it says")
    with pytest.raises(DatasetError, match=r"part\.arrow cannot be read as a table"):
        open_index(tmp_path / "part.arrow")


def test_an_image_and_a_list_of_paths_are_images_without_labels(photos: Path) -> None:
    one = open_index(photos / "a" / "1.jpg")
    assert ([one.path(i) for i in range(len(one))], one.labels.tolist()) == ([str(photos / "a/1.jpg")], [-1])
    for paths in ([photos / "b/3.jpg", b"gone.jpg", "a/1.jpg"], iter([str(photos / "b/3.jpg"), "gone.jpg", "a/1.jpg"])):
        index = open_index(paths)
        assert [index.path(i) for i in range(3)] == [str(photos / "b/3.jpg"), "gone.jpg", "a/1.jpg"]
    with pytest.raises(NoImagesError, match="list of files is empty"):
        open_index([])


def test_an_index_stays_as_it_is(photos: Path) -> None:
    index = scan(photos)
    assert open_index(index) is index


def test_what_is_not_there_says_so(tmp_path: Path) -> None:
    for name in ("gone", "gone.csv", "gone.arrow"):
        with pytest.raises(NoImagesError, match=f"{name}: there is no such folder"):
            open_index(tmp_path / name)


@pytest.mark.parametrize(
    "contents",
    [
        "path,reason,detail,path_b64\na/2.jpg,empty,0 bytes,\nb/deep/4.jpg,duplicate,a copy,\nno/such.jpg,missing,,\n",  # as check has it
        "detail,path\nx,b/deep/4.jpg\ny,./a/2.jpg\nz,other.jpg\n",
        "a/2.jpg\n\n./b/deep/4.jpg\nA/1.jpg\n",
    ],
)
def test_what_is_excluded_is_left_out_and_told(contents: str, photos: Path, tmp_path: Path) -> None:
    bad, told = tmp_path / "bad.csv", list[str]()
    bad.write_text(contents)
    index = open_index(photos, exclude=bad, notice=told.append)
    assert (relative(index), index.rows.tolist(), index.class_names) == (["a/1.jpg", "b/3.jpg"], [0, 2], ["a", "b"])
    assert told == [f"Left out: 2 images, by the 3 paths in {bad}"]
    assert relative(open_index(scan(photos), exclude=str(bad))) == ["a/1.jpg", "b/3.jpg"]


def test_a_list_that_names_none_of_the_images_is_told_of(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("elsewhere/0.jpg\n")
    with pytest.warns(DatasetWarning, match=r"no path in .*list\.txt is that of an image: nothing is left out"):
        open_index(photos, exclude=tmp_path / "list.txt")


def test_a_pipe_a_folder_or_a_picture_is_no_list_to_exclude_by(photos: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "picture").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
    no_file, no_text = "it is a folder, pipe or device", "it is no list of paths"
    for given, says in ((tmp_path / "pipe", no_file), (photos, no_file), (tmp_path / "picture", no_text)):
        with pytest.raises(DatasetError, match=says):
            open_index(photos, exclude=given)


def test_names_that_are_no_utf_8_are_excluded_by_their_bytes(photos: Path, tmp_path: Path) -> None:
    name = os.fsdecode(b"n\xff.jpg")
    (photos / "a" / name).touch()
    (tmp_path / "bad.csv").write_text("path,path_b64\na/n\ufffd.jpg,YS9u/y5qcGc=\n", "utf-8")
    assert relative(open_index(photos)) == ["a/1.jpg", "a/2.jpg", f"a/{name}", "b/3.jpg", "b/deep/4.jpg"]
    assert relative(open_index(photos, exclude=tmp_path / "bad.csv")) == NAMES


def test_excluding_everything_or_by_a_list_that_is_none_is_an_error(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "all.txt").write_text("\n".join(NAMES))
    with pytest.raises(NoImagesError, match=r"all\.txt names all 4 of .*photos"):
        open_index(photos, exclude=tmp_path / "all.txt")
    with pytest.raises(DatasetError, match=r"gone\.txt cannot be read as a list of files"):
        open_index(photos, exclude=tmp_path / "gone.txt")


@pytest.mark.parametrize("option", [{"root": "x"}, {"columns": {"path": "img"}}, {"allow_outside": True}])
@pytest.mark.parametrize("kind", ["folder", "index", "image", "paths"])
def test_what_is_of_manifests_is_refused_with_anything_else(kind: str, option: dict[str, Any], photos: Path) -> None:
    source: Any = {"folder": photos, "index": scan(photos), "image": photos / "a/1.jpg", "paths": [photos / "a/1.jpg"]}[kind]
    with pytest.raises(DatasetError, match=r"^(root|columns|allow_outside) can be given for a manifest alone \(\.csv"):
        open_index(source, **option)


def test_a_manifest_without_a_fault_warns_of_nothing(photos: Path) -> None:
    (photos / "list.csv").write_text("path\na/1.jpg\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(open_index(photos / "list.csv")) == 1


# ---- the front door


def test_scan_takes_what_the_command_line_takes(photos: Path, tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text("img,species\na/1.jpg,cat\nb/3.jpg,dog\n")
    index = ims.scan(file, root=photos, columns={"path": "img", "label": "species"})
    assert (relative(index), index.class_names, index.path(0)) == (["a/1.jpg", "b/3.jpg"], ["cat", "dog"], str(photos / "a/1.jpg"))
    named = ims.scan(str(file), root=photos, columns={"path": "img", "label": "species"}, class_names=["dog", "cat", "eel"])
    assert (named.class_names, named.labels.tolist()) == (["cat", "dog", "eel"], [0, 1])
    index.save(tmp_path / "table.arrow")
    assert relative(ims.scan(tmp_path / "table.arrow")) == ["a/1.jpg", "b/3.jpg"]
    assert relative(ims.scan(bytes(photos))) == NAMES
    assert ims.scan(index) is index
    assert relative(ims.scan([photos / "a/1.jpg", os.fsencode(photos / "b/3.jpg")])) == [f"{photos}/a/1.jpg", f"{photos}/b/3.jpg"]
    assert relative(ims.scan(photos / "a/1.jpg")) == [f"{photos}/a/1.jpg"]
    (tmp_path / "bad.txt").write_text("a/1.jpg\n")
    assert relative(ims.scan(photos, exclude=tmp_path / "bad.txt")) == NAMES[1:]
    with pytest.raises(DatasetError, match="root can be given for a manifest alone"):
        ims.scan(photos, root=tmp_path)
    with pytest.raises(
        DatasetError, match=r"a label pattern takes labels from the paths in a folder or archive, and '.*labels\.csv' is none"
    ):
        ims.scan(file, r"(?P<label>\d)")


def test_scan_itself_lists_a_folder_anew_and_compares_when_it_is_told_to(photos: Path, tree: Tree) -> None:
    assert ims.scan(photos).changes is None
    tree("a/0.jpg")
    assert ims.scan(photos).changes is None
    tree("a/00.jpg")
    assert ims.scan(photos, index="auto").changes.added == 1  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["nwe_photos", "gone.csv", "gone.arrow", "a/2.jpg/x", ""])
def test_a_name_where_nothing_lies_is_a_typing_mistake_alone_and_in_a_list(
    name: str, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos)
    for source in (name, ["a/1.jpg", name], (p for p in ["a/1.jpg", os.fsencode(name)])):
        with pytest.raises(NoImagesError, match="there is no such folder or file"):
            ims.scan(source)


def test_the_name_that_may_be_meant_is_told(photos: Path) -> None:
    with pytest.raises(NoImagesError, match=rf"photso: there is no such folder or file \(there is {photos}\)\. Check the path"):
        ims.scan(photos.parent / "photso")


def test_a_missing_file_with_an_images_name_is_left_to_be_found_missing(photos: Path) -> None:
    for source in (photos / "gone.JPG", [photos / "gone.JPG"]):
        assert relative(ims.scan(source)) == [f"{photos}/gone.JPG"]


def test_what_lies_in_a_list_of_paths_is_taken_whatever_its_name(photos: Path) -> None:
    (photos / "0f3a").touch()
    (photos / "notes.txt").touch()
    (photos / "dangling").symlink_to("nowhere")
    given = sorted(photos.rglob("*"))
    assert relative(ims.scan(given)) == [str(path) for path in given]  # folders too: each is told of when it is read


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        (
            "ftp://bucket/photos",
            "is a URL of a kind that is not read (s3:// gs:// az:// https:// http:// are): copy what is there to a disk",
        ),
        ("photos.7z", "is an archive that is not read: unpack it, and give the folder"),
        ("photos.tar.gz", "is compressed as a whole, so that nothing in it can be read without all before it: unpack it once"),
        ("train.tfrecord.gz", "is compressed as a whole"),
        ("X.h5", "is a file of packed samples"),
        ("labels.json", "is no list that is read: save it as .csv or .jsonl"),
    ],
)
def test_what_is_not_read_says_what_is(name: str, advice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for there in (False, True):
        if there and "://" not in name:
            Path(name).touch()
        with pytest.raises(DatasetError) as error:
            ims.scan(name)
        assert f"{name} {advice}" in str(error.value)
        assert "imgstream reads a folder, a prefix of a bucket (s3:// gs:// az://), a manifest (.csv .tsv" in str(error.value)
    with pytest.raises(DatasetError, match="is a URL"):
        ims.scan(["ftp://bucket/cat.jpg"])


def test_a_folder_or_a_table_may_have_any_name(tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree("x.zip/a.jpg", "s3:/bucket/b.jpg")
    monkeypatch.chdir(root)
    assert relative(ims.scan("x.zip")) == ["a.jpg"]
    assert relative(ims.scan("./s3://bucket")) == ["b.jpg"]  # without ./ it is a bucket
