"""One file → one sample's pixels: read, plan, decode, crop, resize. Where contract 1's geometry meets the reference decoder."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable

import cv2
import numpy as np

from imgstream.decode.reference import Decoder
from imgstream.geometry import Box, Plan, make_plan
from imgstream.header import Header, read_header
from imgstream.source import FileReader
from imgstream.spec import SampleSpec

BoxOf = Callable[[int, int, int, int], Box]
"""(image width, image height, target width, target height) -> the box that an augmentation takes."""

LARGE_PIXELS = 32_000_000
_one_large_image = threading.Lock()


class SampleReader:
    """Reads samples by one spec. One object a thread: it owns the file buffer and the decoder's scratch, and reuses both."""

    def __init__(self, spec: SampleSpec) -> None:
        self._spec = spec
        self._reader = FileReader()
        self._decoder = Decoder()

    def read(self, path: bytes, out: np.ndarray, box_of: BoxOf | None = None) -> None:
        """Fill uint8 (height, width, channels) `out` from the file at `path`. Raises BadImage."""
        data, header = self._reader.read(path, self._spec.max_pixels)
        self._decode(data, header, out, box_of)

    def decode(self, data: bytes, out: np.ndarray) -> None:
        """Fill `out` from a file's bytes, without augmentation. Raises BadImage."""
        self._decode(memoryview(data), read_header(data), out, None)

    def _decode(self, data: memoryview, header: Header, out: np.ndarray, box_of: BoxOf | None) -> None:
        width, height = header.oriented
        target_height, target_width = self._spec.size
        box = box_of(width, height, target_width, target_height) if box_of is not None else None
        plan = make_plan(width, height, self._spec.fit, target_width, target_height, box)
        pixels = width * height // (plan.reduction**2 if header.kind == "jpeg" else 1)
        # The memory bound counts one large image in the whole process, however many threads there are.
        with _one_large_image if pixels > LARGE_PIXELS else contextlib.nullcontext():
            image = self._decoder.decode(data, header, plan.reduction, self._spec.channels)
            _place(image, plan, out)


def _place(image: np.ndarray, plan: Plan, out: np.ndarray) -> None:
    """Crop uint8 (h, w, C) `image` to the plan's window and resize it into its place in `out`; the rest of `out` becomes black."""
    window = image[plan.y : plan.y + plan.height, plan.x : plan.x + plan.width]
    target = out
    if (plan.out_height, plan.out_width) != out.shape[:2]:
        out[:] = 0
        target = out[plan.pad_top : plan.pad_top + plan.out_height, plan.pad_left : plan.pad_left + plan.out_width]
    if window.shape == target.shape:
        target[:] = window
    elif target.shape[2] == 1:  # OpenCV drops a channel axis of one
        cv2.resize(window[..., 0], (plan.out_width, plan.out_height), dst=target[..., 0], interpolation=cv2.INTER_LINEAR)
    else:
        cv2.resize(window, (plan.out_width, plan.out_height), dst=target, interpolation=cv2.INTER_LINEAR)
