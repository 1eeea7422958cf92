"""SqueezeNet 1.1 (Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters", 2016): 723,000 weights, 3 MB."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

_FIRES = {2: (16, 64), 3: (16, 64), 4: (32, 128), 5: (32, 128), 6: (48, 192), 7: (48, 192), 8: (64, 256), 9: (64, 256)}
"""Widths of each fire module: squeezed, expanded (each of its two convolutions)."""


def build_squeezenet(shape: tuple[int | None, int | None, int], class_count: int) -> keras.Model:
    """Images float32 (B, H, W, C) → logits float32 (B, class_count). `shape` may leave height and width open (None); 32 is the least.

    The layers have the order and the names of the ImageNet weights that are available (rcmalli/keras-squeezenet), with "_" for "/", which
    Keras 3 does not allow. Where the paper ends in a convolution with a map for each class, this has global average pooling and a linear
    head, as all models here.
    """
    inputs = keras.Input(shape, name="image")
    x = layers.Conv2D(64, 3, strides=2, activation="relu", name="conv1")(inputs)
    x = layers.MaxPooling2D(3, strides=2, name="pool1")(x)
    for number, (squeezed, expanded) in _FIRES.items():
        x = _fire(x, f"fire{number}", squeezed, expanded)
        if number in (3, 5):
            x = layers.MaxPooling2D(3, strides=2, name=f"pool{number}")(x)
    x = layers.GlobalAveragePooling2D()(x)
    outputs = layers.Dense(class_count, dtype="float32", name="logits")(x)
    return keras.Model(inputs, outputs, name="SqueezeNet")


def _fire(x: Any, name: str, squeezed: int, expanded: int) -> Any:
    x = layers.Conv2D(squeezed, 1, activation="relu", name=f"{name}_squeeze1x1")(x)
    one = layers.Conv2D(expanded, 1, activation="relu", name=f"{name}_expand1x1")(x)
    three = layers.Conv2D(expanded, 3, padding="same", activation="relu", name=f"{name}_expand3x3")(x)
    return layers.Concatenate(name=f"{name}_concat")([one, three])
