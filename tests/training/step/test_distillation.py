from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import imgstream as ims
from imgstream.errors import ModelError, OptionError, RunError
from imgstream.evaluation.metrics import softmax
from imgstream.training import TrainSettings
from imgstream.training.step.compiled_models import trained_model
from imgstream.training.step.distillation import DistillationLoss, Teacher
from imgstream.training.step.replicas import Replicas
from imgstream.training.step.step_selection import new_step
from imgstream.training.step.weight_average import WeightAverage

SPEC = ims.SampleSpec(size=(32, 32), scale="signed")
NAMES = ["dark", "light"]


def pixels(count: int, size: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)


def test_the_loss_is_that_of_the_labels_and_the_divergence_from_the_teacher_in_their_shares() -> None:
    rng = np.random.default_rng(0)
    logits, of_teacher = rng.normal(size=(2, 5, 3))
    labels, teacher = np.eye(3)[[0, 1, 2, 1, 0]], softmax(of_teacher / 2)
    hard = -(labels * np.log(softmax(logits))).sum(1)
    soft = (teacher * (np.log(teacher) - np.log(softmax(logits / 2)))).sum(1)
    found = DistillationLoss(0.0, 0.7, 2.0)(np.concatenate([labels, teacher], 1), logits)
    assert float(found) == pytest.approx(np.mean(0.3 * hard + 0.7 * 4 * soft), rel=1e-5)


def test_a_student_that_says_what_its_teacher_says_has_nothing_left_to_learn_from_it() -> None:
    logits = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    targets = np.concatenate([np.eye(3, dtype=np.float32)[[0, 1, 2, 1, 0]], softmax(logits / 4)], 1)
    assert float(DistillationLoss(0.0, 1.0, 4.0)(targets, logits)) == pytest.approx(0, abs=1e-5)


def test_a_teacher_says_of_pixels_what_its_run_predicts(trained: Path) -> None:
    run, images = ims.load_run(trained), pixels(3)
    found = Teacher([str(trained)], NAMES, SPEC, run.temperature)(images, 8)
    np.testing.assert_allclose(found, [p.scores for p in run.predict(images)], atol=1e-5)


def test_classes_of_another_order_are_those_of_the_student(trained: Path) -> None:
    images = pixels(3)
    usual, turned = (Teacher([str(trained)], names, SPEC, 2.0)(images, 8) for names in (NAMES, NAMES[::-1]))
    np.testing.assert_array_equal(usual, turned[:, ::-1])


def test_images_of_another_size_are_brought_to_that_of_the_teacher(trained: Path) -> None:
    flat = np.full((2, 48, 40, 3), 200, np.uint8)
    teacher = Teacher([str(trained)], NAMES, dataclasses.replace(SPEC, size=(48, 40)), 1.0)
    np.testing.assert_allclose(teacher(flat, 2), teacher(np.full((2, 32, 32, 3), 200, np.uint8), 2), atol=1e-5)


def test_several_teachers_count_by_the_mean_of_their_probabilities(trained: Path) -> None:
    one, both = (Teacher([str(trained)] * count, NAMES, SPEC, 2.0)(pixels(3), 4) for count in (1, 2))
    np.testing.assert_allclose(one, both, atol=1e-6)
    np.testing.assert_allclose(both.sum(1), 1, atol=1e-6)


def test_a_teacher_that_lacks_a_class_or_sees_in_other_colours_is_refused(trained: Path) -> None:
    with pytest.raises(ModelError, match="does not know the class 'grey'; it knows 'dark', 'light'"):
        Teacher([str(trained)], [*NAMES, "grey"], SPEC, 2.0)
    with pytest.raises(ModelError, match="takes images of 3 channels, not 1"):
        Teacher([str(trained)], NAMES, ims.SampleSpec(size=(32, 32), channels=1), 2.0)


def test_a_folder_that_holds_no_run_is_no_teacher(two_classes: Path) -> None:
    with pytest.raises(RunError, match="no run folder"):
        Teacher([str(two_classes)], NAMES, SPEC, 2.0)


def test_a_head_alone_has_no_steps_to_be_taught_in() -> None:
    with pytest.raises(OptionError, match="head_only takes none"):
        TrainSettings(teacher="runs/big", head_only=True, weights="squeezenet.h5")


def test_what_a_teacher_does_not_go_with_is_told_by_its_options() -> None:
    with pytest.raises(OptionError) as raised:
        TrainSettings(teacher="runs/big", multi_label=True)
    assert raised.value.for_command_line() == "--teacher and --multi-label do not go together: a teacher gives an image one label"
    with pytest.raises(OptionError) as raised:
        TrainSettings(teacher="runs/big", augment_on="device")
    assert raised.value.for_command_line().startswith("--teacher and --augment-on device do not go together: a teacher has to see")
    with pytest.raises(OptionError) as raised:
        TrainSettings(teacher_weight=0.5)
    assert raised.value.for_command_line() == "--teacher-weight and --teacher-temperature go with a teacher, and there is none"


def test_no_run_is_no_teacher() -> None:
    with pytest.raises(OptionError, match="several with commas between; got ','"):
        TrainSettings(teacher=",")


def test_a_step_tells_the_accuracy_of_the_labels_and_the_loss_that_keras_has() -> None:
    settings = TrainSettings(teacher="runs/big", label_smoothing=0.0)
    inputs = keras.Input(SPEC.shape)
    served = keras.Model(inputs, keras.layers.Dense(2, name="logits")(keras.layers.GlobalAveragePooling2D()(inputs)))
    served.get_layer("logits").set_weights([np.zeros((3, 2), np.float32), np.array([1, 0], np.float32)])
    model = trained_model(served, "float32", settings, Replicas([]))
    step = new_step(model, WeightAverage(model), Replicas([]), 4, SPEC)
    labels = np.eye(2, dtype=np.float32)[[0, 0, 0, 1]]
    targets = np.concatenate([labels, np.full((4, 2), 0.5, np.float32)], 1)
    result = step(pixels(4), targets, None, rate=0.0, share=0.0)
    assert result.accuracy == 0.75
    assert result.loss == pytest.approx(float(model.loss(targets, np.tile(np.float32([1, 0]), (4, 1)))), rel=1e-5)


@pytest.mark.usefixtures("small_cnn")
@pytest.mark.slow
def test_a_run_learns_from_its_teacher_alone_and_goes_on_with_the_same_one_only(trained: Path, two_classes: Path, tmp_path: Path) -> None:
    options = {
        "size": (32, 32),
        "batch_size": 8,
        "epochs": 3,
        "model": "cnn-small",
        "teacher": str(tmp_path / "big"),
        "teacher_weight": 1.0,
    }
    (tmp_path / "big").symlink_to(trained)

    def stop_in_epoch(epoch: int) -> keras.callbacks.Callback:
        return keras.callbacks.LambdaCallback(on_epoch_begin=lambda at, logs: interrupt() if at == epoch else None)

    def interrupt() -> None:
        raise InterruptedError

    whole = ims.train(two_classes, out=tmp_path / "whole", progress=False, **options)
    with pytest.raises(InterruptedError):
        ims.train(two_classes, out=tmp_path / "parts", progress=False, callbacks=[stop_in_epoch(1)], checkpoint_every="2steps", **options)
    parts = ims.train(two_classes, out=tmp_path / "parts", progress=False, resume=True, **options)
    assert parts.state["resumed_from_step"] > 0
    for one, other in zip(whole.model.get_weights(), parts.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert whole.state["teacher"] == [ims.load_run(trained).fingerprint]
    with pytest.raises(InterruptedError):
        ims.train(two_classes, out=tmp_path / "other", progress=False, callbacks=[stop_in_epoch(1)], **options)
    (tmp_path / "big").unlink()
    (tmp_path / "big").symlink_to(tmp_path / "whole")
    with pytest.raises(RunError, match="which is another model now"):
        ims.train(two_classes, out=tmp_path / "other", progress=False, resume=True, **options)


ON_JAX = """
import sys, keras, imgstream as ims, imgstream.models.cnn
assert keras.backend.backend() == "jax"
imgstream.models.cnn.WIDTHS = (8,)
photos, big, out = sys.argv[1:]
options = {"size": (32, 32), "batch_size": 8, "epochs": 8, "model": "cnn-small", "teacher": big, "teacher_weight": 1.0}
print(ims.train(photos, out=out, progress=False, **options).metrics["accuracy"])
"""


@pytest.mark.slow
def test_a_run_learns_from_its_teacher_on_jax_too(trained: Path, two_classes: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", ON_JAX, str(two_classes), str(trained), str(tmp_path / "small")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "KERAS_BACKEND": "jax"})
    assert done.returncode == 0, done.stderr[-3000:]
    assert float(done.stdout) == 1.0
