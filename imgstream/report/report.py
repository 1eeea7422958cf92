"""Puts a page together: which sections there are, what each is made of, and the figures at the top."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from imgstream.augment import from_json
from imgstream.check import examine
from imgstream.decode.depth import depth_of
from imgstream.errors import AugmentError, ImgstreamError, RunError
from imgstream.evaluation.drift import Profile, compare
from imgstream.files.atomic import write_text
from imgstream.index import ImageIndex, kind_of, open_index
from imgstream.prediction.readers import PredictedRow
from imgstream.prediction.rows import shown
from imgstream.report.charts.quality import PALETTE
from imgstream.report.measure import Measurement, measure, without_advice
from imgstream.report.page import render
from imgstream.report.plane import Projection, check_projection
from imgstream.report.sections import data, images
from imgstream.report.sections.labels import labels, measure_labels
from imgstream.report.sections.prediction import Predictions, Sampled, place_of
from imgstream.report.sections.projection import projection as projection_section
from imgstream.report.sections.quality import cells, quality
from imgstream.report.sections.training import training
from imgstream.report.thumbnails import SIDE
from imgstream.report.tiles import Tile, exact_of, plain_tiles, scored_tiles
from imgstream.spec import SampleSpec
from imgstream.versions import versions

Stage = Callable[[str, int | None], contextlib.AbstractContextManager[Callable[[int], None]]]
"""(name of the stage, number of items) -> a context manager, which gives a function that is called with the number done so far."""


class TrainedRun(Protocol):
    """What a report wants of a run."""

    state: dict[str, Any]
    class_names: list[str]
    spec: SampleSpec
    temperature: float
    thresholds: np.ndarray | None

    @property
    def path(self) -> str:
        """The run folder."""

    @property
    def model(self) -> Any:
        """The Keras model, which gives logits."""

    @property
    def profile(self) -> Profile | None:
        """Statistics of the images that it was trained on."""


def write_report(out: str | os.PathLike[str], **of: Any) -> None:
    """Write a page to `out`, whole or not at all; `of`: arguments of report_page. Raises what that raises, and OutputError."""
    write_text(out, report_page(**of))


def report_page(
    *,
    run: TrainedRun | None = None,
    index: ImageIndex | None = None,
    parts: Mapping[str, ImageIndex] | None = None,
    rows: Iterable[PredictedRow] | None = None,
    root: str = "",
    name: str = "",
    measured_on: str = "",
    notes: Sequence[str] = (),
    fine: frozenset[bytes] = frozenset(),
    trained_on: np.ndarray | None = None,
    quick: bool = False,
    most: int | None = None,
    until: float | None = None,
    workers: int | None = None,
    stage: Stage | None = None,
    observe: Callable[[Measurement], None] | None = None,
    projection: Projection = "pca",
) -> str:
    """The page of a folder (`index`), of a run, of a run on a folder, or of predictions (`rows`), as HTML.

    `parts`: the run's own images, as all, train and val; without an `index`, it is val that the run is measured on. `root`: the folder
    that the rows' paths are relative to, "" where it is not known. `name`: the title; `measured_on`: how the images are called that a
    run is measured on. `notes`: what is to be told beside. `fine`: paths whose labels a person found to be right. `trained_on`:
    positions in `index` of images that the run was trained on, int64 (m,). `quick` leaves out what reads every file's header; `most`,
    `until`: see measure. `observe` is called with what a run was measured to be. `projection`: how the map is made.

    Raises RunError when the model cannot be loaded, OptionError when the projection cannot be made.
    """
    check_projection(projection)
    stage, began = stage or _silent, time.perf_counter()
    parts = parts or {}
    page: dict[str, Any] = dict.fromkeys(("data", "training", "quality", "labels", "kinds", "cells", "map", "prediction"))
    page |= {
        "name": name,
        "run": run,
        "palette": PALETTE,
        "classes": [],
        "several": False,
        "root": root,
        "measured": None,
        "notes": list(notes),
    }
    page["measured_on"] = measured_on or "its own validation"
    if run is not None:
        page["training"] = training(Path(run.path), run.state)
        page["classes"] = run.class_names
    on = index if index is not None else parts.get("val")
    if rows is not None:
        page["prediction"] = _predicted_rows(rows, root, run, workers, stage)
    elif run is not None and run.thresholds is not None and on is not None and len(on):
        with without_advice():
            page |= _measured_labels(run, run.thresholds, on, most, until, workers, stage)
    elif run is not None and on is not None and len(on):
        with without_advice():
            page |= _measured(run, on, fine, trained_on, most, until, workers, stage, observe, projection)
    listed = index if index is not None else parts.get("all")
    if rows is None and listed is not None and len(listed):
        page["data"] = _data(listed, {} if index is not None else parts, run, quick, workers, stage)
        page["classes"] = sorted({*page["classes"], *listed.class_names})
        page["root"] = listed.root
    page |= {
        "made": time.strftime("%Y-%m-%d %H:%M", time.localtime()),
        "seconds": time.perf_counter() - began,
        "version": versions("imgstream").get("imgstream", ""),
    }
    return render(**page)


def _measured(
    run: TrainedRun,
    index: ImageIndex,
    fine: frozenset[bytes],
    trained_on: np.ndarray | None,
    most: int | None,
    until: float | None,
    workers: int | None,
    stage: Stage,
    observe: Callable[[Measurement], None] | None,
    by: Projection,
) -> dict[str, Any]:
    model = run.model
    with stage("Measuring", min(len(index), most or len(index))) as done:
        measured = measure(model, run.class_names, run.spec, run.temperature, index, most=most, until=until, workers=workers, progress=done)
    if observe is not None:
        observe(measured)
    found: dict[str, Any] = {"measured": _told(measured), "map": projection_section(measured, by, trained_on)}
    has_labels = bool(index.class_names) and len(measured.labelled) > 0
    kinds = images.kinds(measured, fine) if has_labels else []
    of_cells = cells(measured) if has_labels else {}
    found["quality"] = quality(measured, trained_on) if has_labels else None
    wanted = {at for kind in kinds for at in kind.positions} | {at for each in of_cells.values() for at in each}
    with stage("Looking at images", None):
        tiles = scored_tiles(model, run.temperature, run.spec, measured, wanted, side=SIDE, workers=workers, until=until)
    found["kinds"] = [(kind, [tiles[at] for at in kind.positions]) for kind in kinds] or None
    found["cells"] = [
        (f"cell-{true}-{other}", run.class_names[true], run.class_names[other], [tiles[at] for at in each])
        for (true, other), each in of_cells.items()
    ]
    if not has_labels:
        found["prediction"] = _predicted(measured, run, workers)
    with contextlib.suppress(RunError):
        found["measured"]["drift"] = compare(run.profile, measured.profile) if run.profile is not None else []
    return found


def _measured_labels(
    run: TrainedRun,
    thresholds: np.ndarray,
    index: ImageIndex,
    most: int | None,
    until: float | None,
    workers: int | None,
    stage: Stage,
) -> dict[str, Any]:
    how: dict[str, Any] = {"most": most, "until": until, "workers": workers}
    with stage("Measuring", min(len(index), most or len(index))) as done:
        found = measure_labels(run.model, run.class_names, run.spec, thresholds, index, progress=done, **how)
    told = {"seen": found.seen, "of": len(index), "bad": found.bad, "bad_count": sum(count for _, count, _ in found.bad)}
    told |= {"unlabelled": found.unlabelled.rows, "drift": []}
    with stage("Looking at images", None):
        values = labels(found, thresholds, run.spec, workers)
    only_predicted = values is None and found.unlabelled.rows
    prediction = _with_tiles(found.unlabelled, index.root, run.spec, workers) if only_predicted else None
    return {"measured": told, "labels": values, "prediction": prediction, "several": True}


def _told(measured: Measurement) -> dict[str, Any]:
    bad = [(reason, len(at), [shown(measured.index.relative_bytes(i)) for i in at[:5].tolist()]) for reason, at in measured.bad().items()]
    return {
        "seen": measured.seen,
        "of": len(measured.index),
        "bad": bad,
        "bad_count": sum(count for _, count, _ in bad),
        "unlabelled": int((measured.good & (measured.rows["label"] < 0)).sum()),
        "other_classes": measured.other_classes,
        "drift": [],
    }


def _predicted(measured: Measurement, run: TrainedRun, workers: int | None) -> dict[str, Any]:
    """The section for images without labels."""
    found, index = Predictions(), measured.index
    reasons = {int(i): reason for reason, at in measured.bad().items() for i in at}
    for i in (measured.rows["state"] > 0).nonzero()[0].tolist():
        row, path = measured.rows[i], index.relative_bytes(i)
        if i in reasons:
            found.add(path, None, None, reasons[i])
        else:
            found.add(path, run.class_names[row["predicted"]], float(row["score"]), None)
    return _with_tiles(found, index.root, run.spec, workers)


def _predicted_rows(rows: Iterable[PredictedRow], root: str, run: TrainedRun | None, workers: int | None, stage: Stage) -> dict[str, Any]:
    found = Predictions()
    with stage("Reading predictions", None) as done:
        for number, row in enumerate(rows, 1):
            found.add(row.path, row.label, row.score, row.error)
            if number % 1000 == 0:
                done(number)
    return _with_tiles(found, root, SampleSpec() if run is None else run.spec, workers)


def _with_tiles(found: Predictions, root: str, spec: SampleSpec, workers: int | None) -> dict[str, Any]:
    groups = found.groups()
    rows = [row for *_, some in groups for row in some]
    tiles = _tiles_of_rows(rows, root, spec, workers) if rows else {}
    numbers = iter(range(len(rows)))
    return found.values() | {
        "groups": [(what, title, count, [_as_row(tiles[next(numbers)], row) for row in some]) for what, title, count, some in groups]
    }


def _tiles_of_rows(rows: Sequence[Sampled], root: str, spec: SampleSpec, workers: int | None) -> dict[int, Tile]:
    """A tile of each row, by its number. What lies in archives or shards is found by listing them; a file by its path alone."""
    if root and _is_shards(root):
        with contextlib.suppress(ImgstreamError):
            listed = open_index(root)
            at = {listed.relative_bytes(i): i for i in listed.positions_of(row.path for row in rows).tolist()}
            found = plain_tiles(listed, at.values(), spec, side=SIDE, workers=workers)
            gone = f"missing: it is not in {shown(os.fsencode(root))}"
            return {
                number: found[at[row.path]] if row.path in at else Tile(path=shown(row.path), exact=exact_of(row.path), error=gone)
                for number, row in enumerate(rows)
            }
    index = ImageIndex.from_paths([place_of(root, row.path) for row in rows])
    return plain_tiles(index, range(len(rows)), spec, side=SIDE, workers=workers, names={at: row.path for at, row in enumerate(rows)})


def _is_shards(root: str) -> bool:
    try:
        return kind_of(root) == "shards"
    except ImgstreamError:  # it is gone: each image is told as missing
        return False


def _as_row(tile: Tile, row: Sampled) -> Tile:
    bars = () if row.label is None or row.score is None else ((row.label, row.score),)
    return dataclasses.replace(tile, predicted=row.label or None, bars=bars, error=row.error or tile.error)


def _data(
    index: ImageIndex, parts: Mapping[str, ImageIndex], run: TrainedRun | None, quick: bool, workers: int | None, stage: Stage
) -> dict[str, Any]:
    found: dict[str, Any] = data.classes(index, {name: part for name, part in parts.items() if name != "all"})
    found["faults"] = None
    if not quick:
        sides = {name: parts[name] for name in ("train", "val") if name in parts}
        findings = examine(index, workers=workers, stage=stage, sides=sides or None)
        found["faults"] = data.faults(findings, workers)
    found["profile"] = []
    if run is not None and parts:
        with contextlib.suppress(RunError):
            found["profile"] = data.profile_rows(run.profile) if run.profile is not None else []
    with stage("Drawing contact sheets", None):
        found["sheets"], found["more_sheets"] = data.sheets(index, workers)
        found["augmentation"], found["augment"] = [], None
        augment = _augment_of(run)
        if augment is not None:
            spec = SampleSpec(size=(96, 96), levels=depth_of(index).levels) if run is None else run.spec
            found["augment"] = getattr(augment, "name", str(augment))
            found["augmentation"] = data.augmentation(index, spec, augment, workers)
    return found


def _augment_of(run: TrainedRun | None) -> Any:
    """The run's augmentation, or what train would take. None for one that is code, which is never run here."""
    if run is None:
        return "standard"
    try:
        return from_json(json.loads((Path(run.path) / "settings.json").read_text(encoding="utf-8"))["augment"])
    except (OSError, ValueError, KeyError, TypeError, AugmentError):
        return None


def _silent(what: str, total: int | None) -> contextlib.AbstractContextManager[Callable[[int], None]]:
    return contextlib.nullcontext(lambda done: None)
