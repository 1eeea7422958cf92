"""Reads every file once, in threads: its header, or its pixels."""

from __future__ import annotations

import collections
import concurrent.futures
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from imgstream.check.file_records import KINDS, FileRecords
from imgstream.check.thumbnail import ThumbnailReader
from imgstream.decode.levels import Levels
from imgstream.errors import REASONS, BadImage
from imgstream.files.reader import read_declared
from imgstream.formats.header import Header
from imgstream.index import ImageIndex
from imgstream.stalls import OpenFile, StallWatch

T = TypeVar("T")

_CHUNK, _CHUNK_DECODED, CHUNK_OF_OBJECTS = 128, 32, 4
"""Rows that a thread takes at a time; fewer of those that take long, because Ctrl-C waits until they are done."""
_KIND = {kind: number for number, kind in enumerate(KINDS)}
_REASON = {reason: number for number, reason in enumerate(REASONS, 1)}


def survey(
    index: ImageIndex, decode: bool, threads: int, max_pixels: int, progress: Callable[[int], None], levels: Levels | None = None
) -> FileRecords:
    """The records of every file of `index`. With `decode`, each file is decoded as in training, by `levels`, and has a thumbnail.

    `progress` is called with the rows done so far. Raises OutputError when the disk has no room for working data; never for a file.
    """
    facts, local, stall_watch = FileRecords(len(index), thumbnails=decode), threading.local(), StallWatch()
    chunk = CHUNK_OF_OBJECTS if index.in_buckets else _CHUNK_DECODED if decode else _CHUNK

    def look(row: int, path: bytes) -> tuple[Header, int]:
        if not decode:
            return read_declared(path, max_pixels)
        if not hasattr(local, "reader"):
            local.reader = ThumbnailReader(max_pixels, levels)
        reader: ThumbnailReader = local.reader
        return reader.read(path, facts.luma[row], facts.chroma[row])

    def work(first: int) -> list[tuple[int, BadImage]]:
        past = min(first + chunk, len(index))
        records, bad = [], []
        with stall_watch.watching(OpenFile()) as open_file:
            for row in range(first, past):
                path = index.path_bytes(row)
                open_file.begin(path)
                try:
                    header, size = look(row, path)
                except BadImage as error:
                    bad.append((row, error))
                    records.append((0, 0, 0, 0, _REASON[error.reason]))
                else:
                    records.append((size, *header.oriented, _KIND[header.kind], 0))
        facts.records[first:past] = records
        return bad

    for done, bad in in_order(work, range(0, len(index), chunk), threads):
        for row, error in bad:
            facts.note_bad(row, error)
        progress(min((done + 1) * chunk, len(index)))
    return facts


def in_order(work: Callable[[int], T], items: Sequence[int], threads: int) -> Iterator[tuple[int, T]]:
    """(place, work(item)) of each item, in order, computed by threads a few items ahead."""
    with concurrent.futures.ThreadPoolExecutor(threads, thread_name_prefix="imgstream-check") as pool:
        ahead: collections.deque[concurrent.futures.Future[T]] = collections.deque()
        place = 0
        try:
            for item in items:
                ahead.append(pool.submit(work, item))
                if len(ahead) > 2 * threads:
                    yield place, ahead.popleft().result()
                    place += 1
            while ahead:
                yield place, ahead.popleft().result()
                place += 1
        finally:
            for future in ahead:
                future.cancel()
