from __future__ import annotations

import base64
import csv
import json
import os
import tracemalloc
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgstream.errors import OutputError
from imgstream.prediction.rows import Prediction
from imgstream.prediction.writers import ROW_GROUP, check_output, open_writer

CLASSES = ["cat", "dog", "eel"]


def good(path: str, *scores: float) -> Prediction:
    values = np.array(scores, np.float32)
    best = int(values.argmax())
    return Prediction(path, path.encode(), CLASSES[best], float(values[best]), values, None)


def bad(path: str, error: str) -> Prediction:
    return Prediction(path, path.encode(), None, None, None, error)


def golden_rows() -> list[Prediction]:
    scores = np.array([1, 0, 0], np.float32)
    return [
        good("a.jpg", 0.1, 0.7, 0.2),
        bad("sub/b.jpg", "empty: 0 bytes"),
        Prediction("c\ufffd.jpg", b"c\xff.jpg", "cat", 1.0, scores, None),
    ]


def write(path: Path, rows: Iterable[Prediction], top_k: int = 1) -> Path:
    with open_writer(path, CLASSES, top_k) as writer:
        for row in rows:
            writer.write(row)
    return path


# The three forms of the same rows, to the byte. Scripts that people wrote read these: a change here is a new format version.


def test_csv_has_these_bytes(tmp_path: Path) -> None:
    assert write(tmp_path / "out.csv", golden_rows(), top_k=2).read_bytes().decode() == (
        "path,label,score,error,label_2,score_2,path_b64\n"
        "a.jpg,dog,0.700000,,eel,0.200000,\n"
        "sub/b.jpg,,,empty: 0 bytes,,,\n"
        "c\ufffd.jpg,cat,1.000000,,dog,0.000000,Y/8uanBn\n"
    )


def test_jsonl_has_these_bytes(tmp_path: Path) -> None:
    assert write(tmp_path / "out.jsonl", golden_rows(), top_k=2).read_bytes().decode() == (
        '{"path": "a.jpg", "label": "dog", "score": 0.700000, '
        '"top_k": [{"label": "dog", "score": 0.700000}, {"label": "eel", "score": 0.200000}], "error": null}\n'
        '{"path": "sub/b.jpg", "label": null, "score": null, "top_k": [], "error": "empty: 0 bytes"}\n'
        '{"path": "c\ufffd.jpg", "label": "cat", "score": 1.000000, '
        '"top_k": [{"label": "cat", "score": 1.000000}, {"label": "dog", "score": 0.000000}], "error": null, "path_b64": "Y/8uanBn"}\n'
    )


def test_parquet_has_these_columns_and_values(tmp_path: Path) -> None:
    table = pq.read_table(write(tmp_path / "out.parquet", golden_rows(), top_k=2))
    assert [(field.name, str(field.type)) for field in table.schema] == [
        ("path", "string"),
        ("label", "string"),
        ("score", "float"),
        ("error", "string"),
        ("label_2", "string"),
        ("score_2", "float"),
        ("path_b64", "string"),
    ]
    assert table.schema.metadata[b"imgstream.predictions"] == b"1"
    assert table.to_pydict() == {
        "path": ["a.jpg", "sub/b.jpg", "c\ufffd.jpg"],
        "label": ["dog", None, "cat"],
        "score": [float(np.float32(0.7)), None, 1.0],
        "error": [None, "empty: 0 bytes", None],
        "label_2": ["eel", None, "dog"],
        "score_2": [float(np.float32(0.2)), None, 0.0],
        "path_b64": [None, None, base64.b64encode(b"c\xff.jpg").decode()],
    }


def test_with_one_class_a_row_the_columns_are_the_short_list(tmp_path: Path) -> None:
    assert write(tmp_path / "out.csv", []).read_text() == "path,label,score,error,path_b64\n"


def test_no_more_classes_are_written_than_there_are(tmp_path: Path) -> None:
    header = write(tmp_path / "out.csv", [], top_k=99).read_text()
    assert header == "path,label,score,error,label_2,score_2,label_3,score_3,path_b64\n"


def test_of_equal_scores_the_lower_class_comes_first() -> None:
    assert [name for name, _ in good("", 0.25, 0.5, 0.25).top_k(CLASSES, 3)] == ["dog", "cat", "eel"]
    assert [name for name, _ in good("", 0.2, 0.4, 0.4).top_k(CLASSES, 2)] == ["dog", "eel"]
    many = np.tile(np.array([0.001, 0.002], np.float32), 300)  # enough for an unstable sort to mix them up
    best = Prediction("", b"", "1", 0.002, many, None).top_k([str(i) for i in range(600)], 300)
    assert [name for name, _ in best] == [str(i) for i in range(1, 600, 2)]


def test_a_score_that_is_no_number_keeps_the_json_readable(tmp_path: Path) -> None:
    row = Prediction("a.jpg", b"a.jpg", "cat", float("nan"), np.full(3, np.nan, np.float32), None)
    read = json.loads(write(tmp_path / "out.jsonl", [row]).read_text(), parse_constant=pytest.fail)
    assert (read["label"], read["score"]) == ("cat", None)


def read_back(path: Path) -> list[dict[str, Any]]:
    """path, label, error and the exact bytes, of any of the three forms; empty is None."""
    rows: list[dict[str, Any]]
    if path.suffix == ".jsonl":
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    elif path.suffix == ".csv":
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    else:
        rows = pq.read_table(path).to_pylist()
    return [{name: row.get(name) or None for name in ("path", "label", "error", "path_b64")} for row in rows]


names = st.binary(min_size=1, max_size=12).filter(lambda b: b"\0" not in b) | st.text(
    st.sampled_from("\r\n\t\",=;\x1b\x85\u2028\u2029\x0b\x1c é猫'\\"), min_size=1
).map(str.encode)


@pytest.mark.parametrize("extension", [".csv", ".jsonl", ".parquet"])
@settings(max_examples=60, deadline=None)
@given(files=st.lists(names, min_size=1, max_size=5))
def test_every_name_comes_back_one_row_a_file(tmp_path_factory: pytest.TempPathFactory, extension: str, files: list[bytes]) -> None:
    rows = [Prediction(f.decode("utf-8", "replace"), f, "cat", 0.5, np.array([0.5, 0.3, 0.2], np.float32), None) for f in files]
    read = read_back(write(tmp_path_factory.getbasetemp() / f"names{extension}", rows))
    assert [row["path"] for row in read] == [row.path for row in rows]
    exact = [base64.b64decode(row["path_b64"]) if row["path_b64"] else row["path"].encode() for row in read]
    assert exact == files


@pytest.mark.parametrize("extension", [".csv", ".jsonl", ".parquet"])
def test_text_that_utf8_cannot_hold_is_shown_as_replaced(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"out{extension}"
    with open_writer(path, ["c\udcff", "dog"], top_k=2) as writer:
        writer.write(Prediction("\udcff.jpg", b"\xff.jpg", "c\udcff", 1.0, np.array([1, 0], np.float32), None))
        writer.write(bad("b.jpg", "corrupt: \udcff"))
    assert read_back(path) == [
        {"path": "\ufffd.jpg", "label": "c\ufffd", "error": None, "path_b64": base64.b64encode(b"\xff.jpg").decode()},
        {"path": "b.jpg", "label": None, "error": "corrupt: \ufffd", "path_b64": None},
    ]


@pytest.mark.parametrize("extension", [".csv", ".jsonl", ".parquet"])
def test_a_writer_that_is_interrupted_leaves_the_earlier_file(tmp_path: Path, extension: str) -> None:
    path = write(tmp_path / f"out{extension}", [good("old.jpg", 1, 0, 0)])

    def interrupted() -> Iterator[Prediction]:
        yield good("new.jpg", 1, 0, 0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(path, interrupted())
    assert [row["path"] for row in read_back(path)] == ["old.jpg"]
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.quick(".csv", ".parquet")
@pytest.mark.parametrize("extension", [".csv", ".jsonl", ".parquet"])
def test_memory_does_not_grow_with_the_rows(tmp_path: Path, extension: str) -> None:
    row = good("folder/" + "x" * 100 + ".jpg", 0.1, 0.7, 0.2)
    with open_writer(tmp_path / f"out{extension}", CLASSES, top_k=3) as writer:
        for _ in range(ROW_GROUP):
            writer.write(row)
        tracemalloc.start()
        for _ in range(3 * ROW_GROUP):
            writer.write(row)
        grown, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert grown < 500_000
    assert len(read_back(tmp_path / f"out{extension}")) == 4 * ROW_GROUP


def test_parquet_is_written_in_row_groups(tmp_path: Path) -> None:
    path = write(tmp_path / "out.parquet", [good(f"{i}.jpg", 1, 0, 0) for i in range(ROW_GROUP + 1)])
    file = pq.ParquetFile(path)
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [ROW_GROUP, 1]
    assert file.read().column("path").to_pylist()[-2:] == [f"{ROW_GROUP - 1}.jpg", f"{ROW_GROUP}.jpg"]


@pytest.mark.parametrize("name", ["out.xlsx", "out", "out.csv.gz", ".csv"])
def test_an_unknown_extension_is_refused_with_the_known_ones(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match=r"End the name in \.csv, \.jsonl or \.parquet"):
        check_output(tmp_path / name)


def test_an_output_that_cannot_be_is_refused_before_any_row(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(OutputError, match="it is a folder"):
        check_output(tmp_path / "folder.csv")
    with pytest.raises(OutputError, match="does not exist"), open_writer(tmp_path / "nowhere" / "out.csv", CLASSES):
        pytest.fail("the block must not be entered")


def test_the_extension_may_be_in_capitals(tmp_path: Path) -> None:
    check_output(tmp_path / "OUT.CSV")
    assert os.listdir(tmp_path) == []


def test_fewer_than_one_class_a_row_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="top_k must be 1 or more; got 0"), open_writer(tmp_path / "out.csv", CLASSES, top_k=0):
        pass
