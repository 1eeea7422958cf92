"""Trains on several devices, on JAX also on those of several processes: each takes an equal part of every batch, and all have the same
weights (TensorFlow's MirroredStrategy, Keras' DataParallel on JAX).
"""

from __future__ import annotations

import contextlib
import importlib
from typing import Any

import numpy as np


class Replicas:
    """The devices that a model is trained on. With only one, nothing here has an effect."""

    def __init__(self, devices: list[str] | None = None) -> None:
        """`devices`: their names, as the backend has them; None for every GPU, on TensorFlow and JAX, and for every device where several
        processes train together.
        """
        import keras

        backend = keras.backend.backend()
        self.processes = importlib.import_module("jax").process_count() if backend == "jax" else 1
        """Number of processes that the devices belong to, each to as many."""
        if devices is None and self.processes > 1:
            devices = keras.distribution.list_devices()
        if devices is None:
            knows = backend in ("tensorflow", "jax")
            devices = [name for name in keras.distribution.list_devices() if "gpu" in name.lower()] if knows else []
        self._count = max(1, len(devices))
        self._strategy: Any = None
        self._distribution: Any = None
        if self._count > 1 and backend == "tensorflow":
            import tensorflow as tf

            self._strategy = tf.distribute.MirroredStrategy(devices)
        elif self._count > 1:
            self._distribution = keras.distribution.DataParallel(devices=devices, auto_shard_dataset=False)

    def __len__(self) -> int:
        return self._count

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        """The context in which a model, and all that belongs to its state, must be made."""
        across = self._strategy or self._distribution
        return contextlib.nullcontext() if across is None else across.scope()

    def spread(self, images: np.ndarray, labels: np.ndarray, weights: np.ndarray | None) -> tuple[Any, Any, Any]:
        """A batch as train_on_batch takes it on TensorFlow: in equal parts, one for each replica."""
        if self._count == 1:
            return images, labels, weights
        part = -(-len(images) // self._count)
        return tuple(self._distributed(each, part) for each in filled(np.asarray(images), labels, weights, self._count * part))

    def on_devices(self, *batch: np.ndarray) -> tuple[Any, ...]:
        """Arrays of a batch, on JAX: each in equal parts on the replicas, a multiple of their number in all. Of several processes, each
        gives the part for its own devices.
        """
        if self._distribution is None:
            return batch
        import keras

        if self.processes > 1:
            jax = importlib.import_module("jax")
            layouts = [self._distribution.get_data_layout(each.shape).backend_layout for each in batch]
            return tuple(jax.make_array_from_process_local_data(layout, each) for layout, each in zip(layouts, batch, strict=True))
        return tuple(keras.distribution.distribute_tensor(each, self._distribution.get_data_layout(each.shape)) for each in batch)

    def _distributed(self, values: np.ndarray, part: int) -> Any:
        import tensorflow as tf

        return self._strategy.experimental_distribute_values_from_function(
            lambda context: tf.convert_to_tensor(values[context.replica_id_in_sync_group * part :][:part])
        )


def filled(images: np.ndarray, labels: np.ndarray, weights: np.ndarray | None, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A batch filled up to `size` images, if it has fewer, with copies of its own that weigh nothing, and its weights, scaled so that a
    mean over all is the mean over the batch. The copies count in the means of BatchNormalization: an image a little more than once.
    """
    count, size = len(images), max(len(images), size)
    scaled = np.zeros(size, np.float32)
    scaled[:count] = (1.0 if weights is None else weights) * (size / count)
    if count < size:
        filling = np.arange(size) % count
        images, labels = images[filling], labels[filling]
    return images, labels, scaled


def filled_part(
    images: np.ndarray, labels: np.ndarray, weights: np.ndarray | None, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """A process's part of a batch, filled up to `size` images as `filled` does it, or with black ones if it has none; its weights as they
    are, 0 for what was filled in; and float32 (size,): 1 for the images that are there, else 0. How many there are in all, only the program
    that sees every part knows.
    """
    count = len(images)
    present = (np.arange(size) < count).astype(np.float32)
    if not count:
        return np.zeros((size, *images.shape[1:]), images.dtype), np.zeros((size, labels.shape[1]), np.float32), present, present
    filling = np.arange(size) % count
    return images[filling], labels[filling], present if weights is None else weights[filling].astype(np.float32) * present, present
