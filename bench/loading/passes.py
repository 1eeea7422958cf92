"""What every child process of bench/loaders.py shares, in whichever environment it runs: the files, the clock, the report."""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

BATCH = 32
PASSES = 3

Pass = Callable[[int], int]
"""Goes once over the images, given the number of the pass; returns how many it delivered."""


def jpegs(directory: str) -> tuple[list[str], list[int]]:
    """The paths DIRECTORY/CLASS/*.jpg and the label of each."""
    files = sorted(Path(directory).glob("*/*.jpg"))
    names = sorted({file.parent.name for file in files})
    return [str(file) for file in files], [names.index(file.parent.name) for file in files]


def count(batches: Iterable[tuple[Any, Any]]) -> int:
    """How many images there are in all the batches of (images, labels)."""
    return sum(len(images) for images, _ in batches)


def leave_memory(directory: str) -> None:
    """Have the system forget the files' contents: the next one to read them waits for the disk. Linux only."""
    for path in jpegs(directory)[0]:
        file = os.open(path, os.O_RDONLY)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)


def report(prepare: Callable[[], Pass], how: str | None, packages: Iterable[str], cold: str) -> None:
    """Print, as the last line and as JSON, the best pass's images a second, how the loader works, and the versions it is made of.

    `cold`: a directory whose files are to come from the disk in each pass; "" for none.
    """
    one_pass, best = prepare(), 0.0
    for number in range(PASSES):
        if cold:
            leave_memory(cold)
        began = time.perf_counter()
        images = one_pass(number)
        best = max(best, images / (time.perf_counter() - began))
    versions = {package: importlib.metadata.version(package) for package in packages}
    json.dump({"rate": best, "how": " ".join((how or "").split()), "versions": versions}, sys.stdout)
    print()
