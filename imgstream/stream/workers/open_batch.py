"""A batch while it is being filled, by several threads or processes at once."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Sequence

import numpy as np

from imgstream import stalls
from imgstream.augment.presets import Mix
from imgstream.errors import BadImage
from imgstream.stalls import OpenFile
from imgstream.stream.batch import Request
from imgstream.stream.workers.sample_job import Outcome


class OpenBatch:
    """A request, the memory for its images, and the outcomes of its samples so far."""

    def __init__(self, request: Request, images: np.ndarray) -> None:
        self.request, self.images = request, images
        self.size = len(request.positions)
        self.bad: dict[int, BadImage] = {}
        """Errors of bad files, by slot."""
        self.mixes: list[Mix | None] = [None] * self.size
        self.opened = 0
        """Number of files read for it, as far as is known; other samples came from a cache."""
        self._errors: dict[int, BaseException] = {}
        # No threading.Event: it waits in Python code, where a Ctrl-C may come between a lock and its release.
        self._done: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._left = self.size
        self._lock = threading.Lock()

    def settle(self, first: int, outcomes: Sequence[Outcome], opened: int = 0) -> None:
        """Record the outcomes of the samples in slots `first` and following: how each is to be mixed, or its error. `opened`: number of
        files that were read for them.
        """
        for slot, outcome in enumerate(outcomes, first):
            if isinstance(outcome, BadImage):
                self.bad[slot] = outcome
            elif isinstance(outcome, BaseException):
                self._errors[slot] = outcome
            else:
                self.mixes[slot] = outcome
        with self._lock:
            self._left -= len(outcomes)
            self.opened += opened
            if self._left == 0:
                self._done.put(None)

    def fail(self, error: BaseException) -> None:
        """Give up the whole batch because of `error`, unless it is finished."""
        with self._lock:
            if self._left:
                self._errors[-1] = error
                self._done.put(None)

    def wait(self, open_files: Iterable[OpenFile] = ()) -> None:
        """Wait until every sample is settled; raise the first error that is more than a bad file. To be called once.

        `open_files`: the files that the workers are reading. Warns of them (StallWarning) when no sample is settled for long.
        """
        left, waits = self._left, 0
        while True:
            try:
                self._done.get(timeout=stalls.PATIENCE)
                break
            except queue.Empty:
                waits = waits + 1 if self._left == left else 0
                left = self._left
            if waits:
                stalls.tell(open_files, waits)
        if self._errors:
            raise self._errors[min(self._errors)]
