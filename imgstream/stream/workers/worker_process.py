"""A worker process: its threads take tasks from a socket, make the samples in shared memory, and send the outcomes. It ends when the task
socket is closed.
"""

from __future__ import annotations

import collections
import math
import mmap
import os
import pickle
import socket
import sys
import threading
import traceback
import warnings
from typing import Any, NoReturn

import numpy as np

from imgstream.errors import BadImage, CacheWarning, ImgstreamError
from imgstream.files.spans import is_remote
from imgstream.stalls import OpenFile
from imgstream.stream.workers.objects_ahead import ObjectsAhead
from imgstream.stream.workers.processes import FAILED, MESSAGE_BYTES, Result, Task, shared_open_files
from imgstream.stream.workers.sample_job import Outcome, SampleJob, SampleMaker

TASKS_AHEAD = 2
"""Tasks for each of its threads that a worker takes before they are made, if they are of objects in a bucket: 16 samples a thread."""


def main(tasks: int, results: int, memory: int, open_files: int, first: int, threads: int) -> None:
    """Run in a fresh process; the job comes on stdin. The first four arguments are file descriptors that were passed on. `first`: number of
    the first of its threads among those of all workers.
    """
    results_socket = socket.socket(fileno=results)
    try:
        job, folder = pickle.load(sys.stdin.buffer)
        os.chdir(folder)
        worker = _Worker(job, socket.socket(fileno=tasks), results_socket, memory, threads)
        workers = [
            threading.Thread(target=worker.run, args=(open_file,), daemon=True)
            for open_file in shared_open_files(open_files, first, threads)
        ]
        for thread in workers:
            thread.start()
        for thread in workers:
            thread.join()
    except BaseException as error:
        _end(error, results_socket)


def _end(error: BaseException, results: socket.socket) -> NoReturn:
    """Send the error that ends this process, and exit: otherwise its tasks would be waited for. If sending fails, the exit itself is
    noticed.
    """
    try:
        traceback.print_exception(error)
        results.sendall(_message(Result(FAILED, [error], 0, [])))
    finally:
        os._exit(1)


class _Worker:
    """What the threads of this process share."""

    def __init__(self, job: SampleJob, tasks: socket.socket, results: socket.socket, memory: int, threads: int) -> None:
        self._job, self._tasks, self._results, self._memory = job, tasks, results, memory
        self._most_ready = TASKS_AHEAD * threads
        self._ready: collections.deque[Task] = collections.deque()
        self._objects: ObjectsAhead | None = None
        self._mapped = memoryview(b"")
        self._pass = 0
        self._lock = threading.Lock()
        self._warnings: collections.deque[str] = collections.deque()
        warnings.showwarning = self._keep_warning

    def run(self, open_file: OpenFile) -> None:
        """Run one thread until there are no more tasks, or nobody to receive results. Any other error ends the process."""
        try:
            maker = SampleMaker(self._job, open_file)
            while (task := self._next()) is not None:
                message = _message(self._made(task, maker))
                try:
                    self._results.sendall(message)
                except (BrokenPipeError, ConnectionResetError):
                    return
        except BaseException as error:
            _end(error, self._results)

    def _next(self) -> Task | None:
        """The next task; None when there are no more. Tasks with objects are taken some time before they are made, and these asked for."""
        with self._lock:
            while len(self._ready) < self._most_ready and (not self._ready or is_remote(self._ready[-1].paths[0])):
                try:
                    data = self._tasks.recv(MESSAGE_BYTES, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    break
                if not data:
                    break
                self._expect(Task(*pickle.loads(data)))
            if self._ready:
                return self._ready.popleft()
        data = self._tasks.recv(MESSAGE_BYTES)
        return Task(*pickle.loads(data)) if data else None

    def _expect(self, task: Task) -> None:
        self._ready.append(task)
        if not is_remote(task.paths[0]):
            return
        if self._objects is None:
            self._objects = ObjectsAhead(self._job.needs_file())
        for slot, path in enumerate(task.paths):
            self._objects.expect((task.number, slot), path)

    def _made(self, task: Task, maker: SampleMaker) -> Result:
        self._begin(task.in_pass)
        images = self._images(task.offset, len(task.rows))
        waits = maker.waits
        objects, paths = self._objects, task.paths
        if objects is not None:
            paths = [objects.take((task.number, slot)) or path for slot, path in enumerate(paths)]
        outcomes = maker.fill(paths, task.epoch, task.rows, images)
        return Result(task.number, outcomes, maker.waits - waits, self._take_warnings())

    def _keep_warning(self, message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, CacheWarning):  # other warnings are for the main process, or for nobody
            self._warnings.append(str(message))

    def _take_warnings(self) -> list[str]:
        return [self._warnings.popleft() for _ in range(len(self._warnings))]

    def _begin(self, number: int) -> None:
        with self._lock:
            if number > self._pass:
                self._pass = number
                self._job.begin_pass()

    def _images(self, offset: int, count: int) -> np.ndarray:
        """(count, H, W, C), of the job's dtype, in the shared memory, from byte `offset` on."""
        shape, dtype = (count, *self._job.spec.shape), self._job.dtype
        with self._lock:
            if offset + dtype.itemsize * math.prod(shape) > len(self._mapped):  # it has grown; what is in use stays mapped where it was
                self._mapped = memoryview(mmap.mmap(self._memory, os.fstat(self._memory).st_size))
            return np.frombuffer(self._mapped, dtype, math.prod(shape), offset).reshape(shape)


def _message(result: Result) -> bytes:
    try:
        message = pickle.dumps(tuple(result))
        pickle.loads(message)  # some exceptions can be written, but not read
    except Exception:
        message = b""
    if not message or len(message) > MESSAGE_BYTES:
        message = pickle.dumps(tuple(result._replace(outcomes=[_as_text(outcome) for outcome in result.outcomes])))
    return message


def _as_text(outcome: Outcome) -> Outcome:
    """The outcome; an error that cannot be pickled becomes an ImgstreamError with its text."""
    if not isinstance(outcome, BaseException) or isinstance(outcome, BadImage):
        return outcome
    return ImgstreamError(f"{type(outcome).__name__}: {outcome}"[:2000])
