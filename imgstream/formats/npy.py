"""NumPy's .npy files of one image: integers or floats, (height, width), or with 1, 3 or 4 channels last. Nothing in them is ever unpickled.

(numpy/lib/_format_impl.py: magic, version, length of the header, the header as a Python literal, the values)
"""

from __future__ import annotations

import ast
import struct
from typing import NamedTuple

import numpy as np

from imgstream.errors import BadImage

MAGIC = b"\x93NUMPY"

_MOST_HEADER = 10_000  # bytes, as NumPy has it
_CHANNELS = (1, 3, 4)
_TYPES = frozenset({"u1", *(f"{order}{kind}{size}" for order in "<>|" for kind in "uif" for size in (1, 2, 4, 8))} - {"<f1", ">f1", "|f1"})


class ArrayHeader(NamedTuple):
    """What an .npy file says of its array."""

    dtype: str
    fortran_order: bool
    shape: tuple[int, ...]
    begins: int
    """Bytes before the values."""


def array_header(data: bytes | memoryview) -> ArrayHeader:
    """The header in the first bytes of an .npy file. Raises BadImage, and struct.error where it is cut off."""
    major = data[6]
    if major not in (1, 2, 3):
        raise BadImage("unsupported", f"an .npy file of version {major}")
    length, begins = (struct.unpack_from("<H", data, 8)[0], 10) if major == 1 else (struct.unpack_from("<I", data, 8)[0], 12)
    if length > _MOST_HEADER:
        raise BadImage("corrupt", f"an .npy file with a header of {length:,} bytes")
    text = bytes(data[begins : begins + length])
    if len(text) < length:
        raise struct.error
    try:
        fields = ast.literal_eval(text.decode("latin-1").strip())
        dtype, order, shape = fields["descr"], fields["fortran_order"], fields["shape"]
        if isinstance(shape, tuple) and all(type(side) is int and side >= 0 for side in shape) and isinstance(order, bool):
            return ArrayHeader(dtype if isinstance(dtype, str) else "fields", order, shape, begins + length)
    except (ValueError, SyntaxError, KeyError, TypeError, MemoryError, RecursionError):
        pass
    raise BadImage("corrupt", "an .npy file whose header cannot be read")


def image_shape(header: ArrayHeader) -> tuple[int, int, int]:
    """(height, width, channels) of an array of one image. Raises BadImage for another, and says what it is."""
    shape = header.shape
    if header.dtype not in _TYPES:
        raise BadImage("unsupported", f"an array of {_named(header.dtype)}; an image has uint8, other integers or floats")
    if len(shape) == 2:
        return (*shape, 1)
    if len(shape) == 3 and shape[2] in _CHANNELS:
        return shape
    raise BadImage("unsupported", f"an array of shape {shape}; an image is (height, width) or (height, width, 1, 3 or 4)")


def values_of(data: memoryview) -> np.ndarray:
    """(height, width) or (height, width, 3) of an .npy file of one image, of its own dtype, a view of it where that can be; alpha is
    dropped.

    Raises BadImage when the file ends early.
    """
    header = array_header(data)
    height, width, channels = image_shape(header)
    count = height * width * channels
    size = np.dtype(header.dtype).itemsize
    held = (len(data) - header.begins) // size
    values = np.frombuffer(data, header.dtype, min(held, count), header.begins)
    if len(values) < count:
        raise BadImage("truncated", f"holds {len(values):,} of {count:,} values")
    pixels = values.reshape(header.shape, order="F" if header.fortran_order else "C").reshape(height, width, channels)
    return np.ascontiguousarray(pixels[..., 0] if channels == 1 else pixels[..., :3])


def header_bytes(dtype: str, shape: tuple[int, ...]) -> bytes:
    """What an .npy file of this dtype and shape begins with."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape!r}, }}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return MAGIC + b"\1\0" + struct.pack("<H", len(text)) + text.encode("latin-1")


def _named(dtype: str) -> str:
    try:
        return np.dtype(dtype).name
    except TypeError:
        return repr(dtype[:20])
