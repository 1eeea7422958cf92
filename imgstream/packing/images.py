"""Reads an image to be packed: its bytes as they are, or resized and encoded anew."""

from __future__ import annotations

import os
from typing import NamedTuple

import simplejpeg

from imgstream.decode.levels import by_levels
from imgstream.decode.memory_budget import within_budget
from imgstream.decode.reference import Decoder
from imgstream.decode.sample import SampleReader
from imgstream.errors import BadImage
from imgstream.files.reader import FileReader
from imgstream.spec import DEFAULT_MAX_PIXELS, SampleSpec

_CHECKED_AT = 8  # the reduction at which an image is decoded to see whether it can be: the fastest


class PackedImage(NamedTuple):
    """An image as it goes into a shard."""

    row: int
    """Its row number in the index that is packed."""
    path: bytes
    """Relative to the root."""
    data: bytes
    kind: str
    """jpeg, png, …"""
    height: int
    """Pixels, as stored."""
    width: int
    label: int
    """Position in the class names; -1 for none."""

    @property
    def extension(self) -> str:
        """The usual one of its kind."""
        return {"jpeg": "jpg", "tiff": "tif"}.get(self.kind, self.kind)

    @property
    def filename(self) -> str:
        """The path as text; bytes that are no UTF-8 as U+FFFD."""
        return self.path.decode("utf-8", "replace")


class ImageSource:
    """Reads images to be packed. For one thread at a time."""

    def __init__(self, resize: int | None, quality: int) -> None:
        """`resize`: pixels of the shorter side, None to copy the bytes. `quality`: of the JPEGs that are then written."""
        self._resize, self._quality = resize, quality
        self._files, self._decoder = FileReader(), Decoder(by_levels((0, 1)))  # any levels: only whether an image is whole is seen
        self._samples = SampleReader(SampleSpec(size=(resize or 1, resize or 1)))

    def read(self, path: bytes) -> tuple[bytes, str, int, int]:
        """Bytes, kind, height and width of the image at `path`, which was decoded and is whole. Raises BadImage."""
        try:
            if self._resize is None:
                data, header = self._files.read(path, DEFAULT_MAX_PIXELS)
                with within_budget(header, len(data), _CHECKED_AT):
                    self._decoder.decode(data, header, _CHECKED_AT, 3)
                return bytes(data), header.kind, header.height, header.width
            image = self._samples.read_reduced(path, (self._resize, self._resize), 1.0)
            encoded = simplejpeg.encode_jpeg(image, quality=self._quality, colorspace="RGB", colorsubsampling="420")
            return encoded, "jpeg", image.shape[0], image.shape[1]
        except BadImage as error:
            error.path = os.fsdecode(path)
            raise
