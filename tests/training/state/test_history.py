from __future__ import annotations

from pathlib import Path

import pytest

from imgstream.errors import BadImage
from imgstream.runs.folder import RunFolder
from imgstream.training.state.history import Records


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    made = RunFolder(tmp_path / "run")
    made.make()
    return made


def test_bad_files_come_back_from_the_list_with_the_first_finding_and_odd_names(folder: RunFolder) -> None:
    records = Records(folder)
    records.add_bad('/p/a\nb,"c".jpg', BadImage("truncated", "42 of 80 lines"))
    records.add_bad('/p/a\nb,"c".jpg', BadImage("missing", ""))
    records.add_bad("/p/\udcff.jpg", BadImage("empty", ""))
    records.add_bad("/p/\udcc3\udca9.jpg", BadImage("empty", ""))  # what an index gives for é where file names are ASCII
    records.write_skipped()
    again = Records(folder)
    again.read_skipped()
    assert {path: (error.reason, error.detail) for path, error in again.bad.items()} == {
        '/p/a\nb,"c".jpg': ("truncated", "42 of 80 lines"),
        "/p/\\udcff.jpg": ("empty", ""),
        "/p/é.jpg": ("empty", ""),
    }


@pytest.mark.parametrize("damaged", [None, b"\xff\xfe\x00", b"path,why\n/p/a.jpg,truncated\n"])
def test_a_list_that_is_missing_or_damaged_is_an_empty_one(folder: RunFolder, damaged: bytes | None) -> None:
    if damaged is not None:
        folder.skipped.write_bytes(damaged)
    records = Records(folder)
    records.read_skipped()
    assert records.bad == {}


def test_the_history_is_written_whole_each_time(folder: RunFolder) -> None:
    rows = [{"epoch": 1, "step": 10, "loss": 0.5}, {"epoch": 2, "step": 20, "loss": 0.25}]
    records = Records(folder)
    records.write_history(rows[:1])
    records.write_history(rows)
    assert folder.history.read_text() == "epoch,step,loss\n1,10,0.5\n2,20,0.25\n"
