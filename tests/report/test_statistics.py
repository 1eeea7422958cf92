from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from imgstream.evaluation.metrics import ConfusionMatrix
from imgstream.report import statistics

LABELS = np.array([0, 0, 0, 1, 1, 2])
PREDICTED = np.array([0, 1, 1, 1, 0, 0])


@pytest.mark.parametrize(("hits", "n"), [(0, 5), (5, 5), (941, 1000), (1, 3)])
def test_the_interval_of_a_share_is_wilsons(hits: int, n: int) -> None:
    known = binomtest(hits, n).proportion_ci(method="wilson")
    assert statistics.wilson(hits, n) == pytest.approx((known.low, known.high), abs=1e-6)


def test_of_no_images_any_share_is_possible() -> None:
    assert statistics.wilson(0, 0) == (0.0, 1.0)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40))
def test_figures_of_classes_are_those_of_the_confusion_matrix(pairs: list[tuple[int, int]]) -> None:
    labels, predicted = np.array(pairs).T
    matrix = ConfusionMatrix([str(k) for k in range(5)])
    matrix.update(labels, predicted)
    figures = {str(each.label): each for each in statistics.class_figures(labels, predicted, 5)}
    known = {name: of for name, of in matrix.report()["per_class"].items() if of["n"]}
    assert set(figures) == set(known)
    for name, of in known.items():
        each = figures[name]
        assert (each.n, each.precision, each.recall, each.f1) == pytest.approx((of["n"], of["precision"], of["recall"], of["f1"]))
    assert statistics.counts_between(labels, predicted, [1, 3]).tolist() == matrix.counts[np.ix_([1, 3], [1, 3])].tolist()
    mistakes = statistics.confused_pairs(labels, predicted, 100)
    assert sum(count for *_, count in mistakes) == int((labels != predicted).sum())
    assert all(matrix.counts[true, other] == count for true, other, count in mistakes)


def test_the_most_frequent_mistake_comes_first() -> None:
    assert statistics.confused_pairs(LABELS, PREDICTED, 2) == [(0, 1, 2), (1, 0, 1)]


@given(st.lists(st.tuples(st.floats(0, 1, width=32) | st.just(float("nan")), st.booleans()), min_size=1, max_size=30))
def test_coverage_is_what_counting_at_each_threshold_gives(rows: list[tuple[float, bool]]) -> None:
    scores, right = np.array([s for s, _ in rows], np.float32), np.array([r for _, r in rows])
    thresholds, kept, accuracy = statistics.coverage(scores, right)
    for threshold, share, of_those in zip(thresholds, kept, accuracy, strict=True):
        inside = np.nan_to_num(scores, nan=-1.0) >= np.float32(threshold)
        assert share == pytest.approx(inside.mean())
        assert of_those == pytest.approx(right[inside].mean()) if inside.any() else np.isnan(of_those)


def test_calibration_bins_leave_out_scores_that_are_no_numbers() -> None:
    scores, right = np.array([0.05, 0.95, 0.91, np.nan, 1.0]), np.array([True, True, False, True, True])
    confidence, accuracy, counts = statistics.calibration_bins(scores, right)
    assert counts.tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 0, 3]
    assert (confidence[9], accuracy[9], accuracy[0]) == pytest.approx(((0.95 + 0.91 + 1) / 3, 2 / 3, 1.0))
