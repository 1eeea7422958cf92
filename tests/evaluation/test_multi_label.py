from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

import imgstream as ims
from imgstream.errors import DatasetError, OptionError
from imgstream.evaluation.binary import BinaryScores
from imgstream.evaluation.calibration import ValidationLogits, fit_temperatures
from imgstream.evaluation.metrics import sigmoid
from imgstream.evaluation.multi_label import LabelScores, evaluate_either, evaluate_labels
from imgstream.models.forward import Engine

SCORES = np.array([[0.9, 0.2, 0.5], [0.8, 0.7, 0.1], [0.3, 0.6, 0.2], [0.1, 0.1, 0.4]], np.float32)
TRUTH = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 0]], bool)


def test_figures_of_each_class_and_of_all() -> None:
    scored = LabelScores(["cat", "dog", "bird"])
    scored.update(SCORES, TRUTH)
    report = scored.report(np.full(3, 0.5, np.float32))
    assert report["per_class"]["cat"] == {
        "precision": 0.5, "recall": 0.5, "f1": 0.5, "n": 2, "average_precision": pytest.approx((1 + 2 / 3) / 2), "threshold": 0.5
    }  # fmt: skip
    assert report["per_class"]["dog"]["f1"] == 1
    assert report["per_class"]["bird"]["f1"] is None
    assert report["mean_average_precision"] == pytest.approx((5 / 6 + 1) / 2)
    assert report["macro_average"] == {"precision": 0.75, "recall": 0.75, "f1": 0.75, "classes": 2}
    assert report["micro_average"] == {"precision": 3 / 5, "recall": 3 / 4, "f1": pytest.approx(2 * 3 / (5 + 4))}


def test_the_threshold_of_a_class_is_that_of_its_highest_f1() -> None:
    scored = LabelScores(["cat", "dog", "bird"])
    scored.update(SCORES, TRUTH)
    cat, dog, bird = scored.best_thresholds().tolist()
    assert 0.1 < cat < 0.3  # all but the last: two of three are right, and none is missed
    assert 0.2 < dog < 0.6
    assert bird == 0.5  # without an image


def test_the_best_point_beats_every_other_threshold() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(300) < 0.3
    scores = np.clip(rng.normal(0.3 + 0.3 * truth, 0.2), 0, 1).astype(np.float32)
    binary = BinaryScores("it")
    binary.update(scores, truth)
    point = binary.at_best_f1()
    assert point is not None

    def f1(threshold: float) -> float:
        hits, taken, wanted = binary.counts_at(threshold)
        return 2 * hits / (taken + wanted)

    assert f1(point.threshold) == max(f1(threshold) for threshold in np.linspace(0, 1, 1001).tolist() + scores.tolist())
    assert binary.counts_at(point.threshold)[0] / truth.sum() == point.recall


def test_each_class_gets_the_temperature_that_makes_its_scores_true() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, (4000, 2))
    truth = rng.random((4000, 2)) < sigmoid(logits)
    found = fit_temperatures(logits * [3.0, 0.5], truth)
    np.testing.assert_allclose(found, [3.0, 0.5], rtol=0.1)


def test_thresholds_keep_their_decisions_when_a_temperature_moves_the_scores() -> None:
    rng = np.random.default_rng(2)
    logits, truth = rng.normal(0, 6, (500, 1)).astype(np.float32), rng.random((500, 1)) < 0.5
    kept = ValidationLogits()
    kept.add(logits, truth.astype(np.float32))
    calibration, scores = kept.calibrate_labels(np.array([0.7], np.float32))
    assert calibration.temperatures[0] != 1
    np.testing.assert_array_equal(scores >= calibration.thresholds[0], sigmoid(logits) >= 0.7)


class Fixed(Engine):
    """Gives logits by the brightness of an image: of class 0 when it is bright, of class 1 when it is not black."""

    def __call__(self, images: np.ndarray) -> np.ndarray:
        level = images.astype(np.float32).mean(axis=(1, 2, 3))
        return np.stack([level - 150, level - 50, level - 1000], axis=1)


@pytest.fixture
def stream(tmp_path: Path) -> ims.Stream:
    labels = {"bright": "a|b", "grey": "b", "black": "|", "dim": "a", "unknown": ""}
    for level, name in ((200, "bright"), (100, "grey"), (0, "black"), (60, "dim"), (90, "unknown")):
        assert cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((8, 8, 3), level, np.uint8))
    (tmp_path / "list.csv").write_text("path,label\n" + "".join(f"{name}.png,{label}\n" for name, label in labels.items()))
    index = ims.scan(tmp_path / "list.csv", multi_label=True)
    return ims.Stream(index, ims.SampleSpec(size=(8, 8)), batch_size=2, dtype="uint8")


def test_a_model_is_measured_on_images_of_several_labels(stream: ims.Stream) -> None:
    result = evaluate_labels(Fixed(), ["a", "b", "c"], stream, thresholds=np.full(3, 0.5, np.float32))
    report = result.report()
    assert (report["images"], report["unlabelled"], report["missing_classes"]) == (4, 1, ["c"])
    assert report["accuracy"] == 0.75  # of dim, b is given for a
    assert (report["per_class"]["a"]["precision"], report["per_class"]["a"]["recall"]) == (1, 0.5)
    assert (report["per_class"]["b"]["precision"], report["per_class"]["b"]["recall"]) == (pytest.approx(2 / 3), 1)
    assert result.figures["f1_micro"] == pytest.approx(2 * 3 / (4 + 4))


def test_images_of_one_label_are_of_that_class_alone(stream: ims.Stream) -> None:
    plain = ims.scan(stream.index.root + "/list.csv").take([1])  # b
    result = evaluate_labels(Fixed(), ["b", "a", "c"], stream.replace(index=plain))
    assert [of["n"] for of in result.report()["per_class"].values()] == [1, 0, 0]


def test_labels_of_none_of_the_classes_are_an_error(stream: ims.Stream) -> None:
    with pytest.raises(DatasetError, match=r"one of the model's classes as its label \(x, y, z\); found the labels a, b"):
        evaluate_labels(Fixed(), ["x", "y", "z"], stream)


def test_positive_is_for_one_label_an_image(stream: ims.Stream) -> None:
    with pytest.raises(OptionError, match="this one gives several labels"):
        evaluate_either(Fixed(), ["a", "b", "c"], stream, np.zeros(3, np.float32), positive="a")
