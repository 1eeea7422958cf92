"""ObjectFile: an object of a bucket as a file that can be read at any place; copy_object: a copy of one."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO

from imgstream.errors import BadImage
from imgstream.files import objects
from imgstream.files.addresses import Address

RANGE = 8 << 20
"""Bytes of a request where an object is read from end to end: to be answered takes a request as long as several MB take to come."""
_MOST = 32 << 20  # bytes of a request, so that each ends in time on a slow line


def open_object(address: Address, buffering: int) -> io.BufferedReader:
    """The object for reading, by ranges of `buffering` bytes and more; `address` says size and version. Reads raise BadImage."""
    return io.BufferedReader(ObjectFile(address), buffering)


def copy_object(address: str, target: BinaryIO) -> None:
    """Write an object to an open file, in bounded memory. Raises BadImage, DatasetError (the extra [cloud] is missing), OSError."""
    objects.require(address)
    encoded = os.fsencode(address)
    whole = objects.get(Address(encoded), RANGE)  # not its head: an address may be signed for reading alone
    if whole.size <= RANGE:
        target.write(whole.data)
    else:
        shutil.copyfileobj(open_object(Address(encoded, whole.size, whole.modified), RANGE), target, RANGE)


class ObjectFile(io.RawIOBase):
    """An object, each read of which is a request for a range; BadImage is raised when it fails, or finds another version."""

    def __init__(self, address: Address, start: int = 0) -> None:
        """`address`: with size and version; `start`: the first byte to read."""
        self.name = address
        self._at = start

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move, also behind the end."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.name.size}[whence]
        if base + offset < 0:
            raise ValueError(f"byte {base + offset} is before the first")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # any writable buffer, which typing has no name for
        """Fill the buffer, or as much of it as one request gives."""
        view = memoryview(buffer).cast("B")
        wanted = min(len(view), self.name.size - self._at, _MOST)
        if wanted <= 0:
            return 0
        got = objects.get_part(self.name, self._at, wanted)
        if (got.size, got.modified) != (self.name.size, self.name.modified):
            raise BadImage("read error", "it was written again while it was listed; list it again")
        view[: len(got.data)] = got.data
        self._at += len(got.data)
        return len(got.data)

    def parts(self, starts: Sequence[int], size: int) -> Iterator[bytes]:
        """`size` bytes, or fewer, from each of `starts` on, many requests at a time; none from behind the end."""
        with ThreadPoolExecutor(objects.AT_ONCE, "imgstream-objects") as pool:
            yield from pool.map(lambda start: ObjectFile(self.name, start).read(size) or b"", starts)

    def readall(self) -> bytes:
        """The rest, in as few requests as may be."""
        rest = bytearray(max(0, self.name.size - self._at))
        done = 0
        while done < len(rest) and (count := self.readinto(memoryview(rest)[done:])):
            done += count
        return bytes(rest[:done])
