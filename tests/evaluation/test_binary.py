from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgstream.evaluation.binary import BinaryScores

CASES = st.lists(st.tuples(st.integers(0, 6), st.booleans()), max_size=30)


def scored(*pairs: tuple[float, bool]) -> BinaryScores:
    binary = BinaryScores("dog")
    for score, truth in pairs:
        binary.update(np.array([score], np.float32), np.array([truth]))
    return binary


def test_the_figures_have_these_values() -> None:
    binary = scored((0.9, True), (0.8, False), (0.7, True), (0.7, False), (0.2, False))
    assert binary.report() == {
        "positive": "dog",
        "roc_auc": pytest.approx(4.5 / 6),  # of six pairs the dog is higher in four, and equal in one
        "average_precision": pytest.approx((1 / 1 + 2 / 4) / 2),
    }


def test_thresholds_reach_what_is_wanted_and_as_much_as_possible_of_the_other() -> None:
    binary = scored((0.9, True), (0.8, True), (0.6, False), (0.5, True), (0.4, False), (0.3, False))
    assert binary.at_precision(0.99) == (pytest.approx(0.8), 1.0, pytest.approx(2 / 3))
    assert binary.at_precision(0.7) == (pytest.approx(0.5), 0.75, 1.0)
    assert binary.at_recall(0.5) == (pytest.approx(0.8), 1.0, pytest.approx(2 / 3))
    assert binary.at_recall(1.0) == (pytest.approx(0.5), 0.75, 1.0)
    assert scored((0.9, False), (0.1, True)).at_precision(0.9) is None


def test_of_one_class_alone_nothing_is_measured_that_needs_two() -> None:
    assert scored().report() == {"positive": "dog", "roc_auc": None, "average_precision": None}
    assert scored((0.4, False)).average_precision is None
    assert scored((0.4, False)).at_recall(0.5) is None
    only = scored((0.4, True), (0.2, True))
    assert (only.roc_auc, only.average_precision) == (None, 1.0)


@given(CASES)
def test_the_area_is_the_share_of_pairs_in_the_right_order(cases: list[tuple[int, bool]]) -> None:
    binary = scored(*[(score / 6, truth) for score, truth in cases])
    pairs = [(a > b) + (a == b) / 2 for a, truth in cases if truth for b, other in cases if not other]
    assert binary.roc_auc == (pytest.approx(sum(pairs) / len(pairs)) if pairs else None)


@given(CASES, st.integers(1, 9))
def test_a_point_gives_what_it_says(cases: list[tuple[int, bool]], tenths: int) -> None:
    binary = scored(*[(score / 6, truth) for score, truth in cases])
    for point in (binary.at_precision(tenths / 10), binary.at_recall(tenths / 10)):
        if point is not None:
            taken = [truth for score, truth in cases if np.float32(score / 6) >= np.float32(point.threshold)]
            assert point.precision == pytest.approx(sum(taken) / len(taken))
            assert point.recall == pytest.approx(sum(taken) / sum(truth for _, truth in cases))
