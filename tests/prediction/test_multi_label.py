from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imgstream.errors import DatasetError, RunError
from imgstream.models.forward import Engine
from imgstream.prediction.readers import read_predictions
from imgstream.prediction.rows import Prediction, StoredPrediction
from imgstream.prediction.scorer import Member, Scorer
from imgstream.prediction.store import RANK
from imgstream.prediction.writers import open_writer
from imgstream.sorting import preview, sort
from imgstream.spec import SampleSpec

NAMES = ["bird", "cat", "dog"]
THRESHOLDS = np.array([0.1, 0.5, 0.9], np.float32)


def stored(path: str, scores: list[float], min_score: float = 0.0) -> StoredPrediction:
    best = np.argsort(-np.array(scores), kind="stable")
    ranks = np.array([(k, scores[k]) for k in best], RANK)
    return StoredPrediction.of(path.encode(), None, ranks, NAMES, min_score, THRESHOLDS)


ROWS = [stored("a.jpg", [0.2, 0.95, 0.92]), stored("b.jpg", [0.05, 0.4, 0.8]), stored("c.jpg", [0.1, 0.2, 0.3])]


@pytest.fixture(params=[".csv", ".jsonl", ".parquet"])
def file(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    path: Path = tmp_path / f"predictions{request.param}"
    with open_writer(path, NAMES, 3, multi_label=True) as writer:
        for row in [*ROWS, Prediction("d.jpg", b"d.jpg", None, None, None, "empty: no bytes")]:
            writer.write(row)
    return path


def test_a_label_is_every_class_whose_score_reaches_its_threshold() -> None:
    assert [row.label for row in ROWS] == ["cat|dog|bird", "", "bird"]
    assert [row.score for row in ROWS] == pytest.approx([0.95, 0.8, 0.1])  # of the first label, or the highest


def test_a_higher_least_score_counts_for_all_classes() -> None:
    assert stored("a.jpg", [0.2, 0.95, 0.92], min_score=0.93).label == "cat"


def test_each_format_is_read_back_with_all_labels(file: Path) -> None:
    rows = list(read_predictions(file))
    assert [row.labels for row in rows] == [("cat", "dog", "bird"), (), ("bird",), None]
    assert [row.label for row in rows] == ["cat|dog|bird", "", "bird", None]


def test_a_csv_has_the_score_of_every_class(tmp_path: Path) -> None:
    with open_writer(tmp_path / "p.csv", NAMES, 3, multi_label=True) as writer:
        writer.write(ROWS[1])
    assert (tmp_path / "p.csv").read_text().splitlines() == [
        "path,label,score,error,label_1,score_1,label_2,score_2,label_3,score_3,path_b64",
        "b.jpg,,0.800000,,dog,0.800000,cat,0.400000,bird,0.050000,",
    ]


def test_a_json_line_lists_the_labels(tmp_path: Path) -> None:
    with open_writer(tmp_path / "p.jsonl", NAMES, 1, multi_label=True) as writer:
        writer.write(ROWS[0])
    assert '"label": "cat|dog|bird", "labels": ["cat", "dog", "bird"], "score": 0.950000' in (tmp_path / "p.jsonl").read_text()


def photos(folder: Path) -> str:
    folder.mkdir()
    for name in "abcd":
        (folder / f"{name}.jpg").write_text(name)
    return str(folder)


def test_sort_links_an_image_into_the_folder_of_each_label(tmp_path: Path, file: Path) -> None:
    report = sort(file, photos(tmp_path / "photos"), tmp_path / "sorted", "link")
    found = sorted(path.relative_to(tmp_path / "sorted").as_posix() for path in (tmp_path / "sorted").rglob("*.jpg"))
    assert found == ["bird/a.jpg", "bird/c.jpg", "cat/a.jpg", "dog/a.jpg", "unreadable/d.jpg", "unsure/b.jpg"]
    assert (report.linked, report.unsure, report.unreadable) == (6, 1, 1)


def test_sort_moves_no_image_into_two_folders(tmp_path: Path, file: Path) -> None:
    root = photos(tmp_path / "photos")
    for do in (sort, preview):
        with pytest.raises(DatasetError, match=r"'a\.jpg' has several labels, and can be moved into one folder alone"):
            do(file, root, tmp_path / "sorted", "move")
    assert not (tmp_path / "sorted").exists()


class Constant(Engine):
    """Gives every image the same logits."""

    def __init__(self, logits: list[float]) -> None:
        self._logits = np.array(logits, np.float32)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return np.tile(self._logits, (len(images), 1))


def test_runs_of_one_label_and_of_several_do_not_predict_together() -> None:
    how: tuple[Any, ...] = (Constant([0, 0, 0]), NAMES, SampleSpec(size=(8, 8)), 1.0)
    with pytest.raises(RunError, match="some of the runs give an image one label, and others several"):
        Scorer([Member(*how), Member(*how, THRESHOLDS)], 4)
