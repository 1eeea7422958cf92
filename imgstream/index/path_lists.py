"""Reads lists of files as CSV or plain text: those that check and reports write, and those that people write by hand."""

from __future__ import annotations

import base64
import contextlib
import csv
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TextIO

from imgstream.errors import DatasetError
from imgstream.index.names import as_written

_HEAD = 4096
"""Bytes that show whether a file is text: those of images and tables have a NUL among them."""


def read_paths(file: str | os.PathLike[str]) -> list[bytes]:
    """Paths relative to the root, from a CSV with the columns path and perhaps path_b64, or from a text file with a path a line.

    Raises DatasetError when it cannot be read.
    """
    return [path for path, _ in _read(file, None)]


def read_groups(file: str | os.PathLike[str]) -> list[tuple[bytes, bytes]]:
    """(path relative to the root, name of its group), from a CSV with the columns path, group and perhaps path_b64.

    Raises DatasetError when it cannot be read, or has no such columns.
    """
    return list(_read(file, "group"))


class Correction(NamedTuple):
    """What is to be done about one image."""

    path: bytes
    """Relative to the root."""
    action: str
    """One of ACTIONS."""
    label: str
    """The right class, with the action "label"; else ""."""

    @property
    def said(self) -> str:
        """What is to be done, in a word: the class or the action."""
        return self.label or self.action


ACTIONS = ("label", "exclude", "fine")
"""The label is wrong, and this is the right one; leave the image out; the label is right, whatever the model says."""


def read_corrections(file: str | os.PathLike[str]) -> Iterator[Correction]:
    """The rows of a CSV with the columns path, label and perhaps action and path_b64, as a report's page makes it. Without an action, a row
    gives the right label.

    Raises DatasetError when it cannot be read, has no such columns, or a row has another action or lacks a label.
    """
    with _listed(file) as lines:
        reader = csv.DictReader(lines)
        if reader.fieldnames is None:
            raise DatasetError(f"{file} is empty: it lacks even the line with the names of its columns, path and label")
        if not {"path", "label"} <= set(reader.fieldnames):
            raise DatasetError(f"{file} has no columns path and label in its first line; a report's page makes such a file")
        for row in reader:
            path = _exact(row)
            action, label = row.get("action") or "label", row["label"] or ""
            if action not in ACTIONS or (action == "label" and not label):
                found = f"the action {action!r}" if action not in ACTIONS else "no label"
                raise DatasetError(
                    f"{file}, line {reader.line_num}: {found}; a row has an action, {', '.join(ACTIONS)}, and a label with label"
                )
            if path:
                yield Correction(path, action, as_written(label).decode("utf-8", "backslashreplace") if action == "label" else "")


def _read(file: str | os.PathLike[str], column: str | None) -> Iterator[tuple[bytes, bytes]]:
    with _listed(file) as lines:
        first = lines.readline()
        header = next(csv.reader([first]), [])
        lines.seek(0)
        if "path" not in header or (column is not None and column not in header):
            if column is not None:
                raise DatasetError(f"{file} has no columns path and {column} in its first line; check --groups writes such a file")
            yield from ((_path(as_written(line)), b"") for line in (line.rstrip("\r\n") for line in lines) if line)
            return
        for row in csv.DictReader(lines):
            if path := _exact(row):
                yield path, as_written(row[column] or "") if column is not None else b""


@contextlib.contextmanager
def _listed(file: str | os.PathLike[str]) -> Iterator[TextIO]:
    """The lines of a list of files. Raises DatasetError where it is none, also for what the block finds."""
    try:
        if not stat.S_ISREG(Path(file).stat().st_mode):  # to open a pipe would wait for somebody to write into it
            raise DatasetError(f"{file} cannot be read as a list of files: it is a folder, pipe or device")
        with Path(file).open("rb") as binary:
            if b"\0" in binary.read(_HEAD):
                raise DatasetError(f"{file} holds NUL bytes: it is no list of paths in UTF-8, a path a line")
        with Path(file).open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
            yield lines
    except (OSError, csv.Error, ValueError) as error:  # ValueError: what is no base64
        raise DatasetError(f"{file} cannot be read as a list of files: {error}") from error


def _exact(row: dict[str, str]) -> bytes:
    exact = row.get("path_b64")
    return _path(base64.b64decode(exact, validate=True) if exact else as_written(row["path"] or ""))


def _path(path: bytes) -> bytes:
    """A path as an index has it, without the ./ that `find .` puts before each."""
    return path.removeprefix(b"./")
