from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imgstream.embedding import fit_head
from imgstream.embedding.linear_head import STRENGTHS
from imgstream.errors import DatasetError, ModelError


def blobs(n: int, seed: int, classes: int = 3, dimensions: int = 5, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Features around a centre for each class, on scales from 0.001 to 1,000 and far from zero, and labels."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(classes, dimensions)) * 2
    labels = rng.integers(0, classes, n)
    scales = np.logspace(-3, 3, dimensions)
    return ((centres[labels] + rng.normal(size=(n, dimensions)) * noise + 3) * scales).astype(np.float32), labels


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def test_a_head_tells_classes_apart_on_features_as_they_are() -> None:
    features, labels = blobs(300, 0)
    head = fit_head(features, labels, 3, validation=blobs(300, 1))
    others, truth = blobs(500, 2)
    assert (head.kernel.dtype, head.kernel.shape, head.bias.dtype, head.bias.shape) == (np.float32, (5, 3), np.float32, (3,))
    logits = head.logits(others)
    assert (logits.dtype, logits.shape) == (np.float32, (500, 3))
    assert np.allclose(logits, others @ head.kernel + head.bias)
    assert (logits.argmax(axis=1) == truth).mean() > 0.95
    assert head.l2 in STRENGTHS


def test_accuracy_and_loss_are_those_of_the_head_on_validation() -> None:
    held_out = blobs(400, 1, noise=3.0)
    head = fit_head(*blobs(300, 0, noise=3.0), 3, validation=held_out)
    scores = softmax(head.logits(held_out[0]))
    assert head.accuracy == pytest.approx((scores.argmax(axis=1) == held_out[1]).mean())
    assert 0.4 < head.accuracy < 0.99
    assert head.loss == pytest.approx(-np.log(scores[np.arange(400), held_out[1]]).mean(), rel=1e-4)


def test_it_is_the_minimum_that_logistic_regression_has() -> None:
    """The gradient of cross-entropy and L2, written down again in other words, is zero there."""
    features, labels = blobs(200, 0, noise=3.0)
    weights = np.random.default_rng(3).uniform(0.5, 2, 200)
    head = fit_head(features, labels, 3, validation=(features, labels), sample_weight=weights, strengths=[0.05])
    shares = weights / weights.sum()
    mean = shares @ features.astype(np.float64)
    deviation = np.sqrt(shares @ (features - mean) ** 2)
    kernel = head.kernel * deviation[:, None]
    error = (softmax(head.logits(features)) - np.eye(3)[labels]) * shares[:, None]
    assert np.abs(error.sum(axis=0)).max() < 1e-3
    assert np.abs(((features - mean) / deviation).T @ error + 0.05 * kernel).max() < 1e-3
    assert np.abs(kernel).max() > 0.1


def test_the_strength_is_the_one_that_validation_likes_best() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(60, 40)).astype(np.float32)
    held_out = rng.normal(size=(200, 40)).astype(np.float32), rng.integers(0, 2, 200)
    learnt = fit_head(noise, rng.integers(0, 2, 60), 2, validation=held_out)  # nothing is to be learnt
    assert learnt.l2 == max(STRENGTHS)
    train, labels = blobs(2000, 0, noise=0.3)
    clear = fit_head(train, labels, 3, validation=blobs(300, 1, noise=0.3))
    assert clear.l2 < 0.01
    tried = [fit_head(train, labels, 3, validation=blobs(300, 1, noise=0.3), strengths=[l2]).loss for l2 in STRENGTHS]
    assert clear.loss == pytest.approx(min(tried), rel=0.05)


def test_the_same_input_gives_the_same_head_to_the_bit() -> None:
    first, second = (fit_head(*blobs(300, 0), 3, validation=blobs(300, 1)) for _ in range(2))
    assert first.kernel.tobytes() == second.kernel.tobytes()
    assert first.bias.tobytes() == second.bias.tobytes()
    assert (first.l2, first.loss) == (second.l2, second.loss)


def test_a_class_without_an_image_is_never_the_answer_and_still_has_a_chance() -> None:
    features, labels = blobs(300, 0)
    labels = np.array([0, 2, 4])[labels]
    held_out, truth = blobs(300, 1)
    head = fit_head(features, labels, 6, validation=(held_out, np.array([0, 2, 4])[truth]))
    logits = head.logits(held_out)
    assert not head.kernel[:, [1, 3, 5]].any()
    assert set(logits.argmax(axis=1)) <= {0, 2, 4}
    scores = softmax(logits)
    assert (scores[:, [1, 3, 5]] < 1 / 300).all()
    assert np.isfinite(head.bias).all()
    absent = fit_head(features, labels, 6, validation=(held_out, truth * 0 + 1))
    assert (absent.accuracy, np.isfinite(absent.loss)) == (0, True)


def test_one_class_alone_gives_its_answer() -> None:
    features, _ = blobs(20, 0)
    head = fit_head(features, np.full(20, 1), 2, validation=(features, np.full(20, 1)))
    assert (head.accuracy, head.logits(features).argmax(axis=1).tolist()) == (1.0, [1] * 20)


def test_weights_count_as_repetitions_do() -> None:
    features, labels = blobs(200, 0, noise=3.0)
    weights = np.random.default_rng(1).integers(0, 4, 200)
    held_out = blobs(200, 1, noise=3.0)
    weighed = fit_head(features, labels, 3, validation=held_out, sample_weight=weights, strengths=[0.1])
    repeated = fit_head(features.repeat(weights, 0), labels.repeat(weights), 3, validation=held_out, strengths=[0.1])
    assert np.allclose(softmax(weighed.logits(features)), softmax(repeated.logits(features)), atol=1e-3)
    plain = fit_head(features, labels, 3, validation=held_out, strengths=[0.1])
    assert not np.allclose(softmax(weighed.logits(features)), softmax(plain.logits(features)), atol=1e-3)


def test_soft_labels_that_are_sure_are_integer_labels_and_others_are_learnt() -> None:
    features, labels = blobs(200, 0, noise=3.0)
    held_out, truth = blobs(200, 1, noise=3.0)
    hard = fit_head(features, labels, 3, validation=(held_out, truth))
    soft = fit_head(features, np.eye(3, dtype=np.float32)[labels], 3, validation=(held_out, np.eye(3)[truth]))
    assert np.array_equal(hard.kernel, soft.kernel)
    assert (hard.accuracy, hard.loss) == (soft.accuracy, soft.loss)
    shares = np.tile(np.array([0.5, 0.3, 0.2], np.float32), (200, 1))
    same = fit_head(features, shares, 3, validation=(held_out, shares))
    assert np.allclose(softmax(same.logits(held_out)), shares, atol=0.01)


def test_a_feature_that_is_always_the_same_in_training_has_no_part() -> None:
    features, labels = blobs(200, 0)
    features[:, 2] = 1234.567
    held_out, truth = blobs(200, 1)
    head = fit_head(features, labels, 3, validation=(held_out, truth))
    assert not head.kernel[2].any()
    assert head.accuracy > 0.9


@pytest.mark.slow
def test_features_that_are_mapped_from_a_file_take_no_memory_of_their_own(tmp_path: Path) -> None:
    n, dimensions = 60_000, 512  # 123 MB
    mapped = np.lib.format.open_memmap(tmp_path / "f.npy", "w+", np.float32, (n, dimensions))
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, n)
    for start in range(0, n, 10_000):
        mapped[start : start + 10_000] = rng.normal(size=(10_000, dimensions)) + labels[start : start + 10_000, None] * 0.1
    tracemalloc.start()
    head = fit_head(mapped, labels, 2, validation=(mapped[:1000], labels[:1000]), strengths=[1.0])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 100e6
    assert head.accuracy > 0.8


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"features": np.zeros((0, 5), np.float32), "labels": np.zeros(0, int)}, DatasetError, "no image for training"),
        ({"validation": (np.zeros((0, 5), np.float32), np.zeros(0, int))}, DatasetError, "no image for validation"),
        ({"labels": np.full(40, 3)}, ValueError, "labels of training must be 0 to 2; got 3 to 3"),
        ({"labels": np.full(40, -1)}, ValueError, "got -1 to -1"),
        ({"labels": np.zeros(40)}, ValueError, r"must be integer \(40,\) or float \(40, 3\); got float64 \(40,\)"),
        ({"labels": np.zeros((40, 2))}, ValueError, r"got float64 \(40, 2\)"),
        ({"features": np.zeros(40, np.float32)}, ValueError, r"features of training must be \(n, D\)"),
        ({"validation": (np.zeros((9, 4), np.float32), np.zeros(9, int))}, ValueError, "5 features an image and validation 4"),
        ({"features": np.full((40, 5), np.nan, np.float32)}, ModelError, "no numbers"),
        ({"validation": (np.full((9, 5), np.inf, np.float32), np.zeros(9, int))}, ModelError, "no numbers"),
        ({"sample_weight": np.zeros(40)}, DatasetError, "not all 0"),
        ({"sample_weight": np.full(40, -1)}, DatasetError, "0 or more"),
        ({"sample_weight": np.ones(39)}, ValueError, "one an image"),
        ({"strengths": []}, ValueError, "at least one"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_what_cannot_be_is_told(change: dict[str, Any], error: type[Exception], words: str) -> None:
    features, labels = blobs(40, 0)
    arguments: dict[str, Any] = {"features": features, "labels": labels, "class_count": 3, "validation": blobs(40, 1), **change}
    with pytest.raises(error, match=words):
        fit_head(**arguments)
