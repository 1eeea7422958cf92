"""Figures of a run for notebooks, by the same charts as its report."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from imgstream.errors import RunError
from imgstream.index import Source, open_index
from imgstream.report.charts.figure import Chart, chart
from imgstream.report.charts.images import draw_grid
from imgstream.report.charts.quality import MOST_NAMED, draw_confusion, draw_map
from imgstream.report.charts.training import draw_accuracy, draw_loss
from imgstream.report.measure import Measurement, measure, without_advice
from imgstream.report.plane import Projection, check_projection, plane_of
from imgstream.report.report import TrainedRun
from imgstream.report.sections.projection import colours_of
from imgstream.report.sections.training import history_of
from imgstream.report.statistics import confused_pairs, counts_between
from imgstream.runs.folder import RunFolder
from imgstream.runs.sides import own_images
from imgstream.stream import Stream
from imgstream.wording import printable

_SIDE = 160


def history(folder: RunFolder) -> Chart:
    """Loss and accuracy by step. Raises RunError for a run without a history."""
    rows = history_of(folder.path)
    if not rows:
        raise RunError(f"{folder.path} has no history: {folder.history.name} is missing, or holds no line")
    return chart(lambda axes: draw_loss(axes, rows), lambda axes: draw_accuracy(axes, rows))


def measured(run: TrainedRun, folder: RunFolder, source: Source | None, workers: int | None) -> Measurement:
    """The run measured on `source`, or on the images that it was validated on. Raises RunError where these cannot be listed, or none of
    the images could be read.
    """
    if source is None:
        parts, notes = own_images(folder)
        if "val" not in parts:
            raise RunError(f"{' '.join(notes)}. Give the images")
        index = parts["val"]
    else:
        index = open_index(source)
    if run.thresholds is not None:
        raise RunError(f"{run.path} gives an image several labels: run.report() and run.evaluate(…) show how good it is")
    with without_advice():
        found = measure(run.model, run.class_names, run.spec, run.temperature, index, workers=workers)
    if not found.good.any():
        reasons = ", ".join(f"{len(at):,} {reason}" for reason, at in found.bad().items())
        raise RunError(f"none of the {len(index):,} images under {index.root} could be read ({reasons}): give the folder where they are")
    return found


def confusion(found: Measurement) -> Chart:
    """The confusion matrix, of the most confused classes if there are many."""
    rows = found.rows[found.labelled]
    chosen = np.unique(np.concatenate([rows["label"], rows["predicted"]])).tolist()
    if len(chosen) > MOST_NAMED:
        pairs = confused_pairs(rows["label"], rows["predicted"], MOST_NAMED)
        chosen = sorted(list(dict.fromkeys(k for true, other, _ in pairs for k in (true, other)))[:MOST_NAMED])
    counts = counts_between(rows["label"], rows["predicted"], chosen)
    side = min(9.0, 2.6 + 0.42 * len(chosen))
    return chart(lambda axes: draw_confusion(axes, counts, [printable(found.class_names[k]) for k in chosen]), size=(side, side))


def top_losses(run: TrainedRun, found: Measurement, n: int) -> Chart:
    """The `n` images whose label has the lowest score."""
    at = found.labelled
    at = at[np.argsort(found.rows["label_score"][at], kind="stable")[:n]]
    shown = dataclasses.replace(run.spec, size=(_SIDE, _SIDE), scale="raw", channels=3)
    images, titles, wrong = [], [], []
    for batch in Stream(found.index.take(at), shown, batch_size=max(1, min(n, 32)), dtype="uint8").traced_batches():
        for position, image in zip(batch.positions.tolist(), batch.images, strict=True):
            row = found.rows[at[position]]
            label, predicted = found.class_names[row["label"]], found.class_names[row["predicted"]]
            images.append(image)
            loss = -np.log(max(float(row["label_score"]), 1e-12))
            titles.append(f"{printable(label)} → {printable(predicted)}\nloss {loss:.2f}, score {row['score']:.2f}")
            wrong.append(label != predicted)
    return draw_grid(images, titles, wrong)


def projection(found: Measurement, by: Projection) -> Chart:
    """The features in two dimensions, coloured by class. Raises RunError for a model that has none, and as check_projection does."""
    check_projection(by)
    if len(found.feature_rows) < 3 or not found.features.shape[1]:
        raise RunError("there is no map: the model has no vector of features, or there are fewer than three images")
    plane = plane_of(found.features, by)
    classes, wrong = colours_of(found.rows[found.feature_rows[: len(plane)]])
    return chart(lambda axes: draw_map(axes, plane, classes, wrong, found.class_names), size=(7.0, 5.0))


def facts(run: Any) -> list[tuple[str, str]]:
    """What a notebook shows of a run: (name, value)."""
    state, metrics = run.state, run.metrics
    height, width = run.spec.size
    found = [
        ("model", f"{state.get('model', '?')}, {height} × {width}"),
        ("classes", f"{len(run.class_names):,}: {', '.join(run.class_names[:8])}"),
    ]
    measure = "mAP" if "mAP" in metrics else "accuracy"
    if isinstance(metrics.get(measure), float):
        found.append((f"validation {measure}", f"{100 * metrics[measure]:.2f} % of {metrics.get('images', 0):,} images"))
    for name, key, unit in (("state", "state", ""), ("steps", "steps", ""), ("trained for", "seconds", " s"), ("created", "created", "")):
        if key in state:
            found.append((name, f"{state[key]}{unit}"))
    return found
