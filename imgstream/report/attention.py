"""Where a model looked: class activation maps.

For a model that ends in global average pooling and a Dense layer, Grad-CAM (Selvaraju et al., 2017) is the class activation map (Zhou et
al., "Learning Deep Features for Discriminative Localization", 2016): the gradient of a class's logit is the same all over a map, namely
the class's weight. So it takes one forward pass and no gradients, on every backend.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from imgstream.models.features import head, maps
from imgstream.models.forward import Forward, Program
from imgstream.report.thumbnails import address, png
from imgstream.spec import SampleSpec

_TINT = (255, 106, 19)
_STRONGEST = 200
"""Alpha of the tint where a map is at its largest, of 255."""


class ClassMaps:
    """The maps of one model. Raises nothing for a model that has none: see `available`."""

    def __init__(self, model: Any, spec: SampleSpec, batch_size: int) -> None:
        found, last = maps(model), head(model)
        self.available = found is not None and last is not None
        """Whether the model ends in what this needs."""
        if found is not None and last is not None:
            self._forward, self._weights = Forward(Program(found, spec), batch_size), np.asarray(last.kernel, np.float32)

    def __call__(self, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
        """(B, H, W, C) images, as Program takes them, and integer (B,) classes → float32 (B, h, w), 0 to 1: what speaks for the class."""
        found = np.einsum("bhwd,bd->bhw", self._forward(images), self._weights.T[classes])
        found = np.maximum(found, 0)
        return found / np.maximum(found.max(axis=(1, 2), keepdims=True), 1e-12)


def overlay(found: np.ndarray) -> str:
    """A map, float32 (h, w), as the data: address of a picture to be laid over the image: tinted where the map is large."""
    tinted = np.empty((*found.shape, 4), np.uint8)
    tinted[..., :3], tinted[..., 3] = _TINT, np.round(_STRONGEST * found)
    return address(png(tinted), "png")
