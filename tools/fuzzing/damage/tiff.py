"""TIFF directories, read and written: classic and BigTIFF, either byte order. Nothing is checked: damage is the purpose."""

from __future__ import annotations

import dataclasses
import struct

BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes of a value of each type."""

_SHORT, _LONG, _LONG8 = 3, 4, 16
_FORMATS = {1: "B", _SHORT: "H", _LONG: "I", _LONG8: "Q"}


@dataclasses.dataclass(frozen=True)
class Directory:
    """The place of the first directory's entries in a file, and the file's layout."""

    order: str
    """< or >, as struct has it."""
    big: bool
    first: int
    """Offset of the first entry."""
    count: int

    @property
    def entry(self) -> struct.Struct:
        """Tag, type, count, value or offset."""
        return struct.Struct(self.order + ("HHQQ" if self.big else "HHII"))

    def at(self, index: int) -> int:
        """Offset of an entry."""
        return self.first + index * self.entry.size


def directory(data: bytes) -> Directory | None:
    """The first directory of a TIFF's bytes, as far as it lies in them; None when there is none."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None:
        return None
    big = 43 in data[2:4]
    try:
        (start,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
        (count,) = struct.unpack_from(order + ("Q" if big else "H"), data, start)
    except (struct.error, OverflowError):
        return None
    found = Directory(order, big, start + (8 if big else 2), count)
    return dataclasses.replace(found, count=min(count, (len(data) - found.first) // found.entry.size))


def value_format(form: int) -> str:
    """The struct letter of a whole number of a type; a byte for types that hold none."""
    return _FORMATS.get(form, "B")


def encode(tags: dict[int, list[int]], parts: list[bytes], order: str = "<", big: bool = False, tiles: bool = False) -> bytes:
    """A TIFF of `tags` (whole numbers, as SHORT where they fit) whose strips or tiles are `parts`."""
    word, form = ("Q", _LONG8) if big else ("I", _LONG)
    mark = b"II" if order == "<" else b"MM"
    data = bytearray(mark + struct.pack(order + "HHHQ", 43, 8, 0, 0) if big else mark + struct.pack(order + "HI", 42, 0))
    starts = []
    for part in parts:
        starts.append(len(data))
        data += part + b"\0" * (len(part) % 2)
    tags = {**tags, (324 if tiles else 273): starts, (325 if tiles else 279): [len(part) for part in parts]}
    entries = []
    for tag, values in sorted(tags.items()):
        kind = form if tag in (273, 279, 324, 325) or max(values) > 0xFFFF else _SHORT
        packed = struct.pack(f"{order}{len(values)}{value_format(kind)}", *values)
        room = struct.calcsize(word)
        if len(packed) > room:
            entries.append(struct.pack(f"{order}HH{word}{word}", tag, kind, len(values), len(data)))
            data += packed + b"\0" * (len(packed) % 2)
        else:
            entries.append(struct.pack(f"{order}HH{word}", tag, kind, len(values)) + packed.ljust(room, b"\0"))
    struct.pack_into(order + word, data, 8 if big else 4, len(data))
    data += struct.pack(order + ("Q" if big else "H"), len(entries)) + b"".join(entries) + b"\0" * struct.calcsize(word)
    return bytes(data)
