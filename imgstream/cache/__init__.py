"""Decoded pixels kept on disk, so that epochs after the first need no decoder. Knows nothing of images: uint8 arrays by file and version.

records.py      one line a kept array: which file and version, where its pixels lie
shards.py       the files that hold them: appended to by one process, mapped by any
pixel_store.py  all shards of one form of pixels: find, add
cache.py        the folder: one store a form, and the budget over all of them
"""

from __future__ import annotations

from imgstream.cache.cache import DEFAULT_LIMIT, PixelCache
from imgstream.cache.pixel_store import PixelStore

__all__ = ["DEFAULT_LIMIT", "PixelCache", "PixelStore"]
