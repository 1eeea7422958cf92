"""The page that measurements are written to, and the machine that they were made on."""

from __future__ import annotations

import os
import platform
import re
from pathlib import Path


def with_section(page: str, section: str) -> str:
    """The page with the section in the place of the one with its heading, or at the end."""
    heading = section.partition("\n")[0]
    parts = [part for part in re.split(r"^(?=## )", page, flags=re.MULTILINE) if part.strip()]
    at = next((i for i, part in enumerate(parts) if part.partition("\n")[0] == heading), len(parts))
    parts[at : at + 1] = [section]
    return "\n".join(part.strip("\n") + "\n" for part in parts)


def put(page: Path | None, section: str) -> None:
    """Print a section and, where there is a page, put it there."""
    print(section)
    if page is not None:
        before = page.read_text(encoding="utf-8") if page.exists() else "# Measured\n"
        page.write_text(with_section(before, section), encoding="utf-8")


def machine() -> str:
    """Processor, cores, memory, system and Python."""
    return f"{_processor()}, {os.cpu_count()} cores, {_memory()}; {platform.platform()}; Python {platform.python_version()}"


def _processor() -> str:
    """The processor's name, as well as it is known."""
    cpuinfo = Path("/proc/cpuinfo")
    name = re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return name[1] if name else platform.processor() or platform.machine()


def _memory() -> str:
    """The machine's memory in GB."""
    return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:.0f} GB of memory"
