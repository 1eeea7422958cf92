from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import pytest

import imgstream as ims
from imgstream.cache import PixelCache
from imgstream.errors import AugmentError, DatasetError, ModelError, RunError
from imgstream.index.split.groups import PatternGroups
from imgstream.training.loop import Status
from imgstream.training.step.tensorflow_step import TensorFlowStep

pytestmark = pytest.mark.usefixtures("small_cnn")

SMALL = {"size": (32, 32), "batch_size": 8, "epochs": 3, "augment": "light", "learning_rate": 0.005}


WHOLE = (32, 64, 128, 256)
"""Channels of the blocks of `cnn` as it is."""
SMALL_CNN = (8,)
"""As the fixture small_cnn has them."""


def weights(run: ims.Run) -> list[np.ndarray]:
    return run.model.get_weights()


@pytest.fixture(scope="module")
def plain(two_classes: Path, tmp_path_factory: pytest.TempPathFactory) -> ims.Run:
    """What comes of SMALL; to be read only."""
    return ims.train(two_classes, out=tmp_path_factory.mktemp("plain") / "run", **SMALL)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """SMALL with a network of one convolution, and Dropout: for tests to which the network does not matter, 2 s of a core a training."""
    path = tmp_path_factory.mktemp("tiny") / "own.keras"
    network = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            keras.layers.Conv2D(4, 3, strides=4),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(2),
        ]
    )
    network.save(path)
    return {**SMALL, "model": str(path)}


def test_a_run_folder_holds_what_its_format_promises(plain: ims.Run) -> None:
    run, folder = plain, plain.folder.path
    names = {p.name for p in folder.iterdir()}
    promised = {"model.keras", "spec.json", "class_names.json", "settings.json", "run.json", "index.arrow", "history.csv", "skipped.csv"}
    assert promised | {"golden.npz", "profile.json", "memory.csv", "train.yaml", "checkpoints", "tensorboard"} == names
    assert run.class_names == ["dark", "light"]
    assert run.spec == ims.SampleSpec(size=(32, 32), scale="signed")
    assert run.state["state"] == "finished"
    history = list(csv.DictReader((folder / "history.csv").read_text().splitlines()))
    assert [row["epoch"] for row in history] == ["1", "2", "3"]
    assert run.metrics["accuracy"] == pytest.approx(max(float(row["val_accuracy"]) for row in history), abs=1e-6)
    assert json.loads((folder / "settings.json").read_text())["augment"] == {"format": 1, "kind": "preset", "name": "light"}


def test_training_learns_and_the_run_evaluates_and_predicts_what_it_learnt(trained: Path, two_classes: Path) -> None:
    run = ims.load_run(trained)
    assert run.metrics["accuracy"] == 1.0
    assert run.evaluate(two_classes).accuracy == 1.0
    predictions = list(run.predict(two_classes))
    assert [p.label for p in predictions] == ["dark"] * 20 + ["light"] * 20
    assert [p.path for p in predictions][:2] == ["dark/00.jpg", "dark/01.jpg"]
    assert all(p.scores.shape == (2,) and abs(p.scores.sum() - 1) < 1e-6 and p.score == p.scores.max() for p in predictions)


@pytest.mark.slow
@pytest.mark.parametrize("widths", [pytest.param(SMALL_CNN, id="one block"), pytest.param(WHOLE, id="as it is")])
def test_a_run_stopped_by_ctrl_c_in_mid_epoch_and_resumed_equals_an_undisturbed_one_to_the_bit(
    plain: ims.Run, two_classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, widths: tuple[int, ...]
) -> None:
    monkeypatch.setattr("imgstream.models.cnn.WIDTHS", widths)
    began = time.monotonic()
    undisturbed = plain if widths == SMALL_CNN else ims.train(two_classes, out=tmp_path / "a", **SMALL)
    assert undisturbed.state["seconds"] > 0

    def interrupt(status: Status) -> None:
        if status.step == 6 and status.validation is None:
            signal.raise_signal(signal.SIGINT)

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        ims.train(two_classes, out=tmp_path / "b", report=interrupt, **SMALL)
    first_part = ims.load_run(tmp_path / "b").state
    assert first_part["state"] == "interrupted"
    assert len(list(ims.load_run(tmp_path / "b").predict(two_classes))) == 40
    resumed = ims.train(two_classes, out=tmp_path / "b", resume=True, **SMALL)
    for a, b in zip(weights(undisturbed), weights(resumed), strict=True):
        np.testing.assert_array_equal(a, b)
    assert undisturbed.metrics == resumed.metrics
    assert first_part["seconds"] < resumed.state["seconds"] < 0.1 + time.monotonic() - began  # of both parts


@pytest.mark.slow
def test_it_does_not_matter_which_batch_a_resumed_run_begins_with(
    two_classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A short one, one that a bad file left smaller, or the first of larger samples: a program made for its shape would round differently.

    All stops of two epochs, each in a new process: bench/resume.py.
    """
    monkeypatch.setattr("imgstream.models.cnn.WIDTHS", WHOLE)
    photos = tmp_path / "photos"
    shutil.copytree(two_classes, photos)
    (photos / "dark/03.jpg").write_bytes(b"")
    options = {**SMALL, "size": (72, 72), "batch_size": 6, "epochs": 2, "augment": "strong"}  # mixes labels; 48 pixels at first
    undisturbed = ims.train(photos, out=tmp_path / "a", **options)
    epoch = -(-undisturbed.state["split"]["train"] // 6)
    assert undisturbed.state["split"]["train"] % 6
    run = None
    for stop in (epoch - 1, 2 * epoch - 3, 2 * epoch - 1, None):

        def interrupt(status: Status, stop: int | None = stop) -> None:
            if status.step == stop and status.validation is None:
                signal.raise_signal(signal.SIGINT)

        with contextlib.nullcontext() if stop is None else pytest.raises(KeyboardInterrupt):
            run = ims.train(photos, out=tmp_path / "b", resume=True, report=interrupt, **options)
    assert run is not None
    assert run.state["resumed_from_step"] == 2 * epoch - 1 == undisturbed.state["steps"] - 1
    for a, b in zip(weights(undisturbed), weights(run), strict=True):
        np.testing.assert_array_equal(a, b)
    losses = [[(row["loss"], row["val_loss"]) for row in history(each)] for each in (undisturbed, run)]
    assert losses[0] == losses[1]


def test_a_run_that_is_there_is_not_overwritten_and_a_finished_one_is_given_back_by_resume(
    tiny: dict[str, Any], two_classes: Path, tmp_path: Path
) -> None:
    ims.train(two_classes, out=tmp_path / "run", resume=True, **tiny)  # no run yet: starts one
    before = (tmp_path / "run/model.keras").stat().st_mtime_ns
    with pytest.raises(RunError, match="--resume"):
        ims.train(two_classes, out=tmp_path / "run", **tiny)
    assert ims.train(two_classes, out=tmp_path / "run", resume=True, **tiny).state["state"] == "finished"
    assert (tmp_path / "run/model.keras").stat().st_mtime_ns == before
    with pytest.raises(RunError, match="was started with other options"):
        ims.train(two_classes, out=tmp_path / "run", resume=True, **{**tiny, "epochs": 9})


def test_resuming_with_other_options_names_them(tiny: dict[str, Any], two_classes: Path, tmp_path: Path) -> None:
    def interrupt(status: Status) -> None:
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        ims.train(two_classes, out=tmp_path / "run", report=interrupt, **tiny)
    with pytest.raises(RunError, match="batch_size=8"):
        ims.train(two_classes, out=tmp_path / "run", resume=True, **{**tiny, "batch_size": 4})


def test_bad_files_are_left_out_and_written_down(tiny: dict[str, Any], two_classes: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for file in two_classes.glob("*/*"):
        (photos / file.parent.name).mkdir(parents=True, exist_ok=True)
        (photos / file.parent.name / file.name).write_bytes(file.read_bytes())
    (photos / "dark" / "broken,\n.jpg").write_bytes(b"<html>")
    ims.train(photos, out=tmp_path / "run", **tiny)
    rows = list(csv.reader(io.StringIO((tmp_path / "run/skipped.csv").read_text(), newline="")))
    assert rows[0] == ["path", "reason", "detail"]
    assert [(row[0], row[1]) for row in rows[1:]] == [(str(photos / "dark" / "broken,\n.jpg"), "wrong kind")]


def test_too_many_bad_files_stop_training(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(40):
            (tmp_path / "photos" / name / f"{i}.jpg").write_bytes(b"")
    with pytest.raises(DatasetError, match="empty: 0 bytes"):
        ims.train(tmp_path / "photos", out=tmp_path / "run", **SMALL)


def test_a_flat_folder_is_labelled_by_a_pattern(tiny: dict[str, Any], two_classes: Path, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for file in two_classes.glob("*/*"):
        (flat / f"{file.parent.name}.{file.name}").write_bytes(file.read_bytes())
    (flat / "other.jpg").write_bytes(b"")
    run = ims.train(flat, out=tmp_path / "run", label_pattern=r"(?P<label>dark|light)\.", **tiny)
    assert run.class_names == ["dark", "light"]


def test_impossible_requests_say_what_to_do_before_anything_is_written(two_classes: Path, tmp_path: Path) -> None:
    one = tmp_path / "one"
    (one / "cats").mkdir(parents=True)
    (one / "cats" / "1.jpg").write_bytes(b"")
    requests = [
        (one, {}, DatasetError, "two classes"),
        (two_classes, {"model": "resnet18"}, ModelError, "MobileNetV2"),
        (two_classes, {"augment": "heavy"}, AugmentError, "strong"),
        (two_classes, {"epochs": 2, "minutes": 1}, DatasetError, "either epochs or minutes"),
        (two_classes, {"weights": str(tmp_path / "none.keras")}, ModelError, "cannot read"),
        (two_classes, {"sise": 3}, DatasetError, "no option sise"),
    ]
    for source, options, error, words in requests:
        with pytest.raises(error, match=words):
            ims.train(source, out=tmp_path / "run", **options)
        assert not (tmp_path / "run").exists()
    (one / "dogs").mkdir()
    with pytest.raises(DatasetError, match="no images of 'dogs'"):
        ims.train(one, out=tmp_path / "run")


@pytest.mark.slow
def test_a_training_whose_weights_are_no_numbers_says_so_instead_of_going_on(two_classes: Path, tmp_path: Path) -> None:
    class Breaker(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
            self.model.set_weights([np.full_like(w, np.nan) for w in self.model.get_weights()])

    with pytest.raises(ModelError, match="--learning-rate"):
        ims.train(two_classes, out=tmp_path / "run", callbacks=[Breaker()], **SMALL)


@pytest.mark.slow
def test_a_training_that_diverges_says_so_too(two_classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imgstream.models.cnn.WIDTHS", WHOLE)
    with pytest.raises(ModelError, match="--learning-rate"):
        ims.train(two_classes, out=tmp_path / "run", **{**SMALL, "learning_rate": 100, "epochs": 30})


def test_balance_weighs_a_rare_class_as_much_as_a_frequent_one(two_classes: Path, tmp_path: Path) -> None:
    from imgstream.training.data import class_weights

    index = ims.scan(two_classes).take(np.r_[0:20, 20:25])
    stream = ims.Stream(index, ims.SampleSpec(size=(8, 8)))
    np.testing.assert_allclose(class_weights(stream), [25 / 40, 25 / 10])


def test_an_unknown_pipeline_is_refused_before_anything_is_written(two_classes: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="auto, python, tf; got 'fast'"):
        ims.train(two_classes, out=tmp_path / "run", pipeline="fast")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_run_with_a_cache_keeps_images_and_is_not_resumed_without(two_classes: Path, tmp_path: Path) -> None:
    def interrupt(status: Status) -> None:
        signal.raise_signal(signal.SIGINT)

    for path in two_classes.rglob("*.jpg"):
        os.utime(path, (1e9, 1e9))  # written long ago
    cached = {**SMALL, "cache": str(tmp_path / "kept")}
    with pytest.raises(KeyboardInterrupt):
        ims.train(two_classes, out=tmp_path / "run", report=interrupt, **cached)
    assert json.loads((tmp_path / "run/settings.json").read_text())["cache"] == str(tmp_path / "kept")
    with pytest.raises(RunError, match="cache=True"):
        ims.train(two_classes, out=tmp_path / "run", resume=True, **SMALL)
    assert ims.train(two_classes, out=tmp_path / "run", resume=True, **cached).state["state"] == "finished"
    assert sum(held.images for held in PixelCache(tmp_path / "kept").held()) == 40


def test_a_run_without_a_cache_is_not_resumed_with_one(tiny: dict[str, Any], two_classes: Path, tmp_path: Path) -> None:
    def interrupt(status: Status) -> None:
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        ims.train(two_classes, out=tmp_path / "run", report=interrupt, **tiny)
    with pytest.raises(RunError, match="cache=False"):
        ims.train(two_classes, out=tmp_path / "run", resume=True, **{**tiny, "cache": "auto"})
    assert PixelCache().held() == []


@pytest.mark.slow
def test_what_weighs_nothing_teaches_nothing_to_the_bit(two_classes: Path, tmp_path: Path) -> None:
    trained = []
    for number, wrong in enumerate(("light", "dark")):
        lines = ["path,label,split,weight"]
        for name in ("dark", "light"):
            lines += [f"{name}/{i:02}.jpg,{name},train,2.5" for i in range(8)]
            lines += [f"{name}/{i:02}.jpg,{name},val," for i in range(8, 12)]
        lines += [f"dark/{i:02}.jpg,{wrong},train,0" for i in range(12, 20)]
        (tmp_path / f"{number}.csv").write_text("\n".join(lines))
        options = {**SMALL, "size": (16, 16), "epochs": 1, "root": str(two_classes)}
        trained.append(ims.train(tmp_path / f"{number}.csv", out=tmp_path / str(number), **options))
    for a, b in zip(*map(weights, trained), strict=True):
        np.testing.assert_array_equal(a, b)
    assert [row["accuracy"] for row in history(trained[0])] != [row["accuracy"] for row in history(trained[1])]  # the labels did differ
    assert trained[0].state["split"] == {"how": "as given", "train": 24, "val": 8, "crossing": 0, "without_validation": []}


def history(run: ims.Run) -> list[dict[str, str]]:
    return list(csv.DictReader(run.folder.history.read_text().splitlines()))


def test_each_step_is_given_the_weights_of_its_images_times_those_of_their_classes(
    two_classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Enough(Exception):
        pass

    def step(_: object, images: np.ndarray, labels: np.ndarray, weights: np.ndarray | None, **of_step: float) -> None:
        assert weights is not None
        given.append(sorted(zip(labels.argmax(1).tolist(), weights.tolist(), strict=True)))
        raise Enough

    given: list[list[tuple[int, float]]] = []
    monkeypatch.setattr(TensorFlowStep, "__call__", step)
    rows = ["path,label,split,weight", "dark/00.jpg,dark,train,0.5", "dark/01.jpg,dark,train,0", "dark/02.jpg,dark,train,"]
    rows += ["light/00.jpg,light,train,4", "light/01.jpg,light,val,1", "dark/03.jpg,dark,val,1"]
    (tmp_path / "list.csv").write_text("\n".join(rows))
    options = {**SMALL, "size": (16, 16), "root": str(two_classes)}
    for balance in (False, True):
        with pytest.raises(Enough):
            ims.train(tmp_path / "list.csv", out=tmp_path / str(balance), balance=balance, **options)
    assert given[0] == [(0, 0.0), (0, 0.5), (0, 1.0), (1, 4.0)]
    dark, light = 4 / (2 * 3), 4 / (2 * 1)
    np.testing.assert_allclose(given[1], [(0, 0.0), (0, 0.5 * dark), (0, dark), (1, 4 * light)])


def test_a_file_on_both_sides_of_the_split_is_refused_before_anything_is_written(two_classes: Path, tmp_path: Path) -> None:
    rows = [f"{name}/{i:02}.jpg,{name},{'train' if i < 4 else 'val'}\n" for name in ("dark", "light") for i in range(6)]
    (tmp_path / "list.csv").write_text("path,label,split\n" + "".join(rows) + "light/../dark/00.jpg,dark,val\n")
    with pytest.raises(DatasetError, match=r"5 \(38\.5 %\) to validate on; 1 is on both sides: a file or group"):
        ims.train(tmp_path / "list.csv", out=tmp_path / "run", root=str(two_classes), **SMALL)
    assert not (tmp_path / "run").exists()


def test_groups_of_every_kind_decide_the_split_that_is_told(two_classes: Path, tmp_path: Path) -> None:
    class Told(Exception):
        pass

    def notice(text: str) -> None:
        raise Told(text)

    photos = tmp_path / "photos"
    lines, listed = ["path,label,group"], ["path,group"]
    for file in sorted(two_classes.glob("*/*.jpg")):
        shot = f"{file.parent.name}/s{int(file.stem) // 4}"
        (photos / shot).mkdir(parents=True, exist_ok=True)
        (photos / shot / file.name).write_bytes(file.read_bytes())
        lines.append(f"{shot}/{file.name},{file.parent.name},{shot}")
        listed.append(f"{shot}/{file.name},{shot}")
    (tmp_path / "list.csv").write_text("\n".join(lines))
    (tmp_path / "groups.csv").write_text("\n".join(listed))
    told = {}
    pattern = r"(?P<group>(dark|light)/s\d)/"
    for group in ("folder", pattern, str(tmp_path / "groups.csv"), "column"):
        source, root = (tmp_path / "list.csv", str(photos)) if group == "column" else (photos, None)
        with pytest.raises(Told) as caught:
            ims.train(source, out=tmp_path / "run", group=group, root=root, notice=notice, **{**SMALL, "size": (16, 16)})
        told[group] = str(caught.value)
    _, val = ims.scan(photos).split(0.2, 0, group=PatternGroups(re.compile(pattern)))
    assert len(val) % 4 == 0 < len(val)
    for group, text in told.items():
        counts = f"{40 - len(val)} images to train on, {len(val)} ({2.5 * len(val):.1f} %) to validate on" if group != "folder" else ""
        assert text.startswith(f"Split (by hash, groups by {group}): {counts}")
        assert text.endswith("; nothing is on both sides")


@pytest.fixture(scope="module")
def mixed_up(two_classes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five times as many images, of which every fourth lies in the wrong class: none can be sure of them."""
    folder = tmp_path_factory.mktemp("mixed up")
    for file in sorted(two_classes.glob("*/*")):
        for i in range(5):
            name = {"dark": "light", "light": "dark"}[file.parent.name] if (int(file.stem) + i) % 4 == 0 else file.parent.name
            (folder / name).mkdir(parents=True, exist_ok=True)
            shutil.copy(file, folder / name / f"{file.parent.name}-{file.stem}-{i}.jpg")
    return folder


CALIBRATED = {**SMALL, "val_share": 0.4, "label_smoothing": 0.0, "epochs": 4}


@pytest.fixture(scope="module")
def calibrated(mixed_up: Path, tmp_path_factory: pytest.TempPathFactory) -> ims.Run:
    return ims.train(mixed_up, out=tmp_path_factory.mktemp("calibrated") / "run", **CALIBRATED)


def test_a_run_keeps_the_temperature_of_its_best_validation_and_what_its_images_were_like(mixed_up: Path, calibrated: ims.Run) -> None:
    run = calibrated
    _, val = ims.scan(mixed_up).split(val=0.4, seed=0)
    assert run.temperature != 1.0
    result = run.evaluate(val)
    assert run.state["calibration"] == {
        "images": len(val),
        "ece": pytest.approx(result.ece, abs=0.01),  # a score may cross from one bin to the next
        "ece_uncalibrated": pytest.approx(result.ece_uncalibrated, abs=0.01),
        "confidence": pytest.approx(np.mean([p.score for p in run.predict(val)]), abs=1e-4),
    }
    assert result.loss < run.metrics["loss"]  # which was taken without it
    assert run.profile is not None
    assert run.profile.kinds == {"jpeg": 1.0}
    assert run.profile.log2_pixels.n == 200 - len(val)
    assert run.profile.log2_aspect.mean == pytest.approx(np.log2(48 / 40), abs=1e-5)
    assert run.profile.brightness.n == len(val)
    drawn = [40 if Path(val.path(i)).name.startswith("dark") else 200 for i in range(len(val))]
    assert run.profile.brightness.mean == pytest.approx(np.mean(drawn) / 255, abs=0.02)
    assert run.profile.confidence.mean == pytest.approx(run.state["calibration"]["confidence"], abs=1e-5)


@pytest.mark.slow
def test_a_resumed_run_keeps_the_same_temperature_and_the_same_profile(mixed_up: Path, calibrated: ims.Run, tmp_path: Path) -> None:
    def interrupt(status: Status) -> None:
        if status.epoch == 3 and status.validation is None:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        ims.train(mixed_up, out=tmp_path / "resumed", report=interrupt, **CALIBRATED)
    resumed = ims.train(mixed_up, out=tmp_path / "resumed", resume=True, **CALIBRATED)
    assert (resumed.temperature, resumed.profile) == (calibrated.temperature, calibrated.profile)
    assert resumed.state["calibration"] == calibrated.state["calibration"]


def test_a_run_stopped_before_its_first_validation_has_no_temperature_and_no_profile(
    tiny: dict[str, Any], two_classes: Path, tmp_path: Path
) -> None:
    def interrupt(status: Status) -> None:
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        ims.train(two_classes, out=tmp_path / "run", report=interrupt, **tiny)
    run = ims.load_run(tmp_path / "run")
    assert (run.temperature, run.profile, run.state["calibration"]) == (1.0, None, {})


class Killed(BaseException):
    """What nobody catches, as nobody catches a kill."""


def kill_in_this_process(source: str, out: str, options: dict[str, Any]) -> None:
    def kill(status: Status) -> None:
        if status.step >= 6 and status.validation is None and list(Path(out).glob("checkpoints/step-*")):
            raise Killed

    with pytest.raises(Killed):
        ims.train(source, out=out, report=kill, **options)


def kill_another_process(source: str, out: str, options: dict[str, Any]) -> None:
    script = (
        "import glob, os, sys, json, imgstream as ims\n"
        "source, out, options = json.loads(sys.argv[1])\n"
        "def kill(status):\n"
        "    if status.step >= 6 and status.validation is None and glob.glob(out + '/checkpoints/step-*'): os.kill(os.getpid(), 9)\n"
        "ims.train(source, out=out, report=kill, **options)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, json.dumps([source, out, options])], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-2000:]


@pytest.mark.parametrize("kill", [kill_in_this_process, pytest.param(kill_another_process, marks=pytest.mark.slow)])
def test_a_run_killed_at_any_step_goes_on_from_its_last_checkpoint_to_the_same_bits(
    tiny: dict[str, Any], two_classes: Path, tmp_path: Path, kill: Callable[[str, str, dict[str, Any]], None]
) -> None:
    """Without a word, in the middle of an epoch, with a network that has Dropout; in test-all for real."""
    options = {**tiny, "pipeline": "python", "checkpoint_every": "2steps"}
    undisturbed = ims.train(two_classes, out=tmp_path / "a", **options)
    kill(str(two_classes), str(tmp_path / "b"), options)
    assert not (tmp_path / "b/model.keras").exists()
    resumed = ims.train(two_classes, out=tmp_path / "b", resume=True, **options)
    assert 0 < resumed.state["resumed_from_step"] < undisturbed.state["steps"]
    assert resumed.state["steps_run"] == undisturbed.state["steps"] - resumed.state["resumed_from_step"]
    for a, b in zip(weights(undisturbed), weights(resumed), strict=True):
        np.testing.assert_array_equal(a, b)
    same = ("epoch", "step", "loss", "accuracy", "val_loss", "val_accuracy")
    histories = [list(csv.DictReader(run.folder.history.read_text().splitlines())) for run in (undisturbed, resumed)]
    assert [[row[name] for name in same] for row in histories[0]] == [[row[name] for name in same] for row in histories[1]]


@pytest.mark.slow
def test_images_that_came_or_went_while_a_run_lay_still_are_told_and_not_taken(
    tiny: dict[str, Any], two_classes: Path, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    shutil.copytree(two_classes, photos)

    def interrupt(status: Status) -> None:
        if status.validation is not None:  # by now every file was read
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        ims.train(photos, out=tmp_path / "run", report=interrupt, **tiny)
    shutil.copy(photos / "dark/00.jpg", photos / "dark/new.jpg")
    shutil.copy(photos / "light/00.jpg", photos / "dark/01.jpg")
    os.utime(photos / "dark/01.jpg", ns=(1, 1))
    lines: list[str] = []
    run = ims.train(photos, out=tmp_path / "run", resume=True, notice=lines.append, **tiny)
    assert len(ims.ImageIndex.load(run.folder.index)) == 40
    told = "\n".join(lines)
    assert "1 new image (such as" in told
    assert "dark/new.jpg" in told
    assert "1 file has changed" in told
    assert "dark/01.jpg" in told


def test_a_folder_that_another_training_writes_into_is_refused(tiny: dict[str, Any], two_classes: Path, tmp_path: Path) -> None:
    refused: list[str] = []

    def train_there(status: Status) -> None:
        for resume in (False, True) if not refused else ():
            with pytest.raises(RunError) as error:
                ims.train(two_classes, out=tmp_path / "run", resume=resume, **tiny)
            refused.append(str(error.value))

    run = ims.train(two_classes, out=tmp_path / "run", report=train_there, **tiny)
    assert all("is in use: another training writes into it" in text for text in refused)
    assert len(refused) == 2
    assert ims.train(two_classes, out=tmp_path / "run", resume=True, **tiny).state == run.state  # which has ended


def test_groups_that_no_image_is_of_keep_nothing_together(tiny: dict[str, Any], two_classes: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="none of the 40 images belongs to a group"):
        ims.train(two_classes, out=tmp_path / "run", group="(?P<group>patient[0-9]+)", **tiny)


def test_what_cannot_be_validated_on_is_refused_before_anything_is_written(tiny: dict[str, Any], two_classes: Path, tmp_path: Path) -> None:
    (tmp_path / "flat").mkdir()
    shutil.copy(two_classes / "dark/00.jpg", tmp_path / "flat")
    for how in (ims.train, ims.training.dry_run):
        with pytest.raises(DatasetError, match="none of its images has one of the classes dark, light; found no labels"):
            how(two_classes, out=tmp_path / "run", val=str(tmp_path / "flat"), **tiny)
    assert not (tmp_path / "run").exists()


def test_keras_callbacks_see_each_step_and_may_end_the_training(tiny: dict[str, Any], two_classes: Path, tmp_path: Path) -> None:
    class Stopper(keras.callbacks.Callback):
        steps = 0

        def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
            assert logs is not None
            self.steps += 1
            assert 0 <= logs["accuracy"] <= 1

        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            assert logs is not None
            assert {"loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"} == set(logs)
            self.model.stop_training = epoch == 1

    stopper = Stopper()
    run = ims.train(two_classes, out=tmp_path / "run", callbacks=[stopper], **tiny)
    assert (run.state["state"], run.state["epochs"], run.state["steps"]) == ("finished", 2, stopper.steps)


def test_a_head_alone_leaves_the_backbone_as_it_was_given(plain: ims.Run, two_classes: Path, tmp_path: Path) -> None:
    run = ims.train(two_classes, out=tmp_path / "head", size=(32, 32), weights=str(plain.folder.path / "model.keras"), head_only=True)
    for a, b in zip(weights(plain)[:-2], weights(run)[:-2], strict=True):
        np.testing.assert_array_equal(a, b)
    assert (run.state["steps"], run.metrics["accuracy"]) == (0, 1.0)
    assert run.evaluate(two_classes).accuracy == 1.0
    with pytest.raises(ModelError, match="--weights"):
        ims.train(two_classes, out=tmp_path / "none", head_only=True)
    assert not (tmp_path / "none").exists()


@pytest.mark.slow
def test_given_weights_get_a_head_first_and_are_then_trained_as_a_whole(plain: ims.Run, two_classes: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    run = ims.train(
        two_classes, out=tmp_path / "run", model=str(plain.folder.path), size=(32, 32), batch_size=8, epochs=1, notice=lines.append
    )
    assert any("The head alone" in line for line in lines)
    assert run.spec == plain.spec
    assert run.metrics["accuracy"] == 1.0
    assert any((a != b).any() for a, b in zip(weights(plain)[:-2], weights(run)[:-2], strict=True))


@pytest.mark.slow
def test_a_memory_ceiling_is_planned_for_held_and_recorded(two_classes: Path, tmp_path: Path) -> None:
    run = ims.train(two_classes, out=tmp_path / "run", memory=8 * 10**9, **SMALL)
    rows = list(csv.DictReader((tmp_path / "run/memory.csv").read_text().splitlines()))
    assert set(rows[0]) == {"seconds", "step", "anonymous_mb", "file_mb"}
    assert 0 < run.state["memory"]["peak_bytes"] < 8 * 10**9
    with pytest.raises(ModelError, match="--memory gives 10 MB"):
        ims.train(two_classes, out=tmp_path / "small", memory=10 * 10**6, **SMALL)
    assert not (tmp_path / "small").exists()


@pytest.mark.slow
def test_images_smaller_than_half_of_a_networks_size_are_only_doubled(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, level in (("dark", 40), ("light", 200)):
        (tmp_path / "tiny" / name).mkdir(parents=True)
        for i in range(12):
            image = np.clip(rng.normal(level, 25, (28, 40, 3)), 0, 255).astype(np.uint8)
            assert cv2.imwrite(str(tmp_path / "tiny" / name / f"{i}.png"), image)
    assert ims.train(tmp_path / "tiny", out=tmp_path / "run", epochs=1).spec.size == (56, 56)
    assert ims.train(tmp_path / "tiny", out=tmp_path / "asked", epochs=1, size=(40, 40)).spec.size == (40, 40)


def test_the_training_part_of_a_split_is_not_split_by_the_same_seed_again(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(150):
            (tmp_path / "photos" / name / f"{i}.jpg").write_bytes(b"")
    part, _ = ims.scan(tmp_path / "photos").split(val=0.2, seed=0)
    with pytest.raises(DatasetError, match="another --seed"):
        ims.train(part, out=tmp_path / "run", **SMALL)
    assert not (tmp_path / "run").exists()
