"""The loss of images that may have several labels."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np


class LabelsCrossentropy(keras.losses.Loss):
    """The binary cross-entropies of all classes, added up, of logits, float32 (B, K): each class is a decision of its own. A sum, so that a
    logit's gradient is as large as with softmax, and the same learning rates serve.
    """

    def __init__(self, label_smoothing: float = 0.0, positive_weights: np.ndarray | None = None) -> None:
        """`label_smoothing`: 0 to 1, how far targets lie from 0 and 1 towards the middle, twice. `positive_weights`: float32 (K,), what an
        image of a class weighs in its decision; None for 1.
        """
        super().__init__(name="labels_crossentropy")
        self._smoothing, self._weights = label_smoothing, positive_weights

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """float32 (B,)."""
        ops = keras.ops
        targets = y_true * (1 - self._smoothing) + self._smoothing / 2
        for_it, against = targets * ops.softplus(-y_pred), (1 - targets) * ops.softplus(y_pred)
        return ops.sum((for_it if self._weights is None else for_it * self._weights) + against, axis=-1)


def right_share(model: Any, logits: Any, labels: Any) -> Any:
    """float32 (B,): 1 for images whose class is right; where they may have several labels, the share of the classes that are right.

    `labels`: what the step was given, which holds a teacher's opinion behind them.
    """
    ops = keras.ops
    if isinstance(model.loss, LabelsCrossentropy):
        return ops.mean(ops.cast((logits > 0) == (labels > 0.5), "float32"), axis=-1)
    return ops.cast(ops.argmax(logits, axis=-1) == ops.argmax(labels[:, : logits.shape[-1]], axis=-1), "float32")
