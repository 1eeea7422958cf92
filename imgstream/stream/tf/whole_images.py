"""The rows of a stream as whole images of any size, for a resizing by TensorFlow that imgstream's own pipelines do not have.

places → rows      in Python, a block of the epoch's order at a time
rows → images      in Python, by the reference decoder at full size; bad files are noted
images → batches   in TensorFlow: resized by what the caller gives, bad rows dropped
"""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from imgstream.decode.whole_image import WholeImageReader
from imgstream.errors import BadImage
from imgstream.stream.plan import ORDER_BLOCK, BatchPlan
from imgstream.stream.tf.cardinality import has_rows, with_cardinality

Tensor = Any
_UNKNOWN = -1  # stands for the next epoch

_in_graph = tf.autograph.experimental.do_not_convert


class WholeImages:
    """Makes a dataset of a stream's batches with another resizing, and with alpha if asked. Augmentation and scale are not applied."""

    def __init__(self, plan: BatchPlan, channels: int, resize: Callable[[Tensor], Tensor]) -> None:
        """`resize`: uint8 (h, w, channels), the part of an image that the spec's fit takes → float32 (H, W, channels)."""
        self._plan, self._channels, self._resize = plan, channels, resize
        self._next_epoch = 0
        self._lock = threading.Lock()
        self._idle: collections.deque[WholeImageReader] = collections.deque()

    def dataset(self) -> tf.data.Dataset:
        """float32 (B, H, W, channels) and int32 (B,), in the order of the stream; each pass is the next epoch.

        The length is known. A bad file makes its batch shorter, and a batch of bad files alone is left out.
        """
        plan, threads = self._plan, self._plan.thread_count
        places = tf.data.Dataset.range(0, plan.sample_count, ORDER_BLOCK).scan(np.int64(_UNKNOWN), self._block)
        rows = places.flat_map(lambda *block: tf.data.Dataset.from_tensor_slices(block))
        samples = rows.map(self._sample, num_parallel_calls=threads, deterministic=True)
        batches = samples.batch(plan.batch_size).map(_good).filter(has_rows)
        options = tf.data.Options()
        options.deterministic = True
        options.autotune.enabled = False
        options.threading.max_intra_op_parallelism = 1
        return with_cardinality(batches.with_options(options), len(plan)).prefetch(1)

    @_in_graph
    def _block(self, epoch: Tensor, place: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The epoch, which each pass learns with its first block, and positions and labels from `place` of its order on."""
        epoch, positions, labels = tf.numpy_function(self._ordered, [epoch, place], [tf.int64, tf.int64, tf.int32], stateful=False)
        epoch.set_shape(())
        positions.set_shape((None,))
        labels.set_shape((None,))
        return epoch, (positions, labels)

    def _ordered(self, epoch: np.int64, place: np.int64) -> tuple[np.int64, np.ndarray, np.ndarray]:
        with self._lock:
            if epoch == _UNKNOWN:
                epoch = np.int64(self._next_epoch)
            self._next_epoch = max(self._next_epoch, int(epoch) + 1)
        positions = self._plan.ordered(int(epoch), int(place), int(place) + ORDER_BLOCK).astype(np.int64)
        return epoch, positions, self._plan.index.labels_at(positions)

    @_in_graph
    def _sample(self, position: Tensor, label: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Resized image, label, and whether the file is good."""
        image, good = tf.numpy_function(self._read, [position], [tf.uint8, tf.bool], stateful=False)
        image.set_shape((None, None, self._channels))
        good.set_shape(())
        resized = self._resize(image)
        resized.set_shape((*self._plan.spec.size, self._channels))
        return resized, label, good

    def _read(self, position: np.int64) -> tuple[np.ndarray, np.bool_]:
        path = self._plan.index.path_bytes(int(position))
        try:
            reader = self._idle.pop()
        except IndexError:
            reader = WholeImageReader(self._plan.spec, self._channels)
        try:
            return reader.read(path), np.True_
        except BadImage as error:
            self._plan.note_bad(path, error)
            return np.zeros((1, 1, self._channels), np.uint8), np.False_
        finally:
            self._idle.append(reader)


@_in_graph
def _good(images: Tensor, labels: Tensor, good: Tensor) -> tuple[Tensor, Tensor]:
    return tf.boolean_mask(images, good), tf.boolean_mask(labels, good)
