"""Reads image files: one open, one read, into reused memory. Never writes, and never waits for a pipe."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import stat
from concurrent.futures import CancelledError
from types import TracebackType
from typing import NamedTuple, NoReturn

from imgstream.errors import BadImage
from imgstream.files import objects
from imgstream.files.addresses import UNKNOWN, Address
from imgstream.files.spans import Container, Span, is_remote
from imgstream.files.unpacking import inflated, unpacked_page, value_in_page
from imgstream.formats.header import Header, read_header
from imgstream.formats.limits import check_limits, megapixels
from imgstream.formats.npy import header_bytes
from imgstream.spec import DEFAULT_MAX_PIXELS

_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)  # opening a pipe nobody writes to would wait for ever
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)  # Windows would translate line ends
)
LARGEST_KEPT = 32 << 20
"""Bytes; a larger file gets its own memory, which is freed with it."""
_FIRST_PART = 1 << 20  # bytes of such a file that are read and checked before the rest
JPEG = b"\xff\xd8\xff"
"""What every JPEG begins with."""
MOST_UNLISTED = 1 << 20
"""Bytes of an object of unknown size up to which it is read ahead."""
_DIGESTED = 8 << 20  # bytes of an object that are read at a time
_HEADER_PARTS = (1 << 14, 5 << 14, 1 << 20)
"""Bytes in which a file's header is looked for: most JPEGs need the first, thumbnails of up to 64 KB the second, profiles the third."""
_MOST_BYTES_A_PIXEL = 8  # 16-bit RGBA, uncompressed

_REASONS = {
    errno.ENOENT: "missing",
    errno.ENOTDIR: "missing",
    errno.ELOOP: "missing",
    errno.ENAMETOOLONG: "missing",
    errno.EACCES: "no permission",
    errno.EPERM: "no permission",
    errno.EISDIR: "not a regular file",
    errno.ENXIO: "not a regular file",  # a socket, or a device that is not there
    errno.EOPNOTSUPP: "not a regular file",  # a socket, on macOS
}


class FileVersion(NamedTuple):
    """Size and mtime of a file: two equal ones of one path are taken for the same contents."""

    size: int  # bytes
    modified: int  # nanoseconds since 1970


class FileReader:
    """Reads files one after another into one buffer. For one thread at a time."""

    def __init__(self) -> None:
        self._buffer = bytearray(1 << 18)
        self.version = FileVersion(0, 0)
        """Version of the last file that was read, from when it was opened."""
        self.header: Header | None = None
        """Header of the last file that was read; None when it is no image, or could not be read."""
        self.waited = False
        """Whether the last file had to come from the disk, as far as the system tells."""
        self._page: tuple[Container | None, memoryview] = None, memoryview(b"")

    def read(self, path: bytes | str, max_pixels: int) -> tuple[memoryview, Header]:
        """The whole file and its header; the bytes are valid until the next read.

        Raises BadImage for a file that cannot be read, is no image, or declares more than `max_pixels` pixels.
        """
        self.waited, self.header = False, None
        if isinstance(path, Span) and path.container.is_packed:
            data = self._unpacked(path, max_pixels)
        elif is_remote(path):
            data, self.version = _fetched(path, max_pixels)
        else:
            with _opened(path) as (descriptor, self.version, start):
                data = self._read(descriptor, start, self.version.size, max_pixels)
        return data, self._checked(data, max_pixels)

    def read_jpeg(self, path: bytes | str, max_pixels: int) -> tuple[memoryview, Header] | None:
        """Like read; None for what does not begin as a JPEG, or has more than 32 MB."""
        self.waited, self.header = False, None
        with _opened(path) as (descriptor, self.version, start):
            if self.version.size > LARGEST_KEPT or os.read(descriptor, len(JPEG)) != JPEG:
                return None
            data = self._read(descriptor, start, self.version.size, max_pixels)
        return data, self._checked(data, max_pixels)

    def _checked(self, data: memoryview, max_pixels: int) -> Header:
        self.header = header = read_header(data)
        check_limits(header, len(data), max_pixels)
        return header

    def _unpacked(self, span: Span, max_pixels: int) -> memoryview:
        page, array = span.container.page, span.container.slice_form
        if array is not None:  # as a file of it alone would be
            return self._region(span, header_bytes(*array))
        if page is None:
            return inflated(self._region(span), max_pixels)
        if self._page[0] != span.container:  # rows that follow one another share it
            self._page = span.container, unpacked_page(self._region(span), page)
        self.version = FileVersion(span.length, span.container.modified)
        return value_in_page(self._page[1], span.offset, span.length)

    def _region(self, span: Span, before: bytes = b"") -> memoryview:
        """What is read from the container of a packed image, behind the bytes `before`."""
        if is_remote(span):
            data, self.version = _fetched(span, DEFAULT_MAX_PIXELS)
            return memoryview(b"".join((before, data))) if before else data
        with _opened(span) as (descriptor, self.version, start):
            return self._fill(descriptor, start, span.region[1], before)

    def _read(self, descriptor: int, start: int, size: int, max_pixels: int) -> memoryview:
        if size > LARGEST_KEPT:
            _check_first_part(descriptor, size, max_pixels)
        return self._fill(descriptor, start, size)

    def _fill(self, descriptor: int, start: int, size: int, before: bytes = b"") -> memoryview:
        """`size` bytes of the file from `start` on, behind those `before`."""
        start, size = start - len(before), size + len(before)
        if size > LARGEST_KEPT:
            buffer = bytearray(size)
        else:
            if size > len(self._buffer):
                self._buffer = bytearray(min(size + size // 4, LARGEST_KEPT))
            buffer = self._buffer
        data = memoryview(buffer)[:size]
        data[: len(before)] = before
        done = len(before)
        done += _read_what_is_in_memory(descriptor, data[done:] if done else data, start + done)
        self.waited = _NO_WAIT is not None and done < size
        while done < size:
            count = _read_at(descriptor, data[done:] if done else data, start + done)
            if not count:  # it has shrunk since it was opened
                break
            done += count
        return data[:done].toreadonly()


def fetched_ahead(path: Address | Span) -> objects.Got:
    """What a read of `path` begins with: its bytes, unless there are many. Raises BadImage."""
    if isinstance(path, Span):
        return _part_of(path, 0, path.region[1])
    return objects.get(path, LARGEST_KEPT if path.size != UNKNOWN else MOST_UNLISTED)


def size_ahead(path: Address | Span) -> int:
    """How many bytes fetched_ahead may give."""
    if isinstance(path, Span):
        return path.region[1]
    return MOST_UNLISTED if path.size == UNKNOWN else path.size


def _part_of(path: Address | Span, start: int, size: int) -> objects.Got:
    """Bytes of an object, or of the region of a part of one, which counts as all of it. Raises BadImage."""
    if not isinstance(path, Span):
        return objects.get_part(path, start, size)
    container = path.container
    first, length = _region_of(path, FileVersion(container.size, container.modified))
    got = objects.get_part(Address(container.path), first + start, min(size, length - start))
    _region_of(path, FileVersion(got.size, got.modified))
    return got._replace(size=length)


def _region_of(span: Span, version: FileVersion) -> tuple[int, int]:
    """Start and number of the bytes to be read, if the container has this version. Raises BadImage."""
    container = span.container
    if fault := container.fault:
        raise BadImage(*fault)
    if version != (container.size, container.modified):
        raise BadImage("read error", f"{os.fsdecode(container.path)} has changed since it was listed; list it again")
    start, size = span.region
    if start < 0 or start + size > version.size:
        raise BadImage("truncated", f"its {size:,} bytes end behind the end of {os.fsdecode(container.path)}")
    if not span.length:
        raise BadImage("empty", "0 bytes")
    return start, size


def _fetched(path: Address | Span, max_pixels: int) -> tuple[memoryview, FileVersion]:
    """The bytes and version of an object, or of the region of a part of one: from where they are on their way, if they are. Raises
    BadImage.
    """
    got = None
    if path.ahead is not None:
        with contextlib.suppress(CancelledError):  # of a pass that was left
            got = path.ahead.result()
        path.ahead = None  # its bytes are freed with the reader's next file
    if isinstance(path, Span):
        if got is None and path.region[1] > LARGEST_KEPT and not path.container.is_packed:
            _check_first(_part_of(path, 0, _FIRST_PART).data, path.length, max_pixels)
        got = got or fetched_ahead(path)
        return got.data, FileVersion(path.length, got.modified)
    return _whole(path, got or objects.get(path, LARGEST_KEPT), max_pixels)


def _whole(address: Address, got: objects.Got, max_pixels: int) -> tuple[memoryview, FileVersion]:
    if not got.size:
        raise BadImage("empty", "0 bytes")
    if not got.data and got.size > LARGEST_KEPT:
        _check_first(objects.get_part(address, 0, _FIRST_PART).data, got.size, max_pixels)
    if not got.data:
        got = objects.get(address, got.size)
    return got.data, _version_of(address, got)


def _version_of(address: Address, got: objects.Got) -> FileVersion:
    """What is not listed has one version for ever: to ask for it would take as long as to read it."""
    return FileVersion(0, 0) if address.size == UNKNOWN else FileVersion(got.size, got.modified)


def read_declared(path: bytes | str, max_pixels: int) -> tuple[Header, int]:
    """The header of a file of any kind, from as few of its bytes as suffice, and the size of the whole file in bytes.

    An orientation that a PNG or WebP declares behind its pixels is not seen. Raises BadImage for a file that cannot be read, and where
    FileReader.read would refuse what these first bytes declare.
    """
    if isinstance(path, Span) and path.container.is_packed:
        whole, header = FileReader().read(path, max_pixels)
        return header, len(whole)
    if is_remote(path):
        return _declared_by_object(path, max_pixels)
    with _opened(path) as (descriptor, version, start):
        size = version.size
        if size > LARGEST_KEPT:
            _check_first_part(descriptor, size, max_pixels)
            os.lseek(descriptor, start, os.SEEK_SET)
        data = b""
        for part in (*_HEADER_PARTS, size):
            data += os.read(descriptor, min(part, size) - len(data))
            try:
                header = read_header(data, size)
            except BadImage as error:
                if error.reason != "truncated" or len(data) >= size:
                    raise
            else:
                check_limits(header, size, max_pixels)
                return header, size
    raise BadImage("truncated", f"{size:,} bytes when it was opened, but only {len(data):,} could be read")


def _declared_by_object(path: Address | Span, max_pixels: int) -> tuple[Header, int]:
    for part in _HEADER_PARTS:
        got = _part_of(path, 0, part)
        try:
            header = read_header(got.data, got.size)
        except BadImage as error:
            if error.reason != "truncated" or part >= got.size:
                raise
        else:
            check_limits(header, got.size, max_pixels)
            return header, got.size
    whole, header = FileReader().read(path, max_pixels)
    return header, len(whole)


def read_digest(path: bytes | str, start: int = 0) -> bytes:
    """BLAKE2b, 16 bytes, of the file's contents from byte `start` on, in bounded memory. Raises BadImage for a file that cannot be read."""
    digest = hashlib.blake2b(digest_size=16)
    if isinstance(path, Span) and path.container.is_packed:
        digest.update(FileReader().read(path, DEFAULT_MAX_PIXELS)[0][start:])
        return digest.digest()
    if is_remote(path):
        size = path.length if isinstance(path, Span) else objects.describe(path).size
        for at in range(start, size, _DIGESTED):
            digest.update(_part_of(path, at, min(_DIGESTED, size - at)).data)
        return digest.digest()
    with _opened(path) as (descriptor, version, first):
        if first + start:
            os.lseek(descriptor, first + start, os.SEEK_SET)
        left = version.size - start if isinstance(path, Span) else None
        part = max(1, min(version.size - start + 1, _FIRST_PART))  # one byte more, so that one read also finds the end of the file
        while data := os.read(descriptor, part if left is None else min(part, left)):
            digest.update(data)
            if left is not None:
                left -= len(data)
            elif len(data) < part:
                break
    return digest.digest()


class _opened:  # noqa: N801  # used as a function: `with _opened(path) as (descriptor, …)`; a generator costs a microsecond more
    """The descriptor of a regular file, open during the block and at the first byte of the image; the image's version, and where it
    begins. An OSError in the block becomes a BadImage too.
    """

    __slots__ = ("_descriptor", "_path", "_span")

    def __init__(self, path: bytes | str) -> None:
        self._span = path if isinstance(path, Span) else None
        self._path = path if self._span is None else self._span.container.path

    def __enter__(self) -> tuple[int, FileVersion, int]:
        try:
            self._descriptor = os.open(self._path, _FLAGS)
        except OSError as error:
            _fail(error, self._path)
        except ValueError:  # a zero byte, or a character that file names cannot hold here
            raise BadImage("missing", "no file can have this name") from None
        try:
            status = os.fstat(self._descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise BadImage("not a regular file", _file_type(status.st_mode))
            version, start = FileVersion(status.st_size, status.st_mtime_ns), 0
            if self._span is not None:
                start, _ = _region_of(self._span, version)
                os.lseek(self._descriptor, start, os.SEEK_SET)
                version = FileVersion(self._span.length, version.modified)
        except BaseException as error:
            os.close(self._descriptor)
            if isinstance(error, OSError):
                _fail(error, self._path)
            raise
        return self._descriptor, version, start

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self._descriptor)
        if isinstance(error, OSError):
            _fail(error, self._path)


def file_version(path: bytes | str) -> FileVersion | None:
    """The version of the file at `path`, without opening it; None if that cannot be told. That of an object is from when it was listed."""
    if isinstance(path, Address):
        return FileVersion(0, 0) if path.size == UNKNOWN else FileVersion(path.size, path.modified)
    if is_remote(path) and isinstance(path, Span):
        return FileVersion(path.length, path.container.modified)
    try:
        status = os.stat(path.container.path if isinstance(path, Span) else path)
    except (OSError, ValueError):
        return None
    return FileVersion(path.length if isinstance(path, Span) else status.st_size, status.st_mtime_ns)


def read_ahead(path: bytes) -> bool:
    """Ask the system to fetch the file from the disk, without waiting for more than its opening. True if it was not in memory yet.

    False, without doing anything, where the system cannot tell.
    """
    if _NO_WAIT is None or is_remote(path):
        return False
    try:
        with _opened(path) as (descriptor, version, start):
            if _read_what_is_in_memory(descriptor, memoryview(bytearray(1)), start):
                return False
            size = path.region[1] if isinstance(path, Span) else version.size
            os.posix_fadvise(descriptor, start, size, os.POSIX_FADV_WILLNEED)
    except BadImage:
        return False
    return True


def _read_what_is_in_memory(descriptor: int, data: memoryview, start: int) -> int:
    """Fill `data` from byte `start` of the file on, as far as the page cache has it; return the number of bytes, 0 where the system cannot
    tell.
    """
    if _NO_WAIT is None:
        return 0
    try:
        return os.preadv(descriptor, [data], start, _NO_WAIT)
    except OSError:  # not in memory, or the file system cannot tell; a disk error shows when it is read
        return 0


_NO_WAIT: int | None = getattr(os, "RWF_NOWAIT", None)  # Linux

if hasattr(os, "preadv"):

    def _read_at(descriptor: int, data: memoryview, at: int) -> int:
        return os.preadv(descriptor, [data], at)

else:  # Windows

    def _read_at(descriptor: int, data: memoryview, at: int) -> int:
        os.lseek(descriptor, at, os.SEEK_SET)
        return io.FileIO(descriptor, closefd=False).readinto(data)


def _check_first_part(descriptor: int, size: int, max_pixels: int) -> None:
    """Refuse a large file by its first part, before memory is taken for the rest."""
    _check_first(os.read(descriptor, _FIRST_PART), size, max_pixels)


def _check_first(first: bytes | memoryview, size: int, max_pixels: int) -> None:
    try:
        check_limits(read_header(first, size), size, max_pixels)
    except BadImage as error:
        if error.reason != "truncated":  # a header that goes on behind the first part is read again with the rest
            raise
    limit = max_pixels * _MOST_BYTES_A_PIXEL + LARGEST_KEPT
    if size > limit:
        need = f"no image within the limit of {megapixels(max_pixels)} needs more than {limit / 1e6:,.0f} MB"
        raise BadImage("too large", f"a file of {size / 1e6:,.0f} MB; {need}")


def _file_type(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a pipe" if stat.S_ISFIFO(mode) else "a device"  # a socket cannot be opened


def _fail(error: OSError, path: bytes | str) -> NoReturn:
    reason = _REASONS.get(error.errno or 0, "read error")
    detail = error.strerror or type(error).__name__
    if reason == "missing" and os.path.islink(path):
        detail = "a link that leads nowhere" if error.errno == errno.ENOENT else f"a link: {detail}"
    elif error.errno == errno.ENXIO:
        detail = "a socket, or a device that is not there"
    raise BadImage(reason, detail) from None
