"""Trains on several GPUs of one machine: each takes an equal part of every batch, and all have the same weights (TensorFlow's
MirroredStrategy).
"""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np


class Replicas:
    """The devices that a model is trained on. With only one, nothing here has an effect."""

    def __init__(self, devices: list[str] | None = None) -> None:
        """`devices`: TensorFlow's names; None for every GPU, on the TensorFlow backend."""
        import keras

        if devices is None:
            on_tensorflow = keras.backend.backend() == "tensorflow"
            devices = [name for name in keras.distribution.list_devices() if "gpu" in name.lower()] if on_tensorflow else []
        self._strategy: Any = None
        if len(devices) > 1:
            import tensorflow as tf

            self._strategy = tf.distribute.MirroredStrategy(devices)

    def __len__(self) -> int:
        return 1 if self._strategy is None else self._strategy.num_replicas_in_sync

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        """The context in which a model must be made."""
        return contextlib.nullcontext() if self._strategy is None else self._strategy.scope()

    def spread(self, images: np.ndarray, labels: np.ndarray, weights: np.ndarray | None) -> tuple[Any, Any, Any]:
        """A batch as train_on_batch takes it: in equal parts, one for each replica; the last is filled up with images of weight 0.

        Weights are scaled so that the mean of the replicas' mean losses is the mean loss of the batch.
        """
        count = len(self)
        if count == 1:
            return images, labels, weights
        part = -(-len(images) // count)
        filling = np.arange(count * part) % len(images)
        scaled = np.zeros(count * part, np.float32)
        scaled[: len(images)] = (1.0 if weights is None else weights) * (count * part / len(images))
        images, labels = images[filling], labels[filling]
        return tuple(self._distributed(each, part) for each in (images, labels, scaled))

    def _distributed(self, values: np.ndarray, part: int) -> Any:
        import tensorflow as tf

        return self._strategy.experimental_distribute_values_from_function(
            lambda context: tf.convert_to_tensor(values[context.replica_id_in_sync_group * part :][:part])
        )
