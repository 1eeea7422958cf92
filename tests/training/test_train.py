from __future__ import annotations

import csv
import io
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest

import imgstream as ims
from imgstream.cache import PixelCache
from imgstream.errors import AugmentError, DatasetError, ModelError, RunError
from imgstream.training.fit import Status

SMALL = {"size": (32, 32), "batch_size": 8, "epochs": 3, "augment": "light", "learning_rate": 0.02}


def weights(run: ims.Run) -> list[np.ndarray]:
    return run.model.get_weights()


def test_a_run_folder_holds_what_its_format_promises(two_classes: Path, tmp_path: Path) -> None:
    run = ims.train(two_classes, out=tmp_path / "run", **SMALL)
    names = {p.name for p in (tmp_path / "run").iterdir()}
    promised = {"model.keras", "spec.json", "class_names.json", "settings.json", "run.json", "index.arrow", "history.csv", "skipped.csv"}
    assert promised | {"golden.npz", "checkpoints", "tensorboard"} == names
    assert run.class_names == ["dark", "light"]
    assert run.spec == ims.SampleSpec(size=(32, 32), scale="signed")
    assert run.state["state"] == "finished"
    history = list(csv.DictReader((tmp_path / "run/history.csv").read_text().splitlines()))
    assert [row["epoch"] for row in history] == ["1", "2", "3"]
    assert run.metrics["accuracy"] == max(float(row["val_accuracy"]) for row in history)
    assert json.loads((tmp_path / "run/settings.json").read_text())["augment"] == {"format": 1, "kind": "preset", "name": "light"}


def test_training_learns_and_the_run_evaluates_and_predicts_what_it_learnt(two_classes: Path, tmp_path: Path) -> None:
    run = ims.train(two_classes, out=tmp_path / "run", **{**SMALL, "epochs": 8})
    assert run.metrics["accuracy"] == 1.0
    assert ims.load_run(tmp_path / "run").evaluate(two_classes).accuracy == 1.0
    predictions = list(ims.load_run(tmp_path / "run").predict(two_classes))
    assert [p.label for p in predictions] == ["dark"] * 20 + ["light"] * 20
    assert [p.path for p in predictions][:2] == ["dark/00.jpg", "dark/01.jpg"]
    assert all(p.scores.shape == (2,) and abs(p.scores.sum() - 1) < 1e-6 and p.score == p.scores.max() for p in predictions)


@pytest.mark.parametrize("size", [32, 72])  # 72 begins with 48 pixels and grows in mid-epoch
def test_a_run_stopped_by_ctrl_c_in_mid_epoch_and_resumed_equals_an_undisturbed_one_to_the_bit(
    size: int, two_classes: Path, tmp_path: Path
) -> None:
    options = {**SMALL, "size": (size, size)}
    undisturbed = ims.train(two_classes, out=tmp_path / "a", **options)

    def interrupt(status: Status) -> None:
        if status.step == 6 and status.validation is None:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        ims.train(two_classes, out=tmp_path / "b", report=interrupt, **options)
    assert ims.load_run(tmp_path / "b").state["state"] == "interrupted"
    assert len(list(ims.load_run(tmp_path / "b").predict(two_classes))) == 40
    resumed = ims.train(two_classes, out=tmp_path / "b", resume=True, **options)
    for a, b in zip(weights(undisturbed), weights(resumed), strict=True):
        np.testing.assert_array_equal(a, b)
    assert undisturbed.metrics == resumed.metrics


def test_a_run_that_is_there_is_not_overwritten_and_a_finished_one_is_given_back_by_resume(two_classes: Path, tmp_path: Path) -> None:
    ims.train(two_classes, out=tmp_path / "run", resume=True, **SMALL)  # no run yet: starts one
    before = (tmp_path / "run/model.keras").stat().st_mtime_ns
    with pytest.raises(RunError, match="--resume"):
        ims.train(two_classes, out=tmp_path / "run", **SMALL)
    assert ims.train(two_classes, out=tmp_path / "run", resume=True, **SMALL).state["state"] == "finished"
    assert (tmp_path / "run/model.keras").stat().st_mtime_ns == before


def test_resuming_with_other_options_names_them(two_classes: Path, tmp_path: Path) -> None:
    def interrupt(status: Status) -> None:
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        ims.train(two_classes, out=tmp_path / "run", report=interrupt, **SMALL)
    with pytest.raises(RunError, match="batch_size=8"):
        ims.train(two_classes, out=tmp_path / "run", resume=True, **{**SMALL, "batch_size": 4})


def test_bad_files_are_left_out_and_written_down(two_classes: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for file in two_classes.glob("*/*"):
        (photos / file.parent.name).mkdir(parents=True, exist_ok=True)
        (photos / file.parent.name / file.name).write_bytes(file.read_bytes())
    (photos / "dark" / "broken,\n.jpg").write_bytes(b"<html>")
    ims.train(photos, out=tmp_path / "run", **SMALL)
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


def test_a_flat_folder_is_labelled_by_a_pattern(two_classes: Path, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for file in two_classes.glob("*/*"):
        (flat / f"{file.parent.name}.{file.name}").write_bytes(file.read_bytes())
    (flat / "other.jpg").write_bytes(b"")
    run = ims.train(flat, out=tmp_path / "run", label_pattern=r"(?P<label>dark|light)\.", **SMALL)
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


def test_a_training_that_diverges_says_so_instead_of_going_on_with_numbers_that_are_none(two_classes: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="--learning-rate"):
        ims.train(two_classes, out=tmp_path / "run", **{**SMALL, "learning_rate": 100, "epochs": 30})


def test_balance_weighs_a_rare_class_as_much_as_a_frequent_one(two_classes: Path, tmp_path: Path) -> None:
    from imgstream.training.fit import class_weights

    index = ims.scan(two_classes).take(np.r_[0:20, 20:25])
    stream = ims.Stream(index, ims.SampleSpec(size=(8, 8)))
    np.testing.assert_allclose(class_weights(stream), [25 / 40, 25 / 10])


def test_an_unknown_pipeline_is_refused_before_anything_is_written(two_classes: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="auto, python, tf; got 'fast'"):
        ims.train(two_classes, out=tmp_path / "run", pipeline="fast")
    assert not (tmp_path / "run").exists()


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


def test_a_run_without_a_cache_is_not_resumed_with_one(two_classes: Path, tmp_path: Path) -> None:
    def interrupt(status: Status) -> None:
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        ims.train(two_classes, out=tmp_path / "run", report=interrupt, **SMALL)
    with pytest.raises(RunError, match="cache=False"):
        ims.train(two_classes, out=tmp_path / "run", resume=True, **{**SMALL, "cache": "auto"})
    assert PixelCache().held() == []
