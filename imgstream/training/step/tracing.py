"""Compiles the training step as one TensorFlow program for batches of every size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf


def trace_once(model: Any) -> None:
    """Make the compiled `model`'s train_on_batch run one graph for batches of any number of images, and of any size that its input takes.

    Keras traces one graph for the shape of the first batch and a general one when another shape comes. Which of the two takes a batch then
    depends on what this process saw before it, and they round differently (docs/decisions/0019-one-program-for-every-batch.md). Batches are
    float32 (B, H, W, C), labels (B, K) and weights (B,) or None, which means ones.
    """
    signature = [
        tf.TensorSpec((None, *model.input_shape[1:]), tf.float32),
        tf.TensorSpec((None, model.output_shape[-1]), tf.float32),
        tf.TensorSpec((None,), tf.float32),
    ]

    def one_step(images: Any, labels: Any, weights: Any) -> Any:
        return model.train_step((images, labels, weights))

    program = tf.function(one_step, input_signature=signature, jit_compile=model.jit_compile, autograph=False)

    def train_function(batches: Iterator[tuple[np.ndarray, np.ndarray, np.ndarray | None]]) -> Any:
        images, labels, weights = next(batches)
        return program(images, labels, np.ones(len(images), np.float32) if weights is None else weights)

    model.train_function = train_function
