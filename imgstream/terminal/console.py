"""The console for results: stdout."""

from __future__ import annotations

from rich.console import Console

_UNLIMITED = 100_000  # columns: no table needs as many, and none is widened to fill them


def output_console() -> Console:
    """The console for results. Sentences are never wrapped, so that a path or a command in them can be copied.

    Tables fit the terminal; in a file or a pipe, which have no width, they are as wide as they need to be.
    """
    console = Console(highlight=False, soft_wrap=True)
    if not console.file.isatty():
        console.width = _UNLIMITED
    return console
