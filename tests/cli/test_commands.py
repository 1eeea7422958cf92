from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import imgstream as ims
from imgstream.cli import main


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    with pytest.raises(SystemExit) as exit_:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return int(exit_.value.code or 0), out, err


@pytest.fixture(scope="module")
def trained(two_classes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    ims.train(two_classes, out=out, size=(32, 32), batch_size=8, epochs=8)
    return out


@pytest.mark.parametrize("command", ["train", "evaluate", "predict", "check", "show", "index"])
def test_every_command_has_help_with_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, command, "--help")
    assert code == 0
    assert "Examples" in out
    assert f"imgstream {command}" in out


def test_train_py_is_imgstream_train(two_classes: Path, tmp_path: Path) -> None:
    script = Path(__file__).parents[2] / "train.py"
    command = [sys.executable, script, two_classes, "--out", tmp_path / "run", "--epochs", "1", "--size", "32"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Best validation accuracy" in done.stdout
    assert done.stderr == ""  # no terminal: no progress, and no chatter of TensorFlow's
    assert ims.load_run(tmp_path / "run").state["state"] == "finished"


def test_wrong_arguments_exit_with_2_and_say_which(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, words in (
        (["train", tmp_path], "--out"),
        (["train", tmp_path, "--out", "r", "--size", "big"], "HxW"),
        (["train", tmp_path, "--out", "r", "--epochs", "1", "--minutes", "1"], "--minutes"),
        (["fly"], "fly"),
        (["predict", "run", tmp_path, "a.jpg", "-o", "o.csv", "--top-k", "0"], "top-k"),
    ):
        code, _, err = run(capsys, *arguments)
        assert code == 2
        assert words in err


def test_what_cannot_be_done_exits_with_1_and_one_line(tmp_path: Path, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("x")
    for arguments, words in (
        (["train", tmp_path, "--out", tmp_path / "r"], "found 1 .txt"),
        (["train", tmp_path / "gone", "--out", tmp_path / "r"], "gone"),
        (["predict", tmp_path, tmp_path, "-o", tmp_path / "o.csv"], "no run folder"),
        (["predict", trained, tmp_path, "-o", tmp_path / "o.xls"], ".parquet"),
        (["predict", trained, tmp_path, "-o", tmp_path / "gone" / "o.csv"], "does not exist"),
        (["evaluate", trained, tmp_path], "No images"),
        (["show", tmp_path, "--augment", "light", "-o", tmp_path / "s.gif"], ".png"),
    ):
        code, out, err = run(capsys, *arguments)
        assert (code, out) == (1, "")
        assert words in err
        assert err.startswith("imgstream: ")
        assert err.count("\n") == 1
        assert "Traceback" not in err


def test_predict_writes_one_row_for_every_file_and_tells_the_reasons(
    trained: Path, two_classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = tmp_path / "new"
    new.mkdir()
    (new / "1.jpg").write_bytes((two_classes / "light" / "00.jpg").read_bytes())
    (new / "2 \n[red].jpg").write_bytes(b"")
    os.mkfifo(new / "3.jpg")
    (new / "loop").symlink_to(new)
    (tmp_path / "new" / os.fsdecode(b"4\xff.png")).write_bytes(b"<html></html>")
    code, out, _ = run(capsys, "predict", trained, new, "-o", tmp_path / "out.csv")
    assert code == 0
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text(encoding="utf-8"), newline="")))
    assert [row["path"] for row in rows] == ["1.jpg", "2 \n[red].jpg", "3.jpg", "4\ufffd.png"]
    assert [row["error"].partition(":")[0] for row in rows] == ["", "empty", "not a regular file", "wrong kind"]
    assert rows[0]["label"] == "light"
    assert rows[1]["label"] == rows[1]["score"] == ""
    assert "4 images: 1 predicted, 3 bad." in out
    assert r"2 \n[red].jpg" in out  # never raw: no line break, no markup


def test_predict_takes_files_and_paths_on_stdin(
    trained: Path, two_classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [two_classes / "light" / "00.jpg", two_classes / "dark" / "00.jpg"]
    assert run(capsys, "predict", trained, *files, "-o", tmp_path / "a.jsonl", "--top-k", 2)[0] == 0
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\n".join(map(bytes, files)) + b"\n\n")))
    assert run(capsys, "predict", trained, "-", "-o", tmp_path / "b.jsonl", "--top-k", 2)[0] == 0
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [row["label"] for row in rows] == ["light", "dark"]
    assert [len(row["top_k"]) for row in rows] == [2, 2]
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


def test_a_folder_among_files_is_refused(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "predict", trained, tmp_path, "a.jpg", "-o", tmp_path / "o.csv")
    assert code == 2
    assert "one folder, or files" in err


def test_evaluate_json_is_one_object_and_nothing_else(trained: Path, two_classes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "evaluate", trained, two_classes, "--json")
    assert code == 0
    report = json.loads(out)
    assert {"accuracy", "images", "skipped", "class_names", "per_class", "confusion_matrix"} <= set(report)
    assert report["images"] == 40
    assert report["confusion_matrix"] == [[20, 0], [0, 20]]
    assert report["per_class"]["dark"] == {"precision": 1.0, "recall": 1.0, "f1": 1.0, "n": 20}


def test_show_draws_a_sheet(two_classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    code, out, _ = run(capsys, "show", two_classes, "--augment", "strong", "-o", tmp_path / "sheet.png", "--size", "64x48", "--rows", 3)
    assert code == 0
    assert "µs an image" in out
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 9 * 48
        assert sheet.height > 3 * 64


def test_index_counts_by_class_and_saves_the_table(two_classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "index", two_classes, "-o", tmp_path / "t.arrow")
    assert code == 0
    assert "40 images" in out
    assert ims.ImageIndex.load(tmp_path / "t.arrow").class_names == ["dark", "light"]
