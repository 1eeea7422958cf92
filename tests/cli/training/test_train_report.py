from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import imgstream as ims
from imgstream.cli import main
from imgstream.cli.training.end_report import report_seconds

pytestmark = pytest.mark.usefixtures("small_cnn")


def train(capsys: pytest.CaptureFixture[str], photos: Path, out: Path, *more: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a short training."""
    with pytest.raises(SystemExit) as exit_:
        main(["train", str(photos), "--out", str(out), "--epochs", "1", "--size", "32", "--batch-size", "8", *more])
    out_, err = capsys.readouterr()
    return int(exit_.value.code or 0), out_, err


@pytest.mark.slow
def test_a_training_ends_with_its_report(two_classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = train(capsys, two_classes, tmp_path / "run", "--json")
    assert code == 0
    assert json.loads(out)["report"] == str(tmp_path / "run" / "report.html")
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "of its own validation" in page
    assert "40 images in 2 classes" in page


@pytest.mark.slow
def test_a_report_that_fails_is_told_and_the_training_is_done(
    two_classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr("imgstream.runs.reporting.report_run", fail)
    code, out, err = train(capsys, two_classes, tmp_path / "run")
    assert (code, "Report:" in out) == (0, False)
    assert "the report was not made: no room. imgstream report" in err
    assert ims.load_run(tmp_path / "run").state["state"] == "finished"


@pytest.mark.slow
def test_no_report_is_made_where_it_is_not_wanted_or_has_no_room(
    two_classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(capsys, two_classes, tmp_path / "run", "--no-report")[0] == 0
    assert not (tmp_path / "run" / "report.html").exists()
    with pytest.raises(SystemExit):  # a run by the same train.yaml has none either
        main(["train", "--config", str(tmp_path / "run" / "train.yaml"), "--out", str(tmp_path / "again")])
    assert not (tmp_path / "again" / "report.html").exists()
    assert ims.load_run(tmp_path / "again").state["state"] == "finished"
    capsys.readouterr()
    code, _, err = train(capsys, two_classes, tmp_path / "small", "--memory", "3GB")
    assert (code, "so that --memory holds" in err) == (0, True)
    assert not (tmp_path / "small" / "report.html").exists()


def test_the_time_of_the_report_is_a_small_part_of_the_minutes() -> None:
    assert [report_seconds(minutes) for minutes in (0.5, 2, 5, 60)] == [4.0, 6.0, 15.0, 20.0]
