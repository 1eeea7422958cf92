"""The report at the end of `imgstream train`: within its time, and never a failure of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from imgstream.cli.clock import STARTED

if TYPE_CHECKING:
    from imgstream.runs import Run

_REPORTED = 2_000
"""Validation images that the report of a training is made of, at most."""
_SHORTEST_REPORT, _LONGEST_REPORT = 10.0, 60.0
"""Seconds, with --epochs."""
_DRAWING, _SHORTEST_MEASURING = 2.0, 0.5
"""Seconds: kept for drawing the page, and measured on for at least."""


def report_seconds(minutes: float) -> float:
    """The seconds of `minutes` that the report has: a twentieth, from 4 to 20."""
    return min(20.0, max(4.0, 60 * minutes / 20))


def report_at_end(run: Run, minutes: float | None) -> str | None:
    """Write the report of a run that has just ended, on a sample of its validation images, in a limited time; return its path. Whatever
    fails is told, and is no failure of the training.
    """
    from imgstream.progress import error_console
    from imgstream.runs.reporting import report_run
    from imgstream.terminal.tables import printable

    now = time.monotonic()
    seconds = min(_LONGEST_REPORT, max(_SHORTEST_REPORT, run.state["seconds"] / 20))
    until = now + seconds if minutes is None else STARTED + 60 * minutes - _DRAWING
    try:
        return str(report_run(run, run.folder, None, None, quick=True, most=_REPORTED, until=max(until, now + _SHORTEST_MEASURING)))
    except KeyboardInterrupt:
        why = "it was stopped"
    except Exception as error:  # a finished training is not to fail for a page
        why = str(error) or type(error).__name__
    error_console().print(
        f"imgstream: the report was not made: {printable(why)}. imgstream report {printable(run.path)} tries again",
        style="yellow",
        markup=False,
        soft_wrap=True,
    )
    return None
