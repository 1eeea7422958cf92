from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgstream.errors import DatasetError
from imgstream.prediction.readers import PredictedRow, read_predictions
from imgstream.prediction.rows import Prediction
from imgstream.prediction.writers import open_writer

SCORES = np.array([0.7, 0.3], np.float32)
names = st.binary(min_size=1, max_size=12).filter(lambda b: b"\0" not in b) | st.text("\r\n\t\",=\x85\u2028 é'", min_size=1).map(str.encode)


def write(path: Path, files: list[tuple[bytes, str | None]], top_k: int = 2) -> Path:
    with open_writer(path, ["cat", "dog"], top_k) as writer:
        for name, error in files:
            shown = name.decode("utf-8", "replace")
            writer.write(Prediction(shown, name, *((None, None, None, error) if error else ("cat", 0.7, SCORES, None))))
    return path


@pytest.mark.parametrize("extension", [".csv", ".jsonl", ".parquet"])
@settings(max_examples=40, deadline=None)
@given(files=st.lists(st.tuples(names, st.sampled_from([None, "empty: 0 bytes", 'corrupt: a,\n"b'])), max_size=5))
def test_what_the_writers_wrote_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, extension: str, files: list[tuple[bytes, str | None]]
) -> None:
    path = write(tmp_path_factory.getbasetemp() / f"read{extension}", files)
    found = [row if row.score is None else row._replace(score=round(row.score, 6)) for row in read_predictions(path)]
    assert found == [PredictedRow(name, None if error else "cat", error, None if error else 0.7) for name, error in files]


@pytest.mark.quick(".csv", ".parquet")
@pytest.mark.parametrize("extension", [".csv", ".jsonl", ".parquet"])
def test_memory_does_not_grow_with_the_rows(tmp_path: Path, extension: str) -> None:
    path = write(tmp_path / f"out{extension}", [(b"x" * 100, None)] * 20_000)
    rows = read_predictions(path)
    for _ in range(5000):
        next(rows)
    tracemalloc.start()
    assert sum(1 for _ in rows) == 15_000
    assert tracemalloc.get_traced_memory()[1] < 12_000_000  # a row group of dicts
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv", b"label\nx\n"),
        ("a.csv", b""),
        ("a.csv", b"path,label,error,path_b64\na,b,,%%%\n"),
        ("a.csv", b"path,label,error\n\xff,b,\n"),
        ("a.jsonl", b"[]\n"),
        ("a.jsonl", b'{"path": 3, "label": null, "error": null}\n'),
        ("a.parquet", b"PAR1"),
        ("a.txt", b"x"),
    ],
)
def test_what_is_no_file_of_predictions_is_refused(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DatasetError, match="predictions"):
        list(read_predictions(tmp_path / name))


def test_a_table_of_something_else_says_which_columns_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("path,species\na.jpg,cat\n")
    with pytest.raises(DatasetError, match=r"a\.csv' holds no predictions: it has no columns label, score, error; it has path, species\."):
        list(read_predictions(tmp_path / "a.csv"))
