from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from imgstream.evaluation.metrics import ConfusionMatrix, softmax


def counted() -> ConfusionMatrix:
    """Six images: 4 cats (3 found, 1 taken for a dog), 2 dogs (1 found, 1 taken for a cat), no eels and none claimed."""
    matrix = ConfusionMatrix(["cat", "dog", "eel"])
    matrix.update(np.array([0, 0, 0, 0], np.int32), np.array([0, 0, 0, 1]))
    matrix.update(np.array([1, 1], np.int32), np.array([1, 0]))
    return matrix


def test_rows_are_the_true_class() -> None:
    matrix = counted()
    assert matrix.counts.dtype == np.int64
    assert matrix.counts.tolist() == [[3, 1, 0], [1, 1, 0], [0, 0, 0]]


def test_the_report_has_these_values() -> None:
    assert counted().report() == {
        "accuracy": pytest.approx(4 / 6),
        "images": 6,
        "class_names": ["cat", "dog", "eel"],
        "per_class": {
            "cat": {"precision": 0.75, "recall": 0.75, "f1": 0.75, "n": 4},
            "dog": {"precision": 0.5, "recall": 0.5, "f1": 0.5, "n": 2},
            "eel": {"precision": None, "recall": None, "f1": None, "n": 0},
        },
        "macro_average": {"precision": 0.625, "recall": 0.625, "f1": 0.625, "classes": 2},
        "confusion_matrix": [[3, 1, 0], [1, 1, 0], [0, 0, 0]],
    }


def test_precision_and_recall_are_not_mixed_up() -> None:
    matrix = ConfusionMatrix(["cat", "dog"])
    matrix.update(np.array([0, 0, 0, 1]), np.array([0, 1, 1, 1]))
    cat = matrix.report()["per_class"]["cat"]
    assert (cat["precision"], cat["recall"], cat["f1"]) == (1.0, pytest.approx(1 / 3), 0.5)


def test_the_report_is_json_ready_even_of_no_images() -> None:
    matrix = ConfusionMatrix(["cat", "dog"])
    matrix.update(np.array([], np.int32), np.array([], np.int64))
    report = json.loads(json.dumps(matrix.report()))
    assert (report["accuracy"], report["images"]) == (None, 0)
    assert report["macro_average"] == {"precision": None, "recall": None, "f1": None, "classes": 0}


def test_a_class_without_images_is_not_measured_though_it_was_predicted() -> None:
    matrix = ConfusionMatrix(["cat", "dog"])
    matrix.update(np.array([0, 0, 0, 0]), np.array([0, 0, 0, 1]))
    report = matrix.report()
    assert report["per_class"]["dog"] == {"precision": None, "recall": None, "f1": None, "n": 0}
    assert report["macro_average"] == {"precision": 1.0, "recall": 0.75, "f1": pytest.approx(6 / 7), "classes": 1}


def test_a_class_that_was_never_predicted_has_a_precision_of_zero_and_counts_in_the_averages() -> None:
    matrix = ConfusionMatrix(["cat", "dog"])
    matrix.update(np.array([0, 0, 0, 1]), np.array([0, 0, 0, 0]))
    report = matrix.report()
    assert report["per_class"]["dog"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "n": 1}
    assert report["macro_average"] == {"precision": 0.375, "recall": 0.5, "f1": pytest.approx(3 / 7), "classes": 2}


@pytest.mark.parametrize(("labels", "predicted"), [([0, -1], [0, 0]), ([0, 2], [0, 0]), ([0, 0], [0, 2])])
def test_a_class_that_is_not_there_is_refused_and_not_counted(labels: list[int], predicted: list[int]) -> None:
    matrix = ConfusionMatrix(["cat", "dog"])
    with pytest.raises(ValueError, match="must be 0 to 1"):
        matrix.update(np.array(labels), np.array(predicted))
    assert matrix.counts.sum() == 0


def test_labels_and_predictions_must_pair_up() -> None:
    with pytest.raises(ValueError, match=r"got shapes \(2,\) and \(1,\)"):
        ConfusionMatrix(["cat", "dog"]).update(np.array([0, 1]), np.array([0]))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=60), st.integers(1, 7))
def test_batches_do_not_matter(pairs: list[tuple[int, int]], size: int) -> None:
    matrix = ConfusionMatrix(list("abcd"))
    for i in range(0, len(pairs), size):
        labels, predicted = np.array(pairs[i : i + size]).T
        matrix.update(labels, predicted)
    expected = [[sum(pair == (row, column) for pair in pairs) for column in range(4)] for row in range(4)]
    assert matrix.counts.tolist() == expected


def test_softmax_has_these_values() -> None:
    np.testing.assert_allclose(softmax(np.log([[1.0, 2.0, 5.0], [1.0, 1.0, 2.0]])), [[0.125, 0.25, 0.625], [0.25, 0.25, 0.5]], rtol=1e-6)


@given(arrays(np.float32, (3, 5), elements=st.floats(-(2.0**120), 2.0**120, width=32)))
def test_softmax_is_a_probability_of_any_finite_logits(logits: np.ndarray) -> None:
    scores = softmax(logits)
    assert scores.dtype == np.float32
    assert scores.shape == (3, 5)
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-6)
    top = np.take_along_axis(scores, logits.argmax(axis=1)[:, None], axis=1)[:, 0]
    assert np.array_equal(top, scores.max(axis=1))
