"""Damage that the structure of a TIFF allows: the rest stays as a decoder expects it, so that the decoder gets far."""

from __future__ import annotations

import struct
from random import Random

from fuzzing.damage import tiff
from fuzzing.damage.any_kind import Damage, extreme, write_extreme

_TIFF_TAGS = (254, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 282, 284, 292, 293, 317, 320, 322, 323, 324, 325)
_MORE_TIFF_TAGS = (330, 338, 339, 347, 512, 513, 514, 529, 530, 531, 532, 700, 33723, 34665, 34675, 37724, 65000)
_TIFF_VALUES = {
    258: (1, 2, 4, 8, 12, 16, 24, 32, 64),
    259: (1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946, 34712, 34887, 34925, 50000, 50001),
    262: (0, 1, 2, 3, 4, 5, 6, 8, 32803),
    266: (1, 2),
    274: tuple(range(10)),
    277: (0, 1, 2, 3, 4, 5, 255, 65535),
    284: (1, 2, 3),
    317: (1, 2, 3, 4),
    322: (0, 1, 8, 15, 16, 17, 32, 4096, 16384, 65535, 2**31),
    323: (0, 1, 8, 15, 16, 17, 32, 4096, 16384, 65535, 2**31),
    338: (0, 1, 2, 3),
    339: (0, 1, 2, 3, 4, 5, 6),
}
_TIFF_SIZES = (256, 257, 278, 322, 323)


def _tiff_entry(data: bytes, rng: Random, tags: tuple[int, ...] | None = None) -> tuple[tiff.Directory, int] | None:
    """A directory and the offset of one of its entries, of these tags if they are given."""
    directory = tiff.directory(data)
    if directory is None or not directory.count:
        return None
    offsets = [directory.at(i) for i in range(min(directory.count, 1000))]
    if tags is not None:
        offsets = [at for at in offsets if directory.entry.unpack_from(data, at)[0] in tags]
    return (directory, rng.choice(offsets)) if offsets else None


def _tiff_value(data: bytes, rng: Random) -> bytes:
    """A tag's value is another that the format knows, or an extreme; its arrays stay where they are."""
    chosen = _tiff_entry(data, rng)
    if chosen is None:
        return data
    directory, at = chosen
    tag, form, count, _ = directory.entry.unpack_from(data, at)
    letter = tiff.value_format(form)
    inline = count * tiff.BYTES.get(form, 1) <= (8 if directory.big else 4)
    place = at + directory.entry.size - (8 if directory.big else 4)
    if not inline:
        (place,) = struct.unpack_from(directory.order + ("Q" if directory.big else "I"), data, place)
        place = min(place, len(data))
        place += rng.randrange(min(count, 64)) * struct.calcsize(letter)
    if tag in _TIFF_VALUES and rng.random() < 0.7 and place + struct.calcsize(letter) <= len(data):
        value = rng.choice(_TIFF_VALUES[tag]) & ((1 << 8 * struct.calcsize(letter)) - 1)
        packed = struct.pack(directory.order + letter, value)
        return data[:place] + packed + data[place + len(packed) :]
    return write_extreme(data, rng, place, directory.order + letter)


def _tiff_size(data: bytes, rng: Random) -> bytes:
    """Width, height, rows of a strip, sides of a tile."""
    chosen = _tiff_entry(data, rng, _TIFF_SIZES)
    if chosen is None:
        return data
    directory, at = chosen
    tag, form, count, value = directory.entry.unpack_from(data, at)
    if rng.random() < 0.25:  # as another type; a LONG8 takes in what follows it
        form = rng.choice((1, 3, 4, 16, 16))
        data = data[:at] + directory.entry.pack(tag, form, count, value) + data[at + directory.entry.size :]
    place = at + directory.entry.size - (8 if directory.big else 4)
    return write_extreme(data, rng, place, directory.order + tiff.value_format(form))


def _tiff_form(data: bytes, rng: Random) -> bytes:
    """A tag's type, its count, or the tag itself, is another."""
    chosen = _tiff_entry(data, rng)
    if chosen is None:
        return data
    directory, at = chosen
    tag, form, count, value = directory.entry.unpack_from(data, at)
    draw = rng.randrange(4)
    if draw == 0:
        form = rng.choice((0, 1, 2, 3, 4, 5, 7, 11, 12, 13, 16, 18, 99))
        if form == 16 and directory.big and rng.random() < 0.5:
            value = rng.choice((2**31, 2**32, 2**63, 2**64 - 1))
    elif draw == 1:
        count = extreme(count, rng, 64 if directory.big else 32)
    elif draw == 2:
        tag = rng.choice(_TIFF_TAGS + _MORE_TIFF_TAGS)
    else:
        value = extreme(value, rng, 64 if directory.big else 32)
    return data[:at] + directory.entry.pack(tag, form, count, value) + data[at + directory.entry.size :]


def _tiff_tags(data: bytes, rng: Random) -> bytes:
    """The directory is written anew behind the file, with a tag more, one less, one twice, out of order, or tiles in place of strips."""
    directory = tiff.directory(data)
    if directory is None or directory.count > 1000:
        return data
    entries = [directory.entry.unpack_from(data, directory.at(i)) for i in range(directory.count)]
    draw = rng.randrange(5)
    if draw == 0 and entries:
        del entries[rng.randrange(len(entries))]
    elif draw == 1 and entries:
        entries.insert(rng.randrange(len(entries)), rng.choice(entries))
    elif draw == 2:
        rng.shuffle(entries)
    elif draw == 3:
        as_tiles = {273: 324, 279: 325}
        sides = [(tag, 3, 1, rng.choice(_TIFF_VALUES[322])) for tag in (322, 323)]
        entries = sorted([(as_tiles.get(tag, tag), *rest) for tag, *rest in entries if tag != 278] + sides)
    else:
        tag = rng.choice(_TIFF_TAGS + _MORE_TIFF_TAGS)
        value = rng.choice(_TIFF_VALUES[tag]) if tag in _TIFF_VALUES else extreme(8, rng, 32)
        entries = sorted([*entries, (tag, rng.choice((1, 3, 4, 5, 7)), rng.choice((0, 1, 1, 1, 3, 1000)), value)])
    word = "Q" if directory.big else "I"
    packed = b"".join(_entry(directory, *entry) for entry in entries)
    following = rng.choice((0, 0, 0, 8, len(data)))  # a directory that leads back to itself
    new = (
        struct.pack(directory.order + ("Q" if directory.big else "H"), len(entries))
        + packed
        + struct.pack(directory.order + word, following)
    )
    at = 8 if directory.big else 4
    return data[:at] + struct.pack(directory.order + word, len(data)) + data[at + struct.calcsize(word) :] + new


def _entry(directory: tiff.Directory, tag: int, form: int, count: int, value: int) -> bytes:
    """An entry, whose `value` is what the field holds read as one number, or a SHORT that stands at its beginning."""
    size = 8 if directory.big else 4
    if directory.order == ">" and form == 3 and count == 1 and value < 0x10000:
        value <<= 8 * (size - 2)
    return directory.entry.pack(tag, form, count, value & ((1 << 8 * size) - 1))


DAMAGES: tuple[Damage, ...] = (
    _tiff_value,
    _tiff_value,
    _tiff_size,
    _tiff_size,
    _tiff_form,
    _tiff_tags,
)
