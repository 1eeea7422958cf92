"""What a process takes, as Linux has it."""

from __future__ import annotations

import os
from pathlib import Path


def memory(field: str, pid: int | str = "self") -> float:
    """VmRSS (in use now) or VmHWM (the peak) of a process in MB; 0 when it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith(field + ":")), 0.0)


def forget_peak() -> None:
    """Have VmHWM of this process begin anew; where that is not permitted, it stays that of the whole life."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass


def cpu(pid: int) -> float:
    """Seconds of a core that a process has used; 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def is_at_work(pid: int) -> bool:
    """Whether any thread of a process runs, waits for a core to run on, or for a disk."""
    for state in Path(f"/proc/{pid}/task").glob("*/stat"):
        try:
            if state.read_text().rpartition(")")[2].split()[0] in "RD":
                return True
        except OSError:
            pass  # the thread is gone
    return False
