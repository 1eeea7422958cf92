"""The presets in TensorFlow ops, on a whole batch: the numbers and matrices of presets.py, with the same rounding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from imgstream.augment.presets import Mix, Preset

Tensor = Any
_KINDS = ("", "mixup", "cutmix")
_FIXED = 1024
"""cv2.transform of uint8 RGB rounds its matrix to 1/1024 and computes in whole numbers of that; float32 holds them exactly."""


class PresetPlans(NamedTuple):
    """What a preset does to each sample of a batch after crop and flip, as arrays or tensors."""

    colour: Tensor
    """float32 (B, C, C + 1): linear part and offset, including half a level, so that dropping the fraction rounds."""
    rotation: Tensor
    """float32 (B, 8): from the sample's pixel centres to the source's, as ImageProjectiveTransformV3 takes it."""
    erased: Tensor
    """int32 (B, 4): left, top, width, height; width 0 erases nothing."""
    own_pixels: Tensor
    """float32 (B,): MixUp's share of the sample itself; 1 mixes nothing."""
    patch: Tensor
    """int32 (B, 4): left, top, width, height of CutMix's patch; width 0 takes nothing."""
    own_label: Tensor
    """float32 (B,): the share of the sample's own label."""

    @staticmethod
    def signature(channels: int) -> PresetPlans:
        """The shapes and dtypes of the fields."""
        return PresetPlans(
            tf.TensorSpec((None, channels, channels + 1), tf.float32),
            tf.TensorSpec((None, 8), tf.float32),
            tf.TensorSpec((None, 4), tf.int32),
            tf.TensorSpec((None,), tf.float32),
            tf.TensorSpec((None, 4), tf.int32),
            tf.TensorSpec((None,), tf.float32),
        )


class MixPlans(NamedTuple):
    """How each sample of a batch is mixed with the next: the last three fields of PresetPlans."""

    own_pixels: Tensor
    patch: Tensor
    own_label: Tensor

    @staticmethod
    def signature() -> MixPlans:
        """The shapes and dtypes of the fields."""
        return MixPlans(*PresetPlans.signature(1)[3:])


def mix_numbers(mixes: Sequence[Mix | None]) -> np.ndarray:
    """float64 (B, 4): kind (0 for none), share, left and top of each mix, which a tensor can hold."""
    return np.array([(0, 1, 0, 0) if mix is None else (_KINDS.index(mix.kind), *mix[1:]) for mix in mixes], np.float64).reshape(-1, 4)


def plan_mixes(numbers: np.ndarray, height: int, width: int) -> MixPlans:
    """The plans of what mix_numbers gave, for samples of height × width pixels."""
    mixes = (Mix(_KINDS[int(kind)], *others) if kind else None for kind, *others in numbers.tolist())
    return _plan_mixes(list(mixes), height, width)


def _plan_mixes(mixes: Sequence[Mix | None], height: int, width: int) -> MixPlans:
    count = len(mixes)
    plans = MixPlans(np.ones(count, np.float32), np.zeros((count, 4), np.int32), np.ones(count, np.float32))
    for i, mix in enumerate(mixes):
        if mix is None:
            continue
        if mix.kind == "mixup":
            plans.own_pixels[i] = plans.own_label[i] = mix.share
        else:
            plans.patch[i] = mix.patch(width, height)
            plans.own_label[i] = 1 - plans.patch[i, 2] * plans.patch[i, 3] / (width * height)
    return plans


def plan_preset(preset: Preset, draws: np.ndarray, shape: tuple[int, int, int]) -> PresetPlans:
    """The plans for a batch of samples of `shape` from their random numbers, float64 (B, DRAWS)."""
    (height, width, channels), count = shape, len(draws)
    plans = PresetPlans(
        np.zeros((count, channels, channels + 1), np.float32),
        np.zeros((count, 8), np.float32),
        np.zeros((count, 4), np.int32),
        *_plan_mixes([preset.mixing(numbers) for numbers in draws], height, width),
    )
    border = _border(preset, height, width)
    for i, numbers in enumerate(draws):
        if (matrix := preset.colour_matrix(numbers, channels)) is not None:
            matrix[:, -1] += 0.5
            plans.colour[i] = np.rint(_FIXED * matrix) / _FIXED if channels == 3 else matrix
        if (matrix := preset.rotation_matrix(numbers, width, height)) is not None:
            matrix[:, 2] += border
            plans.rotation[i, :6] = matrix.ravel()
        if (erased := preset.erased(numbers, width, height)) is not None:
            plans.erased[i] = erased
    return plans


def apply_preset(preset: Preset, images: Tensor, plans: PresetPlans) -> Tensor:
    """Colour, rotation and erasing of uint8 (B, H, W, C) `images`: float32 of the same shape, whole numbers from 0 to 255."""
    height, width, channels = images.shape[1:]
    images = tf.cast(images, tf.float32)
    if preset.colour:
        pixels = tf.reshape(images, [-1, height * width, channels])
        pixels = tf.matmul(pixels, plans.colour[..., :channels], transpose_b=True) + plans.colour[:, None, :, channels]
        images = tf.reshape(tf.clip_by_value(tf.floor(pixels), 0.0, 255.0), tf.shape(images))
    if preset.rotation:
        border = _border(preset, height, width)
        for axis, size in ((1, height), (2, width)):
            images = tf.gather(images, _reflected(size, border), axis=axis)
        images = tf.raw_ops.ImageProjectiveTransformV3(
            images=images,
            transforms=plans.rotation,
            output_shape=[height, width],
            interpolation="BILINEAR",
            fill_mode="NEAREST",
            fill_value=0.0,
        )
        images = tf.round(images)
    if preset.erase:
        images = tf.where(_inside(plans.erased, height, width), 127.0, images)
    return images


def mix_batch(images: Tensor, labels: Tensor, plans: PresetPlans | MixPlans, class_count: int) -> tuple[Tensor, Tensor]:
    """presets.mix_batch in TensorFlow: float32 (B, H, W, C) images, each mixed with the next, and float32 (B, class_count) labels."""
    shares = tf.maximum(labels, 0.0) if labels.shape.rank == 2 else tf.one_hot(labels, class_count)
    many = tf.shape(images)[0] > 1
    own_pixels = tf.where(many, plans.own_pixels, 1.0)[:, None, None, None]
    partners = tf.roll(images, -1, axis=0)
    mixed = images * own_pixels + partners * (1 - own_pixels)
    mixed = tf.where(_inside(plans.patch, *images.shape[1:3]) & many, partners, mixed)
    own_label = tf.where(many, plans.own_label, 1.0)[:, None]
    return mixed, shares * own_label + tf.roll(shares, -1, axis=0) * (1 - own_label)


def _inside(rectangles: Tensor, height: int, width: int) -> Tensor:
    """The pixels inside int32 (B, 4) left, top, width, height: bool (B, H, W, 1)."""
    left, top, across, down = (rectangles[:, i, None] for i in range(4))
    columns, rows = tf.range(width)[None], tf.range(height)[None]
    in_columns, in_rows = (columns >= left) & (columns < left + across), (rows >= top) & (rows < top + down)
    return (in_rows[:, :, None] & in_columns[:, None, :])[..., None]


def _border(preset: Preset, height: int, width: int) -> int:
    """Pixels beyond the sample's edge that its rotation may need."""
    return math.ceil(2 * math.sin(math.radians(preset.rotation) / 2) * math.hypot(height, width) / 2) + 1 if preset.rotation else 0


def _reflected(size: int, border: int) -> np.ndarray:
    """Source of each position from -border to size + border, without repeating the edge pixel: cv2.BORDER_REFLECT_101."""
    period = max(1, 2 * (size - 1))
    at = np.abs(np.arange(-border, size + border)) % period
    return np.where(at >= size, period - at, at).astype(np.int32)
