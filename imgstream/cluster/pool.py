"""Hands out blocks to workers on the cluster. Ray restarts workers that die; their blocks are handed out again, to whoever is free."""

from __future__ import annotations

import collections
import dataclasses
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from imgstream.cluster.blocks import Block, portable
from imgstream.cluster.connection import Cluster
from imgstream.cluster.worker import Job, Machine, Worker
from imgstream.errors import BadImage, ClusterError, StallWarning
from imgstream.index import ImageIndex
from imgstream.wording import quantity

KILLER = BadImage("corrupt", "every process that read it died: its decoder crashes, or needs more memory than there is")
"""Why an image that kills its worker has no result."""
_DEATHS, _STARTS = 3, 5
_STALL = 60.0
_SAMPLES = 3


class Pool:
    """Workers that compute blocks of one index. Use it in a with statement, at whose end they are gone. It is there when the first of
    them can work.

    Raises ClusterError when a machine cannot do the work, or no worker starts.
    """

    def __init__(self, cluster: Cluster, job: Job, index: ImageIndex) -> None:
        self._cluster, self._ray, self._index = cluster, cluster.ray, index
        samples = portable(index, np.unique(np.linspace(0, len(index) - 1, _SAMPLES).astype(np.int64)))
        actor = self._ray.remote(Worker).options(max_restarts=-1, num_cpus=cluster.cores, num_gpus=cluster.gpus)
        machine = Machine.here(samples)
        pickled = self._ray.cloudpickle.dumps(job)
        self._workers = [actor.remote(pickled, machine, cluster.cores) for _ in range(cluster.workers)]
        self._starting: dict[Any, Any] = {}
        for worker in self._workers:
            self._start(worker)
        self._idle: collections.deque[Any] = collections.deque()
        self._waits = 0
        try:
            while not self._idle:
                self._next({})
        except BaseException:
            self.__exit__()
            raise

    @property
    def size(self) -> int:
        """Number of workers."""
        return len(self._workers)

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            self._ray.kill(worker)

    def results(self, blocks: Iterator[Block], has_room: Callable[[], bool] = lambda: True) -> Iterator[tuple[Block, Any | None]]:
        """Each block with what the job computed, as soon as it is there. A block that killed its worker three times comes in parts; None is
        the result of the image, a block by itself, that did it. While `has_room` is False no new block is begun, unless all are done.

        Raises ClusterError when a machine cannot do the work, or no worker starts.
        """
        running: dict[Any, tuple[Any, Block]] = {}
        again: list[Block] = []
        while True:
            while self._idle and (again or has_room() or not running):
                if (block := again.pop() if again else next(blocks, None)) is None:
                    break
                worker = self._idle.popleft()
                running[worker.compute.remote(portable(self._index, block.positions))] = worker, block
            if not running and not again:
                if (block := next(blocks, None)) is None:
                    return
                again.append(block)
            if (done := self._next(running)) is None:
                continue
            worker, block = running.pop(done)
            try:
                found = self._ray.get(done)
            except self._ray.exceptions.RayError as error:
                rest = self._rest(block, error)
                self._start(worker)
                again += rest
                if not rest:
                    yield block, None
            else:
                self._idle.append(worker)
                yield block, found

    def _next(self, running: dict[Any, tuple[Any, Block]]) -> Any | None:
        """Wait for something to happen: the block of `running` that is done, or None."""
        done, _ = self._ray.wait([*running, *self._starting], timeout=_STALL)
        if not done:
            self._waits += 1
            text = f"nothing has come from the cluster for {self._waits * _STALL:.0f} s: {quantity(len(running), 'worker')} at work, "
            text += f"{len(self._starting)} starting. `ray status` says what the cluster waits for"
            warnings.warn(text, StallWarning, stacklevel=2)
            return None
        self._waits = 0
        if done[0] in running:
            return done[0]
        self._started(done[0], len(running))
        return None

    def _rest(self, block: Block, error: Exception) -> tuple[Block, ...]:
        """What is to be done again of a block whose worker died of `error`: nothing of an image that was found to be the cause. Raises
        ClusterError for other errors.
        """
        if isinstance(error, self._ray.exceptions.RayTaskError) and not isinstance(error.cause, MemoryError):
            raise _named(error) from error
        once_more = dataclasses.replace(block, deaths=block.deaths + 1)
        alone = len(block.positions) == 1
        if once_more.deaths < (_DEATHS if alone or not block.is_suspect else 1):
            return (once_more,)
        return () if alone else block.halves()

    def _start(self, worker: Any) -> None:
        """Have a new process say when it can work. Ray asks again where it is being restarted, or dies."""
        self._starting[worker.ready.options(max_task_retries=_STARTS).remote()] = worker

    def _started(self, reference: Any, others: int) -> None:
        """A worker can work, or never will: without `others` nobody does."""
        worker = self._starting.pop(reference)
        try:
            self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            raise _named(error) from error
        except self._ray.exceptions.RayError as error:
            if not (others or self._starting or self._idle):
                text = " ".join(str(error).split())
                raise ClusterError(f"no worker can start: {text}. Is imgstream installed on every machine of the cluster?") from error
        else:
            self._idle.append(worker)


def _named(error: Any) -> ClusterError:
    """What a worker raised, as an error of the command."""
    return error.cause if isinstance(error.cause, ClusterError) else ClusterError(f"a worker failed: {error.cause!r}")
