"""The sample of decode/sample.py in TensorFlow ops alone, for a SavedModel that takes encoded JPEG and PNG images.

As there: box, reduction, decode, orientation, window, bilinear resize, padding. Less than there: JPEGs of other colours than grey and YCbCr
are converted as TensorFlow does it, and only a JPEG's orientation is heeded, in an Exif block within the first 128 KiB.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from imgstream.decode.tensorflow_ops import crop_and_resize
from imgstream.spec import SampleSpec

Tensor = Any

ENCODED = "encoded"
"""The name of the endpoint and of its input."""
_HEAD = 1 << 17
"""Bytes in which a JPEG's orientation is looked for."""
_LUMA = (0.299, 0.587, 0.114)  # Rec. 601
_ORIENTATION = 0x0112
_APP1, _SOS = 0xE1, 0xDA
_RATIOS = (1, 2, 4, 8)


def decode_sample(data: Tensor, spec: SampleSpec) -> Tensor:
    """uint8 spec.shape of one file's bytes, a string. Raises InvalidArgumentError for what is no JPEG or PNG, and above spec.max_pixels."""
    is_jpeg = tf.equal(tf.strings.substr(data, 0, 2), b"\xff\xd8")
    pixels = tf.cond(is_jpeg, lambda: _jpeg_sample(data, spec), lambda: _png_sample(data, spec))
    pixels.set_shape(spec.shape)
    return pixels


def encoded_endpoint(model: Any, spec: SampleSpec) -> tuple[Callable[[Tensor], Tensor], tf.TensorSpec]:
    """A function of the bytes of files, strings (B,), that gives what `model` gives for their samples, uint8 (B, *spec.shape); and the
    signature of its argument.
    """

    def encoded(data: Tensor) -> Tensor:
        decode = tf.autograph.experimental.do_not_convert(lambda each: decode_sample(each, spec))
        return model(tf.map_fn(decode, data, fn_output_signature=tf.TensorSpec(spec.shape, tf.uint8)), training=False)

    return tf.autograph.experimental.do_not_convert(encoded), tf.TensorSpec((None,), tf.string, name=ENCODED)


def _jpeg_sample(data: Tensor, spec: SampleSpec) -> Tensor:
    shape = _checked(tf.io.extract_jpeg_shape(data), spec)
    orientation = _jpeg_orientation(data)
    height, width = (tf.where(orientation > 4, shape[1 - axis], shape[axis]) for axis in (0, 1))
    plan = _plan(height, width, spec)

    def at(ratio: int) -> Callable[[], Tensor]:
        return lambda: tf.io.decode_jpeg(data, spec.channels, ratio=ratio, dct_method="INTEGER_ACCURATE", fancy_upscaling=True)

    return _placed(_turned(tf.switch_case(plan.reduction, [at(ratio) for ratio in _RATIOS]), orientation), plan, spec)


def _png_sample(data: Tensor, spec: SampleSpec) -> Tensor:
    head = tf.cast(tf.io.decode_raw(tf.strings.substr(data, 16, 8), tf.uint8, fixed_length=8), tf.int32)
    shape = _checked(tf.reduce_sum(tf.reshape(head, (2, 4)) * [1 << 24, 1 << 16, 1 << 8, 1], axis=1)[::-1], spec)
    plan = _plan(shape[0], shape[1], spec)
    pixels = tf.io.decode_png(data, channels=3)
    pixels = tf.switch_case(plan.reduction, [lambda ratio=ratio: _block_means(pixels, ratio) for ratio in _RATIOS])
    if spec.channels == 1:
        pixels = tf.reduce_sum(tf.cast(pixels, tf.float32) * _LUMA, axis=-1, keepdims=True)
        pixels = tf.cast(pixels + 0.5, tf.uint8)
    return _placed(pixels, plan, spec)


def _checked(shape: Tensor, spec: SampleSpec) -> Tensor:
    """`shape`, (height, width, …), unless it has more than spec.max_pixels: then an error when it is run."""
    sides = tf.cast(shape[:2], tf.float64)
    checks = [
        tf.debugging.assert_positive(sides),
        tf.debugging.assert_less_equal(tf.reduce_prod(sides), tf.constant(spec.max_pixels, tf.float64)),
    ]
    with tf.control_dependencies(checks):
        return tf.identity(shape)


def _block_means(pixels: Tensor, ratio: int) -> Tensor:
    """The mean of each ratio × ratio block of uint8 (h, w, 3); blocks that an edge cuts have the mean of what is there."""
    if ratio == 1:
        return pixels
    missing = -tf.shape(pixels)[:2] % ratio
    padding = [[0, missing[0]], [0, missing[1]], [0, 0]]
    floats = tf.cast(pixels, tf.float32)
    sums, counts = (
        tf.nn.avg_pool2d(tf.pad(part, padding)[None], ratio, ratio, "VALID")[0] for part in (floats, tf.ones_like(floats[..., :1]))
    )
    return tf.cast(tf.round(sums / counts), tf.uint8)


class _Plan(NamedTuple):
    """geometry.Plan as tensors: `reduction` 0 to 3 for 1, 2, 4 and 8; the window, and the size that it is resized to."""

    reduction: Tensor
    start: Tensor
    size: Tensor
    out_size: Tensor


def _plan(height: Tensor, width: Tensor, spec: SampleSpec) -> _Plan:
    """What geometry.make_plan gives for an oriented image, in float64 as there."""
    full, target = tf.cast(tf.stack([height, width]), tf.float64), tf.constant(spec.size, tf.float64)
    box, out_size = full, target
    if spec.fit == "crop":
        aspect = spec.size[1] / spec.size[0]
        box = tf.stack([tf.minimum(full[0], full[1] / aspect), tf.minimum(full[1], full[0] * aspect)])
    elif spec.fit == "pad":
        ratio = tf.reduce_min(tf.stack([target[1] / full[1], target[0] / full[0]]))
        out_size = tf.minimum(target, tf.maximum(tf.constant(1, tf.float64), _round(full * ratio)))
    covers = [tf.reduce_all(box / ratio >= out_size) for ratio in _RATIOS[1:]]
    reduction = tf.add_n([tf.cast(each, tf.int32) for each in covers])  # what a larger one covers, a smaller one does too
    ratio = tf.cast(tf.bitwise.left_shift(1, reduction), tf.float64)
    reduced = tf.math.ceil(full / ratio)
    start = (full - box) / 2
    first = tf.minimum(tf.maximum(_round(start / ratio), tf.constant(0, tf.float64)), reduced - 1)
    last = tf.minimum(tf.maximum(_round((start + box) / ratio), first + 1), reduced)
    return _Plan(reduction, *(tf.cast(part, tf.int32) for part in (first, last - first, out_size)))


def _round(value: Tensor) -> Tensor:
    return tf.floor(value + tf.constant(0.5, tf.float64))


def _placed(pixels: Tensor, plan: _Plan, spec: SampleSpec) -> Tensor:
    whole = tf.constant([spec.channels])
    start, size = tf.concat([plan.start, [0]], 0), tf.concat([plan.size, whole], 0)
    pixels = crop_and_resize(pixels, start, size, plan.out_size, tf.constant(0.5))
    if spec.fit == "pad":
        missing = tf.constant(spec.size) - plan.out_size
        before = missing // 2
        pixels = tf.pad(pixels, tf.concat([tf.stack([before, missing - before], 1), [[0, 0]]], 0))
    return pixels


def _turned(pixels: Tensor, orientation: Tensor) -> Tensor:
    """uint8 (h, w, C) turned by EXIF `orientation` 1 to 8."""

    def turn(number: int) -> Callable[[], Tensor]:
        down, across = (-1 if number in (3, 4, 7, 8) else 1), (-1 if number in (2, 3, 6, 7) else 1)

        def turned() -> Tensor:
            return (tf.transpose(pixels, (1, 0, 2)) if number > 4 else pixels)[::down, ::across]

        return turned

    return tf.switch_case(orientation - 1, [turn(number) for number in range(1, 9)])


def _jpeg_orientation(data: Tensor) -> Tensor:
    """EXIF orientation 1 to 8 of a JPEG's bytes; 1 where it has none."""
    head = tf.cast(tf.io.decode_raw(tf.strings.substr(data, 0, _HEAD), tf.uint8), tf.int32)
    head = tf.concat([head, tf.zeros(16, tf.int32)], 0)  # so that reading past the end gives zeros
    length = tf.size(head) - 16

    def number(at: Tensor, count: int, is_little: Tensor) -> Tensor:
        """An unsigned number of `count` bytes."""
        part = tf.slice(head, [tf.clip_by_value(at, 0, length)], [count])
        weights = [1 << 8 * i for i in range(min(count, 3))] + [0] * (count - 3)  # what an Exif block can hold has three bytes
        return tf.reduce_sum(tf.where(is_little, part, part[::-1]) * tf.constant(weights))

    big, exif = tf.constant(False), tf.constant([0x45, 0x78, 0x69, 0x66, 0])

    def is_exif(at: Tensor) -> Tensor:
        return tf.reduce_all([head[at + 1] == _APP1, tf.reduce_all(tf.slice(head, [at + 4], [5]) == exif)])

    def goes_on(at: Tensor) -> Tensor:
        return tf.reduce_all([at < length, head[at] == 0xFF, head[at + 1] != _SOS, tf.logical_not(is_exif(at))])

    (segment,) = tf.while_loop(goes_on, lambda at: (at + 2 + tf.maximum(number(at + 2, 2, big), 2),), [tf.constant(2)])
    found = tf.reduce_all([segment < length, is_exif(tf.minimum(segment, length))])
    tiff = segment + 10
    is_little = number(tiff, 1, big) == 0x49
    directory = tiff + number(tiff + 4, 4, is_little)
    count = tf.where(found, number(directory, 2, is_little), 0)
    entries = directory + 2 + 12 * tf.range(tf.clip_by_value((length - directory) // 12, 0, count))
    bytes_of = tf.gather(head, tf.clip_by_value(entries[:, None] + [0, 1, 8, 9], 0, length))
    low, high = tf.where(is_little, bytes_of[:, 0::2], bytes_of[:, 1::2]), tf.where(is_little, bytes_of[:, 1::2], bytes_of[:, 0::2])
    tags, values = tf.unstack(low + 256 * high, axis=1)
    value = tf.reduce_max(tf.concat([tf.where(tags == _ORIENTATION, values, 0), [1]], 0))
    return tf.where(tf.logical_and(value >= 1, value <= 8), value, 1)
