from __future__ import annotations

import builtins
import io
import sys
import types
from pathlib import Path
from typing import Any

import pytest

import imgstream as ims
from imgstream.progress import counted, counting


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")


def watched(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Stderr as a person sees it, from now on: pytest puts its own back before each test."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    return stream


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a notebook's output line said, in order."""
    said: list[str] = []

    class Handle:
        def update(self, data: dict[str, str], raw: bool) -> None:
            said.append(data["text/plain"])

    def display(*data: Any, display_id: bool = False, **_: Any) -> Handle | None:
        said.append(data[0]["text/plain"] if isinstance(data[0], dict) else str(data[0]))
        return Handle() if display_id else None

    class ZMQInteractiveShell:
        pass

    module = types.ModuleType("IPython.display")
    module.display = display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    monkeypatch.setattr(builtins, "get_ipython", ZMQInteractiveShell, raising=False)
    return said


@pytest.fixture(scope="module")
def run(trained: Path) -> ims.Run:
    return ims.load_run(trained)


def test_what_has_been_done_is_said_with_its_speed_and_what_is_left() -> None:
    assert counted("Reading", 0, None, 0.0) == "Reading 0"
    assert counted("Reading", 1200, 6000, 4.0) == "Reading 1,200/6,000, 300/s, 16 s left"


def test_nothing_is_said_where_nobody_looks_and_lines_where_they_are_asked_for(
    run: ims.Run, two_classes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run.evaluate(two_classes)
    assert len(list(run.predict(two_classes))) == 40
    assert capsys.readouterr().err == ""
    run.evaluate(two_classes, progress=True)
    list(run.predict(two_classes, progress=True))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("Evaluating 32/40")
    assert lines[1].startswith("Evaluating 40/40")
    assert [line[:13] for line in lines[2:]] == ["Predicting 0/", "Predicting 40"]


def test_a_loop_over_predictions_may_print_beside_the_line_that_waits_for_them(
    run: ims.Run, two_classes: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = watched(monkeypatch)
    for prediction in run.predict(two_classes):
        terminal.write("|")
        sys.stdout.write(f"{prediction.path}\n")
    assert capsys.readouterr().out.splitlines()[::39] == ["dark/00.jpg", "light/19.jpg"]
    waited = terminal.getvalue().split("|")
    assert waited[0].startswith("\rPredicting 0/40")
    assert waited[0].endswith("\r\x1b[K")  # and so the line is empty when the caller goes on
    assert waited[1] == ""
    terminal.truncate(0)
    list(run.predict(two_classes, progress=False))
    assert "Predicting" not in terminal.getvalue()


def test_evaluating_shows_a_bar_on_a_terminal_and_what_is_printed_into_a_file_gets_there(
    run: ims.Run, two_classes: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal = watched(monkeypatch)
    run.evaluate(two_classes)
    assert "Evaluating" in terminal.getvalue()
    with counting("Counting", 3) as done:
        done(1)
        sys.stdout.write("a result\n")
    assert capsys.readouterr().out == "a result\n"
    terminal.truncate(0)
    run.evaluate(two_classes, progress=False)
    seen: list[int] = []
    run.evaluate(two_classes, progress=seen.append)
    assert seen == [32, 40]
    assert "Evaluating" not in terminal.getvalue()


@pytest.mark.slow
@pytest.mark.usefixtures("small_cnn")
def test_a_training_says_where_it_is_unless_it_is_to_be_silent_or_reports_to_somebody(
    two_classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal, options = watched(monkeypatch), {"size": (32, 32), "batch_size": 8, "epochs": 1}
    ims.train(two_classes, out=tmp_path / "run", **options)
    said = terminal.getvalue()
    for words in ("Compiling for 32×32 …", "Memory: batches of 8", "Writing the run …", "validation: loss"):
        assert words in said
    terminal.truncate(0)
    terminal.seek(0)
    ims.train(two_classes, out=tmp_path / "reported", report=lambda status: None, **options)
    ims.train(two_classes, out=tmp_path / "silent", progress=False, **options)
    assert "step" not in terminal.getvalue()


def test_a_notebook_has_a_bar_where_the_number_is_known(notebook: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[dict[str, str]] = []

    def display(data: dict[str, str], **_: Any) -> Any:
        shown.append(data)
        return types.SimpleNamespace(update=lambda data, raw: shown.append(data))

    monkeypatch.setattr(sys.modules["IPython.display"], "display", display)
    with counting("Reading <all>", 40) as done:
        done(10)
    assert shown[0]["text/plain"] == "Reading <all> 10/40"
    assert shown[0]["text/html"] == '<progress value="0.2500" style="width:16em"></progress> Reading &lt;all&gt; 10/40'
    assert shown[-1] == {"text/plain": "", "text/html": ""}


def test_in_a_notebook_one_line_changes_and_is_gone_at_the_end(run: ims.Run, two_classes: Path, notebook: list[str]) -> None:
    run.evaluate(two_classes)
    assert notebook[0].startswith("Evaluating 32/40")
    assert notebook[-1] == ""
    notebook.clear()
    list(run.predict(two_classes))
    assert notebook[0].startswith("Predicting 0/40")
    assert notebook[-1] == ""
    notebook.clear()
    list(run.predict(two_classes, progress=False))
    assert notebook == []
