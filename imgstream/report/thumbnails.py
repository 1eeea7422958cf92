"""Small pictures inside a page: images as JPEG, and as the data: addresses that a page holds in place of files."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np

from imgstream.index import ImageIndex
from imgstream.spec import SampleSpec
from imgstream.stream import Stream

SIDE = 152
"""Pixels of the longer side of an image on a page."""
_DOT = 48
"""Pixels of the longer side of an image on the map."""
_QUALITY = 78
_BATCH_SIZE = 16


def thumbnails(
    index: ImageIndex, positions: Sequence[int] | np.ndarray, spec: SampleSpec, *, side: int = SIDE, workers: int | None = None
) -> tuple[dict[int, str], dict[int, str]]:
    """The images at `positions` as data: addresses, cut as `spec` cuts them, and for the bad ones "reason: detail"; both by position."""
    wanted = np.unique(np.asarray(positions, np.int64))
    height, width = spec.size
    size = (max(1, round(side * height / max(spec.size))), max(1, round(side * width / max(spec.size))))
    shown = dataclasses.replace(spec, size=size, scale="raw", channels=3)
    found: dict[int, str] = {}
    bad: dict[int, str] = {}
    stream = Stream(index.take(wanted), shown, batch_size=_BATCH_SIZE, workers=workers, dtype="uint8")
    for batch in stream.traced_batches() if len(wanted) else ():
        for position, image in zip(wanted[batch.positions].tolist(), batch.images, strict=True):
            found[position] = address(jpeg(image), "jpeg")
        bad |= {int(wanted[position]): f"{error.reason}: {error.detail}" for position, error in batch.bad}
    return found, bad


def encoded(image: np.ndarray) -> bytes:
    """uint8 or uint16 (H, W, C), RGB or grey, as a JPEG file of at most 48 pixels."""
    if image.dtype == np.uint16:
        image = (image >> 8).astype(np.uint8)
    height, width = image.shape[:2]
    scale = _DOT / max(height, width)
    return jpeg(cv2.resize(image, (max(1, round(width * scale)), max(1, round(height * scale))), interpolation=cv2.INTER_AREA), 70)


def jpeg(image: np.ndarray, quality: int = _QUALITY) -> bytes:
    """uint8 (H, W, 3) or (H, W, 1) or (H, W), RGB or grey, as a JPEG file."""
    if image.ndim == 3 and image.shape[2] == 3:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def png(image: np.ndarray) -> bytes:
    """uint8 (H, W, 4), RGBA, as a PNG file."""
    return cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGBA2BGRA))[1].tobytes()


def address(data: bytes, kind: str) -> str:
    """A file of this kind of image as a data: address."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
