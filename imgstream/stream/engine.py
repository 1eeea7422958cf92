"""The threads that fill batches. Samples are handed out one by one, over several open batches, so no thread waits at a batch's end;
batches leave in order. Every sample's pixels and numbers depend on its row alone, so the number of threads changes nothing.
"""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import os
import threading
from collections.abc import Callable, Iterator

import cv2
import numpy as np

from imgstream.augment import Augmentation, Policy, Preset
from imgstream.augment.presets import Mix, mix_batch
from imgstream.decode.sample import SampleReader
from imgstream.errors import BadImage, ImgstreamError
from imgstream.order import SampleDraws, sample_generator
from imgstream.spec import SampleSpec
from imgstream.stream.buffers import BatchBuffers

# The threads here are the parallelism. OpenCV's own, inside each of them, make a loader slower (open-mmlab/mmdetection#6867).
cv2.setNumThreads(0)


@dataclasses.dataclass(frozen=True, slots=True)
class Batch:
    """One batch, with where each sample came from."""

    number: int
    """Its place in the epoch, from 0."""
    images: np.ndarray
    """float32 (B, H, W, C), by the spec's scale. B is smaller where files were bad, and may be 0."""
    labels: np.ndarray
    """int32 (B,), -1 = no label; float32 (B, K) when the augmentation mixes labels."""
    positions: np.ndarray
    """int64 (B,): the samples' positions in the stream's index."""
    bad: list[tuple[int, BadImage]]
    """(position in the index, what was wrong) of the files that were left out."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Work:
    """What to make of a row: everything that the threads need to know, and nothing else."""

    spec: SampleSpec
    augmentation: Augmentation | None
    seed: int
    path_bytes: Callable[[int], bytes]
    """index position -> path to open"""
    class_count: int
    raise_bad: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """One batch to be made."""

    number: int
    epoch: int
    positions: np.ndarray  # int64 (B,), in the index
    rows: np.ndarray  # int64 (B,), in the table: what randomness is keyed by
    labels: np.ndarray  # int32 (B,)


class Engine:
    """A pool of threads with their decoders and scratch, kept for as long as its stream; serves any number of passes at once."""

    def __init__(self, work: Work, batch_size: int, workers: int) -> None:
        self.work, self.workers = work, workers
        self.ahead = 2 + -(-2 * workers // batch_size)  # open batches: enough samples for every thread beyond the batch in use
        self.buffers = BatchBuffers((batch_size, *work.spec.shape), keep=self.ahead + 2)
        self._threads = concurrent.futures.ThreadPoolExecutor(workers, thread_name_prefix="imgstream")
        self._local = threading.local()

    def run(self, requests: Iterator[Request]) -> Iterator[Batch]:
        """The batches of `requests`, in their order. Stops its threads' work when the iteration is left early."""
        queue = _Queue()
        open_batches: collections.deque[_OpenBatch] = collections.deque()
        try:
            while True:
                while len(open_batches) < self.ahead and (request := next(requests, None)) is not None:
                    batch = _OpenBatch(request, self.buffers.take(), self.work)
                    open_batches.append(batch)
                    queue.add(batch)
                if not open_batches:
                    return
                # A thread leaves the queue when it is empty, never waits in it: so passes cannot starve each other of threads.
                for _ in range(queue.missing(self.workers)):
                    self._threads.submit(self._drain, queue)
                head = open_batches.popleft()
                head.done.wait()
                yield head.result()
        finally:
            queue.cancel()

    def _drain(self, queue: _Queue) -> None:
        if not hasattr(self._local, "maker"):
            self._local.maker = _SampleMaker(self.work)
        maker: _SampleMaker = self._local.maker
        while (claim := queue.claim()) is not None:
            batch, slot = claim
            batch.fill(slot, maker)


class _Queue:
    """The samples to be made, in order, and how many threads are at it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._batches: collections.deque[_OpenBatch] = collections.deque()
        self._slot = 0
        self._threads = 0

    def add(self, batch: _OpenBatch) -> None:
        with self._lock:
            self._batches.append(batch)

    def missing(self, workers: int) -> int:
        """How many threads to send in; they count as present from now on."""
        with self._lock:
            missing = workers - self._threads if self._batches else 0
            self._threads += missing
            return missing

    def claim(self) -> tuple[_OpenBatch, int] | None:
        """The next sample to make, or None: then the calling thread has left."""
        with self._lock:
            if not self._batches:
                self._threads -= 1
                return None
            batch, slot = self._batches[0], self._slot
            self._slot += 1
            if self._slot == batch.size:
                self._batches.popleft()
                self._slot = 0
            return batch, slot

    def cancel(self) -> None:
        with self._lock:
            self._batches.clear()


class _OpenBatch:
    """A batch being filled, by several threads at once, each sample in its own slot."""

    def __init__(self, request: Request, images: np.ndarray, work: Work) -> None:
        self.request, self.images, self.work = request, images, work
        self.size = len(request.positions)
        self.done = threading.Event()
        self._left = self.size
        self._lock = threading.Lock()
        self._bad: dict[int, BadImage] = {}
        self._mixes: list[Mix | None] = [None] * self.size
        self._errors: dict[int, BaseException] = {}

    def fill(self, slot: int, maker: _SampleMaker) -> None:
        """Make one sample. Nothing escapes: whatever goes wrong is told when the batch leaves."""
        request, path = self.request, b""
        try:
            path = self.work.path_bytes(int(request.positions[slot]))
            self._mixes[slot] = maker.make(path, request.epoch, int(request.rows[slot]), self.images[slot])
        except BadImage as error:
            error.path = os.fsdecode(path)
            self._bad[slot] = error
        except BaseException as error:
            self._errors[slot] = error
        finally:
            with self._lock:
                self._left -= 1
                if self._left == 0:
                    self.done.set()

    def result(self) -> Batch:
        """The finished batch; raises what a thread met that is not just a bad file."""
        if self._errors:
            raise self._errors[min(self._errors)]
        request = self.request
        bad = [(int(request.positions[slot]), error) for slot, error in sorted(self._bad.items())]
        if bad and self.work.raise_bad:
            raise bad[0][1]
        good = [slot for slot in range(self.size) if slot not in self._bad]
        if bad:
            for to, slot in enumerate(good):
                if to != slot:
                    self.images[to] = self.images[slot]
        images, labels = self.images[: len(good)], request.labels[good]
        augmentation = self.work.augmentation
        if isinstance(augmentation, Preset) and augmentation.mix:
            labels = mix_batch(images, labels, [self._mixes[slot] for slot in good], self.work.class_count)
        return Batch(request.number, images, labels, request.positions[good], bad)


class _SampleMaker:
    """One thread's hands: reader, scratch and generator, all reused from sample to sample."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._reader = SampleReader(work.spec)
        self._pixels = np.zeros(work.spec.shape, np.uint8)
        self._scratch = np.zeros(work.spec.shape, np.uint8)
        self._draws = SampleDraws(work.seed)

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
