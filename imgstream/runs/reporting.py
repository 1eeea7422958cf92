"""The report of a run: finds what it shows, and writes the page."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imgstream.errors import ImgstreamError
from imgstream.index import ImageIndex, Source, open_index
from imgstream.index.corrections import Corrections
from imgstream.index.split.groups import groups
from imgstream.prediction.readers import is_predictions, read_predictions
from imgstream.progress import counting
from imgstream.report.report import TrainedRun, write_report
from imgstream.runs.folder import RunFolder
from imgstream.runs.sides import sides


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
) -> Path:
    """Write the report of `run` and return its path: see Run.report. `quick`, `most`, `until`: see report_page."""
    target, called = folder.report if out is None else Path(out), title(folder.path)

    def stage(what: str, total: int | None) -> Any:
        return counting(what, total, progress)

    of: dict[str, Any] = {"run": run, "quick": quick, "most": most, "until": until, "workers": workers, "stage": stage}
    if isinstance(source, str | os.PathLike) and is_predictions(source):
        rows = read_predictions(source)
        write_report(target, **of, rows=rows, root="" if root is None else os.fspath(root), name=f"{called}: {title(source)}")
        return target
    if source is None:
        parts, notes = own_images(folder)
        write_report(target, **of, parts=parts, notes=notes, name=called)
        return target
    index = source if isinstance(source, ImageIndex) else open_index(source, corrections=corrections)
    fine = frozenset() if corrections is None else Corrections.read(corrections).fine
    on = os.fsdecode(source) if isinstance(source, str | bytes | os.PathLike) else index.root
    write_report(target, **of, index=index, fine=fine, name=f"{called} on {title(on)}", measured_on=on)
    return target


def title(path: str | bytes | os.PathLike[str]) -> str:
    """What a folder or file is called on a page: the last part of its path."""
    text = os.fsdecode(path)
    return os.path.basename(os.path.normpath(text)) or text


def own_images(folder: RunFolder) -> tuple[Mapping[str, ImageIndex], list[str]]:
    """The images of the run as {"all": …, "train": …, "val": …}, as far as they can be listed, and why others cannot."""
    found: dict[str, ImageIndex] = {}
    try:
        found["all"] = index = ImageIndex.load(folder.index)
        settings = folder.read_json("settings.json")
        fold = settings.get("fold")
        k, _, n = (fold or "").partition("/")
        found["train"], found["val"] = sides(
            index,
            val=settings.get("val"),
            val_share=settings.get("val_share", 0.2),
            fold=(int(k) - 1, int(n)) if fold else None,
            seed=settings.get("seed", 0),
            group=groups(settings["group"]) if settings.get("group") else None,
            label_pattern=settings.get("label_pattern"),
        )
    except (ImgstreamError, ValueError, TypeError) as error:
        return found, [f"The run's own images cannot all be listed: {error}"]
    return found, []
