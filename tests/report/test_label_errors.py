from __future__ import annotations

import numpy as np

from imgstream.report.label_errors import likely_label_errors


def found(rows: list[tuple[int, int, float, float]]) -> list[int]:
    labels, predicted, scores, label_scores = (np.array(column) for column in zip(*rows, strict=True))
    return likely_label_errors(labels, predicted, scores, label_scores).tolist()


def test_another_class_must_be_as_sure_as_where_it_is_the_label() -> None:
    of_one = [(1, 1, 0.8, 0.8), (1, 1, 0.6, 0.6)]  # class 1 has 0.7 on average where it is the label
    assert found([*of_one, (0, 1, 0.75, 0.25)]) == [2]
    assert found([*of_one, (0, 1, 0.65, 0.35)]) == []


def test_a_class_of_which_the_model_is_rarely_sure_has_a_lower_threshold() -> None:
    assert found([(1, 1, 0.5, 0.5), (1, 0, 0.6, 0.2), (0, 1, 0.4, 0.3), (0, 0, 0.9, 0.9)]) == [1, 2]


def test_the_widest_gap_comes_first_and_what_is_no_number_is_left_out() -> None:
    rows = [(1, 1, 0.5, 0.5), (0, 1, 0.6, 0.4), (0, 1, 0.9, 0.1), (0, 1, float("nan"), float("nan"))]
    assert found(rows) == [2, 1]
    assert likely_label_errors(*(np.zeros(0, np.int64),) * 2, *(np.zeros(0),) * 2).tolist() == []


def test_a_class_that_is_never_the_label_suggests_nothing() -> None:
    assert found([(0, 1, 0.9, 0.1), (0, 0, 0.9, 0.9)]) == []
