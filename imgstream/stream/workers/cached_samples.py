"""Samples from the pixel cache: what was decoded is kept at the size that samples need, and read from there afterwards.

Without a preset every epoch sees the same pixels, so the sample itself is kept. A preset takes another window of the image in each epoch,
so the whole image is kept, upright, just large enough to cover MARGIN times the sample. A sample is always made from what is, or would be,
kept: batches do not depend on what the cache holds.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from imgstream.augment import Augmentation, Preset
from imgstream.cache import PixelCache, PixelStore
from imgstream.decode.sample import BoxOf, SampleReader, place, plan_sample
from imgstream.files.reader import FileVersion, file_version
from imgstream.formats.header import Header
from imgstream.spec import SampleSpec

MARGIN = 1.3
"""How much larger than the sample, in each direction, an image is kept whose windows are taken."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CacheForm:
    """Everything that decides the pixels that are kept of a file, so that a changed setting never reads old pixels."""

    kept: str
    """"samples", or "images" that cover MARGIN times the size."""
    size: tuple[int, int]
    """(height, width) of the samples."""
    fit: str | None
    """None for images."""
    channels: int
    max_pixels: int
    levels: tuple[float, float] | None

    @classmethod
    def of(cls, spec: SampleSpec, augmentation: Augmentation | None, cache: PixelCache) -> CacheForm:
        """The form for a stream's spec and augmentation. Images are kept for the largest size that is made of them."""
        common: dict[str, Any] = {"channels": spec.channels, "max_pixels": spec.max_pixels, "levels": spec.levels}
        if not isinstance(augmentation, Preset):
            return cls(kept="samples", size=spec.size, fit=spec.fit, **common)
        height, width = np.maximum(spec.size, cache.size or spec.size).tolist()
        return cls(kept="images", size=(height, width), fit=None, **common)

    def store(self, cache: PixelCache) -> PixelStore:
        """The part of the cache that holds this form. Raises OutputError."""
        form = {**dataclasses.asdict(self), "margin": MARGIN}
        if self.levels is None:
            del form["levels"]  # what was kept before there were levels is found
        return cache.store(form)


class CachedReader:
    """A SampleReader that reads from the cache. For one thread at a time; `store` may be shared."""

    def __init__(self, spec: SampleSpec, kept: CacheForm, store: PixelStore) -> None:
        self._spec, self._kept, self._store = spec, kept, store
        self._reader = SampleReader(spec)
        self.opened, self.waited = False, False
        """Whether the last sample was made from its file, not from what is kept; and whether that had to come from the disk."""

    @property
    def version(self) -> FileVersion:
        """Version of the last file that was read."""
        return self._reader.version

    @property
    def header(self) -> Header | None:
        """Header of the last file that was read; None when it could not be read."""
        return self._reader.header

    def read(self, path: bytes, out: np.ndarray, box_of: BoxOf | None = None) -> None:
        """Fill (height, width, channels) `out`, of the spec's pixel_type, from the file at `path`, or from the cache. Raises BadImage."""
        version = file_version(path)
        found = self._store.find(path, version) if version is not None else None
        try:
            self._make(path, found, out, box_of)
        finally:
            self.opened = found is None
            self.waited = self.opened and self._reader.waited

    def _make(self, path: bytes, found: np.ndarray | None, out: np.ndarray, box_of: BoxOf | None) -> None:
        if found is not None:
            found = found.view(self._spec.pixel_type)  # the cache holds bytes: pixels of 16 bits are two of its values
        if self._kept.kept == "samples":
            if found is not None:
                out[:] = found
            else:
                self._reader.read(path, out)
                self._store.add(path, self._reader.version, out.view(np.uint8))
            return
        if found is None:
            found = self._reader.read_reduced(path, self._kept.size, MARGIN)
            self._store.add(path, self._reader.version, found.view(np.uint8))
        height, width, _ = found.shape
        place(found, plan_sample(self._spec, width, height, box_of, reductions=()), out)
