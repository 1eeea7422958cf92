"""Writes files whole or not at all: under another name in the same folder, synced, then renamed.

A run that is killed leaves at most a hidden `.imgstream-*.tmp` behind, which may be deleted; an existing file at the path stays as it was.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Literal

from imgstream.errors import OutputError

_ERRORS = "backslashreplace"
r"""Names that are no UTF-8 hold surrogates: written as \udcff they stay legible, the file is UTF-8, and JSON reads the same string back."""

_WHAT_TO_DO = {
    errno.ENOSPC: "the disk is full. Free some space, or write to another disk",
    errno.EDQUOT: "your disk quota is used up. Free some space, or write to another disk",
    errno.EFBIG: "the file would be larger than this system allows. Write to another disk, or raise the limit (ulimit -f)",
    errno.EROFS: "the file system is read-only. Choose a folder on another one",
    errno.EACCES: "no permission. Choose a folder that you may write to",
    errno.EPERM: "no permission. Choose a folder that you may write to",
    errno.ENAMETOOLONG: "the name is too long for this file system. Choose a shorter one",
    errno.ELOOP: "its links go round in a circle. Choose another path",
    errno.EIO: "the disk failed. Check it, or write to another one",
}


@contextlib.contextmanager
def atomic_file(path: str | os.PathLike[str], mode: Literal["wb", "w"] = "wb") -> Iterator[IO[Any]]:
    r"""A file to write, which appears at `path` when the block ends. "wb": bytes; "w": UTF-8, line ends unchanged, surrogates as \udcff.

    If the block raises, nothing appears and an existing file at `path` stays. A link is followed: its target is replaced. Raises
    OutputError when the file system refuses; an OSError of the block itself passes through unchanged.
    """
    target = check_target(path)
    temporary = target.parent / f".imgstream-{secrets.token_hex(8)}.tmp"  # short: the target's own name may fill the limit
    try:
        with translated(path):
            raw = _RawOutput(temporary, path)
        buffer = io.BufferedWriter(raw, 1 << 20)
        file: IO[Any] = buffer if mode == "wb" else io.TextIOWrapper(buffer, encoding="utf-8", errors=_ERRORS, newline="")
        try:
            yield file
            file.flush()
            with translated(path):
                os.fsync(raw.fileno())
        except BaseException:
            raw.close()  # first, so that the layers above cannot flush what they still hold
            raise
        with translated(path):
            file.close()
            os.replace(temporary, target)
            sync_folder(target.parent)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` to `path`, whole or not at all. Raises OutputError."""
    with atomic_file(path) as file:
        file.write(data)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    r"""Write `text` as UTF-8 to `path`, surrogates as \udcff, whole or not at all. Raises OutputError."""
    write_bytes(path, text.encode("utf-8", _ERRORS))


def write_json(path: str | os.PathLike[str], data: Any) -> None:
    """Write `data` as indented UTF-8 JSON to `path`, whole or not at all; json.load gives equal strings back, whatever they hold.

    Raises OutputError, and TypeError before anything is written when `data` has no JSON form.
    """
    write_text(path, json.dumps(data, indent=2, ensure_ascii=False) + "\n")


def check_is_no_address(path: str | os.PathLike[str]) -> None:
    """Raise OutputError for s3://bucket/x, also as a Path has it, with one slash: a folder named "s3:" would be made."""
    if re.match(r"[a-z][a-z0-9+.-]+:/", os.fspath(path)):
        raise OutputError(f"cannot write {_shown(path)}: it is an address. Write to a disk, and copy it there")


def check_target(path: str | os.PathLike[str]) -> Path:
    """The path where a file written to `path` will lie, links resolved; creates nothing. Raises OutputError if it plainly cannot be
    written.
    """
    check_is_no_address(path)
    target = Path(os.path.realpath(path))
    with translated(path):
        try:
            kind = target.stat().st_mode
        except FileNotFoundError:
            kind = None
        if not target.parent.is_dir():
            found = "is not a folder" if os.path.lexists(target.parent) else "does not exist"
            raise OutputError(
                f"cannot write {_shown(path)}: its folder {_shown(target.parent)} {found}. Create it first, or choose another"
            )
        if kind is not None and stat.S_ISDIR(kind):
            raise OutputError(f"cannot write {_shown(path)}: it is a folder. Give the name of a file")
        if kind is not None and not stat.S_ISREG(kind):
            raise OutputError(f"cannot write {_shown(path)}: it is a pipe, socket or device. Give the name of a regular file")
        if not os.access(target.parent, os.W_OK | os.X_OK):
            raise OutputError(
                f"cannot write {_shown(path)}: no permission to write in {_shown(target.parent)}. Choose a folder that you may write to"
            )
        if kind is not None and not os.access(target, os.W_OK):  # a rename would succeed all the same
            raise OutputError(f"cannot write {_shown(path)}: it is there and write-protected. Choose another name, or allow writing")
    return target


class _RawOutput(io.FileIO):
    """The lowest layer of the file: only here is a failed write the disk's fault and not the caller's."""

    def __init__(self, temporary: Path, path: str | os.PathLike[str]) -> None:
        super().__init__(temporary, "x")
        self._path = path

    def write(self, data: Any) -> int:
        with translated(self._path):
            return super().write(data)


@contextlib.contextmanager
def translated(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn an OSError of the block into an OutputError that names `path` and says what to do."""
    try:
        yield
    except OSError as error:
        reason = _WHAT_TO_DO.get(error.errno or 0, f"{error.strerror or error}. Choose another place")
        raise OutputError(f"cannot write {_shown(path)}: {reason}") from error


def sync_folder(folder: str | bytes | os.PathLike[str]) -> None:
    """Make the rename survive a power cut where the system can: Windows, unreadable folders and some network disks cannot."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def _shown(path: str | os.PathLike[str]) -> str:
    """The path in quotes and escaped: names may hold newlines, and an error is one line."""
    return repr(os.fspath(path))
