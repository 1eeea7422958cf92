"""Reduces an image by area means, for every kind but JPEG, whose decoder reduces inside its inverse DCT."""

from __future__ import annotations

import cv2
import numpy as np


def shrink(pixels: np.ndarray, reduction: int) -> np.ndarray:
    """The mean of each reduction × reduction block of uint8 or uint16 (h, w) or (h, w, 3), rounded to nearest; size ceil(h / r),
    ceil(w / r).

    A block that is cut by the right or bottom edge is the mean of the pixels that are there.
    """
    if reduction == 1:
        return pixels
    height, width = pixels.shape[:2]
    rows, columns = height // reduction, width // reduction
    out = np.empty((-(-height // reduction), -(-width // reduction), *pixels.shape[2:]), pixels.dtype)
    whole = pixels[: rows * reduction, : columns * reduction]
    if whole.size:
        out[:rows, :columns] = cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA)
    right, bottom = pixels[:, columns * reduction :], pixels[rows * reduction :, : columns * reduction]
    if right.size:
        out[:, columns:] = _block_means(right, reduction, width - columns * reduction)
    if bottom.size:
        out[rows:, :columns] = _block_means(bottom, height - rows * reduction, reduction)
    return out


def _block_means(strip: np.ndarray, down: int, across: int) -> np.ndarray:
    """Means of down × across blocks; the last row of blocks may be cut."""
    starts = np.arange(0, strip.shape[0], down)
    sums = np.add.reduceat(strip, starts, axis=0, dtype=np.uint32)
    sums = np.add.reduceat(sums, np.arange(0, strip.shape[1], across), axis=1)
    counts = np.diff(starts, append=strip.shape[0]) * across
    means: np.ndarray = np.rint(sums / counts.reshape(-1, *[1] * (strip.ndim - 1)))
    return means.astype(strip.dtype)
