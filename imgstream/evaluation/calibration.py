"""Calibration of scores: a temperature fitted on validation images, and the calibration error. NumPy and SciPy only.

After Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks" (2017).
"""

from __future__ import annotations

import dataclasses

import numpy as np

from imgstream.evaluation.metrics import sigmoid, softmax

LOWEST, HIGHEST = 0.05, 20.0
"""The lowest and the highest temperature that are tried."""
FEWEST = 50
"""With fewer images a fitted temperature would be chance."""
MOST_IMAGES, _MOST_LOGITS = 2_000, 4_000_000
_PRECISION = 1e-9
"""Of a temperature, relative."""


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The T from LOWEST to HIGHEST with which softmax(`logits` / T) gives `labels` the highest likelihood.

    `logits`: float (n, K); `labels`: integer (n,), 0 to K - 1. 1.0 where the images cannot tell: fewer than FEWEST, all of one class, all
    correct at any T, or logits that are not finite. HIGHEST for a model that is no better than chance.
    """
    logits, labels = np.asarray(logits, np.float64), np.asarray(labels)
    if len(labels) < FEWEST or len(np.unique(labels)) < 2 or not np.isfinite(logits).all():
        return 1.0
    shifted = logits - logits.max(axis=1, keepdims=True)
    true = shifted[np.arange(len(labels)), labels]

    def slope(inverse: float) -> float:
        """The derivative of the mean negative log-likelihood by 1/T, in which it is convex."""
        shares = np.exp(inverse * shifted)
        shares /= shares.sum(axis=1, keepdims=True)
        return float(((shares * shifted).sum(axis=1) - true).mean())

    low, high = 1 / HIGHEST, 1 / LOWEST
    if slope(high) <= 0:  # the likelihood still grows at the lowest temperature: all are correct
        return 1.0
    if slope(low) >= 0:
        return HIGHEST
    from scipy.optimize import toms748  # here: the import is not free

    return 1 / toms748(slope, low, high, xtol=_PRECISION * low, rtol=_PRECISION, disp=False)


def fit_temperatures(logits: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """float64 (K,): for each class the temperature of its own decision, sigmoid(logits / T), as fit_temperature finds it.

    `logits`: float (n, K); `truth`: bool (n, K), whether an image is of a class.
    """
    either = np.zeros((len(logits), 2))
    found = []
    for own, is_of in zip(np.asarray(logits, np.float64).T, truth.T, strict=True):
        either[:, 1] = own  # sigmoid(z) is the second of softmax(0, z)
        found.append(fit_temperature(either, is_of.astype(np.int64)))
    return np.array(found)


class CalibrationError:
    """Expected calibration error: the difference between mean confidence and accuracy, over `bins` equal bins of confidence.

    Memory: the bins, whatever the number of images.
    """

    def __init__(self, bins: int = 15) -> None:
        self._sums = np.zeros((3, bins))  # images, confidence, correct ones

    def update(self, confidence: np.ndarray, correct: np.ndarray) -> None:
        """Count a batch: float (B,) highest scores, 0 to 1, and bool (B,), whether they are correct. NaN is not counted."""
        confidence, correct = np.asarray(confidence, np.float64), np.asarray(correct, bool)
        counted = np.isfinite(confidence)
        confidence, correct = confidence[counted], correct[counted]
        bins = self._sums.shape[1]
        at = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
        for sums, weights in zip(self._sums, (None, confidence, correct), strict=True):
            sums += np.bincount(at, weights, minlength=bins)

    @property
    def value(self) -> float:
        """0 (confidence equals accuracy) to 1; 0.0 without images."""
        images, confidence, correct = self._sums
        return float(np.abs(confidence - correct).sum() / max(1.0, images.sum()))


def expected_calibration_error(confidence: np.ndarray, correct: np.ndarray, bins: int = 15) -> float:
    """CalibrationError of float (n,) highest scores, 0 to 1, and bool (n,), whether they are correct."""
    error = CalibrationError(bins)
    error.update(confidence, correct)
    return error.value


@dataclasses.dataclass(frozen=True, kw_only=True)
class Calibration:
    """A temperature and its effect, on the images that it was fitted on."""

    temperature: float
    images: int
    ece: float
    """With the temperature."""
    ece_uncalibrated: float
    confidence: float
    """Mean of the highest scores, with the temperature."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelsCalibration:
    """Of images that may have several labels: a temperature and a threshold for each class."""

    temperatures: list[float]
    thresholds: list[float]
    """Of the scores with these temperatures."""
    images: int


class ValidationLogits:
    """Collects logits and labels of the first 2,000 images (fewer with very many classes): a fair sample of a shuffled stream."""

    def __init__(self) -> None:
        self._logits: list[np.ndarray] = []
        self._labels: list[np.ndarray] = []
        self._count = 0

    def __bool__(self) -> bool:
        return self._count > 0

    def add(self, logits: np.ndarray, labels: np.ndarray) -> None:
        """Keep a batch, or as much of it as is still wanted: float32 (B, K) and integer (B,), or with several labels an image (B, K)."""
        wanted = max(0, min(MOST_IMAGES, _MOST_LOGITS // logits.shape[1]) - self._count)
        if wanted:
            self._logits.append(logits[:wanted].copy())
            self._labels.append(labels[:wanted].copy())
            self._count += len(self._labels[-1])

    def calibrate(self) -> tuple[Calibration, np.ndarray]:
        """The temperature fitted on what was kept, at least one image, and the scores with it, float32 (n, K)."""
        logits, labels = np.concatenate(self._logits), np.concatenate(self._labels)
        temperature = fit_temperature(logits, labels)
        scores, before = softmax(logits / temperature), softmax(logits)
        correct = scores.argmax(axis=1) == labels
        calibration = Calibration(
            temperature=temperature,
            images=len(labels),
            ece=expected_calibration_error(scores.max(axis=1), correct),
            ece_uncalibrated=expected_calibration_error(before.max(axis=1), correct),
            confidence=float(scores.max(axis=1).mean()),
        )
        return calibration, scores

    def calibrate_labels(self, thresholds: np.ndarray) -> tuple[LabelsCalibration, np.ndarray]:
        """Of images that may have several labels: the temperature of each class, and what becomes of `thresholds`, float32 (K,) of scores
        without them; and the scores with them, float32 (n, K).
        """
        logits, truth = np.concatenate(self._logits), np.concatenate(self._labels) > 0
        temperatures = fit_temperatures(logits, truth)
        given = np.clip(thresholds.astype(np.float64), 1e-7, 1 - 1e-7)
        moved = sigmoid(np.log(given / (1 - given)) / temperatures)
        calibration = LabelsCalibration(temperatures=temperatures.tolist(), thresholds=moved.astype(float).tolist(), images=len(logits))
        return calibration, sigmoid(logits / temperatures)
