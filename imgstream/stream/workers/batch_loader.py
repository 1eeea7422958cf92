"""Fills batches by threads, or by worker processes with threads, several batches ahead, and gives them in order.

A sample depends on its row alone, so batches are the same for any number of workers.
"""

from __future__ import annotations

import collections
import contextlib
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from imgstream.augment import Policy
from imgstream.augment.presets import mix_batch
from imgstream.stalls import OpenFile
from imgstream.stream.batch import Batch, Request
from imgstream.stream.workers.buffer_pool import BufferPool
from imgstream.stream.workers.objects_ahead import SAMPLES
from imgstream.stream.workers.open_batch import OpenBatch
from imgstream.stream.workers.processes import ProcessWorkers, SharedMemory, can_be_sent
from imgstream.stream.workers.sample_job import SampleJob
from imgstream.stream.workers.threads import ThreadWorkers

THREADS_A_PROCESS, THREADS_A_PROCESS_IN_PYTHON = 8, 2
"""The most threads of one process, which share an interpreter lock. It is held for 50 to 100 µs of the 1,300 that an image takes, so that
twelve threads keep it busy; an albumentations policy or a Python function holds it most of the time. (docs/decisions/0008)
"""

MOST_PROCESSES_CACHED = 16
"""With a cache an image takes 60 to 165 µs and holds the lock for 25: two threads hinder each other, so each gets a process, up to this
number. Processes start only once a pass over cached images has shown that batches are waited for: where training is slower than that, they
would only cost memory.
"""

WORTH_PROCESSES = 1000
"""Fewest samples in a pass for which worker processes are started: starting them takes half a second."""

_AHEAD_BYTES = 256 << 20
"""The most memory for batches of objects in buckets that are open at a time, with worker processes."""

_FEW_DECODED, _WAITED_FOR = 1 / 20, 1 / 2
"""Shares: of a pass's samples that were decoded, and of its time that was spent waiting."""


class WorkerPool(Protocol):
    """Threads or processes that make samples."""

    buffers: BufferPool

    def begin(self, ahead: int) -> BatchQueue:
        """Start a pass over some rows, with `ahead` batches open at a time."""


class BatchQueue(Protocol):
    """The batches of one pass, to be filled in order."""

    @property
    def open_files(self) -> Sequence[OpenFile]:
        """The files that the workers are reading."""

    def looked_ahead(self, requests: Iterator[Request]) -> Iterator[Request]:
        """The requests, some time before which what takes long is begun for them."""

    def add(self, batch: OpenBatch) -> None:
        """Queue a batch to be filled after those before it."""

    def cancel(self) -> None:
        """Drop the batches that are not begun."""


class BatchLoader:
    """Fills the batches of one stream; serves any number of passes at once."""

    def __init__(
        self,
        job: SampleJob,
        path_bytes: Callable[[int], bytes],
        class_count: int,
        raise_bad: bool,
        batch_size: int,
        workers: int,
        samples: int,
        in_buckets: bool = False,
    ) -> None:
        """`path_bytes`: index position → path to open. `workers`: number of threads. `samples`: number in a pass. `in_buckets`: whether
        paths are addresses.
        """
        self._job, self._class_count, self._raise_bad = job, class_count, raise_bad
        self.process = os.getpid()
        """Id of the process that it serves: its threads do not exist in forks."""
        self.ahead = 2 + -(-2 * workers // batch_size)  # open batches: enough samples for every thread beyond the batch in use
        self._path_bytes, self._shape, self._workers = path_bytes, (batch_size, *job.spec.shape), workers
        self._may_grow = samples >= WORTH_PROCESSES and can_be_sent(job)
        most = THREADS_A_PROCESS_IN_PYTHON if isinstance(job.augmentation, Policy) else THREADS_A_PROCESS
        self._in_buckets = in_buckets
        self._pool: WorkerPool
        if workers > most and self._may_grow:
            self._pool = self._processes(-(-workers // most))
        else:
            buffers = BufferPool(self._shape, self.ahead + 2, dtype=job.dtype)
            self._pool = ThreadWorkers(job, path_bytes, buffers, workers, in_buckets)

    def _processes(self, count: int) -> ProcessWorkers:
        self._may_grow = False
        if self._in_buckets:  # what workers fetch ahead is what they have room for
            most = max(1, _AHEAD_BYTES // (math.prod(self._shape) * self._job.dtype.itemsize))
            self.ahead = max(self.ahead, min(most, -(-SAMPLES // self._shape[0])))
        buffers = BufferPool(self._shape, self.ahead + 2, SharedMemory(), self._job.dtype)
        return ProcessWorkers(self._job, self._path_bytes, buffers, count, -(-self._workers // count))

    def run(self, requests: Iterator[Request]) -> Iterator[Batch]:
        """The batches of `requests`, in order. Stops the work when the iteration is left early."""
        open_batches: collections.deque[OpenBatch] = collections.deque()
        pool = self._pool
        batch_queue = pool.begin(self.ahead)
        requests = batch_queue.looked_ahead(requests)
        began, waited, samples, opened = time.perf_counter(), 0.0, 0, 0
        try:
            while True:
                while len(open_batches) < self.ahead and (request := next(requests, None)) is not None:
                    batch = OpenBatch(request, pool.buffers.take())
                    open_batches.append(batch)
                    batch_queue.add(batch)
                if not open_batches:
                    break
                head = open_batches.popleft()
                since = time.perf_counter()
                head.wait(batch_queue.open_files)
                waited += time.perf_counter() - since
                samples, opened = samples + head.size, opened + head.opened
                yield self._finished(head)
        finally:
            batch_queue.cancel()
        was_waited_for = waited > _WAITED_FOR * (time.perf_counter() - began)
        if self._may_grow and self._workers > 1 and samples >= WORTH_PROCESSES and opened <= _FEW_DECODED * samples and was_waited_for:
            with contextlib.suppress(OSError):  # without them, threads go on
                self._pool = self._processes(min(self._workers, MOST_PROCESSES_CACHED))

    def _finished(self, batch: OpenBatch) -> Batch:
        """The batch without its bad files, mixed if the augmentation mixes. Raises BadImage if asked to."""
        request, images = batch.request, batch.images
        bad = [(int(request.positions[slot]), error) for slot, error in sorted(batch.bad.items())]
        if bad and self._raise_bad:
            raise bad[0][1]
        good = [slot for slot in range(batch.size) if slot not in batch.bad]
        if bad:
            for to, slot in enumerate(good):
                if to != slot:
                    images[to] = images[slot]
        images, labels = images[: len(good)], request.labels[good]
        augmentation = self._job.augmentation
        if augmentation is not None and augmentation.mix:
            labels = mix_batch(images, labels, [batch.mixes[slot] for slot in good], self._class_count)
        return Batch(request.number, images, labels, request.positions[good], bad)
