"""Checks the arguments of image_dataset_from_directory. What Keras refuses is refused, with what its messages say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from imgstream.errors import SpecError

CHANNELS = {"grayscale": 1, "rgb": 3, "rgba": 4}
INTERPOLATIONS = ("bilinear", "nearest", "bicubic", "area", "lanczos3", "lanczos5", "gaussian", "mitchellcubic")
SPLITS = ("position", "path")


def check_labels(labels: Any, label_mode: Any, class_names: Any) -> None:
    """Raise SpecError for labels that are no list, a mode that there is not, and class names beside labels."""
    is_list = isinstance(labels, list | tuple | np.ndarray)
    if not is_list and labels not in ("inferred", None):
        raise SpecError(
            "`labels` argument should be a list/tuple of integer labels, of the same size as the number of image files in the target "
            'directory. If you wish to infer the labels from the subdirectory names in the target directory, pass `labels="inferred"`. If '
            f"you wish to get a dataset that only contains images (no labels), pass `labels=None`. Received: labels={labels}"
        )
    if is_list and class_names:
        raise SpecError(
            f'You can only pass `class_names` if `labels="inferred"`. Received: labels={_short(labels)}, and class_names={class_names}'
        )
    if label_mode not in ("int", "categorical", "binary", None):
        raise SpecError(f'`label_mode` argument must be one of "int", "categorical", "binary", or None. Received: label_mode={label_mode}')
    if class_names is not None and (labels is None or label_mode is None):
        raise SpecError("When `labels=None` (no labels), argument `class_names` cannot be specified.")


def check_images(color_mode: Any, image_size: Any, interpolation: Any, crop: bool, pad: bool, form: Any) -> tuple[int, int]:
    """The size as (height, width). Raises SpecError for what is wrong with how images are to be."""
    if color_mode not in CHANNELS:
        raise SpecError(f'`color_mode` must be one of {{"rgb", "rgba", "grayscale"}}. Received: color_mode={color_mode}')
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    if not isinstance(size, list | tuple) or len(size) != 2:
        raise SpecError(f"Invalid `image_size` value. Expected a tuple of 2 integers. Received: image_size={image_size}")
    if interpolation not in INTERPOLATIONS:
        raise SpecError(f"Argument `interpolation` should be one of {INTERPOLATIONS}. Received: interpolation={interpolation}")
    if crop and pad:
        raise SpecError("Only one of `pad_to_aspect_ratio`, `crop_to_aspect_ratio` can be set to `True`.")
    if form == "grain":
        raise SpecError('`format="grain"` is not made here. Stream(…).batches() reads the same images without TensorFlow')
    if form != "tf":
        raise SpecError(f'`format` should be either "tf" or "grain". Received: format={form}')
    return size[0], size[1]


def check_split(validation_split: Any, subset: Any, shuffle: bool, seed: int | None, split_by: str) -> None:
    """Raise SpecError for a split that cannot be, or whose two sides would overlap."""
    if split_by not in SPLITS:
        raise SpecError(f"`split_by` must be one of {', '.join(SPLITS)}. Received: split_by={split_by}")
    if validation_split and not 0 < validation_split < 1:
        raise SpecError(f"`validation_split` must be between 0 and 1, received: {validation_split}")
    if bool(validation_split) != bool(subset):
        raise SpecError("If `subset` is set, `validation_split` must be set, and inversely.")
    if subset not in ("training", "validation", "both", None):
        raise SpecError(f'`subset` must be either "training", "validation" or "both", received: {subset}')
    if validation_split and shuffle and seed is None and split_by == "position":
        raise SpecError(
            "If using `validation_split` and shuffling the data, you must provide a `seed` argument, to make sure that there is no overlap "
            "between the training and validation subset."
        )


def check_classes(label_mode: str | None, class_names: Sequence[str] | None) -> None:
    """Raise SpecError for binary labels of more, or fewer, than two classes."""
    if label_mode == "binary" and len(class_names or ()) != 2:
        raise SpecError(f'When passing `label_mode="binary"`, there must be exactly 2 class_names. Received: class_names={class_names}')


def data_format(given: str | None) -> str:
    """channels_last or channels_first; None is Keras' own setting. Raises SpecError."""
    import keras

    found = keras.config.image_data_format() if given is None else str(given).lower()
    if found not in ("channels_last", "channels_first"):
        raise SpecError(f'The `data_format` argument must be one of {{"channels_first", "channels_last"}}. Received: data_format={given}')
    return found


def _short(labels: Sequence[Any]) -> str:
    return str(list(labels)) if len(labels) <= 20 else f"[{', '.join(map(str, labels[:20]))}, …]"
