from __future__ import annotations

import itertools
import platform
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from imgstream.training.memory import MemoryRecord, Resident, anonymous_bytes, machine_limit, release, resident

HEADER = "seconds,step,anonymous_mb,file_mb"


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def until(condition: object) -> None:
    """Wait for what a thread does, for ten seconds at most."""
    assert callable(condition)
    for _ in range(2000):
        if condition():
            return
        time.sleep(0.005)
    raise AssertionError("it never happened")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells")
def test_memory_that_is_touched_is_counted_and_memory_that_is_freed_is_not() -> None:
    before = anonymous_bytes()
    assert before is not None
    array = np.ones(200_000_000, np.uint8)
    during = anonymous_bytes()
    del array
    after = anonymous_bytes()
    assert during is not None
    assert after is not None
    assert 190_000_000 < during - before < 230_000_000
    assert after < during - 190_000_000


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another malloc")
def test_memory_that_was_freed_below_some_that_is_in_use_is_given_back() -> None:
    pieces = [bytes(2000) for _ in range(50_000)]
    last = pieces[-1]
    before = anonymous_bytes()
    del pieces
    release()
    after = anonymous_bytes()
    assert before is not None
    assert after is not None
    assert after < before - 80_000_000
    assert len(last) == 2000


def test_a_status_file_is_read_by_its_names_and_its_absence_is_none(tmp_path: Path) -> None:
    status = write(tmp_path / "status", "Name:\tpython\nVmRSS:\t  30 kB\nRssAnon:\t   20 kB\nRssFile:\t    7 kB\n")
    assert resident(status) == Resident(20 * 1024, 7 * 1024)
    assert resident(write(tmp_path / "old", "VmRSS:\t  30 kB\n")) is None
    assert resident(tmp_path / "nothing") is None


def machine(tmp_path: Path, cgroup: str) -> tuple[Path, Path]:
    """Roots of a machine with 8 GiB and a process in the control groups of `cgroup`."""
    write(tmp_path / "proc/meminfo", "MemTotal:        8388608 kB\nMemFree:  1 kB\n")
    write(tmp_path / "proc/self/cgroup", cgroup)
    return tmp_path / "proc", tmp_path / "cgroup"


def test_without_control_groups_the_limit_is_the_machines_memory(tmp_path: Path) -> None:
    assert machine_limit(*machine(tmp_path, "")) == 8 << 30
    assert machine_limit(tmp_path / "none", tmp_path / "none") is None


def test_the_limit_of_a_v2_group_counts_and_so_does_that_of_a_group_above_it(tmp_path: Path) -> None:
    proc, groups = machine(tmp_path, "0::/batch/job\n")
    write(groups / "batch/job/memory.max", "max\n")
    assert machine_limit(proc, groups) == 8 << 30
    write(groups / "batch/memory.max", "3000000000\n")
    assert machine_limit(proc, groups) == 3_000_000_000
    write(groups / "batch/job/memory.max", "2000000000\n")
    assert machine_limit(proc, groups) == 2_000_000_000


def test_the_limit_of_a_v1_group_counts_and_that_of_other_controllers_does_not(tmp_path: Path) -> None:
    proc, groups = machine(tmp_path, "9:cpu:/other\n4:hugetlb,memory:/job:1/step\n0::/\n")
    write(groups / "memory/memory.limit_in_bytes", "9223372036854771712\n")
    write(groups / "memory/other/memory.limit_in_bytes", "5\n")
    assert machine_limit(proc, groups) == 8 << 30
    write(groups / "memory/job:1/memory.limit_in_bytes", "1000000000\n")
    assert machine_limit(proc, groups) == 1_000_000_000


def test_in_a_container_the_limit_at_the_root_is_found_though_the_path_leads_nowhere(tmp_path: Path) -> None:
    proc, groups = machine(tmp_path, "0::/../docker/abc\n")
    write(groups / "memory.max", "4000000000\n")
    assert machine_limit(proc, groups) == 4_000_000_000


@pytest.mark.parametrize("odd", ["", "-1\n", "0\n", "12 apples\n", "\x00\xff"])
def test_odd_limits_and_odd_lines_are_no_limits(tmp_path: Path, odd: str) -> None:
    proc, groups = machine(tmp_path, "no line\n::\n0::/job\n")
    write(groups / "job/memory.max", odd)
    assert machine_limit(proc, groups) == 8 << 30


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
    path = write(tmp_path / "memory.csv", f"{HEADER}\n0.0,0,50.0,1.0\n90.0,40,700.0,1.0\nnan,1,1,1\n91.0,4")
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
