"""A figure in our style."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from matplotlib.figure import Figure

INK, MUTED, LINE, ACCENT, WARM, WASH = "#1d2226", "#626a70", "#dcdad4", "#0c6f66", "#b5502a", "#cfe3df"
"""Text and lines; axes; grid; what is measured, and what it is compared with; areas."""

Draw = Callable[[Any], None]
"""Draws on Matplotlib axes."""


class Chart(Figure):
    """A figure that notebooks show without pyplot."""

    def png(self) -> bytes:
        """The figure as a PNG file, on white."""
        file = io.BytesIO()
        self.savefig(file, format="png", dpi=110, facecolor="white")  # also on a dark page
        return file.getvalue()

    def _repr_png_(self) -> bytes:
        return self.png()


def chart(*draw: Draw, size: tuple[float, float] = (4.0, 2.8)) -> Chart:
    """A figure with axes side by side, one for each function; `size`: inches of each."""
    figure = Chart(figsize=(size[0] * len(draw), size[1]), layout="constrained")
    for number, each in enumerate(draw, 1):
        axes = figure.add_subplot(1, len(draw), number)
        style(axes)
        each(axes)
    return figure


def style(axes: Any) -> None:
    """Thin grey axes, a faint grid across, and no frame."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(LINE)
    axes.tick_params(colors=MUTED, labelsize=9.5, length=3, color=LINE)
    axes.xaxis.label.set(color=MUTED, size=9.5)
    axes.yaxis.label.set(color=MUTED, size=9.5)
    axes.grid(axis="y", color=LINE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.set_facecolor("none")
    axes.figure.patch.set_alpha(0)


def legend(axes: Any, **where: Any) -> None:
    """A legend without a frame."""
    axes.legend(frameon=False, fontsize=9.5, labelcolor=INK, handlelength=1.4, **where)
