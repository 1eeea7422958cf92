"""Progress, where a person looks: on the terminal that stderr is, or in a notebook. Nothing at all elsewhere."""

from __future__ import annotations

import contextlib
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
"""Seconds between two states of a notebook's line."""
_EVERY_LINE = 10.0
"""Seconds between the lines that are written where nothing can be replaced."""


def error_console() -> Console:
    """The console that progress and errors go to: stderr."""
    return Console(stderr=True, highlight=False)


def is_watched(console: Console) -> bool:
    """Whether a person looks at it: it is a terminal, or lies in a notebook."""
    return console.is_terminal or console.is_jupyter


class Display(Protocol):
    """A line that says where things are, replaced as they go on; gone when it is closed."""

    def show(self, text: str) -> None:
        """Say this now."""

    def close(self) -> None:
        """Be gone."""


def display(console: Console, shown: bool | None = None) -> Display:
    """What fits the place. `shown`: None: something where a person looks; False: nothing; True: lines even where no person looks."""
    if shown is False or (shown is None and not is_watched(console)):
        return _Silence()
    if console.is_jupyter:
        return _NotebookLine()
    return _TerminalLine(console) if console.is_terminal else _Lines(console)


@contextlib.contextmanager
def counting(what: str, total: int | None = None, shown: bool | None = None) -> Iterator[Callable[[int], None]]:
    """A bar (or, without a total, a running count) for the block; call what it gives with the number done so far. `shown`: as of
    display.
    """
    console = error_console()
    if shown is not False and console.is_terminal:
        with _bar(console, what, total) as update:
            yield update
        return
    line, began = display(console, shown), time.monotonic()
    try:
        yield lambda done: line.show(counted(what, done, total, time.monotonic() - began))
    finally:
        line.close()


def counted(what: str, done: int, total: int | None, seconds: float) -> str:
    """What has been done after `seconds`, as Predicting 1,200/6,000, 310/s, 15 s left."""
    rate = done / seconds if seconds > 1 else 0.0
    of = "" if total is None else f"/{total:,}"
    left = "" if total is None or not rate else f", {duration(max(0, total - done) / rate)} left"
    return f"{what} {done:,}{of}{f', {rate:,.0f}/s' if rate else ''}{left}"


def duration(seconds: float) -> str:
    """`seconds` as a person says it: 42 s, 7 min, 3 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


class Waiting:
    """A line that is there only while something is waited for: so that whoever gets the results, in a loop of their own, may print.

    with waiting(rows_done):
        batch = next(batches)
    """

    def __init__(self, what: str, total: int | None, shown: bool | None = None) -> None:
        """`shown`: as of display."""
        self._console, self._what, self._total, self._began = error_console(), what, total, time.monotonic()
        on_terminal = shown is not False and self._console.is_terminal and not self._console.is_dumb_terminal
        self._line: Display | None = None if on_terminal else display(self._console, shown)

    @contextlib.contextmanager
    def __call__(self, done: int) -> Iterator[None]:
        """For the block, say that `done` are done."""
        text = counted(self._what, done, self._total, time.monotonic() - self._began)
        if self._line is not None:
            self._line.show(text)
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
        """Nothing more is waited for."""
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
    """Whether stdout is a terminal, too. If so, what a program prints there is to appear above the line, by way of stderr; what is printed
    into a file or pipe is to get there.
    """
    return sys.stdout is not None and sys.stdout.isatty()


class _Silence:
    def show(self, text: str) -> None:
        pass

    def close(self) -> None:
        pass


class _TerminalLine:
    def __init__(self, console: Console) -> None:
        self._spinner = Spinner("dots")
        self._live = Live(self._spinner, console=console, transient=True, redirect_stdout=_stdout_is_seen())

    def show(self, text: str) -> None:
        self._spinner.update(text=Text(text))
        self._live.start()  # does nothing when it has been

    def close(self) -> None:
        self._live.stop()


class _NotebookLine:
    """Of IPython alone: what rich shows in a notebook needs ipywidgets, which are often not there."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._next = 0.0

    def show(self, text: str) -> None:
        if (now := time.monotonic()) < self._next:
            return
        self._next, data = now + _EVERY, {"text/plain": text}
        if self._handle is None:
            self._handle = importlib.import_module("IPython.display").display(data, raw=True, display_id=True)  # in a notebook it is there
        else:
            self._handle.update(data, raw=True)

    def close(self) -> None:
        if self._handle is not None:
            self._handle.update({"text/plain": ""}, raw=True)


class _Lines:
    def __init__(self, console: Console) -> None:
        self._console, self._next, self._unsaid = console, 0.0, ""

    def show(self, text: str) -> None:
        self._unsaid = text
        if (now := time.monotonic()) >= self._next:
            self._next = now + _EVERY_LINE
            self._say()

    def close(self) -> None:
        if self._unsaid:
            self._say()

    def _say(self) -> None:
        self._console.print(self._unsaid, markup=False, soft_wrap=True)
        self._unsaid = ""
