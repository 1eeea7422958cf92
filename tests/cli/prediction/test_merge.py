from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from imgstream.cli import main
from imgstream.prediction import job


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    with pytest.raises(SystemExit) as exit_:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return int(exit_.value.code or 0), out, err


@pytest.fixture
def photos(two_classes: Path, tmp_path: Path) -> Path:
    """21 images, of which one is bad."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(20):
        shutil.copy(two_classes / ("dark" if i % 3 else "light") / f"{i:02}.jpg", folder / f"{i:02}.jpg")
    (folder / "bad.jpg").write_text("<html>")
    return folder


@pytest.fixture
def parts(trained: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """What the three shards were written to."""
    monkeypatch.setattr(job, "batch_size_for", lambda shape: 4)
    outputs = [tmp_path / f"part{k}.csv" for k in (1, 2, 3)]
    for k, output in enumerate(outputs, 1):
        code, out, err = run(capsys, "predict", trained, photos, "-o", output, "--shard", f"{k}/3", "--json")
        assert code == 0, err
        assert json.loads(out)["rows"] == [8, 8, 5][k - 1]
    return outputs


def test_merged_shards_are_one_run_to_the_byte(
    trained: Path, photos: Path, parts: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for extension in ("csv", "jsonl", "parquet"):
        one, all_ = tmp_path / f"one.{extension}", tmp_path / f"all.{extension}"
        options = ["--top-k", 2, "--min-score", 0.6]
        assert run(capsys, "predict", trained, photos, "-o", one, *options)[0] == 0
        code, out, err = run(capsys, "merge", *(f"{part}.store" for part in reversed(parts)), "-o", all_, *options)
        assert (code, err) == (0, "")
        assert "21 images: 20 predicted, 1 bad, from 3 stores." in out
        assert all_.read_bytes() == one.read_bytes()
    code, out, err = run(capsys, "predict", trained, photos, "-o", tmp_path / "all.csv", "--json")  # it goes on as any other
    assert (code, err) == (0, "")
    assert [json.loads(out)[name] for name in ("rows", "decoded", "reused")] == [21, 0, 21]


def test_outputs_may_be_given_for_their_stores(parts: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "merge", parts[2], f"{parts[0]}.store", parts[1], "-o", tmp_path / "all.csv", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {"rows": 21, "ok": 20, "bad": 1, "stores": 3}


def test_what_cannot_be_merged_is_told_in_one_line_and_nothing_is_written(
    parts: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(f"{parts[0]}.store", tmp_path / "copy.store")
    Path(tmp_path / "half.csv.store").write_bytes(Path(f"{parts[2]}.store").read_bytes()[:6000])
    before = sorted(os.listdir(tmp_path))
    for given, output, words in (
        (parts[:2], "all.csv", "shard 3/3 is missing: give the store of each of the 3 shards once"),
        ([*parts, tmp_path / "copy.store"], "all.csv", "shard 1/3 is given twice"),
        ([*parts[:2], tmp_path / "gone.csv"], "all.csv", "gone.csv.store is no prediction store"),
        ([*parts[:2], tmp_path / "half.csv"], "all.csv", "half.csv.store is damaged"),
        (parts, "part1.csv", "is what one of the shards was written to: choose another -o"),
        (parts, "all.xls", ".parquet"),
        (parts, "gone/all.csv", "does not exist"),
    ):
        code, out, err = run(capsys, "merge", *given, "-o", tmp_path / output)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert words in err
        assert err.startswith("imgstream: ")
        assert sorted(os.listdir(tmp_path)) == before


def test_merge_has_help_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "merge", "--help")
    assert code == 0
    assert "imgstream merge part*.csv.store -o all.csv" in out
