"""The whole road of several labels an image, from links in class folders to an exported model."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

import imgstream as ims
from imgstream.cli.app import app
from imgstream.errors import OptionError, RunError
from imgstream.export import export_run, open_model

pytestmark = pytest.mark.slow

COLOURS = {"blue": (0, 255), "green": (1, 255), "red": (2, 255)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """160 images, each with patches of one colour, of two, of all or of none; linked into a folder for each."""
    root, rng = tmp_path_factory.mktemp("patches"), np.random.default_rng(0)
    (root / "listed").mkdir()
    rows = []
    for number in range(160):
        image = rng.integers(60, 90, (32, 32, 3), np.uint8)
        chosen = [name for name in COLOURS if rng.random() < 0.45]
        for name in chosen:
            y, x = rng.integers(0, 20, 2)
            image[y : y + 12, x : x + 12] = 40
            image[y : y + 12, x : x + 12, COLOURS[name][0]] = COLOURS[name][1]
        path = root / "listed" / f"{number:03}.png"
        assert cv2.imwrite(str(path), image)
        rows.append((path.name, "|".join(chosen) or "|"))
        for name in chosen:
            (root / "linked" / name).mkdir(parents=True, exist_ok=True)
            (root / "linked" / name / path.name).symlink_to(path)
    (root / "listed/labels.csv").write_text("path,label\n" + "".join(f"{path},{label}\n" for path, label in rows))
    return root


@pytest.fixture(scope="module")
def run(folder: Path, small_cnn: None) -> ims.Run:
    how = {"size": (32, 32), "batch_size": 16, "epochs": 12, "augment": "light", "precision": "float32"}
    return ims.train(folder / "listed/labels.csv", out=folder / "run", multi_label=True, balance=True, **how)


def test_a_training_tells_the_labels_apart(run: ims.Run, folder: Path) -> None:
    assert run.thresholds is not None
    assert run.thresholds.shape == (3,)
    assert list(run.metrics) == ["mAP", "f1_micro", "f1_macro", "loss", "images", "epoch"]
    result = run.evaluate(folder / "listed/labels.csv")
    assert result.figures["mAP"] > 0.85
    linked = run.evaluate(folder / "linked").report()  # those without a label are in no folder
    listed = result.report()
    assert [of["n"] for of in linked["per_class"].values()] == [of["n"] for of in listed["per_class"].values()]


def test_the_run_says_that_it_gives_several_labels(run: ims.Run) -> None:
    assert json.loads((Path(run.path) / "class_names.json").read_text())["multi_label"] is True
    again = ims.load_run(run.path)
    np.testing.assert_array_equal(again.thresholds, run.thresholds)
    assert "multi_label: true" in (Path(run.path) / "train.yaml").read_text()


def test_scores_are_each_by_themselves_and_labels_are_those_above_their_thresholds(run: ims.Run, folder: Path) -> None:
    predicted = list(run.predict(folder / "listed"))
    assert run.thresholds is not None
    for each in predicted:
        assert each.scores is not None
        assert set((each.label or "").split("|")) - {""} == {
            name for name, score, least in zip(run.class_names, each.scores, run.thresholds, strict=True) if score >= least
        }
    assert max(each.scores.sum() for each in predicted if each.scores is not None) > 1.5


def test_the_commands_agree_with_the_library(run: ims.Run, folder: Path) -> None:
    output = folder / "predictions.csv"
    result = CliRunner().invoke(app, ["predict", run.path, str(folder / "listed"), "-o", str(output)])
    assert result.exit_code == 0, result.output
    with output.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == [each.label for each in run.predict(folder / "listed")]
    assert rows[0].keys() >= {"label_1", "score_1", "label_3", "score_3"}
    shown = CliRunner().invoke(app, ["evaluate", run.path, str(folder / "listed/labels.csv")])
    assert "average precision" in shown.output
    found = json.loads(CliRunner().invoke(app, ["evaluate", run.path, str(folder / "listed/labels.csv"), "--json"]).stdout)
    assert found["mean_average_precision"] == pytest.approx(run.evaluate(folder / "listed/labels.csv").figures["mAP"])


def test_an_exported_model_gives_the_same_labels(run: ims.Run, folder: Path) -> None:
    exported = open_model(export_run(run, folder / "exported/model.tflite").path)
    here, there = list(run.predict(folder / "listed")), list(exported.predict(folder / "listed"))
    np.testing.assert_allclose([each.scores for each in here], [each.scores for each in there], atol=1e-4)
    np.testing.assert_array_equal(exported.thresholds, run.thresholds)
    result = exported.evaluate(folder / "listed/labels.csv")
    assert result.figures["mAP"] == pytest.approx(run.evaluate(folder / "listed/labels.csv").figures["mAP"], abs=1e-3)


def test_a_report_shows_each_class_and_the_hardest_images(run: ims.Run, folder: Path) -> None:
    page = Path(run.report(out=folder / "report.html", progress=False)).read_text()
    assert "Highest loss" in page
    assert "mean average precision" in page
    assert '"several": true' in page
    page = Path(run.report(folder / "linked", out=folder / "linked.html", progress=False)).read_text()
    assert "Highest loss" in page


def test_what_makes_no_sense_with_several_labels_says_so(run: ims.Run, folder: Path) -> None:
    with pytest.raises(OptionError, match="this one gives several labels"):
        run.evaluate(folder / "listed/labels.csv", positive="red")
    with pytest.raises(RunError, match="gives an image several labels"):
        run.plot_confusion()
    result = CliRunner().invoke(app, ["evaluate", run.path, str(folder / "listed/labels.csv"), "--at-recall", "0.9"])
    assert isinstance(result.exception, OptionError)


def test_a_run_without_its_thresholds_is_refused(run: ims.Run, tmp_path: Path) -> None:
    from imgstream.runs.folder import RunFolder

    copy = tmp_path / "copy"
    shutil.copytree(run.path, copy)
    folder = RunFolder(copy)
    folder.write_state({name: value for name, value in folder.state().items() if name != "thresholds"})
    with pytest.raises(RunError, match="has no threshold from 0 to 1 for each class"):
        ims.load_run(copy)


def test_a_resumed_training_ends_as_one_that_was_not_interrupted(run: ims.Run, folder: Path, small_cnn: None) -> None:
    import keras

    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: object = None) -> None:
            if batch == 3:
                raise KeyboardInterrupt

    how = {"size": (32, 32), "batch_size": 16, "epochs": 2, "augment": "strong", "multi_label": True, "checkpoint_every": "2steps"}
    with pytest.raises(KeyboardInterrupt):
        ims.train(folder / "listed/labels.csv", out=folder / "stopped", callbacks=[Stop()], **how)
    resumed = ims.train(folder / "listed/labels.csv", out=folder / "stopped", resume=True, **how)
    whole = ims.train(folder / "listed/labels.csv", out=folder / "whole", **how)
    for one, other in zip(resumed.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(resumed.thresholds, whole.thresholds)


def test_a_head_alone_learns_several_labels(run: ims.Run, folder: Path) -> None:
    how = {"model": run.path, "head_only": True, "multi_label": True}
    head = ims.train(folder / "listed/labels.csv", out=folder / "head", **how)
    assert head.metrics["mAP"] > 0.8
