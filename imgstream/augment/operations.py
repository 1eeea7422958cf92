"""The fourteen operations of AutoAugment on uint8 images, with OpenCV, and how strong each is at a level.

After Cubuk et al., "AutoAugment" (2019). Geometry fills with mid-grey, as there; the ranges are given by a table for each policy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import cv2
import numpy as np

FILL = 127
"""What geometry shows beyond the image."""

_LUMA = np.array([[0.299, 0.587, 0.114]])  # Rec. 601
_SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float64) / 13  # Pillow's ImageFilter.SMOOTH
_LEVELS = np.arange(256)

Ranges = Mapping[str, float]
"""Of each operation that has a strength, the greatest: of Shear its tangent, of Translate the share of the side, of Rotate degrees, of
Brightness, Color, Contrast and Sharpness how far the factor is from 1, of Posterize the bits that are lost, of Solarize the levels that are
inverted.
"""
STANDARD: Ranges = {
    "ShearX": 0.3, "ShearY": 0.3, "TranslateX": 0.45, "TranslateY": 0.45, "Rotate": 30.0, "Brightness": 0.9, "Color": 0.9,
    "Contrast": 0.9, "Sharpness": 0.9, "Posterize": 4.0, "Solarize": 256.0,
}  # fmt: skip
"""Of RandAugment and of AutoAugment's policies."""
WIDE: Ranges = {
    "ShearX": 0.99, "ShearY": 0.99, "TranslateX": 32 / 224, "TranslateY": 32 / 224, "Rotate": 135.0, "Brightness": 0.99, "Color": 0.99,
    "Contrast": 0.99, "Sharpness": 0.99, "Posterize": 6.0, "Solarize": 256.0,
}  # fmt: skip
"""Of TrivialAugment (Müller and Hutter, 2021)."""

OPERATIONS = ("Identity", "AutoContrast", "Equalize", *STANDARD)
"""Their names; the first three have no strength."""
_SIGNED = frozenset(STANDARD) - {"Posterize", "Solarize"}


def apply_operation(image: np.ndarray, scratch: np.ndarray, name: str, level: float, positive: bool, ranges: Ranges) -> None:
    """Change uint8 (H, W, C) `image` in place. `level`: 0 to 1, the share of the range; `positive`: the direction, where there are two.
    `scratch` is of the same shape, and overwritten. On grey images Color changes nothing.
    """
    strength = level * ranges.get(name, 0.0)
    if name in _SIGNED and not positive:
        strength = -strength
    if name in _GEOMETRY:
        _warp(image, scratch, _GEOMETRY[name](strength, *image.shape[:2]))
    elif name in _TABLES:
        _look_up(image, [_TABLES[name](image, strength)])
    elif name in ("AutoContrast", "Equalize"):
        tables = [_stretched(image[..., c]) if name == "AutoContrast" else _equalized(image[..., c]) for c in range(image.shape[2])]
        _look_up(image, tables)
    elif name == "Color" and image.shape[2] == 3:
        cv2.transform(image, (1 + strength) * np.eye(3) - strength * np.repeat(_LUMA, 3, axis=0), dst=scratch)
        image[:] = scratch
    elif name == "Sharpness":
        _sharpen(image, scratch, 1 + strength)


def _warp(image: np.ndarray, scratch: np.ndarray, matrix: np.ndarray) -> None:
    """`matrix`: float64 (2, 3), from the result's pixel centres to the source's."""
    height, width, channels = image.shape
    flat = (image[..., 0], scratch[..., 0]) if channels == 1 else (image, scratch)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    cv2.warpAffine(flat[0], matrix, (width, height), dst=flat[1], flags=flags, borderValue=(FILL,) * 3)
    image[:] = scratch


def _centred(linear: np.ndarray, height: int, width: int) -> np.ndarray:
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    return np.column_stack([linear, centre - linear @ centre])


def _rotation(degrees: float, height: int, width: int) -> np.ndarray:
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return _centred(np.array([[cos, -sin], [sin, cos]]), height, width)


_GEOMETRY: dict[str, Callable[[float, int, int], np.ndarray]] = {
    "ShearX": lambda s, height, width: _centred(np.array([[1, s], [0, 1]]), height, width),
    "ShearY": lambda s, height, width: _centred(np.array([[1, 0], [s, 1]]), height, width),
    "TranslateX": lambda s, height, width: np.array([[1, 0, s * width], [0, 1.0, 0]]),
    "TranslateY": lambda s, height, width: np.array([[1, 0, 0], [0, 1.0, s * height]]),
    "Rotate": _rotation,
}


def _blended(middle: float, factor: float) -> np.ndarray:
    return np.clip(np.rint(middle + factor * (_LEVELS - middle)), 0, 255).astype(np.uint8)


def _mean_grey(image: np.ndarray) -> float:
    mean = cv2.mean(image)[: image.shape[2]]
    return float(mean[0] if len(mean) == 1 else _LUMA[0] @ mean)


_TABLES: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "Brightness": lambda image, s: _blended(0, 1 + s),
    "Contrast": lambda image, s: _blended(round(_mean_grey(image)), 1 + s),
    "Posterize": lambda image, s: (_LEVELS & (0xFF << round(s))).astype(np.uint8),
    "Solarize": lambda image, s: np.where(_LEVELS + s < 256, _LEVELS, 255 - _LEVELS).astype(np.uint8),
}


def _look_up(image: np.ndarray, tables: list[np.ndarray]) -> None:
    """Replace each level by its entry in the channel's table, uint8 (256,), or in the one that there is for all."""
    table = tables[0] if len(tables) == 1 else np.stack(tables, axis=-1)[None]
    flat = image[..., 0] if image.shape[2] == 1 else image
    cv2.LUT(flat, table, dst=flat)


def _stretched(channel: np.ndarray) -> np.ndarray:
    """The table that maps the darkest level to 0 and the lightest to 255."""
    low, high, _, _ = cv2.minMaxLoc(channel)
    if high <= low:
        return _LEVELS.astype(np.uint8)
    return np.clip(np.rint((_LEVELS - low) * (255 / (high - low))), 0, 255).astype(np.uint8)


def _equalized(channel: np.ndarray) -> np.ndarray:
    """The table that spreads levels evenly, as Pillow's ImageOps.equalize."""
    counts = np.bincount(channel.reshape(-1), minlength=256)
    there = counts[counts > 0]
    step = (int(there.sum()) - int(there[-1])) // 255
    if len(there) < 2 or not step:
        return _LEVELS.astype(np.uint8)
    below = np.cumsum(counts) - counts
    return np.minimum((step // 2 + below) // step, 255).astype(np.uint8)


def _sharpen(image: np.ndarray, scratch: np.ndarray, factor: float) -> None:
    """Towards the smoothed image, or away from it; the border stays, as in Pillow."""
    height, width, channels = image.shape
    if min(height, width) < 3:
        return
    flat = (image[..., 0], scratch[..., 0]) if channels == 1 else (image, scratch)
    cv2.filter2D(flat[0], -1, _SMOOTH, dst=flat[1])
    inside = np.s_[1:-1, 1:-1]
    image[inside] = cv2.addWeighted(image[inside], factor, scratch[inside], 1 - factor, 0).reshape(image[inside].shape)
