from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from imgstream.cli.app import app


@pytest.fixture
def folder(tmp_path: Path, two_classes: Path, trained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with photos/, a list of them, features of them, and a run."""
    shutil.copytree(two_classes, tmp_path / "photos")
    shutil.copytree(trained, tmp_path / "run")
    (tmp_path / "list.csv").write_text("path,label\nphotos/dark/00.jpg,dark\nphotos/light/00.jpg,light\n")
    (tmp_path / "link.csv").symlink_to("list.csv")
    (tmp_path / "list.parquet").write_bytes(b"somebody's table")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("command", "output"),
    [
        ("predict run list.csv -o list.csv", "list.csv"),
        ("predict run list.csv -o link.csv", "list.csv"),
        ("predict run photos --exclude list.csv -o list.csv", "list.csv"),
        ("embed run list.parquet -o list.parquet", "list.parquet"),
        ("check list.csv --quarantine list.csv", "list.csv"),
        ("check photos --exclude list.csv --groups list.csv", "list.csv"),
        ("show photos --augment light -o photos/dark/00.jpg", "photos/dark/00.jpg"),
        ("show photos --augment light -o photos/sheet.png", "photos/sheet.png"),
        ("lr photos -o photos/lr.png", "photos/lr.png"),
    ],
)
def test_no_command_writes_over_what_it_reads_or_among_its_images(folder: Path, command: str, output: str) -> None:
    there = folder / output
    before = there.read_bytes() if there.exists() else None
    result = CliRunner().invoke(app, command.split())
    assert result.exit_code != 0
    assert "is an input of this command" in str(result.exception) or "would be one of the images in photos" in str(result.exception)
    assert (there.read_bytes() if there.exists() else None) == before


def test_outputs_beside_the_images_are_written(folder: Path) -> None:
    assert CliRunner().invoke(app, ["show", "photos", "--augment", "light", "-o", "sheet.png", "--rows", "1"]).exit_code == 0
    assert (folder / "sheet.png").stat().st_size > 0


@pytest.mark.parametrize(("name", "says"), [("lr.txt", "ends in .png"), ("missing/lr.png", "does not exist")])
def test_lr_says_before_it_trains_that_its_curve_cannot_be_drawn(folder: Path, name: str, says: str) -> None:
    result = CliRunner().invoke(app, ["lr", "photos", "--steps", "10000", "-o", name])
    assert says in str(result.exception)
