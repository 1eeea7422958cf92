"""Measures the memory of this process, finds its limit, and gives freed memory back to the system."""

from __future__ import annotations

import ctypes
import gc
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

_M_ARENA_MAX = -8


class Resident(NamedTuple):
    """Memory of a process that is in RAM, in bytes."""

    anonymous: int
    """Memory that it allocated: weights, batches and so on. The system cannot take it back."""
    file: int
    """Pages of files: libraries, tables, the pixel cache. The system takes them back when it needs them."""


def resident(status: Path = Path("/proc/self/status")) -> Resident | None:
    """Memory of this process; None where the system does not tell (only Linux 4.5 and newer do)."""
    try:
        text = status.read_bytes()
    except OSError:
        return None
    found = [re.search(rb"^%s:\s+(\d+) kB" % name, text, re.MULTILINE) for name in (b"RssAnon", b"RssFile")]
    anonymous, file = (None if match is None else 1024 * int(match[1]) for match in found)
    return None if anonymous is None else Resident(anonymous, file or 0)


def anonymous_bytes() -> int | None:
    """Anonymous memory of this process in bytes; None where the system does not tell."""
    now = resident()
    return None if now is None else now.anonymous


def machine_limit(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """The most memory in bytes that this process can have: the least of the machine's and of the limits of its control groups (v1 or v2),
    which containers and batch systems set. None if neither is known.
    """
    limits = [_first_number(proc / "meminfo", rb"^MemTotal:\s+(\d+) kB", 1024)]
    for line in _lines(proc / "self" / "cgroup"):
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers == "":
            for root in (cgroups, cgroups / "unified"):
                limits += [_first_number(group / "memory.max", rb"^(\d+)\s*$", 1) for group in _upwards(root, path)]
        elif "memory" in controllers.split(","):
            groups = _upwards(cgroups / "memory", path)
            limits += [_first_number(group / "memory.limit_in_bytes", rb"^(\d+)\s*$", 1) for group in groups]
    return min((limit for limit in limits if limit), default=None)


def limit_arenas() -> bool:
    """Make glibc's malloc share two arenas between all threads, instead of eight a core, so that threads can reuse each other's freed
    memory. False without glibc. To be called before threads are started.
    """
    mallopt = _libc("mallopt")
    return mallopt is not None and bool(mallopt(_M_ARENA_MAX, 2))


def release() -> None:
    """Collect garbage, and give freed memory back to the system."""
    gc.collect()
    trim()


def trim() -> None:
    """Make glibc's malloc give free pages back, which it would otherwise keep, more of them from hour to hour. Takes some milliseconds.
    Does nothing without glibc.
    """
    malloc_trim = _libc("malloc_trim")
    if malloc_trim is not None:
        malloc_trim(0)


def _libc(name: str) -> Callable[..., int] | None:
    """A function of the C library; None if it has none of that name."""
    try:
        return getattr(ctypes.CDLL(None), name, None)
    except (OSError, TypeError):  # TypeError: Windows
        return None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []


def _first_number(path: Path, pattern: bytes, unit: int) -> int | None:
    """A number in a file that the kernel writes; None if the file is missing, or says that there is no limit."""
    try:
        match = re.search(pattern, path.read_bytes(), re.MULTILINE)
    except OSError:
        return None
    return None if match is None else unit * int(match[1])


def _upwards(root: Path, path: str) -> list[Path]:
    """The folders of a control group and of its ancestors. In a container `root` may be the group itself, and `path` may not exist."""
    parts = [part for part in path.split("/") if part not in ("", ".", "..")]
    return [root.joinpath(*parts[:n]) for n in range(len(parts), -1, -1)]
