"""A file's thumbnail, which stays nearly the same when an image is re-encoded or resized. Files are decoded as strictly as in training."""

from __future__ import annotations

import cv2
import numpy as np

from imgstream.decode.levels import Levels, by_levels
from imgstream.decode.memory_budget import within_budget
from imgstream.decode.reference import Decoder, orient
from imgstream.files.reader import FileReader
from imgstream.formats.header import Header
from imgstream.geometry import REDUCTIONS

SIDE = 16
LUMA_SHAPE, CHROMA_SHAPE = (SIDE, SIDE), (4, 4, 2)
_LEAST = 4 * SIDE
"""Pixels that each side keeps when a file is decoded at 1/2, 1/4 or 1/8: with half as many, the blocks at cell borders double the
difference between a photograph and its resized copy.
"""


class ThumbnailReader:
    """Reads thumbnails. One object for each thread: it owns and reuses the file buffer and the decoder's scratch memory."""

    def __init__(self, max_pixels: int, levels: Levels | None = None) -> None:
        """`levels`: of images of more than 8 bits; see SampleSpec.levels."""
        self._max_pixels = max_pixels
        self._reader, self._decoder = FileReader(), Decoder(by_levels(levels))
        self._turned = np.empty(SIDE * SIDE * 3, np.uint8)

    def read(self, path: bytes, luma: np.ndarray, chroma: np.ndarray) -> tuple[Header, int]:
        """Decode the whole file, and fill uint8 (16, 16) `luma` and uint8 (4, 4, 2) `chroma` (Cr, Cb) with the oriented image, stretched to
        a square: each value is the mean of its cell. Return the header and the size of the file in bytes. Raises BadImage, as Stream would.
        """
        data, header = self._reader.read(path, self._max_pixels)
        reduction = next((r for r in REDUCTIONS if min(header.width, header.height) >= r * _LEAST), 1)
        stored = header._replace(orientation=1)  # turning the thumbnail afterwards is faster than turning the image
        # The scale is given, not the size: the last block of a reduced image may be cut, and then counts by its size.
        across, down = SIDE * reduction / header.width, SIDE * reduction / header.height
        with within_budget(header, len(data), reduction):
            pixels = self._decoder.decode(data, stored, reduction, 3)
            small = cv2.resize(pixels, None, fx=across, fy=down, interpolation=cv2.INTER_AREA)
        if small.dtype != np.uint8:
            small = np.right_shift(small, 8, dtype=np.uint16).astype(np.uint8)
        if header.orientation != 1:
            small = orient(small, header.orientation, self._turned)
        colours = cv2.cvtColor(small, cv2.COLOR_RGB2YCrCb)
        luma[:] = colours[..., 0]
        chroma[:] = cv2.resize(colours, CHROMA_SHAPE[:2], interpolation=cv2.INTER_AREA)[..., 1:]
        return header, len(data)
