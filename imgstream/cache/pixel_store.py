"""All pixels of one form: finds what an earlier epoch, process or run decoded of a file, and adds what is new."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from imgstream.cache.records import Record, checksum, path_key, sound
from imgstream.cache.shards import NAMES, ShardReader, ShardWriter
from imgstream.files.reader import FileVersion

_SETTLED = 2.5
"""Seconds since a file was last written before its pixels are kept: written again within the clock's tick, it would look the same."""

Reserve = Callable[[], "ShardWriter | None"]


class _View(NamedTuple):
    """What is known of the shards; replaced as a whole, so that threads may read the one they hold."""

    keys: np.ndarray  # uint64 (n,), sorted: the first word of each record's key
    places: np.ndarray  # uint64 (n,): which shard, times 2**32, and which of its records
    checked: np.ndarray  # bool (n,): this process has verified the checksum of the pixels
    counts: tuple[int, ...]  # records of each shard that are in here


class PixelStore:
    """Pixel arrays of one form, by path and version of their file. For any number of threads.

    Memory: 17 bytes an array. What other processes add is seen after the next refresh().
    """

    def __init__(self, folder: Path, reserve: Reserve, largest: int, tell: Callable[[str], None]) -> None:
        """`folder` holds the shards; `reserve` gives the next one to write to, or None when the limit is reached. Arrays of more than
        `largest` bytes, for which every new shard must have room, are not kept. `tell` is called with what keeps the store from growing.
        """
        self._folder, self._reserve, self._largest, self._tell = folder, reserve, largest, tell
        self._shards: list[ShardReader] = []
        self._names: set[str] = set()
        self._view = _View(np.zeros(0, np.uint64), np.zeros(0, np.uint64), np.zeros(0, bool), ())
        self._writer: ShardWriter | None = None
        self._lock = threading.Lock()
        self._grows = True
        self.refresh()

    def __len__(self) -> int:
        """Number of known arrays, including those of files that have changed since."""
        return len(self._view.keys)

    def refresh(self) -> None:
        """Learn what this and other processes have added. To be called at the beginning of a pass."""
        with self._lock:
            with contextlib.suppress(OSError):
                for rows in sorted(self._folder.glob(f"{NAMES}.rows")):
                    if rows.name not in self._names:
                        self._names.add(rows.name)
                        self._shards.append(ShardReader(rows))
            for shard in self._shards:
                with contextlib.suppress(OSError, ValueError):  # it was cleared away; what is mapped stays readable
                    shard.refresh()
                    os.utime(shard.rows)  # marks it as used: the least recently used shards may be replaced
            before, counts = self._view, tuple(len(shard.records) for shard in self._shards)
            if counts != before.counts:
                self._view = self._indexed(before, counts)

    def _indexed(self, before: _View, counts: tuple[int, ...]) -> _View:
        keys, places, checked = [before.keys], [before.places], [before.checked]
        for number, shard in enumerate(self._shards):
            seen = before.counts[number] if number < len(before.counts) else 0
            added = np.asarray(shard.records[seen:])
            good = np.flatnonzero(sound(added))
            keys.append(added[good, 0])
            places.append((np.uint64(number) << np.uint64(32)) + (seen + good).astype(np.uint64))
            checked.append(np.zeros(len(good), bool))
        every = np.concatenate(keys)
        order = np.argsort(every, kind="stable")  # of equal keys, the last is the newest of its shard
        return _View(every[order], np.concatenate(places)[order], np.concatenate(checked)[order], counts)

    def find(self, path: bytes, version: FileVersion) -> np.ndarray | None:
        """uint8 (height, width, channels), mapped and read-only, made from this version of the file; None if there is none."""
        view = self._view
        key = path_key(path)
        at = int(view.keys.searchsorted(np.uint64(key[0])))  # a plain int would be compared as float64
        while at < len(view.keys) and view.keys.item(at) == key[0]:
            place = view.places.item(at)
            shard = self._shards[place >> 32]
            record = Record.decode(shard.records[place & 0xFFFFFFFF])
            if record.version == version and record.key == key:
                pixels = shard.array(record)
                if pixels is not None and (view.checked.item(at) or checksum(pixels.reshape(-1)) == record.total):
                    view.checked[at] = True
                    return pixels
            at += 1
        return None

    def add(self, path: bytes, version: FileVersion, pixels: np.ndarray) -> None:
        """Keep uint8 (height, width, channels) `pixels`, contiguous, made from this version of the file. Does nothing if the limit or the
        disk leaves no room, of which one CacheWarning is given.
        """
        flat = pixels.reshape(-1)
        if len(flat) > self._largest:
            self._tell(
                f"keeps images of up to {self._largest:,} bytes each, a quarter of its limit or less; one takes {len(flat):,}. A higher "
                "limit keeps more"
            )
        if not self._grows or len(flat) > self._largest or abs(time.time() - version.modified / 1e9) < _SETTLED:
            return
        try:
            taken = self._take(len(flat))
            if taken is not None:
                writer, offset = taken
                writer.write(Record(path_key(path), version, offset, pixels.shape, checksum(flat)), flat)
        except OSError as error:
            self._grows = False
            self._tell(f"cannot grow ({error.strerror or error}): the images that it lacks are decoded in every epoch")

    def _take(self, size: int) -> tuple[ShardWriter, int] | None:
        """A shard with room for `size` bytes, and the offset there."""
        with self._lock:
            writer = self._writer
            offset = None if writer is None else writer.take(size)
            if offset is None and self._grows:
                fresh = self._reserve()
                if fresh is None:
                    self._grows = False
                    self._tell(
                        "has reached its limit and keeps what it has: the others are decoded in every epoch. A higher limit keeps more"
                    )
                    return None
                if writer is not None:
                    writer.close()
                weakref.finalize(self, fresh.close)
                writer = self._writer = fresh
                offset = writer.take(size)
            return None if writer is None or offset is None else (writer, offset)
