"""Digests of a folder's files, kept in a JSON file beside them, to detect bits that have changed since.

They protect against accidents, not people: whoever changes a file can write a new digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from imgstream.errors import RunError

CHECKSUM, FILES = "checksum", "files"


def sealed(data: dict[str, Any]) -> dict[str, Any]:
    """`data`, which JSON can hold, with a checksum of itself added."""
    rest = json.loads(json.dumps({name: value for name, value in data.items() if name != CHECKSUM}))  # in the form that reading gives
    return {**rest, CHECKSUM: hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()}


def is_intact(data: dict[str, Any]) -> bool:
    """Whether data is as `sealed` gave it. True if it has neither checksum nor digests, as older versions wrote it."""
    return data.get(CHECKSUM) == sealed(data)[CHECKSUM] if CHECKSUM in data or FILES in data else True


def digests(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """SHA-256 in hexadecimal of each of the files that exists, by name. Raises RunError when one cannot be read."""
    return {name: _digest(folder / name) for name in names if (folder / name).exists()}


def check_files(folder: Path, kept: Any, names: Iterable[str]) -> None:
    """Raise RunError for the first of `names` that exists and differs from its digest in `kept`. Files without one are not checked; None is
    a folder of an older version.
    """
    for name, expected in digests(folder, (name for name in names if name in (kept or {}))).items():
        if kept[name] != expected:
            raise RunError(
                f"{folder / name} is not what it was when the run was written: it is damaged, or was changed. Copy the whole folder again "
                "from where it is whole. If its training was killed while it wrote, the same command with --resume mends it"
            )


def _digest(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise RunError(f"{file} cannot be read: {error.strerror or error}") from error
