from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from pathlib import Path

import pytest

from imgstream.cli import main


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of imgstream sort."""
    with pytest.raises(SystemExit) as exit_:
        main(["sort", *map(str, arguments)])
    out, err = capsys.readouterr()
    return int(exit_.value.code or 0), out, err


def checksums(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """1,000 files of 50 names in 20 folders, and their predictions with a store beside."""
    rows = []
    for i in range(1000):
        path = tmp_path / "photos" / f"camera {i // 50:02}" / f"IMG_{i % 50:04}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%d" % i * (i % 7))
        label = None if i % 41 == 0 else ("cat", "dog", "unsure")[i % 3]
        error = None if label else "empty: 0 bytes"
        rows.append({"path": str(path.relative_to(tmp_path / "photos")), "label": label, "score": None, "top_k": [], "error": error})
    (tmp_path / "out.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with sqlite3.connect(tmp_path / "out.jsonl.store") as database:
        database.execute("CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
        database.execute("INSERT INTO meta VALUES ('root', ?)", (json.dumps(str(tmp_path / "photos")),))
    database.close()
    return tmp_path / "out.jsonl"


def test_a_thousand_files_with_name_clashes_are_moved_and_come_back_to_the_last_checksum(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = checksums(tmp_path / "photos")
    code, text, err = run(capsys, out, "--into", tmp_path / "sorted", "--move", "--json")
    report = json.loads(text)
    assert (code, err) == (0, "")
    assert {name: report[name] for name in ("rows", "moved", "linked", "copied", "unreadable", "failed")} == {
        "rows": 1000,
        "moved": 1000,
        "linked": 0,
        "copied": 0,
        "unreadable": 25,
        "failed": 0,
    }
    assert checksums(tmp_path / "photos") == {}
    moved = checksums(tmp_path / "sorted")
    moved.pop(Path(report["undo"]).name)
    assert sorted(moved.values()) == sorted(before.values())
    assert report["renamed"] == sum("(" in name for name in moved) > 500
    code, text, err = run(capsys, "--undo", report["undo"])
    assert (code, text, err) == (0, "1,000 files are back as they were.\n", "")
    assert checksums(tmp_path / "photos") == before
    assert not (tmp_path / "sorted").exists()


def test_a_dry_run_touches_nothing_and_says_how_many_go_where(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text, _ = run(capsys, out, "--into", tmp_path / "sorted", "--link", "--dry-run")
    assert code == 0
    assert "camera 00/IMG_0001.jpg  →  dog/IMG_0001.jpg" in text
    assert "Nothing was touched" in text
    plan = json.loads(run(capsys, out, "--into", tmp_path / "sorted", "--link", "--dry-run", "--json")[1])
    assert (plan["rows"], plan["folders"]["unreadable"], len(plan["first"])) == (1000, 25, 20)
    assert not (tmp_path / "sorted").exists()


def test_what_is_told_is_harmless_on_one_line_and_says_how_to_undo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "a.jpg").write_bytes(b"a")
    rows = [{"path": name, "label": "[red]\x1b", "error": None} for name in ("a.jpg", "\x1b[31m\n.jpg")]
    (tmp_path / "o.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, text, _ = run(capsys, tmp_path / "o.jsonl", "--from", tmp_path / "p", "--into", tmp_path / "s", "--copy")
    assert code == 0
    assert "2 files: 1 copied, 1 not sorted." in text
    assert r"\x1b[31m\n.jpg: missing: No such file or directory" in text
    assert "To undo: imgstream sort --undo " in text
    assert "\x1b" not in text
    assert os.listdir(tmp_path / "s" / "[red]\x1b") == ["a.jpg"]


def test_an_undo_that_must_leave_something_exits_with_1(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    undo = json.loads(run(capsys, out, "--into", tmp_path / "sorted", "--move", "--json")[1])["undo"]
    (tmp_path / "photos" / "camera 00" / "IMG_0003.jpg").write_text("appeared since")
    code, text, err = run(capsys, "--undo", undo, "--json")
    assert (code, err.count("\n")) == (1, 1)
    assert (json.loads(text)["back"], json.loads(text)["left"]) == (999, 1)
    (tmp_path / "photos" / "camera 00" / "IMG_0003.jpg").unlink()
    assert run(capsys, "--undo", undo)[0] == 0
    code, _, err = run(capsys, "--undo", undo)
    assert (code, "an undo that has ended removes it" in err) == (1, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["o.csv"],
        ["--into", "s", "--move"],
        ["o.csv", "--into", "s"],
        ["o.csv", "--into", "s", "--move", "--copy"],
        ["--undo", "u", "--move"],
    ],
)
def test_wrong_arguments_exit_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, *arguments)[0] == 2


def test_what_cannot_be_done_exits_with_1_and_one_line(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "no.csv").write_text("path,label,error\n")
    for arguments, words in (
        ([tmp_path / "gone.csv", "--into", tmp_path / "s", "--move"], "no file"),
        ([tmp_path / "no.csv", "--into", tmp_path / "s", "--move"], "--from"),
        ([out, "--into", tmp_path / "photos" / "s", "--link"], "twice"),
        ([out, "--into", tmp_path / "s", "--link", "--from", tmp_path / "gone"], "no folder"),
        (["--undo", out], "no undo file"),
    ):
        code, text, err = run(capsys, *arguments)
        assert (code, text, err.count("\n")) == (1, "", 1)
        assert words in err


def test_help_of_sort_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    code, text, _ = run(capsys, "--help")
    assert code == 0
    assert "imgstream sort --undo sorted/" in text
