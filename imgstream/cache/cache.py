"""The folder of the pixel cache: a store for each form of pixels, and one limit for all of them."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import threading
import time
import warnings
from pathlib import Path
from typing import Any

from imgstream.cache.pixel_store import PixelStore
from imgstream.cache.records import RECORD_BYTES
from imgstream.cache.shards import NAMES, ShardWriter, locked
from imgstream.errors import CacheWarning, OutputError, SpecError
from imgstream.files.atomic import write_json
from imgstream.files.locations import cache_folder

FORMAT_VERSION = 1
DEFAULT_LIMIT = 20 * 10**9
"""Bytes of pixels, for everything in a folder."""

_LEAST_SHARD, _MOST_SHARDS = 64 << 20, 64
"""A shard is a 64th of the limit, but at least 64 MB: each takes a few descriptors while it is mapped."""
_DESCRIPTION, _LOCK = "form.json", "imgstream.lock"
_SHELVES = 16 * "[0-9a-f]"
"""A pattern for the names of stores' folders: the user's own folders beside them are left alone."""
_ROWS, _PIXELS = f"{NAMES}.rows", f"{NAMES}.pixels"
_UNUSED = 24 * 3600
"""Seconds after which a shard that no pass has used may be replaced. Until then it stays, to avoid churn."""


@dataclasses.dataclass(frozen=True)
class Held:
    """What a cache holds in one form, for `imgstream cache ls`."""

    form: dict[str, Any]
    images: int
    bytes: int
    """On disk."""
    used: float
    """Seconds since 1970: the last pass that used it."""


class PixelCache:
    """Decoded pixels in a folder, up to a limit. Any number of processes may use one folder at once.

    Args:
        folder: Created if need be; None for `pixels` in the user's cache folder (IMGSTREAM_CACHE overrides). Never a folder of images: only
            files that the cache made are ever touched.
        limit: Bytes of pixels for everything in the folder. What does not fit is not kept, and what is kept stays.
        size: (height, width) of the largest samples, for streams of several sizes that share what is kept of an image.

    Raises:
        SpecError: The limit is below 1.
        OutputError: There is no home folder to put it in.
    """

    def __init__(
        self, folder: str | os.PathLike[str] | None = None, limit: int = DEFAULT_LIMIT, size: tuple[int, int] | None = None
    ) -> None:
        if limit < 1:
            raise SpecError(f"the limit of a cache is a number of bytes, 1 or more; got {limit}")
        self.folder = Path(os.path.abspath(os.path.expanduser(folder))) if folder is not None else cache_folder() / "pixels"
        self.limit, self.size = limit, size
        self._unit = min(limit, max(_LEAST_SHARD, limit // _MOST_SHARDS))
        self._stores: dict[str, PixelStore] = {}
        self._lock = threading.RLock()
        self._told = False

    def __reduce__(self) -> tuple[Any, ...]:
        return PixelCache, (self.folder, self.limit, self.size)

    def prepare(self) -> None:
        """Create the folder if need be. Raises OutputError."""
        self._make(self.folder)

    def _make(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise OutputError(
                f"cannot keep a cache in {str(self.folder)!r}: {error.strerror}. Give --cache another folder, or turn it off"
            ) from None

    def _tell(self, why: str) -> None:
        """Warn of the first thing that keeps the cache from growing."""
        with self._lock:
            told, self._told = self._told, True
        if not told:
            warnings.warn(f"the cache in {str(self.folder)!r} {why}", CacheWarning, stacklevel=2)

    def store(self, form: dict[str, Any]) -> PixelStore:
        """The store for `form`, a description, as values that JSON can hold, of everything that decides the pixels of a file. Raises
        OutputError.
        """
        described = {"format": FORMAT_VERSION, **form}
        name = hashlib.blake2b(json.dumps(described, sort_keys=True).encode(), digest_size=8).hexdigest()
        with self._lock:
            if name not in self._stores:
                folder = self.folder / name
                self._make(folder)
                if not (folder / _DESCRIPTION).exists():
                    write_json(folder / _DESCRIPTION, described)
                self._stores[name] = PixelStore(folder, lambda: self._reserve(folder), self._unit // 4, self._tell)
            return self._stores[name]

    def held(self) -> list[Held]:
        """What the folder holds, the last used first."""
        found = []
        for folder in self._folders():
            with contextlib.suppress(OSError, ValueError):
                form = json.loads((folder / _DESCRIPTION).read_text("utf-8"))
                rows = [path.stat() for path in folder.glob(_ROWS)]
                size = sum(_on_disk(path) for path in folder.glob(_PIXELS))
                used = max((status.st_mtime for status in rows), default=(folder / _DESCRIPTION).stat().st_mtime)
                found.append(Held(form, sum(status.st_size for status in rows) // RECORD_BYTES, size, used))
        return sorted(found, key=lambda held: -held.used)

    def clear(self) -> int:
        """Remove everything that the cache has written; return the bytes freed. Processes that are reading it go on undisturbed."""
        freed = 0
        for folder in self._folders():
            for path in [*folder.glob(_ROWS), *folder.glob(_PIXELS), folder / _DESCRIPTION]:
                freed += _on_disk(path)
                path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # it holds other files
                folder.rmdir()
        (self.folder / _LOCK).unlink(missing_ok=True)
        return freed

    def _folders(self) -> list[Path]:
        with contextlib.suppress(OSError):
            return [path.parent for path in sorted(self.folder.glob(f"{_SHELVES}/{_DESCRIPTION}"))]
        return []

    def _reserve(self, folder: Path) -> ShardWriter | None:
        """A shard in `folder` with room for at least a quarter of a unit: one that a process left, or a new one. None if the limit leaves
        no such room. Raises OSError.
        """
        least = max(1, self._unit // 4)
        with locked(self.folder / _LOCK):
            for rows in folder.glob(_ROWS):
                size = _size(rows.with_suffix(".pixels"))
                left = ShardWriter.adopt(rows, min(self._unit, size + max(0, self.limit - self._taken())))
                if left is not None and left.room >= least:
                    return left
                if left is not None:
                    left.close()  # which gives back what a killed process had reserved
            room = self.limit - self._taken()
            shards = sorted(self.folder.glob(f"{_SHELVES}/{_PIXELS}"), key=_last_used, reverse=True)
            while room < least and shards and time.time() - _last_used(shards[-1]) > _UNUSED:
                room += _remove(shards.pop())
            return ShardWriter.create(folder, min(self._unit, room)) if room >= least else None

    def _taken(self) -> int:
        """Bytes reserved by all shards."""
        return sum(map(_size, self.folder.glob(f"{_SHELVES}/{_PIXELS}")))


def _last_used(pixels: Path) -> float:
    try:
        return pixels.with_suffix(".rows").stat().st_mtime
    except OSError:
        return 0.0  # without records it is of no use


def _remove(pixels: Path) -> int:
    """Delete a shard, its records first; return its size. A process that has it mapped keeps it until it lets go."""
    size = _size(pixels)
    pixels.with_suffix(".rows").unlink(missing_ok=True)
    pixels.unlink(missing_ok=True)
    return size


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _on_disk(path: Path) -> int:
    try:
        status = path.stat()
    except OSError:
        return 0
    return getattr(status, "st_blocks", -(-status.st_size // 512)) * 512
