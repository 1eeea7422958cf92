"""Reads images at their full size, for a resizing that is not imgstream's own."""

from __future__ import annotations

import numpy as np

from imgstream.decode.memory_budget import within_budget
from imgstream.decode.reference import Decoder
from imgstream.decode.sample import plan_sample
from imgstream.files.reader import FileReader
from imgstream.spec import SampleSpec


class WholeImageReader:
    """Reads the part of an image that a spec's fit takes, not yet reduced or resized. One object for each thread: it owns buffers."""

    def __init__(self, spec: SampleSpec, channels: int) -> None:
        """`channels`: 3, 1, or 4 for RGB and alpha, which is 255 where a file has none."""
        self._spec, self._channels = spec, channels
        self._reader, self._decoder = FileReader(), Decoder()

    def read(self, path: bytes) -> np.ndarray:
        """uint8 (h, w, channels), oriented, an array of its own. Raises BadImage."""
        data, header = self._reader.read(path, self._spec.max_pixels)
        plan = plan_sample(self._spec, *header.oriented, None, reductions=())
        with within_budget(header, len(data), 1):
            image = self._decoder.decode(data, header, 1, self._channels)
            return image[plan.y : plan.y + plan.height, plan.x : plan.x + plan.width].copy()
