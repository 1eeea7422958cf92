"""Makes 16-bit pixels of what deeper files store: a spec's levels say which values are black and white."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

Levels = tuple[float, float]

ToPixels = Callable[[np.ndarray, bool], np.ndarray]
"""(values as a file stores them, whether low ones are bright) → uint16 of the same shape."""

NEED_LEVELS = ", of which levels have to say what is black and white: --levels auto, or SampleSpec(levels=(low, high))"

WHITE = 65_535
EIGHT_BITS = np.uint16(257)
"""Times which a pixel of 8 bits is one of 16: 255 becomes 65,535."""

_BAND = 1 << 20  # values that are float64 at a time


def by_levels(levels: Levels | None) -> ToPixels | None:
    """`at_levels` for these; None for None."""
    return None if levels is None else lambda values, inverted: at_levels(values, levels, inverted)


def at_levels(values: np.ndarray, levels: Levels, inverted: bool = False) -> np.ndarray:
    """uint16 of the shape of `values`, which are integers or floats: `levels` are 0 and 65,535, what lies between them is rounded to
    nearest, and what lies beyond them is cut off. NaN becomes black. `inverted`: the low level is white.
    """
    if values.dtype == np.uint16:
        pixels: np.ndarray = _table(levels)[values]
    else:
        pixels = np.empty(values.shape, np.uint16)
        rows = max(1, _BAND // max(1, values[:1].size))
        for top in range(0, len(values), rows):
            band = values[top : top + rows].astype(np.float64)
            pixels[top : top + rows] = _scaled(np.nan_to_num(band, nan=levels[0], posinf=levels[1], neginf=levels[0]), levels)
    return WHITE - pixels if inverted else pixels


def _scaled(values: np.ndarray, levels: Levels) -> np.ndarray:
    low, high = levels
    return np.rint((np.clip(values, low, high) - low) * (WHITE / (high - low)))


@functools.lru_cache(maxsize=8)
def _table(levels: Levels) -> np.ndarray:
    """The pixel of each value of 16 bits: uint16 (65,536,)."""
    return _scaled(np.arange(WHITE + 1, dtype=np.float64), levels).astype(np.uint16)
