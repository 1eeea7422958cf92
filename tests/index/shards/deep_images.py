"""Images of more than 8 bits, as the encoders of others write them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image


def png16(path: Path, values: np.ndarray) -> None:
    """uint16 (h, w) grey or (h, w, 2, 3 or 4), alpha last, as a PNG that only zlib was needed for."""
    height, width = values.shape[:2]
    channels = values.shape[2] if values.ndim == 3 else 1
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b""))
    written = [struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(written))


def tiff(compression: int) -> Callable[[Path, np.ndarray], None]:
    """A writer of uint16 (h, w) or (h, w, 3) as a TIFF, by OpenCV: 1 none, 5 LZW, 8 deflate."""

    def write(path: Path, values: np.ndarray) -> None:
        bgr = values[..., ::-1] if values.ndim == 3 else values
        assert cv2.imwrite(str(path), bgr, [cv2.IMWRITE_TIFF_COMPRESSION, compression])

    return write


def by_pillow(dtype: type) -> Callable[[Path, np.ndarray], None]:
    """A writer of (h, w) as a TIFF of this type, by Pillow."""
    return lambda path, values: Image.fromarray(values.astype(dtype)).save(path)
