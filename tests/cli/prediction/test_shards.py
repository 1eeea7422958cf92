"""The commands that take images take them from shards and archives too."""

from __future__ import annotations

from pathlib import Path

import pytest
from shard_files import write_tfrecord, write_zip

from imgstream.cli import main

pytestmark = pytest.mark.slow


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


def test_predictions_are_the_same_to_the_byte_and_sort_says_that_there_are_no_files(
    trained: Path, two_classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    members = {path.relative_to(two_classes).as_posix(): path.read_bytes() for path in sorted(two_classes.rglob("*.jpg"))}
    members["light/bad.jpg"] = b"no image"
    folder = tmp_path / "photos"
    for name, data in members.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    members = dict(sorted(members.items()))
    write_zip(tmp_path / "p.zip", members)
    write_tfrecord(tmp_path / "p.tfrecord", members)
    for source in ("photos", "p.zip", "p.tfrecord"):
        assert run("predict", trained, tmp_path / source, "-o", tmp_path / f"{source}.csv") == 0
        assert run("evaluate", trained, tmp_path / source, "--json") == 0
    expected = (tmp_path / "photos.csv").read_bytes()
    assert expected.count(b"\n") == 42
    assert b"wrong kind" in expected
    assert (tmp_path / "p.zip.csv").read_bytes() == (tmp_path / "p.tfrecord.csv").read_bytes() == expected
    capsys.readouterr()
    assert run("sort", tmp_path / "p.zip.csv", "--into", tmp_path / "sorted", "--copy") == 1
    assert "lie inside archives or shards: there are no files to link, copy or move" in capsys.readouterr().err
    assert not (tmp_path / "sorted").exists()
    assert run("predict", trained, tmp_path / "p.zip", tmp_path / "p.tfrecord", "-o", tmp_path / "x.csv") == 2
    assert "a pattern in quotes" in " ".join(capsys.readouterr().err.split())
    assert run("check", tmp_path / "p.tfrecord", "--decode") == 3
    assert run("embed", trained, tmp_path / "p.zip", "-o", tmp_path / "f.parquet") == 0
