"""Worker processes with threads that make samples, for more cores than one interpreter lock can serve.

Tasks and results travel over two sockets that all workers share: the kernel hands each task to a waiting thread. Images are written
straight into the batch, in anonymous shared memory that is freed when the last process that has it ends, however it ends. Workers end when
their task socket is closed.
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
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from imgstream import stalls
from imgstream.errors import CacheWarning, ImgstreamError
from imgstream.stalls import OPEN_FILE_BYTES, OpenFile
from imgstream.stream.batch import Request
from imgstream.stream.workers.buffer_pool import BufferLease, BufferPool
from imgstream.stream.workers.open_batch import OpenBatch
from imgstream.stream.workers.readahead import Readahead
from imgstream.stream.workers.sample_job import Outcome, SampleJob

AVAILABLE = sys.platform == "linux" and hasattr(os, "memfd_create")
"""Other systems lack sockets that keep messages apart, or anonymous shared memory; threads do all the work there."""

MESSAGE_BYTES = 1 << 17
FAILED = -1
"""Task number of a Result whose one outcome is the error that ended its worker."""
SAMPLES_A_TASK = 8
"""The most samples in a task: paths may have 4 KB each, and a message must fit a socket's buffer."""
_CHECK_EVERY = 1.0
"""Seconds between checks that all workers are alive."""
_START_CODE = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from imgstream.stream.workers.worker_process import main; main(*map(int, sys.argv[2:]))"
)


class Task(NamedTuple):
    """Some samples of one batch."""

    number: int
    offset: int
    """Where the first sample goes, in bytes of the shared memory's file."""
    epoch: int
    rows: list[int]
    paths: list[bytes]
    in_pass: int
    """Number of the pass: a worker that meets a new one reads the cache's state again."""


class Result(NamedTuple):
    """The outcomes of a task's samples."""

    number: int
    outcomes: list[Outcome]
    waits: int
    """How many of the files had to come from the disk."""
    told: list[str]
    """Warnings of the worker's cache since its last result."""


class _Part(NamedTuple):
    """The part of a SharedMemory's file that holds one batch."""

    map: mmap.mmap
    offset: int


class SharedMemory:
    """Memory for batches that worker processes fill: parts of one anonymous file."""

    def __init__(self) -> None:
        self.descriptor = os.memfd_create("imgstream", os.MFD_CLOEXEC)
        weakref.finalize(self, os.close, self.descriptor)
        self._parts: dict[int, BufferLease[_Part]] = {}
        """By address: the lease that was last given of each part."""
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
        """Give pages that nobody holds any more back to the system; the parts of the file are used again."""
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
    """The open files of `count` threads, numbered from `first` over all workers, in the memory behind `descriptor`."""
    memory = memoryview(mmap.mmap(descriptor, (first + count) * OPEN_FILE_BYTES))
    return [OpenFile(memory[number * OPEN_FILE_BYTES :][:OPEN_FILE_BYTES]) for number in range(first, first + count)]


def _as_error(error: Outcome) -> ImgstreamError:
    """The error to raise for the outcome that ended a worker."""
    if isinstance(error, ImgstreamError):
        return error
    return ImgstreamError(f"a worker process ended by itself ({type(error).__name__}: {error})")


def can_be_sent(job: SampleJob) -> bool:
    """Whether other processes can do this job: not if it rests on functions that only this process has."""
    if not AVAILABLE:
        return False
    pickler = _NamingPickler(io.BytesIO())
    try:
        pickler.dump(job)
    except Exception:  # whatever a user's object raises
        return False
    return all(map(_importable, pickler.packages))


class _NamingPickler(pickle.Pickler):
    """Collects the packages that classes and functions come from: another process has to import them."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.packages: set[str] = set()

    def reducer_override(self, value: Any) -> Any:
        """Note the package of a class or function; pickle it as usual."""
        if isinstance(value, type | types.FunctionType | types.BuiltinFunctionType):
            self.packages.add((value.__module__ or "builtins").partition(".")[0])
        return NotImplemented


def _importable(package: str) -> bool:
    if package in ("imgstream", *sys.builtin_module_names):
        return True
    return (
        package != "__main__" and importlib.machinery.PathFinder.find_spec(package) is not None
    )  # not one that exists only in sys.modules


class ProcessWorkers:
    """Worker processes of one stream; serve any number of passes at once."""

    def __init__(self, job: SampleJob, path_bytes: Callable[[int], bytes], buffers: BufferPool, processes: int, threads: int) -> None:
        """`path_bytes`: index position → path to open. `buffers`: in SharedMemory. `threads`: of each process."""
        self.buffers = buffers
        self._job, self._path_bytes, self._processes, self._threads = job, path_bytes, processes, threads
        self._running: _RunningWorkers | None = None
        self._lock = threading.Lock()
        self._passes = itertools.count(1)

    def begin(self, ahead: int) -> ProcessQueue:
        """Start a pass over some rows, with `ahead` batches open at a time. Starts the workers if none run or some have failed."""
        with self._lock:
            if self._running is None or not self._running.all_alive:
                if self._running is not None:
                    self._running.stop()
                memory = self.buffers.memory
                assert isinstance(memory, SharedMemory)
                self._job.begin_pass()  # here, so that the error of a cache that cannot be made reaches the user
                self._running = _RunningWorkers(self._job, memory, self._processes, self._threads)
                weakref.finalize(self, self._running.stop)
            return ProcessQueue(self._running, self._path_bytes, ahead, next(self._passes))


class ProcessQueue:
    """The batches of one pass."""

    def __init__(self, running: _RunningWorkers, path_bytes: Callable[[int], bytes], ahead: int, number: int) -> None:
        self.open_files = running.open_files
        self._running, self._path_bytes, self._ahead, self._number = running, path_bytes, ahead, number

    def add(self, batch: OpenBatch) -> None:
        """Queue a batch to be filled after those before it."""
        request = batch.request
        self._running.announce(self._path_bytes, request.positions)
        samples = max(1, min(SAMPLES_A_TASK, self._ahead * batch.size // (2 * self._running.thread_count)))  # two tasks a thread, or more
        for first in range(0, batch.size, samples):
            positions = request.positions[first : first + samples].tolist()
            rows = request.rows[first : first + samples].tolist()
            paths = [self._path_bytes(position) for position in positions]
            self._running.send(batch, first, request.epoch, rows, paths, self._number)

    def looked_ahead(self, requests: Iterator[Request]) -> Iterator[Request]:
        """The requests: a worker asks for the objects of tasks that it has taken, so that the batches ahead are what is expected."""
        return requests

    def cancel(self) -> None:
        """Do nothing: tasks that were sent are finished, into memory that is held until then, a few batches at most."""


class _RunningWorkers:
    """Running worker processes, and the thread that receives their results."""

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
            # In its own session, so that only this process gets Ctrl-C.
            worker = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, pass_fds=descriptors, start_new_session=True
            )
            self._workers.append(worker)
        for worker in self._workers:
            assert worker.stdin is not None
            with contextlib.suppress(BrokenPipeError), worker.stdin as stdin:  # one that ended at once is noticed by the receiving thread
                stdin.write(payload)

    @property
    def all_alive(self) -> bool:
        """Whether no worker has failed or ended."""
        return self.failed is None and all(worker.poll() is None for worker in self._workers)

    def announce(self, path_bytes: Callable[[int], bytes], positions: np.ndarray) -> None:
        """Say that the files at these positions will be read soon."""
        self._readahead.announce(path_bytes, positions)

    def send(self, batch: OpenBatch, first: int, epoch: int, rows: list[int], paths: list[bytes], in_pass: int) -> None:
        """Send the task to make samples of the batch from slot `first` on."""
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
        """Send a task; wait while all workers are busy. Raises BrokenPipeError when no worker is left."""
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
        """Run the receiving thread. However it ends, nobody waits any longer for what was sent."""
        try:
            with self._results:
                self._listen()
            error: BaseException = self._worker_ended()
        except BaseException as failure:
            error = failure
        self._fail(error)

    def _listen(self) -> None:
        """Settle results until a worker has ended. Raises the error that ended it, if it could send one."""
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
                if gone:  # since the last check, so its last messages have been received
                    return
                next_check, gone = time.monotonic() + _CHECK_EVERY, any(worker.poll() is not None for worker in self._workers)

    def _handle(self, result: Result) -> None:
        """Settle one result. Raises the error that ended a worker."""
        if result.number == FAILED:
            raise _as_error(result.outcomes[0])
        self._received += 1
        self._readahead.note(len(result.outcomes), result.waits)
        with self._lock:
            pending = self._pending.get(result.number)  # it stays there until it is settled
        for text in result.told:
            try:
                warnings.warn(text, CacheWarning, stacklevel=1)
            except Exception as error:  # if warnings are errors, the batch raises it; this thread goes on
                if pending is not None:
                    pending[0].fail(error)
        if pending is not None:  # else it was given up
            batch, first = pending
            batch.settle(first, result.outcomes)
            with self._lock:
                self._pending.pop(result.number, None)

    def _worker_ended(self) -> ImgstreamError:
        """The error for a worker that ended without sending one."""
        codes = [code for worker in self._workers if (code := worker.poll()) is not None]
        how = f"signal {-codes[0]}" if codes and codes[0] < 0 else f"exit code {codes[0]}" if codes else "nobody knows how"
        return ImgstreamError(
            f"a worker process ended by itself ({how}): killed for want of memory, or by a fault in a decoder. "
            "Fewer workers need less memory"
        )

    def _fail(self, error: BaseException) -> None:
        """Give up everything that was sent, because a worker has ended or results are received no more. The first error counts."""
        with self._lock:
            if self.failed is None:
                self.failed = error
            while self._pending:
                self._pending.popitem()[1][0].fail(self.failed)
        with contextlib.suppress(OSError):
            self._tasks.shutdown(socket.SHUT_RDWR)  # the others end, and sending to them fails

    def stop(self) -> None:
        """Tell the workers to end, and wait until they have."""
        self._tasks.close()
        end = time.monotonic() + 5  # for all of them together
        for worker in self._workers:
            try:
                worker.wait(max(0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()
