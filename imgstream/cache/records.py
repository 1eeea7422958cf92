"""The record of a kept array: 64 bytes in a file beside the pixels, written after them, and never changed.

A record that was cut short or damaged fails its check and is ignored; so is one whose pixels do not match their checksum.
"""

from __future__ import annotations

import hashlib
import struct
from typing import NamedTuple

import numpy as np

from imgstream.files.addresses import absolute
from imgstream.files.reader import FileVersion
from imgstream.files.spans import Span

WORDS = 8
RECORD_BYTES = 8 * WORDS
_ALL_WORDS = struct.Struct("<8Q")
_TWO_WORDS = struct.Struct("<QQ")
_MASK = (1 << 64) - 1
_MAGIC = 0x696D6773_70697831  # no run of zeros is a record
_FACTORS = np.array([0x9E3779B97F4A7C15 * (2 * i + 1) & _MASK for i in range(WORDS - 1)], np.uint64)


class Record(NamedTuple):
    """Where the pixels of one version of one file lie."""

    key: tuple[int, int]  # see path_key
    version: FileVersion
    offset: int  # bytes, in its shard
    shape: tuple[int, int, int]  # height, width, channels
    total: int  # see checksum

    @property
    def size(self) -> int:
        """Bytes of pixels."""
        height, width, channels = self.shape
        return height * width * channels

    def encode(self) -> bytes:
        """The record's 64 bytes."""
        height, width, channels = self.shape
        shape = height << 32 | width << 4 | channels
        words = (*self.key, self.version.size, self.version.modified & _MASK, self.offset, shape, self.total)
        # as in _check, but with Python's integers: for one record NumPy takes ten times as long
        check = sum((word ^ (word >> 29)) * factor for word, factor in zip(words, _FACTORS.tolist(), strict=True)) & _MASK ^ _MAGIC
        return _ALL_WORDS.pack(*words, check)

    @classmethod
    def decode(cls, words: np.ndarray) -> Record:
        """The record in uint64 (WORDS,) `words`."""
        key, rest, size, modified, offset, shape, total, _ = words.tolist()
        if modified >> 63:  # before 1970
            modified -= 1 << 64
        return cls((key, rest), FileVersion(size, modified), offset, (shape >> 32, shape >> 4 & 0xFFFFFFF, shape & 15), total)


def sound(data: np.ndarray) -> np.ndarray:
    """Which of uint64 (n, WORDS) `data` are whole records: bool (n,)."""
    found: np.ndarray = _check(data[:, :-1]) == data[:, -1]
    return found


def ends(data: np.ndarray) -> np.ndarray:
    """uint64 (n,): where in its shard the pixels of each record of uint64 (n, WORDS) `data` end."""
    shape = data[:, 5]
    height, width, channels = shape >> np.uint64(32), shape >> np.uint64(4) & np.uint64(0xFFFFFFF), shape & np.uint64(15)
    last: np.ndarray = data[:, 4] + height * width * channels
    return last


def _check(words: np.ndarray) -> np.ndarray:
    """The check word, uint64 (n,), of uint64 (n, WORDS - 1)."""
    mixed: np.ndarray = ((words ^ (words >> np.uint64(29))) * _FACTORS).sum(axis=1, dtype=np.uint64) ^ np.uint64(_MAGIC)
    return mixed


def path_key(path: bytes) -> tuple[int, int]:
    """128 bits of the absolute path, or of the place in a container, as two words: no two images of a cache will ever share them."""
    if isinstance(path, Span):
        path = path.address
    elif not path.startswith(b"/"):
        path = absolute(path)  # the same name below another working directory is another file
    return _TWO_WORDS.unpack(hashlib.blake2b(path, digest_size=16).digest())


def checksum(pixels: np.ndarray) -> int:
    """The sum of uint8 (n,) `pixels` as 64-bit words, wrapping: it finds pages that were never written, at the speed of memory."""
    whole = len(pixels) & ~7
    total = int(pixels[:whole].view(np.uint64).sum())
    return (total + int.from_bytes(pixels[whole:].tobytes(), "little") + len(pixels)) & _MASK
