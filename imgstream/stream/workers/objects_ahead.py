"""Fetches objects of a bucket, and parts of them, before they are decoded: a request takes 20 ms and more, in which a core decodes a dozen
images.

As many requests are in flight as the bytes allow that wait to be decoded. What is not on its way when its turn comes, the decoding thread
fetches by itself: nobody waits for room.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor

from imgstream.files.addresses import Address
from imgstream.files.objects import require
from imgstream.files.reader import LARGEST_KEPT, fetched_ahead, size_ahead
from imgstream.files.spans import Container, Span, is_remote

REQUESTS = 128
"""The most requests in flight of a process: 6,400 objects a second at 20 ms, 1,280 at 100 ms."""
SAMPLES = 512
"""How many samples beyond the batch in use are expected."""
BYTES = 64 << 20
"""The most bytes of objects that are on their way or have come and are not decoded yet."""
_MOST_EXPECTED = 2048
"""More are of passes that were left early: the oldest are dropped."""


class ObjectsAhead:
    """Objects that will be read soon, each under a key of the caller's. Any number of threads may use it."""

    def __init__(self, is_needed: Callable[[bytes], bool]) -> None:
        """`is_needed`: whether the object at an address will be read at all."""
        require("s3://")
        self._is_needed = is_needed
        self._lock = threading.Lock()
        self._waiting: OrderedDict[Hashable, Address | Span] = OrderedDict()
        self._begun: OrderedDict[Hashable, Address | Span] = OrderedDict()
        self._page: Container | None = None
        self._bytes = 0
        self._pool: ThreadPoolExecutor | None = None

    def expect(self, key: Hashable, path: bytes) -> None:
        """Say that `path` will be taken under `key`, after those that are expected already. One that is on a disk is ignored, and one
        whose packed page was expected just before.
        """
        if not is_remote(path) or size_ahead(path) > LARGEST_KEPT or not self._is_needed(path):
            return
        if isinstance(path, Span) and path.container.page is not None:
            if path.container == self._page:
                return
            self._page = path.container
        with self._lock:
            if key not in self._begun:
                self._waiting[key] = path
            while len(self._begun) and len(self._begun) + len(self._waiting) > _MOST_EXPECTED:
                self._drop(next(iter(self._begun)))
            self._begin()

    def take(self, key: Hashable) -> Address | Span | None:
        """The path that was expected under `key`, with its bytes if they are on their way; None for what was not expected."""
        with self._lock:
            address = self._drop(key) if key in self._begun else self._waiting.pop(key, None)
            self._begin()
        return address

    def close(self) -> None:
        """Drop everything. Requests that are in flight end by themselves."""
        with self._lock:
            self._waiting.clear()
            self._begun.clear()
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)

    def _drop(self, key: Hashable) -> Address | Span:
        path = self._begun.pop(key)
        self._bytes -= size_ahead(path)
        return path

    def _begin(self) -> None:
        """Begin what there is room for, in order."""
        while self._waiting and self._bytes < BYTES:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(REQUESTS, thread_name_prefix="imgstream-objects")
            key, path = self._waiting.popitem(last=False)
            try:
                path.ahead = self._pool.submit(fetched_ahead, path)
            except RuntimeError:  # no more threads can be had, or the interpreter ends
                return
            self._begun[key] = path
            self._bytes += size_ahead(path)
