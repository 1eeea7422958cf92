from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import typer

import imgstream as ims
from imgstream.cli import main
from imgstream.cli.options import parse_bytes


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    with pytest.raises(SystemExit) as exit_:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return int(exit_.value.code or 0), out, err


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("500", 500),
        (500, 500),
        ("20GB", 20 * 10**9),
        ("20 gb", 20 * 10**9),
        ("20g", 20 * 10**9),
        ("1.5TiB", 3 * 2**39),
        ("64KiB", 65536),
        ("64kB", 64000),
        ("0.5MB", 500_000),
        ("7b", 7),
        (" 2mi ", 2 << 20),
    ],
)
def test_amounts_of_memory_by_value(text: str | int, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "0", "0GB", "0.1", "GB", "-5", "1e9", "5 PB", "1,5GB", "1.GB", "20GBs", "inf", "nan"])
def test_what_is_no_amount_of_memory_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="20GB"):
        parse_bytes(text)


@pytest.fixture
def filled(two_classes: Path, tmp_path: Path) -> Path:
    """A cache with 40 samples of 16 pixels."""
    for path in two_classes.rglob("*.jpg"):
        os.utime(path, (1e9, 1e9))  # written long ago
    list(ims.Stream(ims.scan(two_classes), ims.SampleSpec(size=(16, 12)), cache=tmp_path / "kept").batches())
    return tmp_path / "kept"


def test_ls_tells_what_is_kept(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "cache", "ls", filled)
    assert (code, err) == (0, "")
    for words in ("samples", "16×12 RGB, crop", "40", str(filled)):
        assert words in out
    code, out, _ = run(capsys, "cache", "ls", filled, "--json")
    told = json.loads(out)
    assert (code, told["folder"]) == (0, str(filled))
    (shelf,) = told["shelves"]
    assert (shelf["images"], shelf["form"]["size"], shelf["form"]["kept"]) == (40, [16, 12], "samples")
    assert told["bytes"] == shelf["bytes"] >= 40 * 16 * 12 * 3
    assert shelf["last_used"] > 1e9


def test_ls_and_clear_of_nothing_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "cache", "ls", tmp_path)
    assert (code, out.startswith("Nothing is kept in")) == (0, True)
    assert json.loads(run(capsys, "cache", "ls", tmp_path, "--json")[1])["shelves"] == []
    assert json.loads(run(capsys, "cache", "clear", tmp_path, "--json")[1])["freed_bytes"] == 0


def test_the_default_folder_need_not_exist(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMGSTREAM_CACHE", str(tmp_path / "none"))
    assert run(capsys, "cache", "ls")[0] == 0
    assert run(capsys, "cache", "clear")[0] == 0
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("command", ["ls", "clear"])
def test_a_folder_that_is_named_must_be_one(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("mine")
    for name, words in (("none", f"there is no folder '{tmp_path / 'none'}': "), ("file", "file' is a file, not a folder: ")):
        code, out, err = run(capsys, "cache", command, tmp_path / name)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert words in err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_clear_frees_it_and_leaves_other_files(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (filled / "mine.txt").write_text("mine")
    code, out, _ = run(capsys, "cache", "clear", filled)
    assert code == 0
    assert "freed in" in out
    assert [path.name for path in filled.rglob("*")] == ["mine.txt"]
    assert json.loads(run(capsys, "cache", "ls", filled, "--json")[1])["shelves"] == []


def test_clear_tells_json_what_was_freed(filled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads(run(capsys, "cache", "clear", filled, "--json")[1])
    assert told["freed_bytes"] >= 40 * 16 * 12 * 3


def test_train_refuses_a_limit_that_is_none(two_classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "train", two_classes, "--out", tmp_path / "r", "--cache", "auto", "--cache-limit", "lots")
    assert code == 2
    assert "20GB" in err
