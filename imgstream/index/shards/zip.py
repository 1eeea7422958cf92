"""Reads .zip files by their directory, one entry at a time: zipfile makes an object of each, 600 bytes, before it gives the first.

(PKWARE's APPNOTE.TXT 6.3.10, sections 4.3 and 4.4; ZIP64 in 4.5.3)
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO, NamedTuple

from imgstream.files.object_file import ObjectFile
from imgstream.files.spans import DEFLATED, STORED
from imgstream.index.shards.records import LONGEST, Damaged, NotReadable, Reading, Record, is_hidden, named_as_image, normal

_END, _END_64, _LOCATOR_64 = struct.Struct("<4s4H2LH"), struct.Struct("<4sQ2H2L4Q"), struct.Struct("<4sLQL")
_ENTRY, _LOCAL = struct.Struct("<4s6H3L5H2L"), struct.Struct("<4s5H3L2H")
_MOST_COMMENT = 1 << 16
_FULL_16, _FULL_32 = 0xFFFF, 0xFFFFFFFF
_FARTHEST = (1 << 63) - 1
_ENCRYPTED = 1
_TOGETHER = 1024  # entries of the directory that are read before the heads of their members, which lie elsewhere
_METHODS = {9: "Deflate64", 12: "bzip2", 14: "LZMA", 93: "Zstandard", 95: "xz", 97: "WavPack", 98: "PPMd", 99: "AES"}


class _Directory(NamedTuple):
    at: int
    size: int
    shift: int  # bytes before the archive, as a self-extracting one has


def read_zip(file: BinaryIO, size: int, reading: Reading) -> Iterator[Record]:
    """See records.Reader. Entries that are encrypted, or compressed by anything but DEFLATE, cannot be read."""
    directory = _directory(file, size)
    entries = _entries(file, directory, reading)
    while chunk := list(islice(entries, _TOGETHER)):
        starts = _data_of(file, [entry.offset for entry in chunk if entry.kept in (STORED, DEFLATED)])
        for entry in chunk:
            if entry.kept not in (STORED, DEFLATED):
                yield entry
            elif begins := next(starts):
                yield entry._replace(offset=begins)
            else:
                yield entry._replace(length=0, kept="corrupt: no member of the archive is where its directory says")


def _entries(file: BinaryIO, directory: _Directory, reading: Reading) -> Iterator[Record]:
    """The images in the directory; their offset is that of their own heads."""
    at, end = directory.at, directory.at + directory.size
    while at + _ENTRY.size <= end:
        file.seek(at)
        head = file.read(_ENTRY.size)
        if len(head) < _ENTRY.size or head[:4] != b"PK\1\2":
            yield Record(None, at, 0, kept=f"corrupt: no entry of the archive's directory is at byte {at:,}: the others cannot be found")
            return
        _, made_by, _, flags, method, _, _, _, packed, unpacked, named, extra, comment, _, _, attributes, offset = _ENTRY.unpack(head)
        names = file.read(named + extra)
        at += _ENTRY.size + named + extra + comment
        raw, more = names[:named], names[named:]
        name = normal(raw.replace(b"\\", b"/") if made_by >> 8 == 0 else raw)  # 0: by a program of MS-DOS or Windows
        if raw.endswith((b"/", b"\\")) or not name or is_hidden(name):
            continue
        if not named_as_image(name):
            reading.count_other(name)
            continue
        packed, offset = _long(more, unpacked, packed, offset)
        kept = STORED if method == 0 else DEFLATED
        if flags & _ENCRYPTED:
            kept = "unsupported: encrypted in its archive; unpack it with its password"
        elif method not in (0, 8):
            kept = f"unsupported: compressed by {_METHODS.get(method, f'method {method}')} in its archive; store images as they are"
        elif made_by >> 8 == 3 and stat.S_ISLNK(attributes >> 16):
            kept = "not a regular file: a link in an archive"
        elif packed > LONGEST:
            kept = f"too large: more than {LONGEST:,} bytes in its archive"
        yield Record(name, min(offset + directory.shift, _FARTHEST), min(packed, LONGEST), kept=kept)


def _directory(file: BinaryIO, size: int) -> _Directory:
    first = max(0, size - _MOST_COMMENT - _END.size)
    file.seek(first)
    last = file.read()
    at = last.rfind(b"PK\5\6")
    if at < 0 or len(last) - at < _END.size:
        raise Damaged("is no zip file, or was cut off: the directory at its end is missing. Copy it again")
    _, disk, _, _, count, length, offset, _ = _END.unpack_from(last, at)
    end = first + at
    if disk not in (0, _FULL_16):
        raise NotReadable("is one part of an archive in several: join them (zip -s 0 --out whole.zip)")
    if count == _FULL_16 or length == _FULL_32 or offset == _FULL_32:
        file.seek(max(0, end - _LOCATOR_64.size))
        locator = file.read(_LOCATOR_64.size)
        if locator[:4] == b"PK\6\7":
            file.seek(_LOCATOR_64.unpack(locator)[2])
            long = file.read(_END_64.size)
            if len(long) < _END_64.size or long[:4] != b"PK\6\6":
                raise Damaged("is a damaged zip file: its directory cannot be found. Copy it again")
            *_, length, offset = _END_64.unpack(long)
            end = _LOCATOR_64.unpack(locator)[2]
    shift = end - length - offset
    if shift < 0:
        raise Damaged("is a damaged zip file: its directory cannot be where it says. Copy it again")
    return _Directory(offset + shift, length, shift)


def _long(extra: bytes, unpacked: int, packed: int, offset: int) -> tuple[int, int]:
    """Packed size and offset of an entry; those of ZIP64 where the usual fields are full."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            numbers = iter(struct.unpack_from(f"<{min(length, len(extra) - at - 4) // 8}Q", extra, at + 4))
            if unpacked == _FULL_32:
                next(numbers, 0)
            packed = next(numbers, packed) if packed == _FULL_32 else packed
            return packed, next(numbers, offset) if offset == _FULL_32 else offset
        at += 4 + length
    return packed, offset


def data_at(file: BinaryIO, at: int) -> int:
    """Where the bytes of the member begin whose own head is at `at`; 0 where there is none."""
    if at >= _FARTHEST:
        return 0
    file.seek(at)
    return _behind(file.read(_LOCAL.size), at)


def _data_of(file: BinaryIO, offsets: list[int]) -> Iterator[int]:
    """data_at each; of an object, whose heads are asked for together."""
    raw = getattr(file, "raw", None)
    if not isinstance(raw, ObjectFile):
        return (data_at(file, at) for at in offsets)
    return map(_behind, raw.parts(offsets, _LOCAL.size), offsets)


def _behind(head: bytes, at: int) -> int:
    if len(head) < _LOCAL.size or head[:4] != b"PK\3\4":
        return 0
    *_, named, extra = _LOCAL.unpack(head)
    return at + _LOCAL.size + named + extra
