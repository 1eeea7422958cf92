from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

import imgstream as ims
from imgstream.cli import main
from imgstream.errors import DatasetError, ImgstreamError, ModelError, OutputError, RunError
from imgstream.training import dry_run
from imgstream.training.loop import Status

pytestmark = pytest.mark.usefixtures("small_cnn")

SMALL = {"size": (32, 32), "batch_size": 8}


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below a folder, with its time and contents."""
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


def test_a_dry_run_says_what_training_would_do_and_writes_nothing(
    two_classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "runs" / "pets"
    options = ["train", two_classes, "--out", out, "--size", "72", "--batch-size", "8", "--epochs", "3", "--augment", "light", "--dry-run"]
    with pytest.raises(SystemExit) as exit_:
        main([*map(str, options), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert exit_.value.code == 0
    train, val = ims.scan(two_classes).split(val=0.2, seed=0)
    assert (told["split"]["train"], told["split"]["val"]) == (len(train), len(val))
    assert told["classes"] == {"dark": 20, "light": 20}
    assert (told["size"], told["first_size"], told["batch_size"], told["epochs"]) == ([72, 72], [48, 48], 8, 3)
    assert told["steps"] == 3 * -(-len(train) // 8)
    assert (told["model"], told["weights"], told["pipeline"], told["resumed_from_step"]) == ("cnn", "none", "python", None)
    assert told["augment"]["name"] == "light"
    assert 0 < told["step_seconds"] * told["steps"] * 0.4 < told["seconds"]
    assert told["memory"]["planned_bytes"] > 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_person_is_told_in_lines_and_a_folder_that_is_there_stays_empty(
    two_classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["train", str(two_classes), "--out", str(tmp_path), "--size", "32", "--minutes", "2", "--dry-run"])
    out = capsys.readouterr().out
    assert exit_.value.code == 0
    for words in ("cnn, 1,", "dark 20, light 20", "Samples: 32x32; augmentation: standard", "epochs in 2 minutes", "about 2 min in all"):
        assert words in out
    assert f"Run: {tmp_path}, a new run. Nothing was written" in out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_run_that_is_there_is_told_of_and_not_touched(two_classes: Path, tmp_path: Path) -> None:
    def interrupt(status: Status) -> None:
        if status.step == 6:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        ims.train(two_classes, out=tmp_path / "run", report=interrupt, epochs=2, **SMALL)
    before = files(tmp_path)
    told = dry_run(two_classes, out=tmp_path / "run", resume=True, epochs=2, **SMALL)
    assert told is not None
    assert told.resumed_from_step == 6
    with pytest.raises(RunError, match="--resume"):
        dry_run(two_classes, out=tmp_path / "run", epochs=2, **SMALL)
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"memory": 10**6}, ModelError, "the least that would do"),
        ({"weights": "gone.h5"}, ModelError, "gone.h5"),
        ({"head_only": True}, ModelError, "--weights"),
        ({"augment": "strange"}, ImgstreamError, "strange"),
    ],
)
def test_what_training_would_refuse_is_refused_in_the_same_words(
    options: dict[str, Any], error: type[ImgstreamError], words: str, two_classes: Path, tmp_path: Path
) -> None:
    told = []
    for attempt in (dry_run, ims.train):
        with pytest.raises(error, match=words) as caught:
            attempt(two_classes, out=tmp_path / "run", epochs=1, **{**SMALL, **options})
        told.append(caught.value)
    assert type(told[0]) is type(told[1])
    assert not (tmp_path / "run").exists()


def test_one_class_and_an_empty_one_are_refused_with_exit_code_1(
    two_classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(two_classes / "dark", tmp_path / "photos" / "dark")
    for words in ("two classes or more", "no images of 'empty'"):
        with pytest.raises(SystemExit) as exit_:
            main(["train", str(tmp_path / "photos"), "--out", str(tmp_path / "run"), "--dry-run"])
        assert exit_.value.code == 1
        assert words in capsys.readouterr().err
        (tmp_path / "photos" / "empty").mkdir(exist_ok=True)
    assert not (tmp_path / "run").exists()


def test_a_place_where_no_folder_can_be_made_and_images_that_cannot_be_read_are_errors(two_classes: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="is no folder"):
        dry_run(two_classes, out=tmp_path / "file" / "run", epochs=1, **SMALL)
    for name in ("a", "b"):
        (tmp_path / "bad" / name).mkdir(parents=True)
        for number in range(3):
            (tmp_path / "bad" / name / f"{number}.jpg").write_bytes(os.urandom(100))
    with pytest.raises(DatasetError, match="imgstream check"):
        dry_run(tmp_path / "bad", out=tmp_path / "run", epochs=1, **SMALL)
