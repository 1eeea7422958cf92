"""Scales pixels where the model computes: batches travel to the device as uint8, a quarter of the bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from imgstream.spec import SampleSpec


def scaled(images: Any, spec: SampleSpec, change: Callable[[Any], Any] | None = None) -> Any:
    """Tensors of Keras' backend: (B, H, W, C) pixels, of the pixel_type of `spec`, become float32 in its scale; floats stay as they are,
    scaled already. `change` is applied to pixels before, as float32 from 0 to 255.

    The values are those of SampleSpec.to_float, but for the last bit where a compiler contracts the multiplication and the addition.
    """
    import keras

    if keras.backend.standardize_dtype(images.dtype) != spec.pixel_type.name:
        return images
    gain, bias = spec.scaling
    if change is not None:
        levels = spec.white / 255
        images = change(keras.ops.cast(images, "float32") / levels) * levels
    images = keras.ops.cast(images[..., ::-1] if spec.bgr else images, "float32") * gain
    return images if bias is None else images + bias
