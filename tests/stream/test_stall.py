"""A pass that stands still says so: which files are open, and for how long."""

from __future__ import annotations

import json
import re
import textwrap
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import imgstream as ims
from imgstream import stalls
from imgstream.cli import main
from imgstream.errors import StallWarning
from imgstream.stalls import OpenFile, tell
from imgstream.stream.workers import batch_loader
from imgstream.stream.workers.processes import AVAILABLE

Folder = Callable[..., Path]
WAITING = """
    import os, time
    from pathlib import Path

    def waits(image, rng):
        while not Path({gate!r}).exists():
            time.sleep(0.01)
        return image
"""


pytestmark = pytest.mark.filterwarnings("always")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stalls, "PATIENCE", 0.2)


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """What the function `waits` waits for."""
    path = tmp_path / "gate"
    (tmp_path / "waiting_function.py").write_text(textwrap.dedent(WAITING.format(gate=str(path))))
    return path


def told_of(record: list[warnings.WarningMessage]) -> list[str]:
    return [str(warning.message) for warning in record if warning.category is StallWarning]


def until_told(record: list[warnings.WarningMessage]) -> None:
    """Return once a file has been told of."""
    end = time.monotonic() + 30
    while not any("being read" in text for text in told_of(record)) and time.monotonic() < end:
        time.sleep(0.01)


@pytest.mark.parametrize(
    "where", ["threads", pytest.param("processes", marks=pytest.mark.skipif(not AVAILABLE, reason="Linux alone has them"))]
)
def test_a_pass_that_stands_still_names_the_files_and_goes_on_when_they_do(
    folder: Folder, tmp_path: Path, gate: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if where == "processes":
        monkeypatch.setattr(batch_loader, "WORTH_PROCESSES", 0)
        monkeypatch.setattr(batch_loader, "THREADS_A_PROCESS_IN_PYTHON", 1)
    index = ims.scan(folder(40))
    spec = ims.SampleSpec(size=(8, 8))
    stream = ims.Stream(index, spec, augment=f"{tmp_path / 'waiting_function.py'}:waits", batch_size=4, workers=2)
    with warnings.catch_warnings(record=True) as record:
        opener = threading.Thread(target=lambda: (until_told(record), gate.touch()))
        opener.start()
        found = [images.copy() for images, _ in stream.batches()]
        opener.join()
    (text, *_) = [text for text in told_of(record) if "being read" in text]  # workers have to begin first
    assert re.fullmatch(r"nothing was finished for \d s; being read or decoded: ('.*\.(jpg|png)' \(\d s\)(, )?){1,2}\. If it .*", text)
    assert repr(index.path(0)) in text
    plain = stream.replace(augment=None)
    assert all(np.array_equal(a, b[0]) for a, b in zip(found, plain.batches(), strict=True))
    with warnings.catch_warnings(record=True) as record:
        list(stream.batches())
    assert not told_of(record)


def test_the_tf_pipeline_names_the_file_that_python_is_at(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorflow")
    from imgstream.decode.sample import SampleReader

    index, read = ims.scan(folder(6)), SampleReader.read

    def slow(self: SampleReader, path: bytes, *rest: Any) -> None:
        until_told(record)
        read(self, path, *rest)

    monkeypatch.setattr(SampleReader, "read", slow)
    stream = ims.Stream(index, ims.SampleSpec(size=(8, 8)), batch_size=6, workers=2, pipeline="tf")
    with warnings.catch_warnings(record=True) as record:
        assert sum(len(images) for images, _ in stream.batches()) == 6
    assert any(repr(index.path(1)) in text for text in told_of(record))  # the first PNG


def test_on_the_command_line_it_is_a_line_on_stderr_and_stdout_stays_one_json_object(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from imgstream.check import survey

    root, read = folder(6), survey.read_declared

    def slow(path: bytes, max_pixels: int) -> Any:
        time.sleep(1.5 if path.endswith(b"004.png") else 0)
        return read(path, max_pixels)

    monkeypatch.setattr(survey, "read_declared", slow)
    with pytest.raises(SystemExit) as ended:
        main(["check", str(root), "--json"])
    out, err = capsys.readouterr()
    assert ended.value.code == 0
    assert json.loads(out)["files"] == 6
    assert re.match(r"imgstream: nothing was finished for 0 s; being read or decoded: '.*004\.png' \(\d s\)\. If it stays so, .*\n", err)


def test_it_is_told_after_one_two_four_and_eight_waits_longest_open_first() -> None:
    files = [OpenFile() for _ in range(6)]
    for i, file in enumerate(files[:5]):
        file.begin(b"%d.jpg" % i + b"/x" * 600 * (i == 4))
    files[2].end()
    files[2].begin(b"\xff.jpg")
    with warnings.catch_warnings(record=True) as record:
        for waits in range(1, 10):
            tell(files, waits)
    assert len(told_of(record)) == 4
    assert "being read or decoded: '0.jpg' (0 s), '1.jpg' (0 s), '3.jpg' (0 s) and 2 more." in told_of(record)[0]
    with warnings.catch_warnings(record=True) as record:
        tell([files[2], files[5]], 1)
        tell([files[5]], 1)
    assert "'\\udcff.jpg' (0 s)." in told_of(record)[0]
    assert told_of(record)[1].endswith("no file is open")
