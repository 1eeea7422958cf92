from __future__ import annotations

import numpy as np
import pytest

from imgstream.evaluation.calibration import (
    FEWEST,
    HIGHEST,
    MOST_IMAGES,
    CalibrationError,
    ValidationLogits,
    expected_calibration_error,
    fit_temperature,
)
from imgstream.evaluation.metrics import softmax


def drawn(n: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose softmax is, by construction, the probability of each label."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (n, classes)).astype(np.float32)
    labels = (softmax(logits).cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    return logits, labels


def loss(logits: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    return float(-np.log(softmax(logits / temperature)[np.arange(len(labels)), labels]).mean())


@pytest.mark.parametrize("true", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("classes", [2, 10])
def test_the_temperature_that_logits_were_spoilt_by_is_found(true: float, classes: int) -> None:
    logits, labels = drawn(20_000, classes)
    assert fit_temperature(true * logits, labels) == pytest.approx(true, rel=0.05)


def test_no_other_temperature_has_a_lower_loss() -> None:
    logits, labels = drawn(300, 5)
    found = fit_temperature(3 * logits, labels)
    others = np.exp(np.linspace(np.log(0.5), np.log(20), 400))
    assert loss(3 * logits, labels, found) <= min(loss(3 * logits, labels, t) for t in others) + 1e-9


def test_what_says_nothing_of_temperature_leaves_scores_as_they_are() -> None:
    logits, labels = drawn(200, 3)
    right = np.eye(3, dtype=np.float32)[labels]
    spoilt = logits.copy()
    spoilt[7, 1] = np.nan
    assert fit_temperature(right, labels) == 1.0  # all right at any temperature
    assert fit_temperature(logits, np.zeros(200, int)) == 1.0
    assert fit_temperature(spoilt, labels) == 1.0
    assert fit_temperature(np.zeros((200, 3), np.float32), labels) == 1.0
    assert fit_temperature(3 * logits[: FEWEST - 1], labels[: FEWEST - 1]) == 1.0
    assert fit_temperature(np.zeros((0, 3), np.float32), np.zeros(0, int)) == 1.0


def test_a_model_that_is_worse_than_chance_is_made_as_unsure_as_can_be() -> None:
    logits, labels = drawn(500, 2)
    assert fit_temperature(5 * logits[:, ::-1], labels) == HIGHEST


def test_logits_of_thousands_are_no_trouble() -> None:
    logits, labels = drawn(500, 4)
    large = fit_temperature(np.float32(20) * logits, labels)
    assert large == pytest.approx(20, rel=0.3)
    assert np.isfinite(fit_temperature(np.float32(1e6) * logits, labels))


def test_calibration_error_by_hand() -> None:
    confidence = np.array([0.95, 0.95, 0.95, 0.95, 0.55, 0.55])
    correct = np.array([True, True, True, False, True, False])
    assert expected_calibration_error(confidence, correct) == pytest.approx(4 / 6 * 0.20 + 2 / 6 * 0.05)
    assert expected_calibration_error(np.ones(3), np.ones(3, bool)) == 0.0
    assert expected_calibration_error(np.zeros(0), np.zeros(0, bool)) == 0.0


def test_calibration_error_is_the_same_batch_by_batch_and_small_for_true_probabilities() -> None:
    logits, labels = drawn(20_000, 3)
    scores = softmax(logits)
    confidence, correct = scores.max(axis=1), scores.argmax(axis=1) == labels
    error = CalibrationError()
    for start in range(0, len(labels), 77):
        error.update(confidence[start : start + 77], correct[start : start + 77])
    assert error.value == pytest.approx(expected_calibration_error(confidence, correct), abs=1e-12)
    assert error.value < 0.02
    spoilt = softmax(4 * logits)
    assert expected_calibration_error(spoilt.max(axis=1), correct) > 0.1


def test_answers_keep_the_first_two_thousand_images_and_tell_what_the_temperature_does() -> None:
    logits, labels = drawn(2_500, 3)
    answers = ValidationLogits()
    assert not answers
    for start in range(0, 2_500, 128):
        answers.add(4 * logits[start : start + 128], labels[start : start + 128])
    calibration, scores = answers.calibrate()
    assert calibration.images == len(scores) == MOST_IMAGES
    assert calibration.temperature == fit_temperature(4 * logits[:MOST_IMAGES], labels[:MOST_IMAGES])
    assert calibration.ece < 0.05 < calibration.ece_uncalibrated
    assert calibration.confidence == pytest.approx(scores.max(axis=1).mean())
