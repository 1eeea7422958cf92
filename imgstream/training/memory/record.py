"""Records this process's memory over time, and gives freed memory back to the system near a limit."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from imgstream.errors import OutputError
from imgstream.files.atomic import write_text
from imgstream.memory import Resident, release, resident

EVERY = 0.5
"""Seconds between measurements."""
MOST_LINES = 2000
"""The most lines of a record; beyond that every two are merged into one."""
_RELEASE_FROM = 0.9
"""Share of the ceiling above which freed memory is given back."""
_RELEASE_EVERY, _RELEASE_AT_LEAST_EVERY = 5.0, 320.0
"""Seconds. It is tried less and less often if it does not help: collecting garbage stops Python for a tenth of a second or more."""
_MB = 1e6
_FIELDS = ("seconds", "step", "anonymous_mb", "file_mb")


class MemoryRecord:
    """A thread that measures this process's memory twice a second inside a with block, and writes it to a file:

        with MemoryRecord(folder / "memory.csv", ceiling=2_000_000_000) as record:
            ...
            record.step = 17

    The file has at most MOST_LINES lines; an existing one is continued. Nothing here ever raises: if the disk refuses, nothing more is
    written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        ceiling: int | None = None,
        *,
        every: float = EVERY,
        most_lines: int = MOST_LINES,
        measure: Callable[[], Resident | None] = resident,
        release: Callable[[], None] = release,
    ) -> None:
        """`ceiling`: bytes of anonymous memory near which freed memory is given back to the system. `every`: seconds between
        measurements.
        """
        self.path, self.ceiling = Path(path), ceiling
        self.step = 0
        """The step that training is at; the training loop sets it."""
        self._every, self._most_lines, self._measure, self._release = every, most_lines, measure, release
        self._rows = _RecordTable.read(self.path)
        self._interval = self._rows.interval(every)
        self._writes = True
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory", daemon=True)
        self._peak = int(_MB * max((line.anonymous for line in self._rows), default=0.0))
        self._next_release, self._release_pause = 0.0, _RELEASE_EVERY

    @property
    def peak(self) -> int:
        """The most anonymous memory measured so far, in bytes, including a record that is continued; 0 where the system does not tell."""
        return self._peak

    def __enter__(self) -> MemoryRecord:
        self._began = time.monotonic() - (self._rows[-1].seconds if self._rows else 0.0)
        if self._measure() is not None:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)  # do not wait for a disk that hangs

    def _run(self) -> None:
        with contextlib.suppress(OSError, MemoryError):  # the record ends, but training goes on
            self._watch()

    def _watch(self) -> None:
        if self._rows:
            self._rewrite()  # drops a line that a killed run left incomplete
        waiting: list[_RecordRow] = []
        ended = False
        while not ended:
            ended = self._stop.is_set()
            now = self._measure()
            if now is None:
                return
            self._peak = max(self._peak, now.anonymous)
            seconds = time.monotonic() - self._began
            waiting.append(_RecordRow(seconds, self.step, now.anonymous / _MB, now.file / _MB))
            is_due = seconds - self._rows.last_seconds >= self._interval - self._every / 2
            if ended or is_due or not self._rows:
                self._add(_merged(waiting))
                waiting = []
            self._release_near_ceiling(now.anonymous)
            self._stop.wait(self._every)

    def _release_near_ceiling(self, anonymous: int) -> None:
        """Near the ceiling, give freed memory back."""
        now = time.monotonic()
        if self.ceiling is None or anonymous < _RELEASE_FROM * self.ceiling or now < self._next_release:
            return
        self._release()
        after = self._measure()
        helped = after is not None and after.anonymous < _RELEASE_FROM * self.ceiling
        self._release_pause = _RELEASE_EVERY if helped else min(2 * self._release_pause, _RELEASE_AT_LEAST_EVERY)
        self._next_release = now + self._release_pause

    def _add(self, line: _RecordRow) -> None:
        self._rows.append(line)
        if len(self._rows) == 1:
            self._rewrite()
        elif len(self._rows) > self._most_lines:
            self._rows.halve()
            self._interval *= 2
            self._rewrite()
        elif self._writes:
            try:
                with self.path.open("a", encoding="ascii", newline="") as file:
                    file.write(line.text() + "\n")
            except OSError:
                self._writes = False

    def _rewrite(self) -> None:
        if self._writes:
            try:
                write_text(self.path, self._rows.text())
            except (OSError, OutputError):
                self._writes = False


class _RecordRow(NamedTuple):
    seconds: float
    step: int
    anonymous: float
    """In MB, as `file`: the largest value since the row before."""
    file: float

    def text(self) -> str:
        return f"{self.seconds:.1f},{self.step},{self.anonymous:.1f},{self.file:.1f}"


class _RecordTable(list[_RecordRow]):
    """The rows of a record, in the order of time."""

    @classmethod
    def read(cls, path: Path) -> _RecordTable:
        """The rows of a file; none if it is missing or something else. Damaged lines are left out."""
        lines = cls()
        try:
            with path.open(encoding="utf-8", errors="replace", newline="") as file:
                rows = csv.reader(io.StringIO(file.read(1 << 24)))
                for row in rows:
                    with contextlib.suppress(ValueError):
                        seconds, step, anonymous, rss_file = row
                        line = _RecordRow(float(seconds), int(step), float(anonymous), float(rss_file))
                        if 0 <= line.seconds < 1e12 and 0 <= line.anonymous < 1e12 and line.seconds >= lines.last_seconds:
                            lines.append(line)
        except (OSError, csv.Error):
            return lines
        return lines

    @property
    def last_seconds(self) -> float:
        return self[-1].seconds if self else 0.0

    def interval(self, every: float) -> float:
        """The time between two rows, as `every` seconds times a power of two."""
        apart = (self.last_seconds - self[0].seconds) / (len(self) - 1) if len(self) > 1 else every
        while every < 0.75 * apart:
            every *= 2
        return every

    def halve(self) -> None:
        """Merge every two rows into one."""
        self[:] = [_merged(self[i : i + 2]) for i in range(0, len(self), 2)]

    def text(self) -> str:
        return "\n".join([",".join(_FIELDS), *(line.text() for line in self)]) + "\n"


def _merged(lines: list[_RecordRow]) -> _RecordRow:
    return _RecordRow(lines[-1].seconds, lines[-1].step, max(line.anonymous for line in lines), max(line.file for line in lines))
