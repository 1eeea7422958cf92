"""Charts of a training, from its history and its record of memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from imgstream.report.charts.figure import ACCENT, INK, MUTED, WARM, legend

History = Sequence[Mapping[str, float]]
"""The lines of history.csv, one for each validation."""


def draw_loss(axes: Any, history: History) -> None:
    """Training and validation loss by step."""
    _pair(axes, history, "loss", "val_loss", "loss (nats)")


def draw_accuracy(axes: Any, history: History) -> None:
    """Training and validation accuracy by step; where an image may have several labels, the validation's mAP."""
    if history and "val_mAP" in history[-1]:
        _pair(axes, history, None, "val_mAP", "mAP")
    else:
        _pair(axes, history, "accuracy", "val_accuracy", "accuracy")
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")


def draw_rate(axes: Any, history: History) -> None:
    """The learning rate by step."""
    axes.plot(*_columns(history, "step", "learning_rate"), color=ACCENT, linewidth=2, marker="o", markersize=3)
    axes.set(xlabel="step", ylabel="learning rate")
    axes.set_ylim(bottom=0)


def draw_speed(axes: Any, history: History) -> None:
    """Images a second by step."""
    axes.plot(*_columns(history, "step", "images_per_second"), color=ACCENT, linewidth=2, marker="o", markersize=3)
    axes.set(xlabel="step", ylabel="images a second")
    axes.set_ylim(bottom=0)


def draw_memory(axes: Any, record: Sequence[tuple[float, float, float]], ceiling: float | None) -> None:
    """Memory over time: `record` is (seconds, allocated MB, mapped MB); `ceiling` in MB."""
    minutes = [row[0] / 60 for row in record]
    axes.plot(minutes, [row[1] for row in record], color=ACCENT, linewidth=1.6, label="allocated")
    axes.plot(minutes, [row[2] for row in record], color=MUTED, linewidth=1, linestyle=":", label="files in memory")
    if ceiling is not None:
        axes.axhline(ceiling, color=WARM, linewidth=1, linestyle="--", label="--memory")
    axes.set(xlabel="minutes", ylabel="MB")
    axes.set_ylim(bottom=0)
    legend(axes, loc="lower right")


def _pair(axes: Any, history: History, train: str | None, val: str, what: str) -> None:
    marked = {"marker": "o", "markersize": 3} if len(history) < 60 else {}
    if train is not None:
        axes.plot(*_columns(history, "step", train), color=MUTED, linewidth=1.4, linestyle="--", label="training (augmented)", **marked)
    axes.plot(*_columns(history, "step", val), color=ACCENT, linewidth=2, label="validation", **marked)
    axes.set(xlabel="step", ylabel=what)
    legend(axes)
    axes.tick_params(labelcolor=INK)


def _columns(history: History, *names: str) -> list[list[float]]:
    return [[row.get(name, float("nan")) for row in history] for name in names]
