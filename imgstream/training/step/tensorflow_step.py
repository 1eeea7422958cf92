"""The training step as one TensorFlow program for batches of every size."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import tensorflow as tf

from imgstream.augment.keras_layers import BatchLayers
from imgstream.models.scaling import scaled
from imgstream.spec import SampleSpec
from imgstream.training.step.compiled_step import StepResult
from imgstream.training.step.distillation import target_width
from imgstream.training.step.losses import right_share
from imgstream.training.step.replicas import filled
from imgstream.training.step.weight_average import WeightAverage


class TensorFlowStep:
    """Runs one graph for batches of any number of images, and of any size that the model's input takes.

    Keras traces one graph for the shape of the first batch and a general one when another shape comes. Which of the two takes a batch then
    depends on what this process saw before it, and they round differently (docs/decisions/0019-one-program-for-every-batch.md). XLA
    compiles for each shape: there, short batches are filled up.

    An augmentation is a graph of its own, of which the step takes the samples: XLA has no way to turn or to shift an image.
    """

    def __init__(
        self, model: Any, average: WeightAverage, batch_size: int, spec: SampleSpec, augmentation: BatchLayers | None = None
    ) -> None:
        self.ahead = 2 if tf.config.list_logical_devices("GPU") else 0  # a CPU has done the step when the call returns
        self.compiles_for_each_size = bool(model.jit_compile)
        self._filled_to = batch_size if model.jit_compile else 0

        def step(images: Any, labels: Any, weights: Any, count: Any, rate: Any, share: Any) -> Any:
            optimizer = model.optimizer
            optimizer.learning_rate = rate
            samples = scaled(images, spec)
            with tf.GradientTape() as tape:
                logits = model(samples, training=True)
                loss = model.compute_loss(samples, labels, logits, weights, training=True)
                scaled_loss = optimizer.scale_loss(loss)
            trained = model.trainable_weights
            optimizer.apply_gradients(zip(tape.gradient(scaled_loss, trained), trained, strict=True))

            def move_average() -> Any:
                for each, weight in zip(average.averages, average.weights, strict=True):
                    each.value.assign_add(share * (tf.cast(weight.value, tf.float32) - each.value))
                return True

            tf.cond(share > 0, move_average, lambda: False)
            counted = tf.cast(tf.range(tf.shape(labels)[0]) < count, tf.float32)
            accuracy = tf.reduce_sum(right_share(model, logits, labels) * counted) / tf.cast(count, tf.float32)
            return tf.stack([tf.cast(loss, tf.float32), accuracy])

        function = tf.function(step, jit_compile=model.jit_compile, autograph=False)
        labels, number = tf.TensorSpec((None, target_width(model)), tf.float32), tf.TensorSpec((), tf.float32)
        others = (labels, tf.TensorSpec((None,), tf.float32), tf.TensorSpec((), tf.int32), number, number)

        @functools.cache
        def program(dtype: Any) -> Any:
            return function.get_concrete_function(tf.TensorSpec((None, *model.input_shape[1:]), dtype), *others)

        @functools.cache
        def augmented(dtype: Any, shape: tuple[int, ...]) -> Any:
            assert augmentation is not None

            def run(images: Any, drawn: Any) -> Any:
                return scaled(images, spec, lambda pixels: augmentation(pixels, drawn))

            drawn = tf.TensorSpec(augmentation.numbers(0).shape, tf.uint32)
            return tf.function(run, autograph=False).get_concrete_function(tf.TensorSpec((None, *shape), dtype), drawn)

        self._program, self._augmented, self._augmentation = program, augmented, augmentation

    def __call__(
        self, images: np.ndarray, labels: np.ndarray, weights: np.ndarray | None, *, rate: float, share: float, number: int = 0
    ) -> StepResult:
        """See CompiledStep."""
        count = len(images)
        if count < self._filled_to:
            images, labels, weights = filled(images, labels, weights, self._filled_to)
        elif weights is None:
            weights = np.ones(count, np.float32)
        given = images
        if self._augmentation is not None:
            drawn = tf.convert_to_tensor(self._augmentation.numbers(number))
            given = self._augmented(images.dtype, images.shape[1:])(tf.convert_to_tensor(images), drawn)
        arguments = (given, labels, np.asarray(weights, np.float32), np.int32(count), np.float32(rate), np.float32(share))
        return StepResult(self._program(given.dtype)(*map(tf.convert_to_tensor, arguments)), images)

    def sync(self) -> None:
        """See CompiledStep; a program changes the variables themselves."""
