"""Progress on the terminal's stderr; nothing at all when that is no terminal."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

if TYPE_CHECKING:
    from imgstream.training.fit import Status


def error_console() -> Console:
    """The console that progress and errors go to: stderr."""
    return Console(stderr=True, highlight=False)


@contextlib.contextmanager
def counting(what: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
    """A bar (or, without a total, a running count) for the block; call what it gives with the number done so far."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
    bar = (BarColumn(), TimeRemainingColumn()) if total is not None else ()
    console = error_console()
    with Progress(*columns, *bar, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=total, rate="")

        def update(done: int) -> None:
            elapsed = progress.tasks[0].elapsed or 0.0
            progress.update(task, completed=done, rate=f"{done / elapsed:,.0f}/s" if elapsed > 1 else "")

        yield update


class TrainingProgress:
    """One live line for the steps, and a line that stays for each validation."""

    def __init__(self) -> None:
        self._console = error_console()
        self._status = self._console.status("Starting: building and compiling the model …")

    def __enter__(self) -> TrainingProgress:
        if self._console.is_terminal:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()

    def scanned(self, files: int) -> None:
        """Show how many images have been found so far."""
        self._status.update(f"Listing images: {files:,}")

    def embedded(self, images: int) -> None:
        """Show how many images a head's features have been made of."""
        self._status.update(f"Features for the head: {images:,} images")

    def notice(self, text: str) -> None:
        """A line that stays."""
        if self._console.is_terminal:
            self._console.print(text, markup=False, soft_wrap=True)

    def __call__(self, status: Status) -> None:
        """Show `status`."""
        if not self._console.is_terminal:
            return
        if status.validation is not None:
            result = status.validation
            self._console.print(
                f"epoch {status.epoch:>3}   loss {status.loss:.4f}   accuracy {status.accuracy:.4f}   validation: "
                f"loss {result.loss:.4f}   accuracy [bold]{result.accuracy:.4f}[/bold]   {status.images_per_second:,.0f} images/s"
            )
            return
        of = f"/{status.epochs}" if status.epochs else ""
        steps = f"{status.step:,}/{status.last_step:,}"
        left = f", {duration(status.seconds_left)} left" if status.seconds_left is not None else ""
        skipped = f", {status.skipped:,} skipped" if status.skipped else ""
        self._status.update(
            Text(
                f"epoch {status.epoch + 1}{of}, step {steps}, loss {status.loss:.4f}, accuracy {status.accuracy:.4f}, "
                f"{status.images_per_second:,.0f} images/s{left}{skipped}"
            )
        )


def duration(seconds: float) -> str:
    """`seconds` as a person says it: 42 s, 7 min, 3 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
