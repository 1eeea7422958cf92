"""Warns when nothing is finished for a long time, and names the open files: a hanging decoder cannot be ended, but it can be reported."""

from __future__ import annotations

import contextlib
import os
import struct
import threading
import time
import warnings
from collections.abc import Iterable, Iterator

from imgstream.errors import StallWarning

PATIENCE = 30.0
"""Seconds without progress before the first warning; the next come after twice, four times, … as many."""
OPEN_FILE_BYTES = 1024
"""Bytes of memory that an OpenFile needs."""

_LONGEST = 1000  # bytes that are kept of a path
_NOTE = struct.Struct(f"<dI{_LONGEST}s")  # when it was opened, in seconds of time.monotonic(), 0.0: none is; bytes of its path; the path
_SHOWN = 3


class OpenFile:
    """The file that one thread is reading. Noting it takes a microsecond at most; other threads look at it when a wait takes long."""

    def __init__(self, memory: memoryview | None = None) -> None:
        """`memory`: OPEN_FILE_BYTES zeros, which another process may read."""
        self._memory = memory if memory is not None else memoryview(bytearray(OPEN_FILE_BYTES))

    def begin(self, path: bytes) -> None:
        """Note that the thread starts to read `path`."""
        _NOTE.pack_into(self._memory, 0, time.monotonic(), len(path), path)

    def end(self) -> None:
        """Note that the thread reads no file."""
        _NOTE.pack_into(self._memory, 0, 0.0, 0, b"")

    def seen(self) -> tuple[float, bytes] | None:
        """When the file was opened, by time.monotonic(), which all processes share, and its path; None when none is open."""
        since, length, path = _NOTE.unpack_from(self._memory)
        return (since, path[:length]) if since else None


def tell(open_files: Iterable[OpenFile], waits: int) -> None:
    """Warn that nothing was finished for `waits` times PATIENCE, and which files are open, the longest first; only after 1, 2, 4, 8, … of
    them.
    """
    if waits & (waits - 1):
        return
    now = time.monotonic()
    seen = sorted(filter(None, [open_file.seen() for open_file in open_files]))
    files = ", ".join(f"{os.fsdecode(path)!r} ({now - since:.0f} s)" for since, path in seen[:_SHOWN])
    more = f" and {len(seen) - _SHOWN} more" if len(seen) > _SHOWN else ""
    what = f"being read or decoded: {files}{more}. If it stays so, stop, and leave out what is open longest" if seen else "no file is open"
    warnings.warn(f"nothing was finished for {waits * PATIENCE:.0f} s; {what}", StallWarning, stacklevel=3)


class StallWatch:
    """Warns of files that stay open for long, where other code does the waiting. Its thread runs while there are such files."""

    def __init__(self) -> None:
        self._watched: set[OpenFile] = set()
        self._lock = threading.Lock()
        self._looks = False

    @contextlib.contextmanager
    def watching(self, open_file: OpenFile) -> Iterator[OpenFile]:
        """Watch `open_file`, in which a thread notes its files, during the block."""
        with self._lock:
            self._watched.add(open_file)
            if not self._looks:
                with contextlib.suppress(RuntimeError):  # without a thread there are no warnings
                    threading.Thread(target=self._look, name="imgstream-lookout", daemon=True).start()
                    self._looks = True
        try:
            yield open_file
        finally:
            open_file.end()
            with self._lock:
                self._watched.discard(open_file)

    def _look(self) -> None:
        oldest, waits = None, 0
        while True:
            time.sleep(PATIENCE)
            with self._lock:
                watched = list(self._watched)
                self._looks = bool(watched)
            if not watched:
                return
            before, oldest = oldest, min(filter(None, [open_file.seen() for open_file in watched]), default=None)
            waits = waits + 1 if oldest is not None and oldest == before else 0
            if waits:
                with contextlib.suppress(StallWarning):  # warnings that are errors cannot be raised here
                    tell(watched, waits)
