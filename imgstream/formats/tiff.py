"""Reads the tags of the first directory of a TIFF, and of an EXIF block, which has the same structure.

TIFF 6.0 and, for files of 64-bit offsets, the BigTIFF design note are the source of the numbers here.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from imgstream.errors import BadImage

Bytes = bytes | memoryview

WIDTH, HEIGHT, BITS, ORIENTATION, SAMPLES, ROWS_PER_STRIP, PLANES = 256, 257, 258, 274, 277, 278, 284
STRIP_OFFSETS, STRIP_BYTES, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES = 273, 279, 322, 323, 324, 325

_FORMS = {1: "B", 3: "H", 4: "I", 16: "Q"}  # BYTE SHORT LONG LONG8: what a number may be
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_FLOATS = (11, 12)
"""No pixel needs one, and whether 1e-40 is 0 depends on the thread: TensorFlow's threads flush such numbers."""
_MOST_ENTRIES = 0xFFFF


def find_number(data: Bytes, wanted: int) -> int | None:
    """Directory(data).number(wanted), for a single tag in a tenth of the time."""
    order, is_big, _, first, count = _open(data)
    head = struct.Struct(order + ("HHQ" if is_big else "HHI"))
    size = head.size + (8 if is_big else 4)
    for at in range(first, first + count * size, size):
        tag, form, values = head.unpack_from(data, at)
        if tag == wanted:
            return int(struct.unpack_from(order + _FORMS[form], data, at + head.size)[0]) if values == 1 and form in _FORMS else None
    return None


def _open(data: Bytes) -> tuple[str, bool, int, int, int]:
    """Byte order, whether offsets have 64 bits, where the first directory and its entries begin, and the number of entries.

    Raises BadImage "corrupt"; struct.error where the data ends before.
    """
    order = {b"II": "<", b"MM": ">"}.get(bytes(data[:2]))
    if order is None:
        raise BadImage("corrupt", "no TIFF byte order")
    if 43 in data[2:4]:
        (start,) = struct.unpack_from(order + "Q", data, 8)
        return order, True, start, start + 8, min(struct.unpack_from(order + "Q", data, start)[0], _MOST_ENTRIES)
    (start,) = struct.unpack_from(order + "I", data, 4)
    return order, False, start, start + 2, struct.unpack_from(order + "H", data, start)[0]


class _Entry(NamedTuple):
    form: int
    values: int
    """Number of values."""
    at: int
    """Where the entry lies."""
    values_at: int
    """Where its values lie."""

    @property
    def size(self) -> int:
        """Bytes of its values."""
        return self.values * _SIZES.get(self.form, 1)


class Directory:
    """The first directory of a TIFF. If a tag stands in it twice, the first one counts."""

    def __init__(self, data: Bytes) -> None:
        """`data`: the whole file, or as much of it as is there. Raises BadImage "corrupt"; struct.error where not even the directory's
        length is there.
        """
        order, self.is_big, self._at, first, count = _open(data)
        self._data, self._order = data, order
        word = order + ("Q" if self.is_big else "I")
        self._first = first
        head, room = struct.Struct(order + ("HHQ" if self.is_big else "HHI")), struct.calcsize(word)
        self._room = room
        self._entry_size = head.size + room
        self._entries: dict[int, _Entry] = {}
        self.is_cut = False
        """Whether the data ends within it."""
        for at in range(first, first + count * self._entry_size, self._entry_size):
            if at + self._entry_size > len(data):
                self.is_cut = True
                break
            tag, form, values = head.unpack_from(data, at)
            entry = _Entry(form, values, at, at + head.size)
            if entry.size > room:
                entry = entry._replace(values_at=struct.unpack_from(word, data, entry.values_at)[0])
            self._entries.setdefault(tag, entry)

    def number(self, tag: int, default: int | None = None, many: bool = False) -> int | None:
        """The value of a tag that is one whole number, 0 or more (the first of them, with `many`); `default` if it is something else.

        Raises struct.error where the value lies behind the end of the data.
        """
        entry = self._entries.get(tag)
        if entry is None or entry.form not in _FORMS or not (entry.values == 1 or (many and entry.values)):
            return default
        return int(struct.unpack_from(self._order + _FORMS[entry.form], self._data, entry.values_at)[0])

    @property
    def is_cut_short(self) -> bool:
        """Whether a strip or tile lies behind the end of the file, which libtiff's errors do not say."""
        starts, sizes = (STRIP_OFFSETS, STRIP_BYTES) if STRIP_OFFSETS in self._entries else (TILE_OFFSETS, TILE_BYTES)
        try:
            return any(start + size > len(self._data) for start, size in zip(self._numbers(starts), self._numbers(sizes), strict=False))
        except (struct.error, KeyError):  # the tags may be as damaged as the rest
            return False

    def _numbers(self, tag: int) -> tuple[int, ...]:
        entry = self._entries[tag]
        return struct.unpack_from(f"{self._order}{min(entry.values, len(self._data))}{_FORMS[entry.form]}", self._data, entry.values_at)

    def bare(self) -> bytearray:
        """The file with only what its pixels need in its directory: without orientation, further pages, Exif, profiles, and any bombs in
        them. Nothing else moves. Raises BadImage "truncated" or "corrupt".
        """
        kept = sorted((tag, entry) for tag, entry in self._entries.items() if tag in _PIXEL_TAGS and entry.form not in _FLOATS)
        size = len(self._data)
        if any(entry.values_at + entry.size > size for _, entry in kept):
            raise BadImage("truncated", f"a TIFF whose tags lie behind its end, at {size:,} bytes")
        if sum(entry.size for _, entry in kept) > size:
            raise BadImage("corrupt", "a TIFF whose tags share their values")
        bare = bytearray(self._data)
        struct.pack_into(self._order + ("Q" if self.is_big else "H"), bare, self._at, len(kept))
        at = self._first
        for _, entry in kept:
            bare[at : at + self._entry_size] = self._data[entry.at : entry.at + self._entry_size]
            at += self._entry_size
        if at + self._room <= size:  # the offset of the next page's directory: none
            bare[at : at + self._room] = bytes(self._room)
        return bare


_PIXEL_TAGS = frozenset(
    {WIDTH, HEIGHT, BITS, STRIP_OFFSETS, SAMPLES, ROWS_PER_STRIP, STRIP_BYTES, PLANES, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES}
    | {259, 262, 266, 292, 293, 317, 320, 338, 339, 347}  # compression, its options and predictor, colours, bit order, sample format
    | {512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532}  # JPEG of TIFF 6.0; YCbCr
)
