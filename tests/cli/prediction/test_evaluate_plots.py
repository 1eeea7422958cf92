from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import pytest

from imgstream.cli import main


def evaluate(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of imgstream evaluate."""
    with pytest.raises(SystemExit) as exit_:
        main(["evaluate", *map(str, arguments)])
    out, err = capsys.readouterr()
    return int(exit_.value.code or 0), out, err


def test_charts_of_an_evaluation_are_written_and_named(
    trained: Path, two_classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = evaluate(capsys, trained, two_classes, "--plots", tmp_path / "charts", "--json")
    names = ["confusion.png", "classes.png", "calibration.png", "coverage.png", "scores.png"]
    assert (code, json.loads(out)["plots"]) == (0, [str(tmp_path / "charts" / name) for name in names])
    assert sorted(path.name for path in (tmp_path / "charts").iterdir()) == sorted(names)
    assert all(cv2.imread(str(tmp_path / "charts" / name)).std() > 5 for name in names)  # something is drawn


def test_charts_are_refused_where_they_cannot_be_or_would_be_taken_for_images(
    trained: Path, two_classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    shutil.copytree(two_classes, photos)
    (tmp_path / "file").touch()
    for target, words in (
        (tmp_path / "file", "into a folder"),
        (photos / "charts", "one of the images"),
        (tmp_path / "a" / "b", "not exist"),
    ):
        code, out, err = evaluate(capsys, trained, photos, "--plots", target)
        assert (code, out, "Traceback" in err) == (1, "", False)
        assert words in err
    assert not (photos / "charts").exists()
