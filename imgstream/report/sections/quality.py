"""How good the model is on labelled images."""

from __future__ import annotations

from typing import Any

import numpy as np

from imgstream.evaluation.calibration import expected_calibration_error
from imgstream.report.charts.figure import chart
from imgstream.report.charts.quality import draw_calibration, draw_coverage, draw_scores
from imgstream.report.charts.svg import inline_svg
from imgstream.report.measure import Measurement
from imgstream.report.statistics import calibration_bins, class_figures, confused_pairs, counts_between, coverage, wilson

MOST_CLASSES = 200
"""Rows of the table of classes."""
_MATRIX = 20
"""Classes of the confusion matrix: the most confused, if there are more."""
_PAIRS = 12
_OPENED = 40
"""Cells of the matrix that open to images."""
_IN_CELL = 8


def quality(measured: Measurement, trained_on: np.ndarray | None = None) -> dict[str, Any] | None:
    """The section's values; None where no labelled image could be measured. `trained_on`: positions of images that the model was trained
    on, int64 (m,), which are told apart.
    """
    at = measured.labelled
    if not len(at):
        return None
    rows, names = measured.rows[at], measured.class_names
    labels, predicted, scores = rows["label"], rows["predicted"], rows["score"]
    right = labels == predicted
    hits, n = int(right.sum()), len(at)
    learnt = np.isin(at, trained_on) if trained_on is not None else np.zeros(n, bool)
    figures = class_figures(labels, predicted, len(names))
    pairs = confused_pairs(labels, predicted, _OPENED)
    confidence, accuracy, counts = calibration_bins(scores, right)
    thresholds, kept, kept_accuracy = coverage(scores, right)
    edges = np.linspace(0, 1, 21)
    split = [np.histogram(scores[chosen & np.isfinite(scores)], edges)[0] for chosen in (right, ~right)]
    ece = expected_calibration_error(scores, right)
    weakest = sorted(figures, key=lambda each: each.recall)
    return {
        "n": n,
        "accuracy": hits / n,
        "interval": wilson(hits, n),
        "wrong": n - hits,
        "trained_on": _share_right(right, learnt),
        "new": _share_right(right, ~learnt),
        "classes": [(names[each.label], each) for each in (figures if len(figures) <= MOST_CLASSES else weakest[:MOST_CLASSES])],
        "class_count": len(figures),
        "macro_f1": float(np.mean([each.f1 for each in figures])),
        "weakest": (names[weakest[0].label], weakest[0]) if len(figures) > 1 else None,
        "pairs": [(names[true], names[other], count, true, other) for true, other, count in pairs[:_PAIRS]],
        "matrix": _matrix(labels, predicted, names, [label.label for label in figures], pairs),
        "ece": ece,
        "no_number": int((~np.isfinite(scores)).sum()),
        "thresholds": [
            {"at": float(t), "kept": float(k), "accuracy": None if np.isnan(a) else float(a)}
            for t, k, a in zip(thresholds, kept, kept_accuracy, strict=True)
        ],
        "calibration_table": [(float(c), float(a), int(k)) for c, a, k in zip(confidence, accuracy, counts, strict=True) if k],
        "calibration": inline_svg(
            chart(lambda axes: draw_calibration(axes, confidence, accuracy, counts)),
            "calibration",
            f"Calibration: how often predictions of a score are right. The expected calibration error is {100 * ece:.1f} %.",
        ),
        "coverage": inline_svg(
            chart(lambda axes: draw_coverage(axes, thresholds, kept, kept_accuracy)),
            "coverage",
            "The share of images kept and their accuracy, by --min-score; the same numbers are in the table below.",
        ),
        "scores": inline_svg(
            chart(lambda axes: draw_scores(axes, split[0], split[1], edges)), "scores", "Numbers of right and of wrong images by score."
        ),
    }


def _share_right(right: np.ndarray, chosen: np.ndarray) -> tuple[int, float | None]:
    """(number of the chosen, share of them that is right), the share None where there are none."""
    n = int(chosen.sum())
    return n, float(right[chosen].mean()) if n else None


def _matrix(
    labels: np.ndarray, predicted: np.ndarray, names: list[str], there: list[int], pairs: list[tuple[int, int, int]]
) -> dict[str, Any]:
    """The confusion matrix of all classes, or of those in the most frequent mistakes."""
    claimed = set(there) | set(np.unique(predicted).tolist())
    if len(claimed) <= _MATRIX:
        chosen = sorted(claimed)
    else:
        ordered = list(dict.fromkeys(label for true, other, _ in pairs for label in (true, other)))
        chosen = sorted([*ordered, *(label for label in there if label not in ordered)][:_MATRIX])
    counts = counts_between(labels, predicted, chosen)
    totals = np.bincount(labels, minlength=len(names))
    opened = {(true, other) for true, other, _ in pairs}
    return {
        "names": [names[label] for label in chosen],
        "all": len(chosen) == len(claimed),
        "of": len(claimed),
        "rows": [
            (
                names[true],
                int(totals[true]),
                [
                    {
                        "count": int(counts[i, j]),
                        "share": counts[i, j] / max(1, totals[true]),
                        "right": true == other,
                        "id": f"cell-{true}-{other}" if (true, other) in opened else None,
                    }
                    for j, other in enumerate(chosen)
                ],
            )
            for i, true in enumerate(chosen)
        ],
    }


def cells(measured: Measurement) -> dict[tuple[int, int], list[int]]:
    """Positions of images in the most frequent mistakes, by (true class, predicted class): the surest of each."""
    at = measured.labelled
    rows = measured.rows[at]
    found = {}
    for true, other, _ in confused_pairs(rows["label"], rows["predicted"], _OPENED):
        inside = np.flatnonzero((rows["label"] == true) & (rows["predicted"] == other))
        found[true, other] = at[inside[np.argsort(-rows["score"][inside], kind="stable")[:_IN_CELL]]].tolist()
    return found
