"""Looks at a sample of images: how many have more than 8 bits, and which values they use."""

from __future__ import annotations

import dataclasses

import numpy as np

from imgstream.decode.levels import Levels
from imgstream.decode.reference import Decoder
from imgstream.errors import BadImage
from imgstream.files.reader import FileReader, read_declared
from imgstream.index import ImageIndex
from imgstream.spec import DEFAULT_MAX_PIXELS, read_levels
from imgstream.wording import quantity

MOST_LOOKED_AT = 64
"""Images of a sample; each is decoded as a whole."""
_DICOM = "dicom"
_SMALL_PART = 1 / 4
"""Of the values that a depth has: images that use less are a few shades near black when they are read in 8 bits."""


@dataclasses.dataclass
class Depth:
    """What a sample of images holds, in files of more than 8 bits."""

    looked_at: int = 0
    """Images that could be read, of any depth."""
    types: dict[str, int] = dataclasses.field(default_factory=dict)
    """Number of images of more than 8 bits, by the NumPy type of their values, or dicom."""
    low: float = np.inf
    high: float = -np.inf
    """The least and the largest of all their values that are numbers, infinity aside."""

    def __str__(self) -> str:
        """Such as "64 of 64 images looked at hold uint16, from 12 to 3,987"."""
        values = f"{self.low:,.6g} to {self.high:,.6g}" if self.low <= self.high else "none of them a number"
        held = " or ".join(sorted(self.types))
        return f"{self.deep:,} of {quantity(self.looked_at, 'image')} looked at hold {held}, {values}"

    @property
    def deep(self) -> int:
        """Number of images of more than 8 bits."""
        return sum(self.types.values())

    @property
    def levels(self) -> Levels | None:
        """The levels that hold all values: whole bits of whole numbers, such as (0, 4095); of floats (0, 1) if they lie between; else the
        least and the largest. None where no image has more than 8 bits.
        """
        if not self.deep:
            return None
        if not self.low <= self.high:  # not one number
            return 0.0, 1.0
        floats = any(name.startswith("float") for name in self.types)
        if self.low >= 0 and (self.high <= 1 or not floats):
            return 0.0, 1.0 if floats else float(2 ** max(1, int(self.high).bit_length()) - 1)
        return (self.low, self.high) if self.low < self.high else (self.low, self.low + 1)

    @property
    def needs_levels(self) -> bool:
        """Whether reading in 8 bits loses images: floats and 32 bits as a whole, and nearly all shades of values in a small part of their
        range.
        """
        if not self.deep:
            return False
        types = set(self.types) - {_DICOM}  # whose windows say what is black and white
        return bool(types) and (types != {"uint16"} or self.high < _SMALL_PART * np.iinfo(np.uint16).max)

    def note(self, values: np.ndarray) -> None:
        """Count values of one image, or of a part of it."""
        numbers = values[np.isfinite(values)] if values.dtype.kind == "f" else values
        if numbers.size:
            self.low, self.high = min(self.low, float(numbers.min())), max(self.high, float(numbers.max()))


def choose_levels(asked: str | None, index: ImageIndex) -> Levels | None:
    """The levels that "LOW:HIGH" asks for, or "auto" takes from a sample of `index`. Raises SpecError."""
    if asked is None:
        return None
    return depth_of(index).levels if asked == "auto" else read_levels(asked)


def depth_of(index: ImageIndex, most: int = MOST_LOOKED_AT) -> Depth:
    """The depth of about `most` images spread evenly over `index`; bad ones are left out. Always the same for the same images."""
    depth, name = Depth(), ""

    def note(values: np.ndarray, inverted: bool) -> np.ndarray:
        nonlocal name
        name = values.dtype.name
        depth.note(values)
        return np.zeros(values.shape, np.uint16)

    reader, decoder = FileReader(), Decoder(note)
    for position in np.unique(np.linspace(0, len(index) - 1, min(most, len(index))).astype(np.int64)).tolist():
        name = ""
        try:
            path = index.path_bytes(position)
            header = read_declared(path, DEFAULT_MAX_PIXELS)[0]
            if header.bits > 8:
                decoder.decode(*reader.read(path, DEFAULT_MAX_PIXELS), 1, 3)
        except BadImage:
            continue
        depth.looked_at += 1
        if name:
            name = _DICOM if header.kind == _DICOM else name
            depth.types[name] = depth.types.get(name, 0) + 1
    return depth
