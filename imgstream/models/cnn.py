"""cnn: imgstream's own small model, a ResNet that trains from scratch on two CPU cores."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

WIDTHS = (32, 64, 128, 256)


def build_cnn(shape: tuple[int | None, int | None, int], class_count: int, share: float = 1.0, name: str = "cnn") -> keras.Model:
    """Images float32 (B, H, W, C) → logits float32 (B, class_count).

    A strided stem, then a residual block (He et al., "Deep residual learning", 2015) for each width, with BatchNorm, global average pooling
    and a linear head. `share`: of the channels of WIDTHS; half of them have a quarter of the weights. `shape` may leave height and width
    open (None). Residual branches do not start at zero: in a model this shallow that cost five points of accuracy in the first five epochs
    (docs/decisions/0005-progressive-resizing.md).
    """
    inputs = keras.Input(shape, name="image")
    widths = [max(1, round(share * width)) for width in WIDTHS]
    x = _conv(inputs, widths[0], 3, strides=2)
    x = layers.Activation("relu")(_norm(x))
    for stage, width in enumerate(widths):
        x = _block(x, width, strides=2 if stage else 1)
    x = layers.GlobalAveragePooling2D()(x)
    outputs = layers.Dense(class_count, dtype="float32", name="logits")(x)
    return keras.Model(inputs, outputs, name=name)


def _block(x: Any, width: int, strides: int) -> Any:
    shortcut = x
    if strides > 1 or x.shape[-1] != width:
        shortcut = layers.AveragePooling2D(strides, padding="same")(x) if strides > 1 else x
        shortcut = _norm(_conv(shortcut, width, 1))
    x = layers.Activation("relu")(_norm(_conv(x, width, 3, strides=strides)))
    x = _norm(_conv(x, width, 3))
    return layers.Activation("relu")(layers.Add()([x, shortcut]))


def _conv(x: Any, width: int, kernel: int, strides: int = 1) -> Any:
    return layers.Conv2D(width, kernel, strides=strides, padding="same", use_bias=False, kernel_initializer="he_normal")(x)


def _norm(x: Any) -> Any:
    return layers.BatchNormalization(momentum=0.9)(x)
