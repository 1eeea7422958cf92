"""The undo file: every step is written, and synced, before it is done. See docs/formats.md.

Lines are added in blocks, and a block goes through these marks, each its own line:

    intents, new folders, "planned" ──► files are placed ──► results, "placed" ──► originals are removed (move) ──► "done"

A process that is killed leaves a block without "done". One without "planned" has done nothing, and is dropped when the file is opened
again; one with it is completed.
"""

from __future__ import annotations

import json
import mmap
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from imgstream.errors import DatasetError, OutputError
from imgstream.files.atomic import translated

try:
    import fcntl
except ImportError:  # Windows: two commands may use one file
    fcntl = None  # type: ignore[assignment]

FORMAT_VERSION = 1
Line = dict[str, Any]

_CHUNK = 1 << 20
_SEPARATORS = rb"[/\\]" if os.name == "nt" else rb"/"
_FLAGS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class Journal:
    """An open undo file, for one process at a time. Use it in a with statement."""

    def __init__(self, path: Path, header: Line | None = None, *, look_only: bool = False) -> None:
        """Open the file at `path`; with `header`, create it if it does not exist. `look_only`: nothing is changed.

        Raises OutputError when it cannot be written or another process uses it, DatasetError when it is no undo file.
        """
        self.path = path
        self._look_only = look_only
        mode = os.O_RDONLY if look_only else os.O_RDWR | os.O_APPEND | (os.O_CREAT if header is not None else 0)
        with translated(path):
            self._descriptor = os.open(path, mode | _FLAGS, 0o600)
        try:
            self._lock()
            end = self._end_of_lines()
            if not end and header is not None:  # new, or killed while it was made
                self._cut(0)
                self.add([{"imgstream_undo": FORMAT_VERSION, **header}])
            self.header = self._header()
            self._cut(self._end_of_lines())
            self.done: Line = {}
            """The last "done" line; {} before there is one."""
            self.pending: list[Line] = []
            """The lines of a block that was planned and not done."""
            self.undoing = False
            """Whether an undo has begun."""
            self.undone: list[Line] = []
            """The "undone" lines of that undo."""
            self._look_at_the_end()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def add(self, lines: list[Line], *, sync: bool = True) -> None:
        """Append lines; with `sync` they are on the disk when this returns. Raises OutputError."""
        data = memoryview(b"".join(_encoded(line) for line in lines))
        with translated(self.path):
            while data:
                data = data[os.write(self._descriptor, data) :]
            if sync:
                os.fsync(self._descriptor)

    def backwards(self) -> Iterator[Line]:
        """Every line but the header, last first, in constant memory."""
        for start, line in self._backwards():
            if start:
                yield self._decoded(line)

    def failures(self) -> Iterator[Line]:
        """The lines of files that could not be placed, in order."""
        with open(self._descriptor, "rb", closefd=False) as file:
            file.seek(0)
            for line in file:
                if b'"failed":' in line and isinstance(found := self._decoded(line), dict) and isinstance(found.get("failed"), str):
                    yield found

    def _lock(self) -> None:
        if fcntl is not None:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise OutputError(f"{str(self.path)!r} is in use by another imgstream sort: wait until it has ended") from None
            except OSError:  # a file system without locks
                pass

    def _header(self) -> Line:
        with open(self._descriptor, "rb", closefd=False) as file:
            file.seek(0)
            first = file.readline(_CHUNK)
        try:
            header = json.loads(first)
            version = header["imgstream_undo"]
        except (ValueError, KeyError, TypeError):
            raise DatasetError(f"{str(self.path)!r} is no undo file of imgstream sort") from None
        if version != FORMAT_VERSION:
            raise DatasetError(f"{str(self.path)!r} is an undo file of format {version}; this version knows {FORMAT_VERSION}")
        return header

    def _look_at_the_end(self) -> None:
        tail: list[Line] = []
        end = 0
        for start, data in self._backwards():
            line = self._decoded(data)
            if not start or "done" in line:
                self.done, end = line if start else {}, start + len(data) + 1
                break
            tail.append(line)
        self.undoing = any("undo" in line for line in tail)
        self.undone = [line for line in reversed(tail) if "undone" in line]
        if any("planned" in line for line in tail):
            self.pending = [line for line in reversed(tail) if not ("undo" in line or "undone" in line)]
        elif not self.undoing:  # planned in part: nothing of it was done
            self._cut(end)

    def _end_of_lines(self) -> int:
        """Where the last whole line ends."""
        return next((start + len(line) + 1 for start, line in self._backwards()), 0)

    def _cut(self, size: int) -> None:
        if not self._look_only:
            with translated(self.path):
                os.ftruncate(self._descriptor, size)

    def _decoded(self, line: bytes) -> Line:
        try:
            return json.loads(line)
        except ValueError as error:
            raise DatasetError(f"{str(self.path)!r} is damaged: a line is no JSON ({error})") from None

    def _backwards(self) -> Iterator[tuple[int, bytes]]:
        """(start, line without its end) of each whole line, last first."""
        if not os.fstat(self._descriptor).st_size:
            return
        with mmap.mmap(self._descriptor, 0, access=mmap.ACCESS_READ) as data:
            end = data.rfind(b"\n")
            while end >= 0:
                start = data.rfind(b"\n", 0, end) + 1
                yield start, data[start:end]
                end = start - 1


def text(path: bytes) -> str:
    """A path as JSON holds it: each byte that is no UTF-8 as a surrogate escape."""
    return path.decode("utf-8", "surrogateescape")


def exact(path: str) -> bytes:
    """The path that was given to text()."""
    return path.encode("utf-8", "surrogateescape")


def inside(path: str) -> bytes:
    """exact() of a path below the target folder. Raises DatasetError for one that leads out of it."""
    found = exact(path)
    if os.path.isabs(found) or b".." in re.split(_SEPARATORS, found):
        raise DatasetError(f"an undo file says {path!r}, which is not below the folder that was sorted into: imgstream did not write that")
    return found


def _encoded(line: Line) -> bytes:
    return json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace") + b"\n"
