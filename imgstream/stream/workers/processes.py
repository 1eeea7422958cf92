"""Worker processes with threads that make samples, where more cores are to be used than one interpreter lock can serve.

Tasks and results travel over two sockets that all workers share: the kernel hands each task to whoever waits. Images go straight into the
batch, in memory without a name: it is gone when the last process that has it is, however that ended. Workers end with their tasks socket.
"""

from __future__ import annotations

import collections
import contextlib
import importlib.machinery
import io
import itertools
import json
import mmap
import os
import pickle
import socket
import subprocess
import sys
import threading
import time
import types
import warnings
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from imgstream import stalls
from imgstream.errors import CacheWarning, ImgstreamError
from imgstream.stalls import OPEN_FILE_BYTES, OpenFile
from imgstream.stream.workers.buffer_pool import BufferLease, BufferPool
from imgstream.stream.workers.open_batch import OpenBatch
from imgstream.stream.workers.readahead import Readahead
from imgstream.stream.workers.sample_job import Outcome, SampleJob

AVAILABLE = sys.platform == "linux" and hasattr(os, "memfd_create")
"""Elsewhere sockets that keep messages apart, and memory without a name, are not to be had: threads do all."""

MESSAGE_BYTES = 1 << 17
FAILED = -1
"""Number of a Result that says what ended its worker: the one outcome."""
SAMPLES_A_TASK = 8
"""At most: paths may have 4 KB each, and a message must fit a socket's buffer."""
_CHECK_EVERY = 1.0
"""Seconds between looks at whether all workers are there."""
_START_CODE = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from imgstream.stream.workers.worker_process import main; main(*map(int, sys.argv[2:]))"
)


class Task(NamedTuple):
    """Some samples of one batch."""

    number: int
    offset: int
    """Of the first sample's slot, in bytes of the shared memory's file."""
    epoch: int
    rows: list[int]
    paths: list[bytes]
    in_pass: int
    """Number of the pass: a worker that has not seen it looks at the cache anew."""


class Result(NamedTuple):
    """What became of a task's samples."""

    number: int
    outcomes: list[Outcome]
    waits: int
    """How many of the files had to come from the disk."""
    told: list[str]
    """What the worker's cache has warned of since the last one."""


class _Part(NamedTuple):
    """Of a SharedMemory's file, for one batch."""

    map: mmap.mmap
    offset: int


class SharedMemory:
    """Memory for batches that worker processes fill: parts of one file without a name."""

    def __init__(self) -> None:
        self.descriptor = os.memfd_create("imgstream", os.MFD_CLOEXEC)
        weakref.finalize(self, os.close, self.descriptor)
        self._parts: dict[int, BufferLease[_Part]] = {}
        """By address: the last that was lent of each."""
        self._ended: collections.deque[BufferLease[_Part]] = collections.deque()
        self._unused: list[_Part] = []
        self._end = 0
        self._growing = threading.Lock()  # passes on several threads: one must not cut off what another has just added

    def take(self, size: int) -> np.ndarray:
        """uint8 (size,), at the start of a page. All sizes are the same."""
        self.reclaim()
        try:
            part = self._unused.pop()
        except IndexError:
            with self._growing:
                offset, self._end = self._end, self._end + -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
                os.ftruncate(self.descriptor, self._end)
            part = _Part(mmap.mmap(self.descriptor, size, offset=offset), offset)
        memory = np.frombuffer(part.map, np.uint8)
        self._parts[memory.ctypes.data] = BufferLease(memory, part, self._ended.append)
        return memory

    def reclaim(self) -> None:
        """Let the system have the pages that nobody holds any more; the parts themselves are used again."""
        with contextlib.suppress(IndexError):
            while True:
                part = self._ended.popleft().of
                with contextlib.suppress(OSError):
                    part.map.madvise(mmap.MADV_REMOVE)
                self._unused.append(part)

    def offset(self, memory: np.ndarray) -> int:
        """Where memory that was taken lies in the file, in bytes."""
        return self._parts[memory.ctypes.data].of.offset


def shared_open_files(descriptor: int, first: int, count: int) -> list[OpenFile]:
    """Those of some threads, numbered over all workers, in the memory behind `descriptor`."""
    memory = memoryview(mmap.mmap(descriptor, (first + count) * OPEN_FILE_BYTES))
    return [OpenFile(memory[number * OPEN_FILE_BYTES :][:OPEN_FILE_BYTES]) for number in range(first, first + count)]


def _as_error(error: Outcome) -> ImgstreamError:
    """What is raised for what has ended a worker."""
    if isinstance(error, ImgstreamError):
        return error
    return ImgstreamError(f"a worker process ended by itself ({type(error).__name__}: {error})")


def can_be_sent(job: SampleJob) -> bool:
    """Whether other processes can do this work: not where it rests on functions that only this one has."""
    if not AVAILABLE:
        return False
    pickler = _NamingPickler(io.BytesIO())
    try:
        pickler.dump(job)
    except Exception:  # whatever a user's object raises
        return False
    return all(map(_importable, pickler.packages))


class _NamingPickler(pickle.Pickler):
    """Notes where classes and functions come from: another process has to import them."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.packages: set[str] = set()

    def reducer_override(self, value: Any) -> Any:
        """Changes nothing."""
        if isinstance(value, type | types.FunctionType | types.BuiltinFunctionType):
            self.packages.add((value.__module__ or "builtins").partition(".")[0])
        return NotImplemented


def _importable(package: str) -> bool:
    if package in ("imgstream", *sys.builtin_module_names):
        return True
    return package != "__main__" and importlib.machinery.PathFinder.find_spec(package) is not None  # not what sys.modules alone knows


class ProcessWorkers:
    """Worker processes, kept for as long as their stream; serve any number of passes at once."""

    def __init__(self, job: SampleJob, path_bytes: Callable[[int], bytes], buffers: BufferPool, processes: int, threads: int) -> None:
        """`path_bytes`: index position → path to open. `buffers`: in SharedMemory. `threads`: of each process."""
        self.buffers = buffers
        self._job, self._path_bytes, self._processes, self._threads = job, path_bytes, processes, threads
        self._running: _RunningWorkers | None = None
        self._lock = threading.Lock()
        self._passes = itertools.count(1)

    def begin(self, ahead: int) -> ProcessQueue:
        """A pass over some rows, with `ahead` batches open at a time. Starts the workers, where none are or they have failed."""
        with self._lock:
            if self._running is None or not self._running.all_alive:
                if self._running is not None:
                    self._running.stop()
                memory = self.buffers.memory
                assert isinstance(memory, SharedMemory)
                self._job.begin_pass()  # here, where it can be told: a cache that cannot be made is no fault of a worker
                self._running = _RunningWorkers(self._job, memory, self._processes, self._threads)
                weakref.finalize(self, self._running.stop)
            return ProcessQueue(self._running, self._path_bytes, ahead, next(self._passes))


class ProcessQueue:
    """The batches of a pass."""

    def __init__(self, running: _RunningWorkers, path_bytes: Callable[[int], bytes], ahead: int, number: int) -> None:
        self.open_files = running.open_files
        self._running, self._path_bytes, self._ahead, self._number = running, path_bytes, ahead, number

    def add(self, batch: OpenBatch) -> None:
        """Have a batch filled, after those before it."""
        request = batch.request
        self._running.announce(self._path_bytes, request.positions)
        samples = max(1, min(SAMPLES_A_TASK, self._ahead * batch.size // (2 * self._running.thread_count)))  # two tasks a thread, or more
        for first in range(0, batch.size, samples):
            positions = request.positions[first : first + samples].tolist()
            rows = request.rows[first : first + samples].tolist()
            paths = [self._path_bytes(position) for position in positions]
            self._running.send(batch, first, request.epoch, rows, paths, self._number)

    def cancel(self) -> None:
        """What was sent is made to its end, into memory that is held until then: a few batches."""


class _RunningWorkers:
    """Running workers and the thread that hears them."""

    def __init__(self, job: SampleJob, memory: SharedMemory, processes: int, threads: int) -> None:
        self.thread_count = processes * threads
        self.failed: BaseException | None = None
        self._memory, self._readahead = memory, Readahead(job.needs_file())
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._received = 0
        self._pending: dict[int, tuple[OpenBatch, int]] = {}
        self._workers: list[subprocess.Popen[bytes]] = []
        self._tasks, their_tasks = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._results, their_results = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._tasks.settimeout(stalls.PATIENCE)
        self._results.settimeout(_CHECK_EVERY)
        open_files_memory = os.memfd_create("imgstream-open-files", os.MFD_CLOEXEC)
        try:
            os.ftruncate(open_files_memory, self.thread_count * OPEN_FILE_BYTES)
            self.open_files = shared_open_files(open_files_memory, 0, self.thread_count)
            self._start(
                pickle.dumps((job, os.getcwd())),
                (their_tasks.fileno(), their_results.fileno(), memory.descriptor, open_files_memory),
                threads,
            )
            threading.Thread(target=self._receive_results, name="imgstream-results", daemon=True).start()
        except BaseException:
            for worker in self._workers:
                worker.kill()
                worker.communicate()
            self._tasks.close()
            self._results.close()
            raise
        finally:
            their_tasks.close()
            their_results.close()
            os.close(open_files_memory)

    def _start(self, payload: bytes, descriptors: tuple[int, ...], threads: int) -> None:
        for first in range(0, self.thread_count, threads):
            command = [sys.executable, "-c", _START_CODE, json.dumps(sys.path), *map(str, (*descriptors, first, threads))]
            # A session of its own: Ctrl-C is this process's to handle.
            worker = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, pass_fds=descriptors, start_new_session=True
            )
            self._workers.append(worker)
        for worker in self._workers:
            assert worker.stdin is not None
            with contextlib.suppress(BrokenPipeError), worker.stdin as stdin:  # one that died at once is noticed when it is to be heard
                stdin.write(payload)

    @property
    def all_alive(self) -> bool:
        """Whether all workers are there."""
        return self.failed is None and all(worker.poll() is None for worker in self._workers)

    def announce(self, path_bytes: Callable[[int], bytes], positions: np.ndarray) -> None:
        """The files at these positions will be read soon."""
        self._readahead.announce(path_bytes, positions)

    def send(self, batch: OpenBatch, first: int, epoch: int, rows: list[int], paths: list[bytes], in_pass: int) -> None:
        """Have the samples from slot `first` of the batch on made."""
        offset = self._memory.offset(batch.images) + first * batch.images.strides[0]
        number = next(self._numbers)
        message = pickle.dumps(tuple(Task(number, offset, epoch, rows, paths, in_pass)))
        with self._lock:
            if self.failed is not None:
                batch.fail(self.failed)
                return
            self._pending[number] = batch, first
        try:
            self._send_task(message)
        except (BrokenPipeError, ConnectionResetError):
            self._fail(self._worker_ended())
        except BaseException:
            with self._lock:
                self._pending.pop(number, None)
            raise

    def _send_task(self, message: bytes) -> None:
        """Send a task; waits while the workers have their hands full. Raises BrokenPipeError when there are none any more."""
        received, waits = self._received, 0
        while True:
            try:
                return self._tasks.sendall(message)
            except TimeoutError:
                waits = waits + 1 if self._received == received else 0
                received = self._received
            if waits:
                stalls.tell(self.open_files, waits)

    def _receive_results(self) -> None:
        """What the thread that hears the workers does. However it ends, nothing that was sent is waited for any more."""
        try:
            with self._results:
                self._listen()
            error: BaseException = self._worker_ended()
        except BaseException as failure:
            error = failure
        self._fail(error)

    def _listen(self) -> None:
        """Settle what is heard, until a worker is gone. Raises what has ended it, where it could say so."""
        next_check, gone = time.monotonic() + _CHECK_EVERY, False
        while True:
            data = None
            with contextlib.suppress(TimeoutError):
                data = self._results.recv(MESSAGE_BYTES)
            if data == b"":
                return
            if data is not None:
                self._handle(Result(*pickle.loads(data)))
            else:
                self._memory.reclaim()
            if data is None or time.monotonic() > next_check:
                if gone:  # since the last look: its last words have been heard
                    return
                next_check, gone = time.monotonic() + _CHECK_EVERY, any(worker.poll() is not None for worker in self._workers)

    def _handle(self, result: Result) -> None:
        """Settle what a worker has done. Raises what has ended it."""
        if result.number == FAILED:
            raise _as_error(result.outcomes[0])
        self._received += 1
        self._readahead.note(len(result.outcomes), result.waits)
        with self._lock:
            pending = self._pending.get(result.number)  # it stays there until it is settled
        for text in result.told:
            try:
                warnings.warn(text, CacheWarning, stacklevel=1)
            except Exception as error:  # whoever made it an error is to get it; this thread has to go on
                if pending is not None:
                    pending[0].fail(error)
        if pending is not None:  # else it was given up
            batch, first = pending
            batch.settle(first, result.outcomes)
            with self._lock:
                self._pending.pop(result.number, None)

    def _worker_ended(self) -> ImgstreamError:
        """A worker has ended without a word."""
        codes = [code for worker in self._workers if (code := worker.poll()) is not None]
        how = f"signal {-codes[0]}" if codes and codes[0] < 0 else f"exit code {codes[0]}" if codes else "nobody knows how"
        return ImgstreamError(
            f"a worker process ended by itself ({how}): killed for want of memory, or by a fault in a decoder. "
            "Fewer workers need less memory"
        )

    def _fail(self, error: BaseException) -> None:
        """A worker is gone, or not heard any more: nothing that was sent may be waited for. The first error counts."""
        with self._lock:
            if self.failed is None:
                self.failed = error
            while self._pending:
                self._pending.popitem()[1][0].fail(self.failed)
        with contextlib.suppress(OSError):
            self._tasks.shutdown(socket.SHUT_RDWR)  # the others end, and nobody waits to send them more

    def stop(self) -> None:
        """Let the workers end, and wait until they have."""
        self._tasks.close()
        end = time.monotonic() + 5  # for all of them together
        for worker in self._workers:
            try:
                worker.wait(max(0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
