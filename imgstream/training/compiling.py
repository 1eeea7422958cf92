"""The two models of a training, its optimizer and its loss.

The *served* model is what is validated, saved and predicted with: float32, of Keras' own layers only, holding averaged weights. The
*trained* model is its clone, made for speed: mixed precision where that pays, fused normalisation on TensorFlow. Both have the same
weights in the same order (docs/decisions/0015-two-models.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from imgstream.errors import ModelError
from imgstream.models import build_model
from imgstream.runs.run import device
from imgstream.training.replicas import Replicas
from imgstream.training.settings import TrainSettings

WEIGHT_DECAY = 5e-4
"""Times the learning rate, outside the momentum, as Keras has it."""


class LayerwiseSGD(keras.optimizers.SGD):
    """SGD whose learning rate is a share of itself for some variables: the backbone's, while it is fine-tuned."""

    shares: Sequence[float] = ()
    """Of the learning rate, for each trained variable in the model's order; none: 1 for all."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """As keras.optimizers.SGD.update_step, with the variable's own rate."""
        if self.shares:
            learning_rate = learning_rate * self.shares[self._get_variable_index(variable)]
        super().update_step(gradient, variable, learning_rate)


def served_model(settings: TrainSettings, name: str, shape: tuple[int | None, int | None, int], class_count: int) -> Any:
    """A fresh keras.Model, float32, for images of `shape`, (height, width, channels), None where any size will do. Seeds Keras, once."""
    keras.utils.set_random_seed(settings.seed % 2**32)
    if settings.minutes is None and keras.backend.backend() == "tensorflow" and device().endswith("cpu"):
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()  # contract: equal to the bit on CPU, for --epochs
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_global_policy("float32")
    try:
        return build_model(name, shape, class_count, settings.weights)
    finally:
        keras.mixed_precision.set_global_policy(before)


def trained_model(
    served: Any, policy: str, settings: TrainSettings, replicas: Replicas, *, learning_rate: float, backbone_share: float = 1.0
) -> Any:
    """The compiled clone of `served`, with its weights, that computes in the dtype `policy` on all `replicas`.

    Where `backbone_share` is not 1, all but the head learns at that share of the rate. Raises ModelError when the model cannot be cloned.
    """
    with replicas.scope():
        try:
            model = keras.models.clone_model(served, clone_function=lambda layer: _clone(layer, policy), recursive=True)
            model.set_weights(served.get_weights())
        except Exception as error:  # of layers that somebody else has written
            raise ModelError(f"{served.name} cannot be trained: it cannot be cloned ({str(error).splitlines()[0]})") from error
        optimizer = LayerwiseSGD(learning_rate, momentum=0.9, nesterov=True, weight_decay=WEIGHT_DECAY)
        optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
        if backbone_share != 1:
            head = {v.path for v in model.get_layer("logits").trainable_variables}
            optimizer.shares = [1.0 if v.path in head else backbone_share for v in model.trainable_variables]
        on_gpu = device().endswith("gpu")
        model.compile(
            keras.optimizers.LossScaleOptimizer(optimizer) if policy == "mixed_float16" else optimizer,
            keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=settings.label_smoothing),
            metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
            jit_compile="auto" if on_gpu else False,  # on CPU, XLA trains these networks at two thirds of the speed
            auto_scale_loss=False,
        )
        model.optimizer.build(model.trainable_variables)
    return model


def _clone(layer: Any, policy: str) -> Any:
    config = layer.get_config()
    kind = type(layer)
    if keras.backend.backend() == "tensorflow":
        from imgstream.training.normalization import FusedBatchNormalization, can_be_fused

        if can_be_fused(layer):
            kind = FusedBatchNormalization
    if layer.name != "logits" and "dtype" in config and layer.dtype_policy.name == "float32":
        config["dtype"] = policy
    return kind.from_config(config)
