"""A TFRecord file of tf.train.Examples with the features of TensorFlow's own image tools, written without TensorFlow."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import BinaryIO

import google_crc32c

from imgstream.packing.images import PackedImage

EXTENSION = "tfrecord"

_BYTES_LIST, _INT64_LIST = 1, 3


class TFRecordShard:
    """Writes images one after another. See index/shards/tfrecord.py and examples.py for the format."""

    def __init__(self, file: BinaryIO, class_names: Sequence[str]) -> None:
        self._file, self._class_names = file, class_names
        self.size = 0
        """Bytes written so far."""

    def add(self, image: PackedImage) -> None:
        """Write an image."""
        features: dict[str, bytes | int] = {
            "image/encoded": image.data,
            "image/filename": image.path,
            "image/format": image.kind.encode(),
            "image/height": image.height,
            "image/width": image.width,
        }
        if image.label >= 0:
            features |= {"image/class/label": image.label, "image/class/text": self._class_names[image.label].encode()}
        record = _message(1, b"".join(_feature(name, features[name]) for name in sorted(features)))
        head = struct.pack("<Q", len(record))
        for part in (head, _masked(head), record, _masked(record)):
            self._file.write(part)
            self.size += len(part)

    def close(self) -> None:
        """There is nothing behind the last record."""


def _feature(name: str, value: bytes | int) -> bytes:
    if isinstance(value, bytes):
        values = _message(_BYTES_LIST, _message(1, value))
    else:
        values = _message(_INT64_LIST, _message(1, _varint(value)))
    return _message(1, _message(1, name.encode()) + _message(2, values))


def _message(number: int, content: bytes) -> bytes:
    """A field of bytes, text or a message."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    found.append(value)
    return bytes(found)


def _masked(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)
