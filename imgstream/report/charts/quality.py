"""Charts of how good predictions are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from imgstream.report.charts.figure import ACCENT, INK, LINE, MUTED, WARM, WASH, Chart, chart, legend
from imgstream.wording import printable

MOST_NAMED = 20
"""Classes whose names there is room for."""
PALETTE = ("#2f7f8f", "#d1783c", "#7a68b3", "#5c9448", "#c75d7c", "#a8892c", "#4573b8", "#8c6d5a", "#3f9c83", "#b35ab0")
"""Ten colours that can be told apart on white and on black; further classes repeat them."""


def draw_calibration(axes: Any, confidence: np.ndarray, accuracy: np.ndarray, counts: np.ndarray) -> None:
    """Accuracy by confidence, float (bins,) each; `counts`: images in each bin."""
    there = counts > 0
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle="--", label="scores that keep their word")
    axes.plot(confidence[there], accuracy[there], color=ACCENT, linewidth=1.6)
    sizes = 12 + 90 * np.sqrt(counts[there] / max(1, counts.max()))
    axes.scatter(confidence[there], accuracy[there], s=sizes, color=ACCENT, label="here; larger: more images", zorder=3)
    axes.set(xlabel="score of the predicted class", ylabel="share that is right", xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    legend(axes, loc="upper left")


def draw_coverage(axes: Any, thresholds: np.ndarray, coverage: np.ndarray, accuracy: np.ndarray) -> None:
    """Share of images kept, and accuracy of those, by --min-score: float (m,) each; NaN where none is left."""
    axes.fill_between(thresholds, 0, coverage, facecolor=WASH, edgecolor=ACCENT, linewidth=0.8, label="images kept")
    axes.plot(thresholds, accuracy, color=ACCENT, linewidth=2, label="right, of those kept")
    axes.set(xlabel="--min-score", xlim=(0, 1), ylim=(0, 1.02))
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    legend(axes, loc="lower left")


def draw_scores(axes: Any, right: np.ndarray, wrong: np.ndarray | None, edges: np.ndarray) -> None:
    """Numbers of images by score, int (bins,) in the bins between `edges`: right and wrong ones, or all with `wrong` None."""
    width = np.diff(edges) * 0.9
    middles = (edges[:-1] + edges[1:]) / 2
    axes.bar(middles, right, width, color=ACCENT, label=None if wrong is None else "right")
    if wrong is not None:
        axes.bar(middles, wrong, width, bottom=right, color=WARM, label="wrong")
        legend(axes, loc="upper left")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="score of the predicted class", ylabel="images", xlim=(float(edges[0]), 1))


def draw_confusion(axes: Any, counts: np.ndarray, names: Sequence[str]) -> None:
    """A confusion matrix, integer (K, K), true classes down: coloured by the share of the true class."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="GnBu", vmin=0, vmax=1)
    axes.grid(visible=False)
    if len(names) <= MOST_NAMED:
        axes.set_xticks(range(len(names)), names, rotation=40, ha="right", color=INK, parse_math=False)
        axes.set_yticks(range(len(names)), names, color=INK, parse_math=False)
        for (row, column), count in np.ndenumerate(counts):
            if count:
                axes.text(column, row, f"{count:,}", ha="center", va="center", size=8, color="white" if shares[row, column] > 0.6 else INK)
    axes.set(xlabel="predicted", ylabel="true")
    for spine in axes.spines.values():
        spine.set_color(LINE)


def confusion_chart(counts: np.ndarray, names: Sequence[str]) -> Chart:
    """A figure of a confusion matrix, integer (k, k), as large as its classes need."""
    side = min(9.0, 2.6 + 0.42 * len(names))
    return chart(lambda axes: draw_confusion(axes, counts, [printable(name) for name in names]), size=(side, side))


def draw_recall(axes: Any, classes: Sequence[tuple[str, float]]) -> None:
    """The share of each class that is found, 0 to 1, the first at the top."""
    axes.barh(range(len(classes)), [share for _, share in classes], color=ACCENT, height=0.7)
    axes.set_yticks(range(len(classes)), [printable(name) for name, _ in classes], color=INK, parse_math=False)
    axes.invert_yaxis()
    axes.grid(visible=False)
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    axes.set(xlabel="recall, the weakest first", xlim=(0, 1))


def draw_histogram(axes: Any, counts: np.ndarray, edges: np.ndarray, what: str, said: Callable[[float], str]) -> None:
    """Numbers of images in the bins between `edges`; `said` writes a value of the axis."""
    axes.bar((edges[:-1] + edges[1:]) / 2, counts, np.diff(edges) * 0.92, color=ACCENT)
    axes.xaxis.set_major_formatter(lambda value, _: said(value))
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel=what, ylabel="images")


def draw_map(axes: Any, plane: np.ndarray, classes: np.ndarray, wrong: np.ndarray, names: Sequence[str] | None = None) -> None:
    """Points, float (m, 2), coloured by integer (m,) `classes`; crosses for bool (m,) `wrong`. A legend with `names`."""
    tinted = np.array(PALETTE)[classes % len(PALETTE)]
    size = 9.0 if len(plane) < 10_000 else 2.0
    for chosen, how in ((~wrong, {"s": size}), (wrong, {"s": 3 * size, "marker": "X"})):
        axes.scatter(plane[chosen, 0], plane[chosen, 1], c=tinted[chosen], linewidths=0, **how)
    if names is not None:
        axes.set(xticks=[], yticks=[], xlabel="first direction", ylabel="second")
        for label in np.unique(classes).tolist()[: len(PALETTE)]:
            axes.scatter([], [], color=PALETTE[label % len(PALETTE)], label=names[label].replace("$", r"\$"))
        legend(axes, loc="best")
