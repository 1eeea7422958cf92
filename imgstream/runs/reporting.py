"""The report of a run: finds what it shows, and writes the page."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from imgstream.index import ImageIndex, Source, open_index
from imgstream.index.corrections import Corrections
from imgstream.prediction.readers import is_predictions, read_predictions
from imgstream.progress import counting
from imgstream.report.measure import Measurement
from imgstream.report.plane import Projection
from imgstream.report.report import TrainedRun, write_report
from imgstream.runs import plots
from imgstream.runs.folder import RunFolder
from imgstream.runs.sides import own_images
from imgstream.runs.tensorboard import write_pictures

_IN_TENSORBOARD = 12
"""Images of the highest loss."""


def report_run(
    run: TrainedRun,
    folder: RunFolder,
    source: Source | None,
    out: str | os.PathLike[str] | None,
    *,
    root: str | os.PathLike[str] | None = None,
    corrections: str | os.PathLike[str] | None = None,
    quick: bool = False,
    most: int | None = None,
    until: float | None = None,
    workers: int | None = None,
    progress: bool | None = None,
    projection: Projection = "pca",
) -> Path:
    """Write the report of `run` and return its path: see Run.report. `quick`, `most`, `until`: see report_page; with `quick`, as
    at the end of a training, TensorBoard gets pictures too.
    """
    target, called = folder.report if out is None else Path(out), title(folder.path)

    def stage(what: str, total: int | None) -> Any:
        return counting(what, total, progress)

    of: dict[str, Any] = {
        "run": run,
        "quick": quick,
        "most": most,
        "until": until,
        "workers": workers,
        "stage": stage,
        "projection": projection,
    }
    if isinstance(source, str | os.PathLike) and is_predictions(source):
        rows = read_predictions(source)
        write_report(target, **of, rows=rows, root="" if root is None else os.fspath(root), name=f"{called}: {title(source)}")
        return target
    if source is None:
        parts, notes = own_images(folder)

        def observe(measured: Measurement) -> None:
            if quick and len(measured.labelled) and (until is None or time.monotonic() < until):
                drawn = {"confusion": plots.confusion(measured), "highest loss": plots.top_losses(run, measured, _IN_TENSORBOARD)}
                write_pictures(folder, {name: figure.png() for name, figure in drawn.items()}, run.state.get("steps", 0))

        write_report(target, **of, observe=observe, parts=parts, notes=notes, name=called)
        return target
    index = (
        source if isinstance(source, ImageIndex) else open_index(source, corrections=corrections, multi_label=run.thresholds is not None)
    )
    fine = frozenset() if corrections is None else Corrections.read(corrections).fine
    on = os.fsdecode(source) if isinstance(source, str | bytes | os.PathLike) else index.root
    write_report(target, **of, index=index, fine=fine, name=f"{called} on {title(on)}", measured_on=on)
    return target


def title(path: str | bytes | os.PathLike[str]) -> str:
    """What a folder or file is called on a page: the last part of its path."""
    text = os.fsdecode(path)
    return os.path.basename(os.path.normpath(text)) or text
