"""Shows progress on a terminal (stderr) or in a notebook, and nothing elsewhere."""

from __future__ import annotations

import contextlib
import html
import importlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.spinner import Spinner
from rich.text import Text

_EVERY = 0.5
"""Seconds between two updates of a notebook's line."""
_EVERY_LINE = 10.0
"""Seconds between lines where they cannot be replaced."""


def error_console() -> Console:
    """The console for progress and errors: stderr."""
    return Console(stderr=True, highlight=False)


def is_watched(console: Console) -> bool:
    """Whether a person can see it: it is a terminal, or lies in a notebook."""
    return console.is_terminal or console.is_jupyter


class Display(Protocol):
    """A line of progress that is replaced when it changes, and removed when it is closed."""

    def show(self, text: str, share: float | None = None) -> None:
        """Show `text`, and in a notebook a bar of the `share` that is done, 0 to 1, if it is known."""

    def close(self) -> None:
        """Remove the line."""


def display(console: Console, shown: bool | None = None) -> Display:
    """A display for this console. `shown`: None shows it on a terminal or in a notebook; False never; True writes lines elsewhere too."""
    if shown is False or (shown is None and not is_watched(console)):
        return _NoDisplay()
    if console.is_jupyter:
        return _NotebookLine()
    return _TerminalLine(console) if console.is_terminal else _PrintedLines(console)


@contextlib.contextmanager
def counting(what: str, total: int | None = None, shown: bool | None = None) -> Iterator[Callable[[int], None]]:
    """A progress bar (without a total, a running count) for the block; call what it gives with the number done so far. `shown`: see
    display.
    """
    console = error_console()
    if shown is not False and console.is_terminal:
        with _bar(console, what, total) as update:
            yield update
        return
    line, began = display(console, shown), time.monotonic()
    try:
        yield lambda done: line.show(counted(what, done, total, time.monotonic() - began), done / total if total else None)
    finally:
        line.close()


def counted(what: str, done: int, total: int | None, seconds: float) -> str:
    """The text for what was done after `seconds`, such as Predicting 1,200/6,000, 310/s, 15 s left."""
    rate = done / seconds if seconds > 1 else 0.0
    of = "" if total is None else f"/{total:,}"
    left = "" if total is None or not rate else f", {duration(max(0, total - done) / rate)} left"
    return f"{what} {done:,}{of}{f', {rate:,.0f}/s' if rate else ''}{left}"


def duration(seconds: float) -> str:
    """`seconds` as text for people: 42 s, 7 min, 3 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


class Waiting:
    """A line that is shown only while something is waited for, so that a loop that uses the results may print.

    ```python
    with waiting(rows_done):
        batch = next(batches)
    ```
    """

    def __init__(self, what: str, total: int | None, shown: bool | None = None) -> None:
        """`shown`: see display."""
        self._console, self._what, self._total, self._began = error_console(), what, total, time.monotonic()
        on_terminal = shown is not False and self._console.is_terminal and not self._console.is_dumb_terminal
        self._line: Display | None = None if on_terminal else display(self._console, shown)

    @contextlib.contextmanager
    def __call__(self, done: int) -> Iterator[None]:
        """Show during the block that `done` are done."""
        text = counted(self._what, done, self._total, time.monotonic() - self._began)
        if self._line is not None:
            self._line.show(text, done / self._total if self._total else None)
            yield
            return
        file = self._console.file
        file.write(f"\r{text[: self._console.width - 1]}\x1b[K")
        file.flush()
        try:
            yield
        finally:
            file.write("\r\x1b[K")
            file.flush()

    def close(self) -> None:
        """Remove the line for good."""
        if self._line is not None:
            self._line.close()


@contextlib.contextmanager
def _bar(console: Console, what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
    bar = (BarColumn(), TimeRemainingColumn()) if total is not None else ()
    with Progress(*columns, *bar, console=console, transient=True, redirect_stdout=_stdout_is_seen()) as progress:
        task = progress.add_task(what, total=total, rate="")

        def update(done: int) -> None:
            elapsed = progress.tasks[0].elapsed or 0.0
            progress.update(task, completed=done, rate=f"{done / elapsed:,.0f}/s" if elapsed > 1 else "")

        yield update


def _stdout_is_seen() -> bool:
    """Whether stdout is a terminal, too. If so, what a program prints must appear above the line, by way of stderr; if stdout is a file or
    pipe, it must go there.
    """
    return sys.stdout is not None and sys.stdout.isatty()


class _NoDisplay:
    def show(self, text: str, share: float | None = None) -> None:
        pass

    def close(self) -> None:
        pass


class _TerminalLine:
    def __init__(self, console: Console) -> None:
        self._spinner = Spinner("dots")
        self._live = Live(self._spinner, console=console, transient=True, redirect_stdout=_stdout_is_seen())

    def show(self, text: str, share: float | None = None) -> None:
        self._spinner.update(text=Text(text))
        self._live.start()  # does nothing when it has been

    def close(self) -> None:
        self._live.stop()


class _NotebookLine:
    """Uses IPython only: what rich shows in a notebook needs ipywidgets, which are often not installed."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._next = 0.0

    def show(self, text: str, share: float | None = None) -> None:
        if (now := time.monotonic()) < self._next:
            return
        self._next, data = now + _EVERY, {"text/plain": text}
        if share is not None:
            data["text/html"] = f'<progress value="{min(1.0, share):.4f}" style="width:16em"></progress> {html.escape(text)}'
        if self._handle is None:
            self._handle = importlib.import_module("IPython.display").display(data, raw=True, display_id=True)  # in a notebook it is there
        else:
            self._handle.update(data, raw=True)

    def close(self) -> None:
        if self._handle is not None:
            self._handle.update({"text/plain": "", "text/html": ""}, raw=True)


class _PrintedLines:
    def __init__(self, console: Console) -> None:
        self._console, self._next, self._pending = console, 0.0, ""

    def show(self, text: str, share: float | None = None) -> None:
        self._pending = text
        if (now := time.monotonic()) >= self._next:
            self._next = now + _EVERY_LINE
            self._print()

    def close(self) -> None:
        if self._pending:
            self._print()

    def _print(self) -> None:
        self._console.print(self._pending, markup=False, soft_wrap=True)
        self._pending = ""
