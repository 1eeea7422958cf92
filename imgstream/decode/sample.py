"""Makes one sample's pixels of one file: read, plan, decode, crop, resize."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import cv2
import numpy as np

from imgstream.decode.levels import EIGHT_BITS, by_levels
from imgstream.decode.memory_budget import within_budget
from imgstream.decode.reference import Decoder, Scratch
from imgstream.files.reader import FileReader, FileVersion
from imgstream.formats.header import Header, read_header
from imgstream.geometry import REDUCTIONS, Box, Plan, make_plan, reduced_size
from imgstream.spec import SampleSpec

BoxOf = Callable[[int, int, int, int], Box]
"""(image width, image height, target width, target height) -> the box that an augmentation takes."""


class SampleReader:
    """Reads samples by one spec. One object for each thread: it owns and reuses the file buffer and the decoder's scratch memory."""

    def __init__(self, spec: SampleSpec) -> None:
        self._spec = spec
        self._reader = FileReader()
        self._decoder = Decoder(by_levels(spec.levels))
        self._reduced = Scratch()

    @property
    def version(self) -> FileVersion:
        """Version of the last file that was read, from when it was opened."""
        return self._reader.version

    @property
    def header(self) -> Header | None:
        """Header of the last file that was read; None when it is no image, or could not be read."""
        return self._reader.header

    opened = True
    """Every sample is made from its file."""

    @property
    def waited(self) -> bool:
        """Whether the last file had to come from the disk."""
        return self._reader.waited

    def read(self, path: bytes, out: np.ndarray, box_of: BoxOf | None = None) -> None:
        """Fill (height, width, channels) `out`, of the spec's pixel_type, from the file at `path`. Raises BadImage."""
        data, header = self._reader.read(path, self._spec.max_pixels)
        self._decode(data, header, out, box_of)

    def decode(self, data: bytes, out: np.ndarray) -> None:
        """Fill `out` from a file's bytes, without augmentation. Raises BadImage."""
        self._decode(memoryview(data), read_header(data), out, None)

    def read_reduced(self, path: bytes, size: tuple[int, int], margin: float) -> np.ndarray:
        """The oriented image at `path`, (h, w, channels) of the spec's pixel_type, just large enough to cover `margin` times `size`
        (height, width), and never enlarged. Valid until the next call. Raises BadImage.
        """
        data, header = self._reader.read(path, self._spec.max_pixels)
        height, width = size
        reduction, reduced_width, reduced_height = reduced_size(*header.oriented, width, height, margin)
        shape = (reduced_height, reduced_width, self._spec.channels)
        count = math.prod(shape) * self._spec.pixel_type.itemsize
        reduced = self._reduced.room(count)[:count].view(self._spec.pixel_type).reshape(shape)
        with within_budget(self._taken(header), len(data), reduction):
            resize(self._decoder.decode(data, header, reduction, self._spec.channels), reduced)
        return reduced

    def _decode(self, data: memoryview, header: Header, out: np.ndarray, box_of: BoxOf | None) -> None:
        plan = plan_sample(self._spec, *header.oriented, box_of)
        with within_budget(self._taken(header), len(data), plan.reduction):
            place(self._decoder.decode(data, header, plan.reduction, self._spec.channels), plan, out)

    def _taken(self, header: Header) -> Header:
        """As the memory that decoding takes is to be computed from: with levels, deep images take twice as much."""
        return header if self._spec.levels is None or header.bits <= 8 else header._replace(pixel_bytes=2 * header.pixel_bytes)


def plan_sample(spec: SampleSpec, width: int, height: int, box_of: BoxOf | None, reductions: Sequence[int] = REDUCTIONS) -> Plan:
    """The plan by which an oriented image of width × height pixels becomes a sample."""
    target_height, target_width = spec.size
    box = box_of(width, height, target_width, target_height) if box_of is not None else None
    return make_plan(width, height, spec.fit, target_width, target_height, box, reductions)


def place(image: np.ndarray, plan: Plan, out: np.ndarray) -> None:
    """Crop (h, w, C) `image`, of uint8 or uint16, to the plan's window, and resize it into its place in `out`; the rest becomes black."""
    target = out
    if (plan.out_height, plan.out_width) != out.shape[:2]:
        out[:] = 0
        target = out[plan.pad_top : plan.pad_top + plan.out_height, plan.pad_left : plan.pad_left + plan.out_width]
    resize(image[plan.y : plan.y + plan.height, plan.x : plan.x + plan.width], target)


def resize(image: np.ndarray, out: np.ndarray) -> None:
    """Resize uint8 or uint16 (h, w, C) `image` to the size of `out`, (H, W, C): bilinear, half-pixel centres. Of 8 bits, an uint16 `out`
    becomes the same shades in 16.
    """
    height, width, channels = out.shape
    if image.dtype != out.dtype:
        small = np.empty(out.shape, image.dtype)
        resize(image, small)
        np.multiply(small, EIGHT_BITS, out=out)
    elif image.shape == out.shape:
        out[:] = image
    elif channels == 1:  # OpenCV drops a channel axis of one
        cv2.resize(image[..., 0], (width, height), dst=out[..., 0], interpolation=cv2.INTER_LINEAR)
    else:
        cv2.resize(image, (width, height), dst=out, interpolation=cv2.INTER_LINEAR)
