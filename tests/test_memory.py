from __future__ import annotations

import platform
import sys
from pathlib import Path

import numpy as np
import pytest

from imgstream.memory import Resident, anonymous_bytes, machine_limit, release, resident


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


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
