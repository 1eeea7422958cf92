"""Files are asked for ahead when, and only when, the disk has had to give them."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from imgstream.files.reader import FileReader, read_ahead
from imgstream.stream.workers.readahead import Readahead

LINUX = pytest.mark.skipif(not hasattr(os, "RWF_NOWAIT"), reason="only Linux tells what lies in memory")


class Asked:
    """Records which files a Readahead looks at, and waits for them."""

    def __init__(self) -> None:
        self.paths: list[bytes] = []
        self._changed = threading.Condition()

    def __call__(self, path: bytes) -> bool:
        with self._changed:
            self.paths.append(path)
            self._changed.notify_all()
        return False

    def after(self, count: int) -> list[bytes]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.paths) >= count, timeout=30)
            return sorted(self.paths)


def name(position: int) -> bytes:
    return b"%03d" % position


def test_nothing_is_asked_for_while_files_come_from_memory() -> None:
    asked = Asked()
    readahead = Readahead(asked)
    readahead.note(64, 0)
    readahead.announce(name, np.arange(20))
    readahead.note(64, 64)
    readahead.announce(name, np.arange(20, 23))
    assert asked.after(3) == [b"020", b"021", b"022"]


def test_all_that_is_announced_is_asked_for_once_files_have_been_waited_for() -> None:
    asked = Asked()
    readahead = Readahead(asked)
    readahead.note(16, 16)
    readahead.announce(name, np.arange(30))
    assert asked.after(30) == [name(i) for i in range(30)]


def test_it_ends_when_files_come_from_memory_again() -> None:
    asked = Asked()
    readahead = Readahead(asked)
    readahead.note(64, 64)
    readahead.note(64, 0)
    readahead.announce(name, np.arange(20))
    readahead.note(64, 64)
    readahead.announce(name, np.arange(20, 23))
    assert asked.after(3) == [b"020", b"021", b"022"]


@LINUX
def test_a_file_that_was_just_written_is_in_memory(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(b"\xff\xd8\xff" + bytes(100))
    assert read_ahead(os.fsencode(file)) is False


@LINUX
@pytest.mark.skipif(sys.platform != "linux", reason="posix_fadvise of Linux")
def test_a_file_that_memory_has_let_go_is_read_whole_and_known_to_have_been_waited_for(tmp_path: Path, png: bytes) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(png)
    with file.open("rb") as opened:
        os.fdatasync(opened.fileno())
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    reader = FileReader()
    data, _ = reader.read(str(file), 10**6)
    if not reader.waited:
        pytest.skip("this file system keeps its files in memory")
    assert bytes(data) == png
    reader.read(str(file), 10**6)
    assert reader.waited is False


@pytest.mark.parametrize("path", [b"missing.jpg", b"folder"])
def test_what_cannot_be_read_is_not_asked_for(tmp_path: Path, path: bytes) -> None:
    (tmp_path / "folder").mkdir()
    assert read_ahead(os.fsencode(tmp_path) + b"/" + path) is False


@pytest.fixture
def png() -> bytes:
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)).save(buffer, "png")
    return buffer.getvalue()


def test_where_the_system_cannot_tell_nothing_is_waited_for_or_asked_for(
    tmp_path: Path, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgstream.files.reader._NO_WAIT", None)
    file = tmp_path / "a.png"
    file.write_bytes(png)
    reader = FileReader()
    assert bytes(reader.read(str(file), 10**6)[0]) == png
    assert reader.waited is False
    assert read_ahead(os.fsencode(file)) is False
