"""Makes samples of images that are in memory already, with the same geometry as those of files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count, islice

import cv2
import numpy as np

from imgstream.decode.levels import at_levels
from imgstream.decode.sample import place, plan_sample
from imgstream.errors import SpecError
from imgstream.spec import SampleSpec
from imgstream.stream.batch import Batch


def array_batches(images: Iterable[np.ndarray], spec: SampleSpec, batch_size: int) -> Iterator[Batch]:
    """Batches of images: uint8 (h, w), (h, w, 1), (h, w, 3) RGB or (h, w, 4) RGBA, of any sizes. Where the spec has
    levels, other integers and floats too. Positions count from 0; labels are -1. The batches hold pixels, of the spec's pixel_type.

    Raises SpecError for an array that is no image.
    """
    numbered = enumerate(images)
    for number in count():
        some = list(islice(numbered, batch_size))
        if not some:
            return
        pixels = np.zeros((len(some), *spec.shape), spec.pixel_type)
        for (at, image), out in zip(some, pixels, strict=True):
            upright = _pixels(np.asarray(image), spec, at)
            place(upright, plan_sample(spec, upright.shape[1], upright.shape[0], None, reductions=()), out)
        positions = np.array([at for at, _ in some], np.int64)
        yield Batch(number, pixels, np.full(len(some), -1, np.int32), positions, [])


def _pixels(image: np.ndarray, spec: SampleSpec, at: int) -> np.ndarray:
    """The image as uint8 or uint16 (h, w, spec.channels)."""
    if image.ndim == 2:
        image = image[..., None]
    is_deep = spec.levels is not None and image.dtype.kind in "uif" and image.dtype != np.uint8
    if not (is_deep or image.dtype == np.uint8) or image.ndim != 3 or image.shape[2] not in (1, 3, 4) or not image.size:
        types = "uint8" if spec.levels is None else "uint8, or integers or floats with the model's levels,"
        raise SpecError(
            f"image {at} is {image.dtype} {image.shape}; images in memory are {types} (h, w), (h, w, 1), (h, w, 3) RGB or (h, w, 4) RGBA"
        )
    image = np.ascontiguousarray(image[..., :3])
    if spec.levels is not None and is_deep:
        image = at_levels(image, spec.levels)
    if image.shape[2] == spec.channels:
        return image
    if spec.channels == 1:
        return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None]
    return np.repeat(image, 3, axis=2)
