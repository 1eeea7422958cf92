"""Charts of an evaluation, which keeps counts and no images: what `evaluate --plots` writes."""

from __future__ import annotations

import numpy as np

from imgstream.evaluation.evaluate import Evaluation
from imgstream.report.charts.figure import Chart, chart
from imgstream.report.charts.quality import MOST_NAMED, confusion_chart, draw_calibration, draw_coverage, draw_recall, draw_scores


def evaluation_charts(result: Evaluation) -> dict[str, Chart]:
    """Name → figure: confusion, classes, calibration, coverage and scores; {} where no image was evaluated."""
    counts, names = result.confusion.counts, result.confusion.class_names
    if not counts.any():
        return {}
    images, confidence, right = result.calibration.bins
    edges = np.linspace(0, 1, len(images) + 1)
    kept, kept_right = (np.cumsum(each[::-1])[::-1] for each in (images, right))
    shown = _most_confused(counts)
    totals, hits = counts.sum(axis=1), counts.diagonal()
    weakest = sorted(np.flatnonzero(totals).tolist(), key=lambda k: hits[k] / totals[k])[:MOST_NAMED]
    recall = [(names[k], float(hits[k] / totals[k])) for k in weakest]
    with np.errstate(invalid="ignore"):
        accuracy = kept_right / np.where(kept, kept, np.nan)
    return {
        "confusion": confusion_chart(counts[np.ix_(shown, shown)], [names[k] for k in shown]),
        "classes": chart(lambda axes: draw_recall(axes, recall), size=(5.0, 1.0 + 0.28 * len(recall))),
        "calibration": chart(
            lambda axes: draw_calibration(axes, confidence / np.maximum(images, 1), right / np.maximum(images, 1), images)
        ),
        "coverage": chart(lambda axes: draw_coverage(axes, edges[:-1], kept / max(1.0, kept[0]), accuracy)),
        "scores": chart(lambda axes: draw_scores(axes, right, images - right, edges)),
    }


def _most_confused(counts: np.ndarray) -> list[int]:
    """The classes with images or predictions; of more than there is room for, those of the most frequent mistakes."""
    there = np.flatnonzero(counts.any(axis=0) | counts.any(axis=1)).tolist()
    if len(there) <= MOST_NAMED:
        return there
    labels, predicted = np.nonzero(counts)
    wrong = labels != predicted
    labels, predicted = labels[wrong], predicted[wrong]
    order = np.argsort(-counts[labels, predicted], kind="stable")[:MOST_NAMED]
    confused = np.stack([labels[order], predicted[order]], axis=1).ravel().tolist()
    return sorted(list(dict.fromkeys([*confused, *there]))[:MOST_NAMED])
