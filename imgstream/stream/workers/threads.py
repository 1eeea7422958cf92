"""Threads of this process that make samples. Each takes a few samples at a time, over several open batches, so that none waits at a batch's
end.
"""

from __future__ import annotations

import collections
import concurrent.futures
import threading
from collections.abc import Callable, Iterator

from imgstream.stalls import OpenFile
from imgstream.stream.batch import Request
from imgstream.stream.workers.buffer_pool import BufferPool
from imgstream.stream.workers.objects_ahead import SAMPLES, ObjectsAhead
from imgstream.stream.workers.open_batch import OpenBatch
from imgstream.stream.workers.readahead import Readahead
from imgstream.stream.workers.sample_job import SampleJob, SampleMaker


class ThreadWorkers:
    """A pool of threads, with a decoder and scratch memory each, of one stream; serves any number of passes at once."""

    def __init__(
        self, job: SampleJob, path_bytes: Callable[[int], bytes], buffers: BufferPool, count: int, in_buckets: bool = False
    ) -> None:
        """`path_bytes`: index position → path to open. `in_buckets`: whether paths are addresses."""
        self.path_bytes, self.buffers, self.count, self.in_buckets = path_bytes, buffers, count, in_buckets
        self.is_needed = job.needs_file()
        self.readahead = Readahead(self.is_needed)
        self.open_files: list[OpenFile] = []
        self._job = job
        self._pool = concurrent.futures.ThreadPoolExecutor(count, thread_name_prefix="imgstream")
        self._local = threading.local()

    def begin(self, ahead: int) -> ThreadQueue:
        """Start a pass over some rows, with `ahead` batches open at a time."""
        self._job.begin_pass()
        return ThreadQueue(self)

    def send(self, queue: ThreadQueue) -> None:
        """Let one more thread work on a pass."""
        self._pool.submit(self._drain, queue)

    def _drain(self, queue: ThreadQueue) -> None:
        """Work on a pass until nothing is left. Any exception here ends the pass: nobody asks for the thread's result."""
        batch: OpenBatch | None = None
        try:
            maker = self._maker()
            while (claim := queue.claim(maker.together)) is not None:
                batch, first, past = claim
                request = batch.request
                paths = [queue.path_bytes(position) for position in request.positions[first:past].tolist()]
                waits, opened = maker.waits, maker.opened
                outcomes = maker.fill(paths, request.epoch, request.rows[first:past].tolist(), batch.images[first:past])
                self.readahead.note(past - first, maker.waits - waits)
                batch.settle(first, outcomes, maker.opened - opened)
        except BaseException as error:
            queue.fail(error, batch)

    def _maker(self) -> SampleMaker:
        """The calling thread's sample maker."""
        if not hasattr(self._local, "maker"):
            open_file = OpenFile()
            self._local.maker = SampleMaker(self._job, open_file)
            self.open_files.append(open_file)
        maker: SampleMaker = self._local.maker
        return maker


class ThreadQueue:
    """The samples of a pass that are still to be made, in order, and how many threads work on them.

    A thread leaves when there is nothing to do and never waits here, so that passes cannot starve each other of threads.
    """

    def __init__(self, threads: ThreadWorkers) -> None:
        self.open_files = threads.open_files
        self._threads = threads
        self._objects = ObjectsAhead(threads.is_needed) if threads.in_buckets else None
        self._lock = threading.Lock()
        self._batches: collections.deque[OpenBatch] = collections.deque()
        self._slot = 0
        self._present = 0
        self._error: BaseException | None = None

    def path_bytes(self, position: int) -> bytes:
        """The path to open, of an object that is on its way perhaps."""
        expected = self._objects.take(position) if self._objects is not None else None
        return expected or self._threads.path_bytes(position)

    def looked_ahead(self, requests: Iterator[Request]) -> Iterator[Request]:
        """The requests, some time before which their objects are asked for."""
        objects = self._objects
        if objects is None:
            yield from requests
            return
        expected: collections.deque[Request] = collections.deque()
        samples = 0
        while True:
            while (samples < SAMPLES or not expected) and (request := next(requests, None)) is not None:
                expected.append(request)
                samples += len(request.positions)
                for position in request.positions.tolist():
                    objects.expect(position, self._threads.path_bytes(position))
            if not expected:
                return
            samples -= len(expected[0].positions)
            yield expected.popleft()

    def add(self, batch: OpenBatch) -> None:
        """Queue a batch to be filled after those before it."""
        if self._objects is None:
            self._threads.readahead.announce(self._threads.path_bytes, batch.request.positions)
        with self._lock:
            error = self._error
            if error is None:
                self._batches.append(batch)
                missing = self._threads.count - self._present
                self._present += missing
        if error is not None:
            batch.fail(error)
            return
        for _ in range(missing):
            self._threads.send(self)

    def claim(self, most: int) -> tuple[OpenBatch, int, int] | None:
        """Take the next samples to make, at most `most`: a batch, the first slot and the one past the last. None when nothing is left: then
        the calling thread has left the pass.
        """
        with self._lock:
            if not self._batches:
                self._present -= 1
                return None
            batch, first = self._batches[0], self._slot
            past = min(first + most, batch.size)
            claim = batch, first, past  # made before the state changes, so that an error here loses no batch
            self._slot = past if past < batch.size else 0
            if not self._slot:
                self._batches.popleft()
            return claim

    def fail(self, error: BaseException, claimed: OpenBatch | None) -> None:
        """Give up all batches, and the one that the failing thread has `claimed`."""
        with self._lock:
            self._error = error
            self._slot = 0
            while self._batches:
                self._batches.popleft().fail(error)
        if claimed is not None:
            claimed.fail(error)

    def cancel(self) -> None:
        """Drop the batches that are not begun."""
        with self._lock:
            self._batches.clear()
            self._slot = 0
        if self._objects is not None:
            self._objects.close()
