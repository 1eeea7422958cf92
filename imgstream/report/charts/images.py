"""A figure of images, side by side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from imgstream.report.charts.figure import ACCENT, INK, WARM, Chart

_ACROSS = 6
_INCHES = 1.7


def draw_grid(images: Sequence[np.ndarray], titles: Sequence[str], wrong: Sequence[bool] | None = None) -> Chart:
    """Images, uint8 (H, W, 3) or (H, W, 1) each, with titles below one another's rows; the titles of `wrong` ones in another colour."""
    across = max(1, min(_ACROSS, len(images)))
    down = -(-len(images) // across) or 1
    figure = Chart(figsize=(_INCHES * across, (_INCHES + 0.35) * down), layout="constrained")
    for number, (image, title) in enumerate(zip(images, titles, strict=True)):
        axes = figure.add_subplot(down, across, number + 1)
        axes.axis("off")
        axes.imshow(image.squeeze(-1) if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=255)
        colour = INK if wrong is None else WARM if wrong[number] else ACCENT
        axes.set_title(title, size=8, color=colour, parse_math=False)
    return figure
