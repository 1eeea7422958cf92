"""--fold all: a run for each part, and what all of them reached."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import imgstream as ims
from imgstream.cli import main
from imgstream.errors import RunError
from imgstream.training.folds import train_folds

pytestmark = pytest.mark.usefixtures("small_cnn")


@pytest.mark.slow
def test_every_image_is_validated_in_one_run_and_the_spread_is_told(
    two_classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", str(two_classes), "--out", str(tmp_path / "folds"), "--fold", "all", "--folds", "2"]
    arguments += ["--size", "16", "--epochs", "1", "--batch-size", "8"]
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0
    told = capsys.readouterr().out
    found = json.loads((tmp_path / "folds" / "folds.json").read_text())
    runs = [ims.load_run(tmp_path / "folds" / name) for name in ("fold-1", "fold-2")]
    assert [fold["accuracy"] for fold in found["folds"]] == [run.metrics["accuracy"] for run in runs]
    assert sum(fold["images"] for fold in found["folds"]) == 40
    accuracies = np.array([run.metrics["accuracy"] for run in runs])
    assert found["accuracy"]["mean"] == pytest.approx(accuracies.mean())
    assert found["accuracy"]["deviation"] == pytest.approx(accuracies.std(ddof=1))
    assert f"imgstream predict {tmp_path}/folds/fold-1,{tmp_path}/folds/fold-2 DIR" in told
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--resume"])  # finished runs stay as they are
    assert ended.value.code == 0
    assert [ims.load_run(run.path).state["created"] for run in runs] == [run.state["created"] for run in runs]


def test_a_folder_with_other_things_or_runs_is_refused(two_classes: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(RunError, match=r"there is 'notes\.txt'"):
        train_folds(two_classes, out=tmp_path)
    (tmp_path / "folds" / "fold-1").mkdir(parents=True)
    with pytest.raises(RunError, match="--resume"):
        train_folds(two_classes, out=tmp_path / "folds")


@pytest.mark.parametrize("arguments", [["--folds", "3"], ["--fold", "1/3", "--folds", "3"], ["--fold", "all", "--dry-run"]])
def test_options_that_do_not_go_together_are_wrong_arguments(
    two_classes: Path, tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["train", str(two_classes), "--out", str(tmp_path / "run"), *arguments])
    assert ended.value.code == 2
    assert "--fold" in capsys.readouterr().err
