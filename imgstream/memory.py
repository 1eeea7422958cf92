"""What this process takes of memory, what it may take, and how to make it take less."""

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
    """Its own: weights, batches, whatever was allocated. It cannot be taken back from it."""
    file: int
    """Pages of files: libraries, tables, the pixel cache. The system takes them back when it needs them."""


def resident(status: Path = Path("/proc/self/status")) -> Resident | None:
    """Memory of this process; None where the system does not tell, as only Linux 4.5 and newer do."""
    try:
        text = status.read_bytes()
    except OSError:
        return None
    found = [re.search(rb"^%s:\s+(\d+) kB" % name, text, re.MULTILINE) for name in (b"RssAnon", b"RssFile")]
    anonymous, file = (None if match is None else 1024 * int(match[1]) for match in found)
    return None if anonymous is None else Resident(anonymous, file or 0)


def anonymous_bytes() -> int | None:
    """RssAnon of this process in bytes; None where the system does not tell: there a ceiling cannot be watched."""
    now = resident()
    return None if now is None else now.anonymous


def machine_limit(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """The most memory in bytes that this process can have: the machine's, or that of the control groups (v1 or v2) it is in, as
    containers and batch systems set them; the least of all. None where neither is told.
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
    """Have glibc's malloc share two arenas between all threads from now on, instead of eight a core: what one thread has freed, another
    can use. False where there is no glibc. To be called before threads are started.
    """
    mallopt = _libc("mallopt")
    return mallopt is not None and bool(mallopt(_M_ARENA_MAX, 2))


def release() -> None:
    """Give freed memory back to the system, as far as it goes."""
    gc.collect()
    trim()


def trim() -> None:
    """Have glibc's malloc give back the pages that nothing lies on: it keeps them else, and more of them from hour to hour. It takes some
    milliseconds. Does nothing where there is no glibc.
    """
    malloc_trim = _libc("malloc_trim")
    if malloc_trim is not None:
        malloc_trim(0)


def _libc(name: str) -> Callable[..., int] | None:
    """A function of the C library; None where it has none of that name."""
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
    """Of a file that the kernel writes; None where it is missing, or says that there is no limit."""
    try:
        match = re.search(pattern, path.read_bytes(), re.MULTILINE)
    except OSError:
        return None
    return None if match is None else unit * int(match[1])


def _upwards(root: Path, path: str) -> list[Path]:
    """The folders of a control group and of those that it is in. In a container `root` may be the group itself, and `path` lead nowhere."""
    parts = [part for part in path.split("/") if part not in ("", ".", "..")]
    return [root.joinpath(*parts[:n]) for n in range(len(parts), -1, -1)]
