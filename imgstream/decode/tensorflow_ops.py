"""The sample of decode/sample.py in TensorFlow ops, for the tf.data pipeline.

Only 8-bit grey and YCbCr JPEGs: TensorFlow's libjpeg-turbo gives the reference decoder's pixels to the bit at 1, 1/2, 1/4 and 1/8. It uses
few ops, and sizes as ready vectors: TensorFlow optimizes every function anew at each pass over a dataset, a tenth of a millisecond a node.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

Tensor = Any


def decode_jpeg(data: Tensor, channels: int, reduction: Tensor, shape: Tensor) -> Tensor:
    """uint8 of `shape` (height, width, channels), as stored, of a JPEG's bytes at 1, 1/2, 1/4 or 1/8, for `reduction` 0 to 3.

    Raises InvalidArgumentError when it cannot be decoded, or has another size.
    """

    def at(ratio: int) -> Callable[[], Tensor]:
        return lambda: tf.io.decode_jpeg(data, channels, ratio=ratio, dct_method="INTEGER_ACCURATE", fancy_upscaling=True)

    pixels = tf.switch_case(reduction, [at(1), at(2), at(4), at(8)])
    with tf.control_dependencies([tf.reshape(pixels, shape)]):  # checks the size: broadcast_to alone would stretch sides of 1
        return tf.broadcast_to(pixels, shape)


def crop_and_resize(pixels: Tensor, start: Tensor, size: Tensor, out_size: Tensor, rounding: Tensor) -> Tensor:
    """The window of uint8 (h, w, C) at `start` (y, x, 0) of `size` (height, width, C), bilinear with half-pixel centres, as uint8 of
    `out_size` (height, width). `rounding`: float32, added to a level before its fraction is dropped; 0.5 rounds to nearest.
    """
    window = tf.expand_dims(tf.slice(pixels, start, size), 0)
    window = tf.cast(window, tf.float32)  # resizing float32 takes three quarters of the time of uint8
    resized = tf.raw_ops.ResizeBilinear(images=window, size=out_size, half_pixel_centers=True)
    return tf.cast(tf.squeeze(resized, 0) + rounding, tf.uint8)


def turn(pixels: Tensor, axes: Tensor, steps: Tensor) -> Tensor:
    """uint8 (h, w, C) with its `axes` in another order, then each read in steps of 1 or -1. Nothing is copied where nothing changes."""
    return tf.strided_slice(tf.transpose(pixels, axes), [0, 0, 0], [0, 0, 0], steps, begin_mask=7, end_mask=7)
