"""Reads the structure of a JPEG: its frame, its scans, its markers in order. No pixel is decoded.

ITU-T T.81 is the source of every rule here: B.1 and B.2 for markers and segments, G.1.1 for how progressive scans follow each other.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from typing import NamedTuple

from imgstream.errors import BadImage

Bytes = bytes | memoryview

_MARKER = re.compile(rb"\xff[^\x00\xff]")
_BEHIND_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # restart markers belong to a scan
_SCAN = re.compile(rb"\xff\xda")
_FRAMES = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC9, 0xCA})  # the kinds of frame that libjpeg-turbo decodes
_OTHER_FRAMES = frozenset({0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF})
_BARE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a length: TEM, RSTn, SOI
_EOI, _SOS, _APP1 = 0xD9, 0xDA, 0xE1
_MOST_SEGMENTS = 1_000_000


class Frame(NamedTuple):
    """What a JPEG declares before its first scan."""

    process: int  # its marker, SOFn
    width: int
    height: int
    table: bytes  # three bytes a component
    at: int  # where the frame's own segment begins, and
    end: int  # where it ends
    exif: tuple[int, int]  # where its Exif block begins and ends; (0, 0) if it has none
    scanned: int  # how many components the first scan gives

    @property
    def one_scan_holds_all(self) -> bool:
        """Whether a decoder needs memory only for some rows of blocks."""
        return self.scanned * 3 >= len(self.table) and not self.is_progressive

    @property
    def is_lossless(self) -> bool:
        """Whether it codes samples by prediction, not blocks of 8 × 8."""
        return self.process == 0xC3

    @property
    def is_arithmetic(self) -> bool:
        """Whether a symbol may take less than a bit."""
        return self.process in (0xC9, 0xCA)

    @property
    def is_progressive(self) -> bool:
        """Whether every scan holds only a part of each block."""
        return self.process in (0xC2, 0xCA)

    @property
    def components(self) -> list[tuple[int, int, int]]:
        """Identifier and horizontal and vertical sampling, relative to the other components, of each component. Raises BadImage
        "corrupt".
        """
        found = [(name, sampling >> 4, sampling & 15) for name, sampling in zip(self.table[::3], self.table[1::3], strict=True)]
        for _, across, down in found:
            if not (1 <= across <= 4 and 1 <= down <= 4):
                raise BadImage("corrupt", f"sampling factors of {across}×{down}, where 1 to 4 are possible")
        return found

    @property
    def most_units(self) -> int:
        """An upper bound of the sum of `units`, without reading the components."""
        side = 1 if self.is_lossless else 8
        return len(self.table) // 3 * (self.width // side + 1) * (self.height // side + 1)

    def units(self) -> list[int]:
        """Number of blocks of 8 × 8 samples of each component; of samples if it is lossless. Raises BadImage "corrupt"."""
        components = self.components
        side = 1 if self.is_lossless else 8
        sides_across = side * max(across for _, across, _ in components)
        sides_down = side * max(down for _, _, down in components)
        return [-(-self.width * across // sides_across) * -(-self.height * down // sides_down) for _, across, down in components]


_U16 = struct.Struct(">H").unpack_from
_FRAME = struct.Struct(">HBHHB").unpack_from


def read_frame(data: Bytes) -> Frame:
    """The frame of a JPEG, from its bytes or a part of them that reaches to its first scan.

    Raises BadImage "corrupt", "unsupported" or "truncated"; IndexError or struct.error where the bytes end before it.
    """
    at, exif, frame = 2, (0, 0), None
    for _ in range(_MOST_SEGMENTS):
        marker = data[at + 1]
        if data[at] != 0xFF or marker in (0xFF, 0x00):  # fill bytes or junk: libjpeg skips to the next marker, with a warning
            found = _MARKER.search(data, at)
            if found is None:
                raise BadImage("truncated", "ends before its size is declared" if frame is None else "ends before its pixels begin")
            at = found.start()
            marker = data[at + 1]
        if marker in _BARE:
            at += 2
            continue
        if marker == _EOI:
            break
        if marker in _OTHER_FRAMES and frame is None:
            raise BadImage("unsupported", "a hierarchical or arithmetic lossless JPEG")
        (length,) = _U16(data, at + 2)
        if length < 2:
            raise BadImage("corrupt", f"a JPEG segment of length {length}")
        if marker == _SOS:
            if frame is None:
                break
            return Frame(*frame, exif, data[at + 4])
        if marker in _FRAMES and frame is None:
            frame = _frame(data, at)
        elif marker == _APP1 and exif == (0, 0) and data[at + 4 : at + 9] == b"Exif\0":
            exif = at + 10, at + 2 + length
        at += 2 + length
    if frame is not None:
        raise BadImage("truncated", "ends before its pixels begin")
    raise BadImage("corrupt", "its size is never declared (no frame header before the first scan or the end)")


def _frame(data: Bytes, at: int) -> tuple[int, int, int, bytes, int, int]:
    """The first fields of a Frame, from the segment at `at`."""
    length, precision, height, width, count = _FRAME(data, at + 2)
    if precision != 8:
        raise BadImage("unsupported" if precision <= 16 else "corrupt", f"a JPEG of {precision} bits a sample")
    if not height:
        raise BadImage("unsupported", "a JPEG that declares its height after its pixels (DNL), or never")
    if not width:
        raise BadImage("corrupt", "declares a width of 0")
    if not count or length != 8 + 3 * count:
        raise BadImage("corrupt", f"a frame header of {length} bytes for {count} components")
    end = at + 2 + length
    data[end - 1]  # IndexError unless it is there
    return data[at + 1], width, height, bytes(data[at + 10 : end]), at, end


def passes(data: Bytes, frame: Frame) -> int:
    """Number of blocks (samples if it is lossless) that all scans pass over, together: this bounds the time of decoding."""
    units = dict(zip([identifier for identifier, _, _ in frame.components], frame.units(), strict=True))
    everything = sum(units.values())
    total = 0
    for found in _SCAN.finditer(data, frame.end):
        at = found.start() + 5
        named = data[at : at + 2 * data[at - 1] : 2] if at <= len(data) else b""
        total += sum(units.get(identifier, everything) for identifier in named)
    return total


# ---- JPEGs that every decoder reads alike

_COLOUR = [(luma, [1, 1], [1, 1]) for luma in ([1, 1], [2, 1], [1, 2], [2, 2], [4, 1])]
"""Sampling of three components: 4:4:4, 4:2:2, 4:4:0, 4:2:0, 4:1:1."""


class _Scan(NamedTuple):
    components: tuple[int, ...]
    first: int  # coefficients, in zigzag order
    last: int
    before: int  # low bits that the scan before left out; 0 in the first one
    after: int


def is_regular(data: Bytes) -> bool:
    """Whether a JPEG follows the standard so closely that decoders have nothing to guess or tolerate: segments without gaps, one frame of 8
    bits, Huffman codes and the usual sampling, scans that give every coefficient once and to its last bit, directly followed by the end
    mark. Bytes after the end do not count. Damage within a scan is not seen: all decoders of one family decode it alike.
    """
    try:
        return _is_regular(data)
    except (IndexError, struct.error, BadImage):
        return False


def _is_regular(data: Bytes) -> bool:
    at, frame, left = 2, None, _Left(())
    for _ in range(_MOST_SEGMENTS):
        if data[at] != 0xFF:
            return False
        marker = data[at + 1]
        if marker == _EOI or left.is_nothing:
            return marker == _EOI and left.is_nothing
        (length,) = _U16(data, at + 2)
        end = at + 2 + length
        if marker < 0xC0 or marker in _BARE or length < 2 or end > len(data):
            return False
        if marker in _FRAMES or marker in _OTHER_FRAMES:
            if frame is not None or marker not in (0xC0, 0xC1, 0xC2):
                return False
            frame = Frame(*_frame(data, at), (0, 0), 0)
            if len(frame.components) != 1 and tuple(sampling for _, *sampling in frame.components) not in _COLOUR:
                return False
            left = _Left([identifier for identifier, _, _ in frame.components])
        elif marker == _SOS:
            if frame is None or not left.take(_scan(data, at, length), frame.is_progressive):
                return False
            found = _BEHIND_SCAN.search(data, end)
            if found is None:
                return False
            end = found.start()
        at = end
    return False


def _scan(data: Bytes, at: int, length: int) -> _Scan:
    count = data[at + 4]
    if length != 6 + 2 * count:
        raise IndexError
    start = at + 5 + 2 * count
    return _Scan(tuple(data[at + 5 : start : 2]), data[start], data[start + 1], data[start + 2] >> 4, data[start + 2] & 15)


class _Left:
    """What no scan has given yet: for each component and each of 64 coefficients, how many of its bits are still to come."""

    _ALL = 99

    def __init__(self, identifiers: Sequence[int]) -> None:
        self._bits = {identifier: [self._ALL] * 64 for identifier in identifiers}

    @property
    def is_nothing(self) -> bool:
        """Whether everything was given; False before the frame."""
        return bool(self._bits) and not any(map(any, self._bits.values()))

    def take(self, scan: _Scan, progressive: bool) -> bool:
        """Record what a scan gives; False if that scan must not come now."""
        if not scan.components or len(set(scan.components)) < len(scan.components) or not self._bits.keys() >= set(scan.components):
            return False
        if progressive:
            if not scan.first <= scan.last <= 63 or (scan.first == 0) != (scan.last == 0) or (scan.first and len(scan.components) > 1):
                return False
            if scan.after > 13 or (scan.before and scan.before != scan.after + 1):
                return False
        elif scan[1:] != (0, 63, 0, 0):
            return False
        for identifier in scan.components:
            bits = self._bits[identifier]
            if scan.first and bits[0] == self._ALL:  # the DC coefficient has to come first
                return False
            if any(bit != (scan.before or self._ALL) for bit in bits[scan.first : scan.last + 1]):
                return False
            bits[scan.first : scan.last + 1] = [scan.after] * (scan.last + 1 - scan.first)
        return True


# ---- what is not needed for pixels

_NEEDED = frozenset({0xE0, 0xEE})  # JFIF and Adobe: they tell what the components' colours are


def bare_jpeg(data: Bytes, frame: Frame) -> bytes:
    """A JPEG without the segments before its frame that are not needed for pixels: profiles, Exif blocks, comments, with any bombs in
    them.
    """
    parts, at = [data[:2]], 2
    while at < frame.at:
        if data[at] != 0xFF or data[at + 1] in (0xFF, 0x00):
            found = _MARKER.search(data, at)
            assert found is not None  # read_frame has found one here
            at = found.start()
        marker = data[at + 1]
        end = at + 2 if marker in _BARE else at + 2 + _U16(data, at + 2)[0]
        if marker < 0xE0 or marker in _NEEDED:
            parts.append(data[at:end])
        at = end
    return b"".join([*parts, data[frame.at :]])
