"""The geometry of a sample: box → reduction → window in whole pixels, the same for every decoder and both pipelines.

All of it is float64 and pure Python: a plan takes microseconds and is made before a byte is decoded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from imgstream.spec import Fit

REDUCTIONS = (8, 4, 2)


class Box(NamedTuple):
    """A rectangle in oriented full-size pixels: left, top, width, height."""

    x: float
    y: float
    width: float
    height: float


class Plan(NamedTuple):
    """How one image becomes (out_height, out_width) pixels, and where they are placed in the sample."""

    reduction: int  # 1, 2, 4 or 8: decode at 1/reduction, ceil(n / reduction) pixels a side
    x: int  # window in the oriented, reduced image, whole pixels
    y: int
    width: int
    height: int
    out_width: int  # size that the window is resized to
    out_height: int
    pad_left: int  # where the resized window lies in the target; not 0 only with fit="pad"
    pad_top: int


def fit_box(width: int, height: int, fit: Fit, target_width: int, target_height: int) -> Box:
    """The box that `fit` takes of an oriented image of width × height pixels."""
    if fit != "crop":
        return Box(0.0, 0.0, float(width), float(height))
    aspect = target_width / target_height
    box_width = min(float(width), height * aspect)
    box_height = min(float(height), width / aspect)
    return Box((width - box_width) / 2, (height - box_height) / 2, box_width, box_height)


def make_plan(
    width: int,
    height: int,
    fit: Fit,
    target_width: int,
    target_height: int,
    box: Box | None = None,
    reductions: Sequence[int] = REDUCTIONS,
) -> Plan:
    """The plan for an oriented image of width × height pixels; `box`, drawn by an augmentation, replaces that of `fit`.

    Such a box fills the target: padding is only for whole images. `reductions`, largest first, are those that the decoder can do besides 1.
    """
    out_width, out_height = target_width, target_height
    if fit == "pad" and box is None:
        ratio = min(target_width / width, target_height / height)
        out_width = min(target_width, max(1, _round(width * ratio)))
        out_height = min(target_height, max(1, _round(height * ratio)))
    if box is None:
        box = fit_box(width, height, fit, target_width, target_height)
    reduction = 1
    for r in reductions:
        if box.width / r >= out_width and box.height / r >= out_height:
            reduction = r
            break
    x, window_width = _window(box.x, box.width, reduction, width)
    y, window_height = _window(box.y, box.height, reduction, height)
    return Plan(
        reduction,
        x,
        y,
        window_width,
        window_height,
        out_width,
        out_height,
        (target_width - out_width) // 2,
        (target_height - out_height) // 2,
    )


def reduced_size(width: int, height: int, target_width: int, target_height: int, margin: float) -> tuple[int, int, int]:
    """reduction, width, height at which an oriented image of width × height pixels just covers `margin` times the target.

    The reduction is the largest that covers that size; a smaller image keeps its own size.
    """
    scale = max(margin * target_width / width, margin * target_height / height)
    if scale >= 1:
        return 1, width, height
    out_width, out_height = max(1, _round(width * scale)), max(1, _round(height * scale))
    reduction = next((r for r in REDUCTIONS if width / r >= out_width and height / r >= out_height), 1)
    return reduction, out_width, out_height


def _window(start: float, length: float, reduction: int, full: int) -> tuple[int, int]:
    """One axis of the box / reduction, rounded to whole pixels inside the reduced image, at least one."""
    reduced = -(-full // reduction)
    first = min(max(_round(start / reduction), 0), reduced - 1)
    last = min(max(_round((start + length) / reduction), first + 1), reduced)
    return first, last - first


def _round(value: float) -> int:
    """Round half up, so that a centred box keeps its size; round() would take 62.5 down and 437.5 up."""
    return math.floor(value + 0.5)
