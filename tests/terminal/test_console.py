from __future__ import annotations

import io

import pytest
from rich.table import Table
from rich.text import Text

from imgstream.terminal.console import output_console

PATH = "/photos/" + "a long name with spaces " * 12 + "end.jpg"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def printed(monkeypatch: pytest.MonkeyPatch, stdout: io.StringIO) -> list[str]:
    """The lines of a sentence and a table, each with a path, printed to `stdout` where COLUMNS is 40."""
    for name, value in (("COLUMNS", "40"), ("TERM", "xterm")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stdout", stdout)
    console = output_console()
    console.print(f"Table: {PATH}", markup=False)
    table = Table("path", "files", show_header=False)
    table.add_row(Text(PATH, overflow="fold"), "1")
    console.print(table)
    return stdout.getvalue().splitlines()


def test_in_a_file_or_pipe_a_table_is_as_wide_as_it_needs_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = printed(monkeypatch, io.StringIO())
    assert lines[0] == f"Table: {PATH}"
    assert [line for line in lines if "│" in line] == [f"│ {PATH} │ 1 │"]


def test_on_a_terminal_a_table_fits_and_a_sentence_is_not_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = printed(monkeypatch, Terminal())
    assert lines[0] == f"Table: {PATH}"
    assert {len(line) for line in lines[1:]} == {40}
    assert "".join(line.split("│")[1].strip() for line in lines if "│" in line).replace(" ", "") == PATH.replace(" ", "")
