"""Reads a tf.train.Example, a protocol buffer, without TensorFlow: which features it has, and where their bytes lie.

Example { Features features = 1; }                      Features { map<string, Feature> feature = 1; }
Feature { oneof { BytesList = 1; FloatList = 2; Int64List = 3; } }         each list: repeated value = 1
(tensorflow/core/example/feature.proto)
"""

from __future__ import annotations

from collections.abc import Container, Iterator

Value = tuple[int, int] | int | None
"""Of the first value of a feature: start and past of its bytes, or the whole number; None where there is none, or it is a float."""

_WORD = 1 << 64
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def features(record: bytes, wanted: Container[bytes]) -> dict[bytes, Value]:
    """The first value of each feature; None of those that are not wanted. Raises ValueError for what is no Example."""
    found: dict[bytes, Value] = {}
    try:
        for outer, first, past in _fields(record, 0, len(record)):
            if outer != 1:
                continue
            for number, start, end in _fields(record, first, past):
                if number != 1:
                    continue
                name, value = b"", (0, 0)
                for part, a, b in _fields(record, start, end):
                    if part == 1:
                        name = record[a:b]
                    elif part == 2:
                        value = a, b
                found[name] = _first_value(record, *value) if name in wanted else None
    except IndexError:
        raise ValueError("it ends within a field") from None
    return found


def _first_value(record: bytes, start: int, end: int) -> Value:
    for kind, first, past in _fields(record, start, end):
        if kind not in (1, 3):
            return None
        for number, a, b in _fields(record, first, past):
            if number == 1 and kind == 1:
                return a, b
            if number == 1 and b > a:
                value = _varint(record, a)[0]
                return value - _WORD if value >> 63 else value
    return None


def _fields(record: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(number, start, past) of each field of the message at `at`."""
    while at < end:
        key, at = record[at], at + 1
        if key > 127:
            key, at = _varint(record, at - 1)
        wire = key & 7
        start = at
        if wire == _BYTES:
            length, start = record[at], at + 1
            if length > 127:
                length, start = _varint(record, at)
            at = start + length
        elif wire == _VARINT:
            at = _varint(record, at)[1]
        elif wire in (_FIXED64, _FIXED32):
            at += 8 if wire == _FIXED64 else 4
        else:
            raise ValueError("it is no tf.train.Example")
        if at > end:
            raise ValueError("it ends within a field")
        yield key >> 3, start, at


def _varint(record: bytes, at: int) -> tuple[int, int]:
    value = record[at]
    at += 1
    if value < 128:
        return value, at
    value &= 127
    for shift in range(7, 70, 7):
        byte = record[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("it is no tf.train.Example")
