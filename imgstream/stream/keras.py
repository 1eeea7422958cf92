"""A stream as a keras.utils.PyDataset."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

import keras
import numpy as np

from imgstream.errors import DatasetError

if TYPE_CHECKING:
    from imgstream.stream.stream import Stream

_PEEKED = 2
"""Keras' TensorFlow trainer reads the first batches once for their shapes and again for the epoch: they are kept for it."""


class KerasStream(keras.utils.PyDataset):
    """What fit, evaluate and predict take. Each pass is the next epoch; threads and buffers stay from epoch to epoch.

    seq[i] is (images float32 (B, H, W, C), labels int32 (B,) or float32 (B, K)). Reading in order is what it is fast at; any other i
    starts the stream anew at that batch. Where every file of a batch is bad, a shuffled stream gives the next batch instead, going on
    into the next epoch's order if it must; one in index order gives a batch of no rows, so that rows keep their places.
    """

    def __init__(self, stream: Stream) -> None:
        super().__init__(workers=1, use_multiprocessing=False)
        self.stream = stream
        self.epoch = 0
        """The epoch that seq[i] reads."""
        self._lock = threading.Lock()  # Keras reads ahead on its own thread
        self._batches: Iterator[tuple[np.ndarray, np.ndarray]] | None = None
        self._next = 0
        self._kept: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._keras_drives = False
        self._ended = False
        self._within = self._last_given = False  # of a pass that Keras drives

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self.stream)

    @property
    def num_batches(self) -> int:
        """Batches in an epoch. Keras asks here, a person asks len(): only Keras peeks, and only Keras says when an epoch ends."""
        self._keras_drives = True
        return len(self)

    def on_epoch_begin(self) -> None:
        """Keras' word that a pass begins."""
        self._within, self._last_given = True, False

    def on_epoch_end(self) -> None:
        """Keras' word that the pass is over. It also says so before the first, and after a look at one batch to build a model."""
        if self._within and self._last_given:
            self._ended = True
        self._within = False

    def __getitem__(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        if not -len(self) <= i < len(self):
            raise IndexError(f"batch {i} of {len(self)}")
        i %= len(self)
        with self._lock:
            if i == 0 and self._ended:
                self.epoch += 1
                self._batches, self._ended = None, False
                self._kept.clear()
            batch = self._kept.get(i)
            if batch is None:
                batch = self._next_batch(i)
            if i == len(self) - 1:
                self._last_given = True
                self._ended = self._ended or not self._keras_drives
            return batch

    def _next_batch(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        if self._batches is None or i != self._next:
            self._batches = self._read(i)
        batch = next(self._batches)
        self._next = i + 1
        if i < _PEEKED:
            self._kept[i] = batch
        else:
            self._kept.clear()
        return batch

    def _read(self, start: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        epoch, found = self.epoch, False
        while True:
            for batch in self.stream.traced_batches(epoch, start):
                if len(batch.images) or not self.stream.shuffle:
                    found = True
                    yield batch.images, batch.labels
            if not found and start == 0:
                raise DatasetError(f"all {self.stream.sample_count} images under {self.stream.index.root} are bad; see stream.skipped")
            epoch, start, found = epoch + 1, 0, False
