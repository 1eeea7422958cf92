"""Reads TFRecord files of tf.train.Example: every record once, with both of its checksums.

A record is its length (uint64), the masked CRC-32C of that, its data, and the masked CRC-32C of the data; all little-endian
(tensorflow/core/lib/io/record_writer.h).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import google_crc32c

from imgstream.index.shards.examples import Value, features
from imgstream.index.shards.records import LONGEST, NotReadable, Reading, Record, normal

_HEAD, _TAIL = struct.Struct("<QI"), struct.Struct("<I")
_FRAME = _HEAD.size + _TAIL.size
_LONGEST_RECORD = 1 << 30
_IMAGE = (b"image/encoded", b"image")
_LABEL = (b"image/class/text", b"image/class/label", b"label")
_NAME = (b"image/filename", b"filename")
"""Names of features, the first of which that a record has is taken."""


def read_tfrecord(file: BinaryIO, size: int, reading: Reading) -> Iterator[Record]:
    """See records.Reader. A record with a wrong checksum, or without an image, is one that cannot be read; what follows a wrong length
    cannot be found, and is one such record too.
    """
    image, label, name = (_names(reading, *names) for names in (("image", _IMAGE), ("label", _LABEL), ("path", _NAME)))
    wanted = {*image, *label, *name}
    at = 0
    while at < size:
        head = file.read(_HEAD.size)
        if len(head) < _HEAD.size:
            yield _lost(at, size, "truncated", "ends within the length of a record")
            return
        length, check = _HEAD.unpack(head)
        if check != _masked(head[:8]):
            if at == 0:
                _refuse(head)
            yield _lost(at, size, "corrupt", "the checksum of a record's length is wrong")
            return
        if at + _FRAME + length > size:
            yield _lost(at, size, "truncated", f"ends within a record of {length:,} bytes")
            return
        first, at = at + _HEAD.size, at + _FRAME + length
        if length > _LONGEST_RECORD:
            yield Record(None, first, min(length, LONGEST), kept=f"too large: a record of {length:,} bytes")
            file.seek(at)
            continue
        record = file.read(length)
        if _TAIL.pack(_masked(record)) != file.read(_TAIL.size):
            yield Record(None, first, length, kept="corrupt: the checksum of its record is wrong")
            continue
        try:
            found = features(record, wanted)
        except ValueError as error:
            yield Record(None, first, length, kept=f"corrupt: its record is no tf.train.Example: {error}")
            continue
        place = _first(found, image)
        if not isinstance(place, tuple):
            if first == _HEAD.size:
                raise NotReadable(_without_image(features(record, found), image))
            yield Record(None, first, length, kept=f"corrupt: its record has no bytes named {image[0].decode()}")
            continue
        of, called = _text(record, _first(found, label)), _first(found, name)
        path = normal(record[slice(*called)]) if isinstance(called, tuple) else b""
        yield Record(path or None, first + place[0], place[1] - place[0], of)


def _names(reading: Reading, field: str, usual: Sequence[bytes]) -> Sequence[bytes]:
    return (reading.columns[field].encode(),) if field in reading.columns else usual


def _first(found: dict[bytes, Value], names: Sequence[bytes]) -> Value:
    """The first of the features that has a value; empty bytes are none."""
    for name in names:
        value = found.get(name)
        if value is not None and (isinstance(value, int) or value[1] > value[0] or len(names) == 1):
            return value
    return None


def _text(record: bytes, value: Value) -> bytes | None:
    """A label: text, or a whole number, of which those below 0 are none."""
    if isinstance(value, tuple):
        return record[slice(*value)] or None
    return None if value is None or value < 0 else b"%d" % value


def _masked(data: bytes) -> int:
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _lost(at: int, size: int, reason: str, detail: str) -> Record:
    return Record(None, at, 0, kept=f"{reason}: {detail}, at byte {at:,}: what follows, {size - at:,} bytes, cannot be found")


def _refuse(head: bytes) -> None:
    if head[:2] == b"\x1f\x8b":
        raise NotReadable(
            "is compressed with gzip, so that no record can be read without all before it. Unpack it (gunzip), or write it without "
            "compression: images hardly shrink"
        )
    if head[:1] == b"\x78":
        raise NotReadable(
            "may be compressed with zlib, and is no TFRecord file otherwise. Write it without compression: images hardly shrink"
        )


def _without_image(found: dict[bytes, Value], image: Sequence[bytes]) -> str:
    there = ", ".join(f"{name.decode(errors='backslashreplace')} ({_kind(value)})" for name, value in sorted(found.items())[:12])
    looked = " or ".join(name.decode() for name in image)
    return f"has no feature {looked} with an encoded image in its first record; there is {there or 'none'}. Name one with --columns image=…"


def _kind(value: Value) -> str:
    return "bytes" if isinstance(value, tuple) else "whole numbers" if isinstance(value, int) else "floats or empty"
