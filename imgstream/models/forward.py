"""Runs a model's forward pass, batch by batch, in one compiled graph."""

from __future__ import annotations

import abc
import time
from typing import Any

import numpy as np

from imgstream.memory import trim

_TRIM_EVERY = 20.0
"""Seconds. A model's intermediate results come and go on several threads, and malloc keeps the fragments that they leave: of 420 MB in its
arenas 160 were free. Giving them back costs the next batch some hundredths of a second.
"""


class Forward:
    """Computes the logits of batches up to `batch_size`. Short batches are filled up with zeros, so that the model is compiled for one
    shape only, and an image's logits do not depend on how full its batch was.
    """

    def __init__(self, model: Any, batch_size: int) -> None:
        self._model, self._batch_size = model, batch_size
        self._next_trim = time.monotonic() + _TRIM_EVERY

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """float32 (B, H, W, C) → logits float32 (B, K), B at most batch_size."""
        count = len(images)
        if count < self._batch_size:
            padded = np.zeros((self._batch_size, *images.shape[1:]), np.float32)
            padded[:count] = images
            images = padded
        logits = np.asarray(self._model.predict_on_batch(images), np.float32)[:count]
        if time.monotonic() >= self._next_trim:
            trim()
            self._next_trim = time.monotonic() + _TRIM_EVERY
        return logits


class Engine(abc.ABC):
    """What computes logits in the place of a Keras model, without Keras."""

    @abc.abstractmethod
    def __call__(self, images: np.ndarray) -> np.ndarray:
        """float32 (B, H, W, C) → logits float32 (B, K)."""


def forward_of(model: Any, batch_size: int) -> Engine | Forward:
    """What computes the logits of batches up to `batch_size`: `model` itself if it is an Engine, else its forward pass in Keras."""
    return model if isinstance(model, Engine) else Forward(model, batch_size)
