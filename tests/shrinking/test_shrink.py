from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import imgstream as ims
from imgstream.cli.app import app
from imgstream.errors import OptionError, RunError
from imgstream.index import ImageIndex
from imgstream.shrinking import shrink_run


def test_to_keep_all_or_nothing_is_no_way_to_shrink(trained: Path, tmp_path: Path) -> None:
    for keep in (0, 1, float("nan")):
        with pytest.raises(OptionError, match="above 0 and below 1"):
            shrink_run(ims.load_run(trained), keep=keep, out=tmp_path / "half")
    assert not (tmp_path / "half").exists()


def test_a_folder_of_images_or_of_other_things_is_left_alone(trained: Path, two_classes: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    for folder, says in ((two_classes, "lies in the folder of images"), (tmp_path, "is no run folder")):
        before = sorted(folder.rglob("*"))
        with pytest.raises(RunError, match=says):
            shrink_run(ims.load_run(trained), keep=0.5, out=folder)
        assert sorted(folder.rglob("*")) == before


def test_a_run_is_shrunk_and_trained_on_the_same_images_with_the_same_ones_held_out(trained: Path, tmp_path: Path) -> None:
    before, told = ims.load_run(trained), []
    after = shrink_run(before, keep=0.5, out=tmp_path / "half", epochs=1, notice=told.append, progress=False)
    assert told[0].startswith("Pruned: ")
    assert after.model.count_params() < before.model.count_params()
    assert after.model.layers[1].filters == before.model.layers[1].filters // 2
    assert (after.spec, after.class_names) == (before.spec, before.class_names)
    assert after.state["split"] == before.state["split"]
    assert ImageIndex.load(after.folder.index).path(0) == ImageIndex.load(before.folder.index).path(0)
    assert after.metrics["accuracy"] >= 0.9
    with pytest.raises(RunError, match="holds a run already"):
        shrink_run(before, keep=0.5, out=tmp_path / "half", epochs=1, progress=False)
    with pytest.raises(RunError, match="other options"):
        shrink_run(before, keep=0.25, out=tmp_path / "half", epochs=1, resume=True, progress=False)
    again = shrink_run(before, keep=0.5, out=tmp_path / "half", epochs=1, resume=True, progress=False)
    for one, other in zip(after.model.get_weights(), again.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_a_run_of_several_labels_stays_one(two_classes: Path, tmp_path: Path) -> None:
    shutil.copytree(two_classes, tmp_path / "images")
    images = [path.relative_to(tmp_path).as_posix() for path in sorted((tmp_path / "images").rglob("*.jpg"))]
    lines = [f"{image},{'dark|light' if number % 4 == 0 else image.split('/')[1]}" for number, image in enumerate(images)]
    (tmp_path / "labels.csv").write_text("\n".join(["path,label", *lines]) + "\n")
    how: dict[str, Any] = {"epochs": 1, "progress": False}
    before = ims.train(tmp_path / "labels.csv", out=tmp_path / "run", multi_label=True, model="cnn-tiny", size=(32, 32), **how)
    after = shrink_run(before, keep=0.5, out=tmp_path / "half", **how)
    assert after.thresholds is not None
    assert after.model.count_params() < before.model.count_params()
    assert {label for row in after.predict(tmp_path / "images") for label in (row.label or "").split("|")} <= {"", "dark", "light"}


@pytest.mark.slow
def test_the_command_tells_what_became_smaller(trained: Path, tmp_path: Path) -> None:
    command = ["shrink", str(trained), "--keep", "0.5", "--epochs", "1", "--teacher", str(trained), "-o", str(tmp_path / "half"), "--json"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["weights"] < told["weights_before"]
    assert told["bytes"] == (tmp_path / "half" / "model.keras").stat().st_size
    assert ims.load_run(told["run"]).state["teacher"] == [ims.load_run(trained).fingerprint]


def test_an_augmentation_that_is_code_has_to_be_named_again(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "run")
    file = tmp_path / "run" / "train.yaml"
    file.write_text(file.read_text().replace("augment: standard", "augment: mine.py:draw"))
    with pytest.raises(OptionError, match=r"trained with mine.py:draw, which is code: name it again"):
        shrink_run(ims.load_run(tmp_path / "run"), keep=0.5, out=tmp_path / "half")
    assert not (tmp_path / "half").exists()
