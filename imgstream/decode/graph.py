"""The same sample as decode/sample.py gives, in TensorFlow ops: what the tf.data path is made of.

Only 8-bit grey and YCbCr JPEGs: TensorFlow's libjpeg-turbo gives the reference decoder's pixels to the bit at 1, 1/2, 1/4 and 1/8.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

Tensor = Any


def decode_jpeg(data: Tensor, ratio: int, channels: int, height: Tensor, width: Tensor) -> Tensor:
    """uint8 (height, width, channels), as stored, of a JPEG's bytes at 1/ratio. InvalidArgumentError when it cannot be, or has another size."""
    pixels = tf.io.decode_jpeg(data, channels, ratio=ratio, dct_method="INTEGER_ACCURATE", fancy_upscaling=True)
    shape = tf.shape(pixels)
    with tf.control_dependencies([tf.debugging.Assert((shape[0] == height) & (shape[1] == width), ["another size than declared"])]):
        return tf.identity(pixels)


def crop_and_resize(pixels: Tensor, y: Tensor, x: Tensor, height: Tensor, width: Tensor, out_height: Tensor, out_width: Tensor) -> Tensor:
    """A window of uint8 (h, w, C), bilinear with half-pixel centres, rounded as OpenCV rounds: uint8 (out_height, out_width, C)."""
    window = tf.slice(pixels, [y, x, 0], [height, width, -1])
    resized = tf.raw_ops.ResizeBilinear(images=window[None], size=[out_height, out_width], half_pixel_centers=True)[0]
    halved = (height == 2 * out_height) & (width == 2 * out_width)
    return tf.cast(resized + tf.where(halved, 0.5, _OPENCV_ROUNDING), tf.uint8)


_OPENCV_ROUNDING = 0.375
"""cv2.resize of uint8 blends two rows in fixed point, drops half of a quarter level from each, and then rounds to nearest: a result is
1/8 of a level low on average. Rounding alike here halves the pixels that differ by one. Exactly 2:1 it takes a mean of four instead."""


def turn(pixels: Tensor, orientation: Tensor) -> Tensor:
    """uint8 (h, w, C) turned as EXIF `orientation` 1..8 asks."""

    def turned() -> Tensor:
        upright = tf.cond(orientation > 4, lambda: tf.transpose(pixels, [1, 0, 2]), lambda: pixels)
        return tf.raw_ops.Reverse(tensor=upright, dims=tf.gather(_REVERSED, orientation))

    return tf.cond(orientation > 1, turned, lambda: pixels)


_REVERSED = [[o in (3, 4, 7, 8), o in (2, 3, 6, 7), False] for o in range(9)]
"""By orientation: whether rows, columns and channels are reversed, once rows and columns are swapped."""
