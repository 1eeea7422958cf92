"""What the files of a folder were when they were written, kept in a JSON file beside them: a bit that turned since is told.

Against accidents, not against people: whoever changes a file can write a new digest.
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
    """JSON-ready `data` with the checksum of all the rest of it."""
    rest = json.loads(json.dumps({name: value for name, value in data.items() if name != CHECKSUM}))  # as it will be read
    return {**rest, CHECKSUM: hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()}


def is_intact(data: dict[str, Any]) -> bool:
    """Whether data is as `sealed` gave it. True where it has neither checksum nor digests: it was written before there were any."""
    return data.get(CHECKSUM) == sealed(data)[CHECKSUM] if CHECKSUM in data or FILES in data else True


def digests(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """SHA-256 in hexadecimal of each of the files that is there, by name. Raises RunError when one cannot be read."""
    return {name: _digest(folder / name) for name in names if (folder / name).exists()}


def check_files(folder: Path, kept: Any, names: Iterable[str]) -> None:
    """Raise RunError for the first of `names` that is there and is not as in `kept`, what `digests` gave. What `kept` lacks is not looked
    at; None is a folder of before there were digests.
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
