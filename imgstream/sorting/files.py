"""Gives one file another name, or makes a copy: never over an existing file, even one that appears at the last moment."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
from pathlib import Path
from typing import NoReturn

from imgstream.errors import BadImage
from imgstream.files.reader import read_digest

_PART = 1 << 20  # bytes
_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NO_LINKS = {errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}
"""A hard link cannot be made: another device, a file system without links, or someone else's file."""
FATAL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}
"""Errors that every other file would meet too."""


class Unplaceable(Exception):
    """One file cannot be placed: `reason` is one of errors.REASONS, or "not placed"."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


def status(path: bytes, *, follow: bool) -> os.stat_result:
    """The status of the file at `path`, without opening it. Raises Unplaceable."""
    try:
        return os.stat(path) if follow else os.lstat(path)
    except (OSError, ValueError) as error:
        unreadable(error)


def unreadable(error: OSError | ValueError) -> NoReturn:
    """Raise Unplaceable for a file that cannot be read."""
    if not isinstance(error, OSError):  # a zero byte
        raise Unplaceable("missing", "no file can have this name") from None
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG):
        reason = "missing"
    else:
        reason = "no permission" if error.errno in (errno.EACCES, errno.EPERM) else "read error"
    raise Unplaceable(reason, error.strerror or type(error).__name__) from None


def refused(error: OSError) -> NoReturn:
    """Raise the right error when a file cannot be placed: FileExistsError, Unplaceable, or the OSError itself if all files would meet
    it.
    """
    if isinstance(error, FileExistsError) or error.errno in FATAL:
        raise error
    if isinstance(error, FileNotFoundError):
        raise Unplaceable("missing", "it has gone") from None
    raise Unplaceable("not placed", error.strerror or type(error).__name__) from None


def hard_link(source: bytes, target: bytes) -> bool:
    """Give a file a second name; False where that is impossible. Raises as refused() does."""
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno in _NO_LINKS:
            return False
        refused(error)
    return True


def symbolic_link(text: bytes, target: bytes) -> None:
    """Make a symbolic link at `target` with the contents `text`. Raises as refused() does."""
    try:
        os.symlink(text, target)
    except OSError as error:
        refused(error)


def copy(source: bytes, target: bytes, temporary: bytes, *, durable: bool) -> str:
    """Copy contents, times and permissions; the copy is read back and compared before it gets its name. Return its digest.

    It is written under the name `temporary` in the same folder if that file system can then give it a second name; else straight to
    `target`, which is then incomplete for a while. `durable`: the contents are on the disk when this returns. Raises as refused() does, and
    Unplaceable when the source cannot be read or changed meanwhile.
    """
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)  # of a process that was killed
    try:
        digest = _copy(source, temporary, durable)
        try:
            linked = hard_link(temporary, target)
        finally:
            os.unlink(temporary)
        if not linked:
            digest = _copy(source, target, durable)
    except OSError as error:
        refused(error)
    return digest


def is_beginning(part: bytes, whole: bytes) -> bool:
    """Whether the contents of the file `part` are the beginning of those of `whole`, or equal. False when either cannot be read."""
    try:
        with _opened(part) as a, _opened(whole) as b:
            while data := os.read(a, _PART):
                other = b""
                while len(other) < len(data) and (more := os.read(b, len(data) - len(other))):
                    other += more
                if data != other:
                    return False
    except (OSError, Unplaceable):
        return False
    return True


def same_contents(a: bytes, b: bytes) -> bool:
    """Whether two regular files are equal, byte by byte."""
    return os.lstat(a).st_size == os.lstat(b).st_size and is_beginning(a, b)


def digest_of(path: bytes) -> str | None:
    """BLAKE2b of a file's contents in hexadecimal; None when it cannot be read."""
    try:
        return read_digest(path).hex()
    except BadImage:
        return None


def copy_times(source: bytes, target: bytes, status: os.stat_result) -> None:
    """Give a copy the times and permissions of its source, as far as its file system supports them."""
    try:
        shutil.copystat(source, target)
    except OSError:  # a file system without permissions or attributes
        with contextlib.suppress(OSError):
            os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))


def linked_to(source: bytes) -> bytes:
    """What --link links to: the file itself, even if `source` is a link."""
    return os.path.realpath(source) if os.path.islink(source) else source


def moved_link(source: bytes, said: bytes) -> bytes:
    """The contents that a moved link needs to lead to the same file."""
    return os.path.join(os.path.dirname(source), said)


def temporary_name(target: bytes, journal: Path, row: int) -> bytes:
    """The name of a row's copy until it is complete: always the same, so that one that was left is found."""
    return os.path.join(os.path.dirname(target), f".imgstream-{journal.stem.rpartition('-')[2]}-{row}.tmp".encode())


def _copy(source: bytes, target: bytes, durable: bool) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with _opened(source) as reading:
        before = os.fstat(reading)
        writing = os.open(target, _NEW, 0o600)
        try:
            try:
                while data := _read(reading):
                    digest.update(data)
                    left = memoryview(data)
                    while left:
                        left = left[os.write(writing, left) :]
                after = os.fstat(reading)
                if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
                    raise Unplaceable("read error", "it changed while it was copied")
                copy_times(source, target, before)
                if durable:
                    os.fsync(writing)
                    if hasattr(os, "posix_fadvise"):  # so that what is compared comes from the disk
                        os.posix_fadvise(writing, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(writing)
            if digest_of(target) != digest.hexdigest():
                raise Unplaceable("not placed", "the copy reads back other than what was written: check the disk")
        except BaseException:
            os.unlink(target)
            raise
    return digest.hexdigest()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, _PART)
    except OSError as error:
        unreadable(error)


class _opened:  # noqa: N801  # used as a function
    """The descriptor of a regular file to read, during the block. Raises Unplaceable."""

    def __init__(self, path: bytes) -> None:
        self._path = path

    def __enter__(self) -> int:
        try:
            self._descriptor = os.open(self._path, _READ)
        except (OSError, ValueError) as error:
            unreadable(error)
        if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
            os.close(self._descriptor)
            raise Unplaceable("not a regular file", "a folder, pipe or device")
        return self._descriptor

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
