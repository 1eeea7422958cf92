"""The CSV format of all our files: RFC 4180 quoting, lines that end in a newline, and a second column for paths that UTF-8 cannot show."""

from __future__ import annotations

import base64
import csv
import re
from typing import IO, Any


def csv_writer(file: IO[str]) -> Any:
    r"""A csv.writer on a text file that leaves line ends unchanged; records end in \n."""
    return csv.writer(_EndsInNewline(file), lineterminator="\r\n")


class _EndsInNewline:
    r"""Ends records in \n. csv.writer itself must be given \r\n: before Python 3.13 it quotes only the line ends that it writes."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, record: str) -> int:
        return self._file.write(record.removesuffix("\r\n") + "\n")


def utf8(text: str | None) -> str | None:
    """Text that UTF-8 can hold: surrogates, which stand for bytes of a name that is no UTF-8, become U+FFFD."""
    return None if text is None else re.sub("[\ud800-\udfff]", "\ufffd", text)


def path_b64(path: bytes) -> str | None:
    """The path's exact bytes in base64 if UTF-8 cannot show them, else None."""
    try:
        path.decode("utf-8")
    except UnicodeDecodeError:
        return base64.b64encode(path).decode("ascii")
    return None
