"""A stream as a keras.utils.PyDataset."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import keras
import numpy as np

from imgstream.errors import DatasetError
from imgstream.stream.batch import Batch
from imgstream.stream.plan import BatchPlan

_KEPT = 4
"""How many of an epoch's first batches are kept until it is past them: Keras reads one or two for their shapes, and again in the epoch."""


class KerasStream(keras.utils.PyDataset):
    """The dataset that Keras' fit, evaluate and predict take. Each pass is the next epoch; threads and buffers are kept between epochs.

    seq[i] is (images float32 (B, H, W, C), labels int32 (B,) or float32 (B, K)), with float32 (B,) sample weights as a third array where
    the index has them. In your own loop it is batch i of the epoch; reading in order is fast, any other i restarts the stream there. Keras
    always gets the batches in the stream's own order: fit's `shuffle`, which is True by default, has no effect.

    Where every file of a batch is bad, a shuffled stream gives the next batch instead, if need be from the next epoch; a stream in index
    order gives a batch of no rows, so that rows keep their places.
    """

    def __init__(self, plan: BatchPlan, traced_batches: Callable[[int, int], Iterator[Batch]]) -> None:
        """`traced_batches`: (epoch, first batch) → batches, as Stream.traced_batches."""
        super().__init__(workers=1, use_multiprocessing=False)
        self._plan, self._traced_batches = plan, traced_batches
        self.epoch = 0
        """The epoch that seq[i] reads."""
        self._lock = threading.Lock()  # Keras reads ahead on its own thread
        self._batches: Iterator[tuple[np.ndarray, ...]] | None = None
        self._next = 0
        self._kept: list[tuple[np.ndarray, ...]] = []
        self._keras_drives = False
        self._within = False  # inside a pass of Keras
        self._given = 0  # batches given in this pass
        self._complete = False  # the last pass was complete, so the next one is another epoch

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        return len(self._plan)

    # Keras reads `num_batches` (users call len) before each pass, before it looks at the first batches for their shapes, and
    # when it drops a pass that only built the model; never within a pass. So reading it starts a pass:
    # of the next epoch if the pass before was complete and Keras ended it, else of the same one.

    @property
    def num_batches(self) -> int:
        """Number of batches in an epoch, as Keras asks for it."""
        with self._lock:
            self._keras_drives, self._given = True, 0
            self._begin()
        return len(self)

    def on_epoch_begin(self) -> None:
        """Called by Keras when a pass begins, or goes on: with steps_per_epoch, one epoch of Keras is a part of one of the stream's."""
        with self._lock:
            self._keras_drives = self._within = True

    def on_epoch_end(self) -> None:
        """Called by Keras when the pass is over."""
        with self._lock:
            self._complete = self._within and self._given >= len(self)
            self._keras_drives = 0 < self._given < len(self)
            self._within = False

    def __getitem__(self, i: int) -> tuple[np.ndarray, ...]:
        if not -len(self) <= i < len(self):
            raise IndexError(f"batch {i} of {len(self)}")
        i %= len(self)
        with self._lock:
            if self._keras_drives:
                self._given += 1
                return self._at(self._given - 1)
            if i == 0:
                self._begin()
            self._complete = i == len(self) - 1
            return self._at(i)

    def _begin(self) -> None:
        if self._complete:
            self.epoch += 1
            self._batches, self._complete = None, False
            self._kept.clear()

    def _at(self, place: int) -> tuple[np.ndarray, ...]:
        if place < len(self._kept):
            return self._kept[place]
        if self._batches is None or place != self._next:
            self._batches = self._read(place)
        try:
            batch = next(self._batches)
        except BaseException:
            self._batches = None  # it has ended; another next() would look like the end of the data
            raise
        self._next = place + 1
        if place >= _KEPT:
            self._kept.clear()
        elif place == len(self._kept):
            self._kept.append(batch)
        return batch

    def _read(self, start: int) -> Iterator[tuple[np.ndarray, ...]]:
        epoch, found = self.epoch, False
        while True:
            for batch in self._traced_batches(epoch, start):
                if len(batch.images) or not self._plan.shuffle:
                    found = True
                    yield self._plan.elements(batch)
            if not found and start == 0:
                raise DatasetError(f"all {self._plan.sample_count} images under {self._plan.index.root} are bad; see stream.skipped")
            epoch, start, found = epoch + 1, 0, False
