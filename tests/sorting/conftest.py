from __future__ import annotations

import base64
import csv
import errno
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

Tree = dict[bytes, tuple[str, bytes]]


def predictions(path: Path, rows: Iterable[tuple[bytes, str | None]]) -> Path:
    """A predictions file of (path, label); a label of None is a bad file."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "score", "error", "path_b64"])
        for name, label in rows:
            is_utf8 = name.decode("utf-8", "replace").encode() == name
            exact = "" if is_utf8 else base64.b64encode(name).decode()
            error = "truncated: the data ends" if label is None else ""
            writer.writerow([name.decode("utf-8", "replace"), label or "", "0.900000" if label else "", error, exact])
    return path


def files_of(folder: Path, contents: dict[bytes, bytes]) -> Path:
    """Write files, each with a time of its own."""
    for number, (name, data) in enumerate(contents.items()):
        path = os.path.join(os.fsencode(folder), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)
        os.utime(path, ns=(10**18 + number, 10**18 + number))
    return folder


def tree(folder: Path, *, times: bool = True) -> Tree:
    """Everything in a folder but undo files: kind and time, and contents."""
    found: Tree = {}
    root = os.fsencode(folder)
    for above, folders, names in os.walk(root):
        for name in (*folders, *names):
            path = os.path.join(above, name)
            key = os.path.relpath(path, root)
            if os.path.islink(path):
                found[key] = ("link", os.readlink(path))
            elif os.path.isdir(path):
                found[key] = ("folder", b"")
            elif not os.path.isfile(path):
                found[key] = ("other", b"")
            elif not name.startswith(b"imgstream-undo-"):
                with open(path, "rb") as file:
                    found[key] = (f"file {os.stat(path).st_mtime_ns}" if times else "file", file.read())
    return found


class Killed(BaseException):
    """A process that is gone."""


_CHANGES = ("link", "symlink", "unlink", "mkdir", "rmdir", "write", "fsync", "ftruncate", "utime", "makedirs")


def kill_at(monkeypatch: pytest.MonkeyPatch, moment: int) -> Callable[[], int]:
    """From the given number of changes to the disk on, each raises Killed, as for a process that is no more; a write gets half of it
    done. Returns what tells how many there were.
    """
    seen = [0]

    def dying(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            seen[0] += 1
            if seen[0] > moment:
                if seen[0] == moment + 1 and name == "write":
                    real(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
                raise Killed
            return real(*arguments, **options)

        return call

    for name in _CHANGES:
        monkeypatch.setattr(os, name, dying(name, getattr(os, name)))
    return lambda: seen[0]


def no_hard_links(monkeypatch: pytest.MonkeyPatch, *, at_all: bool) -> None:
    """Hard links fail as across devices; unless `at_all`, those within a folder go on working."""
    real = os.link

    def link(source: bytes, target: bytes, **options: Any) -> None:
        if at_all or os.path.dirname(source) != os.path.dirname(target):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        real(source, target, **options)

    monkeypatch.setattr(os, "link", link)
