"""The model, its optimizer and its loss, as training uses them."""

from __future__ import annotations

from typing import Any

from imgstream.models import build_model
from imgstream.runs.run import device
from imgstream.training.settings import TrainSettings

WEIGHT_DECAY = 5e-4
"""Times the learning rate, outside the momentum, as Keras has it."""


def compiled_model(settings: TrainSettings, shape: tuple[int | None, int | None, int], class_count: int) -> Any:
    """A fresh keras.Model for images of `shape`, (height, width, channels), None where any size will do. Seeds Keras, once."""
    import keras

    keras.utils.set_random_seed(settings.seed % 2**32)
    on_gpu = device().endswith("gpu")
    before = keras.mixed_precision.dtype_policy()
    if on_gpu:
        keras.mixed_precision.set_global_policy("mixed_float16")
    elif keras.backend.backend() == "tensorflow" and settings.minutes is None:
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()  # contract: equal to the bit on CPU, for --epochs
    try:
        model = build_model(settings.model, shape, class_count, settings.weights)
    finally:
        keras.mixed_precision.set_global_policy(before)
    optimizer = keras.optimizers.SGD(settings.peak_learning_rate, momentum=0.9, nesterov=True, weight_decay=WEIGHT_DECAY)
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    model.compile(
        optimizer,
        keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=settings.label_smoothing),
        metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
        jit_compile="auto" if on_gpu else False,  # on CPU, XLA trains these networks at two thirds of the speed
    )
    model.optimizer.build(model.trainable_variables)
    return model
