from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest

from imgstream.memory import Resident
from imgstream.training.memory.record import MemoryRecord

HEADER = "seconds,step,anonymous_mb,file_mb"


def until(condition: object) -> None:
    """Wait for what a thread does, for ten seconds at most."""
    assert callable(condition)
    for _ in range(2000):
        if condition():
            return
        time.sleep(0.005)
    raise AssertionError("it never happened")


def record(path: Path, samples: list[int], **options: object) -> MemoryRecord:
    """Of a process that takes so many MB at each look, and then the last of them."""
    looks = itertools.chain(samples, itertools.repeat(samples[-1]))
    return MemoryRecord(path, every=0.001, measure=lambda: Resident(next(looks) * 10**6, 5_000_000), **options)  # type: ignore[arg-type]


def columns(path: Path) -> list[list[str]]:
    header, *lines = path.read_text().splitlines()
    assert header == HEADER
    return [line.split(",") for line in lines]


def test_a_record_holds_steps_and_megabytes_and_its_peak_is_that_of_all_samples(tmp_path: Path) -> None:
    path = tmp_path / "memory.csv"
    with record(path, [0, 100, 100, 900, 100]) as memory:
        memory.step = 7
        until(lambda: memory.peak == 900_000_000)
    rows = columns(path)
    assert rows[-1][1:] == ["7", "100.0", "5.0"]
    assert max(float(row[2]) for row in rows) == 900.0


def test_a_full_record_is_halved_and_keeps_its_peak(tmp_path: Path) -> None:
    path = tmp_path / "memory.csv"
    looks: list[int] = []

    def measure() -> Resident:
        looks.append(0)
        return Resident(10**6 * (999 if len(looks) == 4 else 1), 0)

    with MemoryRecord(path, every=0.0005, most_lines=20, measure=measure):
        until(lambda: len(looks) > 300)
    rows = columns(path)
    seconds = [float(row[0]) for row in rows]
    assert 8 <= len(rows) <= 20
    assert seconds == sorted(seconds)
    assert max(float(row[2]) for row in rows) == 999.0


def test_a_record_is_gone_on_with_and_a_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "memory.csv"
    path.write_text(f"{HEADER}\n0.0,0,50.0,1.0\n90.0,40,700.0,1.0\nnan,1,1,1\n91.0,4")
    with record(path, [100]) as memory:
        memory.step = 41
        assert memory.peak == 700_000_000
    rows = columns(path)
    assert rows[:2] == [["0.0", "0", "50.0", "1.0"], ["90.0", "40", "700.0", "1.0"]]
    assert all(float(row[0]) >= 90 for row in rows[1:])
    assert rows[-1][1:3] == ["41", "100.0"]


@pytest.mark.parametrize("in_the_way", ["folder", "missing"])
def test_a_record_that_cannot_be_written_is_no_error_and_goes_on_watching(tmp_path: Path, in_the_way: str) -> None:
    path = tmp_path / "memory.csv" if in_the_way == "folder" else tmp_path / "gone" / "memory.csv"
    if in_the_way == "folder":
        path.mkdir()
    with record(path, [1, 1, 1, 30]) as memory:
        until(lambda: memory.peak == 30_000_000)
    assert not path.is_file()


def test_where_the_system_does_not_tell_there_is_no_record(tmp_path: Path) -> None:
    with MemoryRecord(tmp_path / "memory.csv", measure=lambda: None) as memory:
        pass
    assert memory.peak == 0
    assert not (tmp_path / "memory.csv").exists()


def test_freed_memory_is_given_back_near_the_ceiling_once_in_a_while_and_not_below(tmp_path: Path) -> None:
    released: list[int] = []
    ceiling = 100 * 10**6
    with record(tmp_path / "low.csv", [80], ceiling=ceiling, release=lambda: released.append(1)) as memory:
        until(lambda: memory.peak == 80_000_000)
    assert released == []
    looks: list[int] = []

    def measure() -> Resident:
        looks.append(0)
        return Resident(95 * 10**6, 0)

    with MemoryRecord(tmp_path / "high.csv", ceiling, every=0.001, measure=measure, release=lambda: released.append(1)):
        until(lambda: len(looks) > 100)
    assert released == [1]
