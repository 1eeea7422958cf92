"""A model's answers, batch by batch, in one compiled graph."""

from __future__ import annotations

from typing import Any

import numpy as np


class Forward:
    """Logits of batches up to `batch_size`. Short batches are filled up with zeros, so that the model is compiled for one shape only,
    and an image's logits do not depend on how full its batch was.
    """

    def __init__(self, model: Any, batch_size: int) -> None:
        self._model, self._batch_size = model, batch_size

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """float32 (B, H, W, C) → logits float32 (B, K), B at most batch_size."""
        count = len(images)
        if count < self._batch_size:
            padded = np.zeros((self._batch_size, *images.shape[1:]), np.float32)
            padded[:count] = images
            images = padded
        return np.asarray(self._model.predict_on_batch(images), np.float32)[:count]
