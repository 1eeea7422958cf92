from __future__ import annotations

import dataclasses

import numpy as np

from imgstream.evaluation.calibration import CalibrationError
from imgstream.evaluation.evaluate import Evaluation
from imgstream.evaluation.metrics import ConfusionMatrix
from imgstream.report.charts.evaluation import evaluation_charts


def result(names: list[str], rows: list[tuple[int, int, float]]) -> Evaluation:
    """An evaluation of images with (label, predicted class, score)."""
    confusion, calibration = ConfusionMatrix(names), CalibrationError()
    if rows:
        labels, predicted, scores = (np.array(column) for column in zip(*rows, strict=True))
        confusion.update(labels, predicted)
        calibration.update(scores, labels == predicted)
    values = dict.fromkeys((field.name for field in dataclasses.fields(Evaluation)), None)
    return Evaluation(**{**values, "confusion": confusion, "calibration": calibration})  # type: ignore[arg-type]


def test_charts_show_the_counts_of_an_evaluation() -> None:
    drawn = evaluation_charts(result(["cat", "$dog^2"], [(0, 0, 0.95), (0, 1, 0.55), (1, 1, 0.95), (1, 1, 0.75)]))
    (axes,) = drawn["confusion"].axes
    assert [text.get_text() for text in axes.texts] == ["1", "1", "2"]
    (axes,) = drawn["classes"].axes
    assert [(label.get_text(), bar.get_width()) for label, bar in zip(axes.get_yticklabels(), axes.patches, strict=True)] == [
        ("cat", 0.5),
        ("$dog^2", 1.0),
    ]
    accuracy = drawn["coverage"].axes[0].lines[0].get_xydata()
    assert accuracy[0].tolist() == [0.0, 0.75]  # without a threshold 3 of 4 are right, and from 0.6 on all 3
    assert accuracy[9].tolist() == [0.6, 1.0]
    assert sum(bar.get_height() for bar in drawn["scores"].axes[0].patches) == 4


def test_of_very_many_classes_the_confused_ones_are_drawn_and_of_no_image_nothing() -> None:
    names = [f"class {k}" for k in range(1_000)]
    drawn = evaluation_charts(result(names, [(k, k, 0.9) for k in range(1_000)] + [(700, 3, 0.8)]))
    shown = [label.get_text() for label in drawn["confusion"].axes[0].get_yticklabels()]
    assert len(shown) == 20
    assert {"class 3", "class 700"} <= set(shown)
    assert drawn["classes"].axes[0].get_yticklabels()[0].get_text() == "class 700"
    assert evaluation_charts(result(names, [])) == {}
