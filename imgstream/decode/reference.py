"""The reference decoder, which both pipelines are compared with: bytes → oriented uint8 at 1, 1/2, 1/4 or 1/8 of a file's size.

JPEGs go to libjpeg-turbo directly (simplejpeg: accurate DCT, fancy upsampling, scaling inside the DCT), into reused memory: this path
allocates nothing. Everything else, and a JPEG that libjpeg warns of, goes through Pillow; only WebPs without animation go to OpenCV first.
"""

from __future__ import annotations

import cv2
import numpy as np
from simplejpeg import decode_jpeg

from imgstream.decode import dicom, pillow
from imgstream.decode.area_mean import shrink
from imgstream.decode.levels import NEED_LEVELS, ToPixels
from imgstream.errors import BadImage
from imgstream.formats import npy
from imgstream.formats.header import Header

_KEPT = 96 << 20  # bytes, 32 MP of RGB; a larger image gets its own memory, which is freed with it


class Decoder:
    """Decodes one file after another into its own scratch memory. For one thread at a time."""

    def __init__(self, to_pixels: ToPixels | None = None) -> None:
        """`to_pixels`: for files of more than 8 bits, which are read in 8 bits or refused without it."""
        self._to_pixels = to_pixels
        self._decoded = Scratch()
        self._turned = Scratch()

    def decode(self, data: memoryview, header: Header, reduction: int, channels: int) -> np.ndarray:
        """uint8 (height, width, channels), RGB or grey, oriented; each side is ceil(oriented side / reduction). With
        `to_pixels` uint16 where the file has more than 8 bits.

        reduction: 1, 2, 4 or 8. channels: 3, or 1: a JPEG's own luma, Rec. 601 luma of anything else; or 4, RGB and alpha. The array may
        lie in scratch memory and is valid until the next decode. Raises BadImage when the data ends early or cannot be decoded.
        """
        if header.kind == "jpeg":
            pixels = self._jpeg(data, header, reduction, min(channels, 3))
        elif header.kind == "npy":
            pixels = shrink(self._array(data, header), reduction)
        elif header.kind == "dicom":
            pixels = shrink(dicom.load(data, header, self._to_pixels), reduction)
        else:
            still = _still_webp(data) if header.kind == "webp" and channels < 4 else None
            if still is None:
                pixels = pillow.load(data, header, reduction, alpha=channels == 4, to_pixels=self._to_pixels)
            else:
                pixels = shrink(_of_size(still, header), reduction)
        pixels = _with_channels(pixels, channels)
        if header.orientation == 1:
            return pixels
        return orient(pixels, header.orientation, self._turned.room(pixels.nbytes))

    def _array(self, data: memoryview, header: Header) -> np.ndarray:
        values = _of_size(npy.values_of(data), header)
        if values.dtype == np.uint8:
            return values
        if self._to_pixels is None:
            raise BadImage("unsupported", f"an array of {values.dtype.name}{NEED_LEVELS}")
        return self._to_pixels(values, False)

    def _jpeg(self, data: memoryview, header: Header, reduction: int, channels: int) -> np.ndarray:
        height, width = -(-header.height // reduction), -(-header.width // reduction)
        try:
            pixels = decode_jpeg(
                data,
                "RGB" if channels == 3 else "GRAY",
                fastdct=False,
                fastupsample=False,
                min_height=height,
                min_width=width,
                buffer=self._decoded.room(height * width * channels),
                strict=True,  # fails on warnings, such as a premature end; without it, not even on errors
            )
        except ValueError as error:
            if channels == 1 and "Unsupported color conversion" in str(error):  # a lossless JPEG of RGB has no luma of its own
                return self._jpeg(data, header, reduction, 3)
            pixels = _jpeg_again(data, header, reduction, channels, str(error))
        return _of_size(pixels, header, reduction)


def _jpeg_again(data: memoryview, header: Header, reduction: int, channels: int, complaint: str) -> np.ndarray:
    """Decode a JPEG that libjpeg complained of with Pillow, which accepts junk in the data, but no early end.

    Pillow also reads what simplejpeg's interface cannot express, such as unusual subsampling.
    """
    if "Premature end of JPEG" in complaint:
        raise BadImage("truncated", complaint)
    try:
        return pillow.load(data, header, reduction, grey=channels == 1)
    except BadImage as error:
        if "cannot load this image" in error.detail and bytes(data[-2:]) != b"\xff\xd9":  # neither a scan nor an end
            raise BadImage("truncated", "ends before its pixels begin") from None
        if error.reason == "corrupt" and not complaint.startswith(
            "tj"
        ):  # libjpeg's message is better than Pillow's; that of its wrapper is not
            raise BadImage("unsupported" if "Unsupported color" in complaint else "corrupt", complaint) from None
        raise


def _still_webp(data: memoryview) -> np.ndarray | None:
    """uint8 (h, w, 3), RGB, of a WebP that is not animated; None leaves it to Pillow, which takes twice the time for the same pixels."""
    animated = bytes(data[12:16]) == b"VP8X" and data[20] & 0x02
    if animated or len(data) < 32:  # OpenCV prints a line about the shortest
        return None
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:
        return None


class Scratch:
    """Reused memory that grows to the largest image, up to _KEPT bytes."""

    def __init__(self) -> None:
        self._memory = np.empty(1 << 20, np.uint8)

    def room(self, size: int) -> np.ndarray:
        """uint8 of at least `size` elements."""
        if size <= self._memory.size:
            return self._memory
        memory = np.empty(size, np.uint8)
        if size <= _KEPT:
            self._memory = memory
        return memory


def _of_size(pixels: np.ndarray, header: Header, reduction: int = 1) -> np.ndarray:
    height, width = -(-header.height // reduction), -(-header.width // reduction)
    if pixels.shape[:2] != (height, width):
        raise BadImage("corrupt", f"declares {width}×{height} pixels here, but decodes to {pixels.shape[1]}×{pixels.shape[0]}")
    return pixels


def _with_channels(pixels: np.ndarray, channels: int) -> np.ndarray:
    """(h, w), or (h, w, 1, 3 or 4) as (h, w, channels)."""
    if pixels.ndim == 3 and pixels.shape[2] == channels:
        return pixels
    if channels == 3:
        return cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)
    if channels == 4:
        return cv2.cvtColor(_with_channels(pixels, 3), cv2.COLOR_RGB2RGBA)  # opaque
    return (pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))[..., None]


def orient(pixels: np.ndarray, orientation: int, memory: np.ndarray) -> np.ndarray:
    """uint8 or uint16 (h, w, C) turned by EXIF `orientation` 2..8; written into `memory`, uint8 of at least as many bytes."""
    height, width, channels = pixels.shape
    shape = (width, height) if orientation > 4 else (height, width)
    turned = memory[: pixels.nbytes].view(pixels.dtype).reshape(*shape, channels)
    if orientation in _ROTATIONS:
        cv2.rotate(pixels, _ROTATIONS[orientation], dst=turned)
    elif orientation == 2:
        cv2.flip(pixels, 1, dst=turned)
    elif orientation == 4:
        cv2.flip(pixels, 0, dst=turned)
    elif orientation == 5:
        cv2.transpose(pixels, dst=turned)
    else:  # 7, the other diagonal; too rare for memory of its own
        cv2.transpose(cv2.rotate(pixels, cv2.ROTATE_180), dst=turned)
    return turned


_ROTATIONS = {3: cv2.ROTATE_180, 6: cv2.ROTATE_90_CLOCKWISE, 8: cv2.ROTATE_90_COUNTERCLOCKWISE}
