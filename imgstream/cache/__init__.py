"""The pixel cache: decoded pixels on disk, so that later epochs need no decoder. It holds uint8 arrays by file and version, whatever they
show.

records.py      one record for each array: its file and version, and where its pixels lie
shards.py       the files of pixels: one process appends to each, any process maps them
pixel_store.py  all shards of one form of pixels: find, add
cache.py        the folder: one store for each form, and a limit for all of them
"""

from __future__ import annotations

from imgstream.cache.cache import DEFAULT_LIMIT, PixelCache
from imgstream.cache.pixel_store import PixelStore

__all__ = ["DEFAULT_LIMIT", "PixelCache", "PixelStore"]
