"""Makes samples of images that are in memory already, with the same geometry as those of files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count, islice

import cv2
import numpy as np

from imgstream.decode.sample import place, plan_sample
from imgstream.errors import SpecError
from imgstream.spec import SampleSpec
from imgstream.stream.batch import Batch


def array_batches(images: Iterable[np.ndarray], spec: SampleSpec, batch_size: int) -> Iterator[Batch]:
    """Batches of images: uint8 (h, w), (h, w, 1), (h, w, 3) RGB or (h, w, 4) RGBA, of any sizes. Positions count from 0; labels are -1. The
    batches hold pixels, uint8.

    Raises SpecError for an array that is no image.
    """
    numbered = enumerate(images)
    for number in count():
        some = list(islice(numbered, batch_size))
        if not some:
            return
        pixels = np.zeros((len(some), *spec.shape), np.uint8)
        for (at, image), out in zip(some, pixels, strict=True):
            upright = _with_channels(np.asarray(image), spec.channels, at)
            place(upright, plan_sample(spec, upright.shape[1], upright.shape[0], None, reductions=()), out)
        positions = np.array([at for at, _ in some], np.int64)
        yield Batch(number, pixels, np.full(len(some), -1, np.int32), positions, [])


def _with_channels(image: np.ndarray, channels: int, at: int) -> np.ndarray:
    """The image as uint8 (h, w, channels)."""
    if image.ndim == 2:
        image = image[..., None]
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3, 4) or not image.size:
        raise SpecError(
            f"image {at} is {image.dtype} {image.shape}; images in memory are uint8 (h, w), (h, w, 1), (h, w, 3) RGB or (h, w, 4) RGBA"
        )
    image = np.ascontiguousarray(image[..., :3])
    if image.shape[2] == channels:
        return image
    if channels == 1:
        return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None]
    return np.repeat(image, 3, axis=2)
