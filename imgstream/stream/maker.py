"""One row → one float32 sample: what a thread does, in this process or in a worker's, and all that it has to know for it."""

from __future__ import annotations

import dataclasses
import os
from typing import Protocol

import cv2
import numpy as np

from imgstream.augment import Augmentation, Policy, Preset
from imgstream.augment.presets import Mix
from imgstream.cache import PixelCache
from imgstream.decode.sample import BoxOf, SampleReader
from imgstream.errors import BadImage, ImgstreamError
from imgstream.order import SampleDraws, sample_generator
from imgstream.spec import SampleSpec
from imgstream.stream.cached import CachedReader, Kept

# The threads here are the parallelism. OpenCV's own, inside each of them, make a loader slower (open-mmlab/mmdetection#6867).
cv2.setNumThreads(0)


Outcome = Mix | BaseException | None
"""What became of a sample: how it is to be mixed, or what went wrong; None: it is as it is to be."""


class Reader(Protocol):
    """What gives a row's pixels: SampleReader, or CachedReader."""

    def read(self, path: bytes, out: np.ndarray, box_of: BoxOf | None = None) -> None:
        """Fill uint8 (H, W, C) `out`. Raises BadImage."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Work:
    """What to make of a row, and nothing that depends on which row: the same for every thread and process."""

    spec: SampleSpec
    augmentation: Augmentation | None
    seed: int
    cache: PixelCache | None

    def reader(self) -> Reader:
        """A new one, for one thread at a time."""
        if self.cache is None:
            return SampleReader(self.spec)
        kept = Kept.of(self.spec, self.augmentation, self.cache)
        return CachedReader(self.spec, kept, kept.shelf(self.cache))

    def begin_pass(self) -> None:
        """See what others have put into the cache since."""
        if self.cache is not None:
            Kept.of(self.spec, self.augmentation, self.cache).shelf(self.cache).refresh()


class SampleMaker:
    """One thread's hands: reader, scratch and generator, all reused from sample to sample."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._reader = work.reader()
        self._pixels = np.zeros(work.spec.shape, np.uint8)
        self._scratch = np.zeros(work.spec.shape, np.uint8)
        self._draws = SampleDraws(work.seed)

    def attempt(self, path: bytes, epoch: int, row: int, out: np.ndarray) -> Outcome:
        """As `make`, but whatever goes wrong is returned: a thread goes on."""
        try:
            return self.make(path, epoch, row, out)
        except BadImage as error:
            error.path = os.fsdecode(path)
            return error
        except BaseException as error:
            return error

    def make(self, path: bytes, epoch: int, row: int, out: np.ndarray) -> Mix | None:
        """Fill float32 (H, W, C) `out`; returns how the sample is to be mixed, if it is. Raises BadImage."""
        augmentation, pixels, mix = self._work.augmentation, self._pixels, None
        if isinstance(augmentation, Preset):
            numbers = self._draws(epoch, row)
            self._reader.read(path, pixels, lambda *sizes: augmentation.box(numbers, *sizes))
            pixels = augmentation.apply(pixels, numbers, self._scratch)
            mix = augmentation.mixing(numbers)
        else:
            self._reader.read(path, pixels)
            if isinstance(augmentation, Policy):
                try:
                    pixels = augmentation.apply(pixels, sample_generator(self._work.seed, epoch, row))
                except ImgstreamError as error:
                    raise type(error)(f"{error} (at {os.fsdecode(path)!r})") from error
        self._work.spec.to_float(pixels, out)
        return mix
