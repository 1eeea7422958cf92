from __future__ import annotations

import base64
import os
from pathlib import Path

import numpy as np
import pytest

import imgstream as ims
from imgstream.errors import DatasetError, DatasetWarning, NoImagesError
from imgstream.index import ImageIndex, open_index
from imgstream.index.corrections import Corrections, corrected


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """cats/ and dogs/ with three files each, one of whose names is no UTF-8; they are only listed."""
    for path in (b"cats/1.jpg", b'cats/2, "b".jpg', b"cats/\xff.jpg", b"dogs/1.jpg", b"dogs/2.jpg", b"dogs/3.jpg"):
        file = Path(os.fsdecode(os.fsencode(tmp_path / "photos") + b"/" + path))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(path)
    return tmp_path / "photos"


def written(tmp_path: Path, *rows: str) -> Path:
    file = tmp_path / "corrections.csv"
    file.write_text("\n".join(["path,action,label,was,path_b64", *rows]) + "\n", encoding="utf-8")
    return file


def labels(index: ImageIndex) -> dict[bytes, str]:
    return {index.relative_bytes(i): index.class_names[index.labels[i]] for i in range(len(index))}


def test_labels_are_put_right_by_path_and_no_file_is_touched(photos: Path, tmp_path: Path) -> None:
    exact = base64.b64encode(b"cats/\xff.jpg").decode()
    file = written(
        tmp_path, '"cats/2, ""b"".jpg",label,dogs,cats,', f"cats/\ufffd.jpg,label,dogs,cats,{exact}", "./dogs/3.jpg,exclude,,dogs,"
    )
    before = {path: path.read_bytes() for path in photos.rglob("*.jpg")}
    index, plain = ims.scan(photos, corrections=file), ims.scan(photos)
    expected = labels(plain) | {b'cats/2, "b".jpg': "dogs", b"cats/\xff.jpg": "dogs"}
    del expected[b"dogs/3.jpg"]
    assert labels(index) == expected
    assert [plain.relative_bytes(int(row)) for row in index.rows] == [index.relative_bytes(i) for i in range(len(index))]
    assert {path: path.read_bytes() for path in photos.rglob("*.jpg")} == before


def test_what_is_changed_is_told(photos: Path, tmp_path: Path) -> None:
    rows = (
        "cats/1.jpg,label,dogs,cats,",
        "dogs/1.jpg,label,dogs,cats,",
        "dogs/2.jpg,fine,,,",
        "dogs/3.jpg,exclude,,,",
        "gone.jpg,label,cats,,",
    )
    file = written(tmp_path, *rows)
    told: list[str] = []
    open_index(photos, corrections=file, notice=told.append)
    assert told == [
        f"Corrections, by {file}: 1 label changed (cats → dogs 1), 1 image left out, 1 found to be right, 1 right already, "
        "1 path is of no image here"
    ]


def test_a_row_without_an_action_gives_the_label_and_the_last_row_of_a_path_counts(photos: Path, tmp_path: Path) -> None:
    file = tmp_path / "by hand.csv"
    file.write_text("path,label\ncats/1.jpg,cats\ncats/1.jpg,dogs\n")
    assert labels(ims.scan(photos, corrections=file))[b"cats/1.jpg"] == "dogs"


def test_rows_that_contradict_each_other_are_told(photos: Path, tmp_path: Path) -> None:
    rows = ("cats/1.jpg,exclude,,,", "cats/1.jpg,label,dogs,,", "dogs/1.jpg,fine,,,", "dogs/1.jpg,fine,,,", "dogs/2.jpg,fine,,,")
    file = written(tmp_path, *rows, "dogs/2.jpg,exclude,,,", "dogs/2.jpg,fine,,,")  # changed one's mind, and back
    told: list[str] = []
    index = open_index(photos, corrections=file, notice=told.append)
    assert labels(index)[b"cats/1.jpg"] == "dogs"
    assert told[0].endswith(
        "2 paths have rows that contradict each other, of which the last counts (such as cats/1.jpg: exclude, then dogs)"
    )


def test_a_file_without_rows_and_one_without_anything_are_told_as_such(photos: Path, tmp_path: Path) -> None:
    with pytest.warns(DatasetWarning, match="lists no image: nothing is put right"):
        assert len(ims.scan(photos, corrections=written(tmp_path))) == 6
    (tmp_path / "nothing.csv").touch()
    with pytest.raises(DatasetError, match=r"nothing\.csv is empty"):
        ims.scan(photos, corrections=tmp_path / "nothing.csv")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("cats/1.jpg,label,horses,cats,", "'horses' as a label, which is no class"),
        ("cats/1.jpg,delete,,cats,", "line 2: the action 'delete'"),
        ("cats/1.jpg,label,,cats,", "line 2: no label"),
        ("cats/1.jpg,label,dogs,cats,*", "cannot be read as a list of files"),
    ],
)
def test_rows_that_mean_nothing_are_errors(row: str, words: str, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=words.replace("*", r"\*")):
        ims.scan(photos, corrections=written(tmp_path, row))


def test_corrections_that_fit_no_image_or_leave_none_are_told(photos: Path, tmp_path: Path) -> None:
    with pytest.warns(DatasetWarning, match="nothing is put right"):
        assert len(ims.scan(photos, corrections=written(tmp_path, "gone.jpg,exclude,,,"))) == 6
    index = ims.scan(photos / "dogs")
    with pytest.raises(NoImagesError, match="leaves out all"):
        open_index(index, corrections=written(tmp_path, *(f"{n}.jpg,exclude,,," for n in (1, 2, 3))))


def test_a_corrected_selection_keeps_its_rows_its_split_and_survives_saving(photos: Path, tmp_path: Path) -> None:
    train, val = ims.scan(photos).split(val=0.5, seed=1)
    path = train.relative_bytes(0).decode("utf-8", "replace")
    right = "dogs" if train.class_names[train.labels[0]] == "cats" else "cats"
    exact = base64.b64encode(train.relative_bytes(0)).decode()
    changed, report = corrected(
        train, Corrections.read(written(tmp_path, f'"{path.replace(chr(34), chr(34) * 2)}",label,{right},,{exact}'))
    )
    assert report.changed.total() == 1
    assert changed.rows.tolist() == train.rows.tolist()
    changed.save(tmp_path / "table.arrow")
    again = ImageIndex.load(tmp_path / "table.arrow")
    assert again.class_names[again.labels[0]] == right
    assert again.rows.tolist() == train.rows.tolist()
    assert again.labels[1:].tolist() == train.labels[1:].tolist()
    assert changed.fingerprint != train.fingerprint
    with pytest.raises(DatasetError, match="labels must lie in"):
        val.relabelled(np.array([0]), np.array([7], np.int32))


def test_refreshing_a_table_forgets_corrections_that_are_not_given_again(photos: Path, tmp_path: Path) -> None:
    file = written(tmp_path, "cats/1.jpg,label,dogs,cats,")
    ims.scan(photos, corrections=file).save(tmp_path / "table.arrow")
    assert labels(ims.scan(photos, index=tmp_path / "table.arrow"))[b"cats/1.jpg"] == "cats"
