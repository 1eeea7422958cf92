"""Makes one sample of one row: what each thread does, in this process or in a worker process."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import cv2
import numpy as np

from imgstream.augment import Augmentation, Policy, Preset
from imgstream.augment.presets import Mix
from imgstream.cache import PixelCache
from imgstream.decode.sample import BoxOf, SampleReader
from imgstream.errors import BadImage, ImgstreamError
from imgstream.files.reader import FileVersion, file_version
from imgstream.formats.header import Header
from imgstream.index.table.file_facts import FileFacts
from imgstream.order import SampleDraws, sample_generator
from imgstream.spec import SampleSpec
from imgstream.stalls import OpenFile
from imgstream.stream.workers.cached_samples import CachedReader, CacheForm

# The threads here are the parallelism. OpenCV's own, inside each of them, make a loader slower (open-mmlab/mmdetection#6867).
cv2.setNumThreads(0)


_FLOAT32 = np.dtype(np.float32)

_TOGETHER = 4
"""How many samples from the cache are scaled at once. Each call that releases the interpreter lock may have to wait for it afterwards,
which costs as much as scaling a sample does; four of 224 pixels still fit a core's own cache.
"""

Outcome = Mix | BaseException | None
"""The outcome of a sample: how it is to be mixed, an error, or None for a finished sample."""


class Reader(Protocol):
    """Reads a row's pixels: a SampleReader or a CachedReader."""

    @property
    def opened(self) -> bool:
        """Whether the last sample was made from its file."""

    @property
    def waited(self) -> bool:
        """Whether the last file had to come from the disk."""

    @property
    def version(self) -> FileVersion:
        """Version of the last file that was read."""

    @property
    def header(self) -> Header | None:
        """Header of the last file that was read; None when it could not be read."""

    def read(self, path: bytes, out: np.ndarray, box_of: BoxOf | None = None) -> None:
        """Fill (H, W, C) `out`, of the spec's pixel_type. Raises BadImage."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleJob:
    """How rows become samples: the same for every row, thread and process."""

    spec: SampleSpec
    augmentation: Augmentation | None
    seed: int
    cache: PixelCache | None
    facts: FileFacts | None = None
    """Where facts about the files that are read are recorded."""
    dtype: np.dtype[Any] = _FLOAT32
    """Of the samples: float32, scaled by the spec; the spec's pixel_type; or uint8, pixels of any spec in 8 bits."""

    def reader(self) -> Reader:
        """A new reader, for one thread at a time."""
        if self.cache is None:
            return SampleReader(self.spec)
        kept = CacheForm.of(self.spec, self.augmentation, self.cache)
        return CachedReader(self.spec, kept, kept.store(self.cache))

    def needs_file(self) -> Callable[[bytes], bool]:
        """A function that says whether the file at a path will be read, because the cache holds nothing of it."""
        if self.cache is None:
            return lambda path: True
        store = CacheForm.of(self.spec, self.augmentation, self.cache).store(self.cache)
        return lambda path: (version := file_version(path)) is None or store.find(path, version) is None

    def begin_pass(self) -> None:
        """Learn what other processes have put into the cache."""
        if self.cache is not None:
            CacheForm.of(self.spec, self.augmentation, self.cache).store(self.cache).refresh()


class SampleMaker:
    """Makes samples on one thread; reader, scratch memory and random generator are reused."""

    def __init__(self, job: SampleJob, open_file: OpenFile | None = None) -> None:
        """`open_file`: where the file that is being read is noted."""
        self._job = job
        self._open_file = open_file if open_file is not None else OpenFile()
        self._reader = job.reader()
        self._facts = job.facts
        self.together = 1 if job.cache is None else _TOGETHER
        """How many samples are best asked for at once."""
        self.opened, self.waits = 0, 0
        """Number of files read so far; and how many of them came from the disk."""
        self._pixels = np.zeros((self.together, *job.spec.shape), job.spec.pixel_type)
        self._scratch = np.zeros(job.spec.shape, job.spec.pixel_type)
        self._draws = SampleDraws(job.seed)

    def fill(self, paths: Sequence[bytes], epoch: int, rows: Sequence[int], out: np.ndarray) -> list[Outcome]:
        """Make the samples of some rows in (n, H, W, C) `out`, of the job's dtype; return the outcome of each, including errors of files
        and of user code. An exception is a fault of imgstream itself.
        """
        outcomes: list[Outcome] = []
        try:
            for first in range(0, len(rows), self.together):
                past = min(first + self.together, len(rows))
                made = out[first:past] if out.dtype == self._pixels.dtype else self._pixels[: past - first]
                for path, row, pixels in zip(paths[first:past], rows[first:past], made, strict=True):
                    self._open_file.begin(path)
                    outcomes.append(self._attempt(path, epoch, row, pixels))
                    if self._facts is not None and self._reader.opened and self._reader.header is not None:
                        self._facts.note(row, self._reader.version, self._reader.header)
                    self.opened += self._reader.opened
                    self.waits += self._reader.waited
                if out.dtype == _FLOAT32:
                    self._job.spec.to_float(made, out[first:past])
                elif out.dtype != made.dtype:
                    np.right_shift(made, 8, out=out[first:past], casting="unsafe")
        finally:
            self._open_file.end()
        return outcomes

    def _attempt(self, path: bytes, epoch: int, row: int, pixels: np.ndarray) -> Outcome:
        try:
            return self._make(path, epoch, row, pixels)
        except BadImage as error:
            error.path = os.fsdecode(path)
            error.__traceback__ = error.__context__ = None  # its frames would keep the batch and this thread alive
            return error
        except BaseException as error:
            return error

    def _make(self, path: bytes, epoch: int, row: int, pixels: np.ndarray) -> Mix | None:
        """Fill (H, W, C) `pixels`, of the spec's pixel_type; return how the sample is to be mixed, None if it is not. Raises BadImage."""
        augmentation = self._job.augmentation
        if isinstance(augmentation, Preset):
            numbers = self._draws(epoch, row)
            first, second = (self._scratch, pixels) if augmentation.ends_in_scratch(numbers) else (pixels, self._scratch)
            self._reader.read(path, first, lambda *sizes: augmentation.box(numbers, *sizes))
            augmentation.apply(first, numbers, second)
            return augmentation.mixing(numbers)
        self._reader.read(path, pixels)
        if isinstance(augmentation, Policy):
            generator = sample_generator(self._job.seed, epoch, row)
            mix = augmentation.mixing(generator)
            try:
                pixels[:] = augmentation.apply(pixels, generator)
            except ImgstreamError as error:
                raise type(error)(f"{error} (at {os.fsdecode(path)!r})") from error
            return mix
        return None
