"""Batch normalization as one TensorFlow kernel each way, for the model that is trained, not for the one that is saved."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("imgstream")  # a callback may save the model that is trained
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """keras.layers.BatchNormalization over the last axis of (B, H, W, C), with the same weights and, but for rounding, the same results.

    Keras 3 computes moments and scaling in single operations, which on two CPU cores took a third of a small model's step; TensorFlow's
    fused kernel makes that time almost vanish (docs/decisions/0015-two-models.md). In inference it is Keras' own.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """See keras.layers.BatchNormalization.call; masks are not used."""
        if not training or not self.trainable:
            return super().call(inputs, training=training)
        scale = tf.cast(self.gamma.value, tf.float32) if self.scale else tf.ones(inputs.shape[-1:])
        offset = tf.cast(self.beta.value, tf.float32) if self.center else tf.zeros(inputs.shape[-1:])
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(inputs, scale, offset, epsilon=self.epsilon, is_training=True)
        count = tf.cast(tf.reduce_prod(tf.shape(inputs)[:-1]), tf.float32)
        variance *= (count - 1) / count  # the kernel gives the unbiased variance, Keras keeps the biased one
        for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + tf.cast(value, moving.dtype) * (1 - self.momentum))
        return outputs


def can_be_fused(layer: Any) -> bool:
    """Whether FusedBatchNormalization can replace the built `layer`."""
    if type(layer) is not keras.layers.BatchNormalization or len(layer.input.shape) != 4 or layer.axis not in (-1, 3):
        return False
    return not (layer.synchronized or getattr(layer, "renorm", False))
