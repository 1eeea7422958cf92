"""The training step as one TensorFlow program for batches of every size."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from imgstream.training.step.compiled_step import StepResult
from imgstream.training.step.weight_average import WeightAverage


class TensorFlowStep:
    """Runs one graph for batches of any number of images, and of any size that the model's input takes.

    Keras traces one graph for the shape of the first batch and a general one when another shape comes. Which of the two takes a batch then
    depends on what this process saw before it, and they round differently (docs/decisions/0019-one-program-for-every-batch.md).
    """

    def __init__(self, model: Any, average: WeightAverage) -> None:
        self.ahead = 2 if tf.config.list_logical_devices("GPU") else 0  # a CPU has done the step when the call returns
        scalar = tf.TensorSpec((), tf.float32)
        signature = [
            tf.TensorSpec((None, *model.input_shape[1:]), tf.float32),
            tf.TensorSpec((None, model.output_shape[-1]), tf.float32),
            tf.TensorSpec((None,), tf.float32),
            scalar,
            scalar,
        ]

        def step(images: Any, labels: Any, weights: Any, rate: Any, share: Any) -> Any:
            optimizer = model.optimizer
            optimizer.learning_rate = rate
            with tf.GradientTape() as tape:
                logits = model(images, training=True)
                loss = model.compute_loss(images, labels, logits, weights, training=True)
                scaled = optimizer.scale_loss(loss)
            trained = model.trainable_weights
            optimizer.apply_gradients(zip(tape.gradient(scaled, trained), trained, strict=True))

            def move_average() -> Any:
                for each, weight in zip(average.averages, average.weights, strict=True):
                    each.value.assign_add(share * (tf.cast(weight.value, tf.float32) - each.value))
                return True

            tf.cond(share > 0, move_average, lambda: False)
            right = tf.argmax(logits, axis=-1) == tf.argmax(labels, axis=-1)
            return loss, tf.reduce_mean(tf.cast(right, tf.float32))

        self._program = tf.function(step, input_signature=signature, jit_compile=model.jit_compile, autograph=False)

    def __call__(self, images: np.ndarray, labels: np.ndarray, weights: np.ndarray | None, *, rate: float, share: float) -> StepResult:
        """See CompiledStep."""
        weights = np.ones(len(images), np.float32) if weights is None else np.asarray(weights, np.float32)
        loss, accuracy = self._program(images, labels, weights, np.float32(rate), np.float32(share))
        return StepResult(loss, accuracy, images)

    def sync(self) -> None:
        """See CompiledStep; a program changes the variables themselves."""
