"""The plot of `imgstream lr`: training loss by learning rate."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from imgstream.errors import OutputError
from imgstream.files.atomic import atomic_file, check_target

if TYPE_CHECKING:
    from imgstream.training.rate_finder import RateCurve

FORMATS = (".png", ".svg", ".pdf")


def check_picture(path: str | os.PathLike[str]) -> None:
    """Raise OutputError if a plot plainly cannot be written to `path`: to be called before the training. Creates nothing."""
    if Path(path).suffix.lower() not in FORMATS:
        raise OutputError(f"cannot draw into {os.fspath(path)!r}: give a name that ends in {', '.join(FORMATS)}")
    check_target(path)


def draw_rates(curve: RateCurve, path: str | os.PathLike[str]) -> None:
    """Plot loss against learning rate, with chance and the suggestion, if there is one, as .png, .svg or .pdf. Raises OutputError."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    check_picture(path)
    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(curve.rates, curve.losses, color="#1f6f8b", linewidth=2)
    if curve.suggestion is not None:
        axes.axvline(curve.suggestion, color="#c8553d", linestyle="--", label=f"suggested: {curve.suggestion:g}")
        axes.axvline(curve.lowest, color="#999999", linestyle=":", label=f"lowest loss: {curve.lowest:.2g}")
        axes.axvline(curve.limit, color="#999999", linestyle="-.", label=f"rises from {curve.limit:.2g}")
    axes.axhline(curve.chance, color="#dddddd", label=f"chance: {curve.chance:.2g}")
    axes.set(xscale="log", xlabel=f"learning rate (batches of {curve.batch_size})", ylabel="training loss, smoothed (nats)")
    axes.grid(alpha=0.3)
    axes.legend()
    with atomic_file(path) as file:
        figure.savefig(file, format=Path(path).suffix.lower()[1:], dpi=120)
