"""image_dataset_from_directory, with the arguments, labels and messages that it has in Keras."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from imgstream.directory_dataset import arguments
from imgstream.directory_dataset.listing import KERAS_EXTENSIONS, Listing, list_directory
from imgstream.directory_dataset.splitting import in_keras_order, split
from imgstream.errors import NoImagesError
from imgstream.index import ImageIndex
from imgstream.spec import Fit, SampleSpec
from imgstream.stream import Stream
from imgstream.wording import quantity

if TYPE_CHECKING:
    import tensorflow as tf

_UNBATCHED = 32
"""Samples that are made together where the dataset is not batched."""


def image_dataset_from_directory(
    directory: str | os.PathLike[str],
    labels: Any = "inferred",
    label_mode: str | None = "int",
    class_names: Sequence[str] | None = None,
    color_mode: str = "rgb",
    batch_size: int | None = 32,
    image_size: int | Sequence[int] = (256, 256),
    shuffle: bool = True,
    seed: int | None = None,
    validation_split: float | None = None,
    subset: str | None = None,
    interpolation: str = "bilinear",
    follow_links: bool = False,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    data_format: str | None = None,
    format: str = "tf",  # noqa: A002 - as Keras has it
    verbose: bool = True,
    *,
    split_by: str = "position",
    formats: Sequence[str] | None = KERAS_EXTENSIONS,
) -> tf.data.Dataset | list[tf.data.Dataset]:
    """A dataset of the images in a folder: keras.utils.image_dataset_from_directory, by imgstream's pipeline.

    ```python
    train, val = imgstream.image_dataset_from_directory(
        "photos/", image_size=(64, 64), validation_split=0.2, subset="both", seed=7
    )
    model.fit(train, validation_data=val, epochs=2)
    ```

    The arguments are those of Keras 3.15, and two more. What differs: images are turned as their EXIF orientation says; each pass has all
    files in a new order, an exact permutation without a buffer; a bad file is left out and listed in `dataset.stream.skipped`; hidden files
    are left out; memory does not grow with the folder. Bilinear images are decoded at the smallest of 1, 1/2, 1/4 and 1/8 of their size
    that covers the target, which leaves less aliasing than Keras' full size; for any other interpolation, and for "rgba", the whole image
    is resized by TensorFlow as in Keras, which takes longer than there.

    Args:
        directory: The folder.
        labels: "inferred", from the folders in `directory`; None for images alone; or a list or 1-D array with a label for each file, in
            the order of `file_paths` without shuffling.
        label_mode: "int": int32 (B,). "binary": float32 (B, 1), 0 or 1. "categorical": float32 (B, K). None: images alone.
        class_names: With "inferred": the folders to take, in the order of their labels.
        color_mode: "grayscale", "rgb" or "rgba": 1, 3 or 4 channels.
        batch_size: Samples in a batch; None for single samples.
        image_size: (height, width) in pixels, or one number for both.
        shuffle: A new order in each pass; False for the order of the paths.
        seed: Seed of the order, and of a split. None takes one from NumPy's global generator, as Keras does, so that
            keras.utils.set_random_seed decides it.
        validation_split: Share of the files for validation, between 0 and 1.
        subset: With `validation_split`: "training", "validation", or "both" for a list of the two. In the latter the second is not
            shuffled.
        interpolation: "bilinear", "nearest", "bicubic", "area", "lanczos3", "lanczos5", "gaussian" or "mitchellcubic".
        follow_links: Whether to list folders that are links below the classes.
        crop_to_aspect_ratio: Take the largest centred part of the target's aspect instead of distorting the image.
        pad_to_aspect_ratio: Put black around the image instead of distorting it.
        data_format: "channels_last", "channels_first", or None for Keras' setting.
        format: "tf".
        verbose: Print how many files were found.
        split_by: "position" splits as Keras does: with the same seed, the same files. One file more in the folder then moves others to the
            other side. "path" splits by the hash of each path, where a new file moves none, and shares are approximate.
        formats: Extensions of the files to list; None for all kinds that imgstream reads.

    Returns:
        A tf.data.Dataset of float32 images, 0 to 255, (B, H, W, C), alone or as (images, labels). It has `class_names`, a list, or None
        without labels; `file_paths`, a read-only sequence; and `stream`, the Stream that the order and the skipped files are of.

    Raises:
        SpecError: An argument is impossible. It is a ValueError.
        NoFolderError: There is no such folder. It is a FileNotFoundError, and a NoImagesError.
        NoImagesError: There is no image in it. It is a ValueError.
        OutputError: There is no room for the list of files.
    """
    arguments.check_labels(labels, label_mode, class_names)
    interpolation = str(interpolation).lower()
    size = arguments.check_images(color_mode, image_size, interpolation, crop_to_aspect_ratio, pad_to_aspect_ratio, format)
    arguments.check_split(validation_split, subset, shuffle, seed, split_by)
    if labels is None or label_mode is None:
        labels = label_mode = None
    found = list_directory(directory, labels, class_names, formats, follow_links)
    if verbose:
        _tell(_summary(found))
    arguments.check_classes(label_mode, found.class_names)
    fit: Fit = "crop" if crop_to_aspect_ratio else "pad" if pad_to_aspect_ratio else "stretch"
    spec = SampleSpec(size=size, fit=fit, channels=1 if color_mode == "grayscale" else 3, scale="raw")
    layout = arguments.data_format(data_format)
    chosen = int(np.random.randint(1_000_000)) if seed is None else seed  # noqa: NPY002 - set_random_seed of Keras decides it

    def dataset(index: ImageIndex, shuffled: bool) -> tf.data.Dataset:
        stream = Stream(index, spec, batch_size=_UNBATCHED if batch_size is None else batch_size, shuffle=shuffled, seed=chosen)
        made = _batches(stream, arguments.CHANNELS[color_mode], interpolation)
        made = _shaped(made, stream, label_mode, found, layout, batched=batch_size is not None)
        made.class_names, made.file_paths, made.stream = found.class_names, FilePaths(index), stream
        return made

    index = in_keras_order(found.images, seed) if shuffle and seed is not None and split_by == "position" else found.images
    if not validation_split:
        return dataset(index, shuffle)
    sides = dict(zip(("training", "validation"), split(index, validation_split, seed, split_by), strict=True))
    wanted = list(sides) if subset == "both" else [str(subset)]
    for name in wanted:
        if not len(sides[name]):
            raise NoImagesError(f"No {name} images found in directory {directory}: {quantity(len(index), 'file')} in all")
        if verbose:
            _tell(f"Using {len(sides[name])} files for {name}.")
    datasets = [dataset(sides[name], shuffle and not (subset == "both" and name == "validation")) for name in wanted]
    return datasets if subset == "both" else datasets[0]


class FilePaths(Sequence[str]):
    """The paths of a dataset's files, as a list has them, read from the table: they take no memory."""

    def __init__(self, index: ImageIndex) -> None:
        self._index = index

    def __len__(self) -> int:
        return len(self._index)

    @overload
    def __getitem__(self, i: int) -> str: ...
    @overload
    def __getitem__(self, i: slice) -> list[str]: ...
    def __getitem__(self, i: int | slice) -> str | list[str]:
        if isinstance(i, slice):
            return [self._index.path(k) for k in range(*i.indices(len(self)))]
        return self._index.path(i + len(self) if i < 0 else i)

    def __iter__(self) -> Iterator[str]:
        return (self._index.path(i) for i in range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FilePaths | list | tuple):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # as a list

    def __repr__(self) -> str:
        return f"[{', '.join(map(repr, self[:3]))}{', …' if len(self) > 3 else ''}]"


def _batches(stream: Stream, channels: int, interpolation: str) -> tf.data.Dataset:
    """Images float32 (B, H, W, channels) and labels int32 (B,)."""
    if interpolation == "bilinear" and channels != 4:
        return stream.to_tf()
    import tensorflow as tf

    from imgstream.stream.tf.whole_images import WholeImages

    height, width = stream.spec.size

    def resize(image: Any) -> Any:
        if stream.spec.fit == "pad":
            return tf.cast(tf.image.resize_with_pad(image, height, width, method=interpolation), tf.float32)
        return tf.cast(tf.image.resize(image, (height, width), method=interpolation), tf.float32)

    return WholeImages(stream, channels, resize).dataset()


def _shaped(
    dataset: tf.data.Dataset, stream: Stream, label_mode: str | None, found: Listing, layout: str, batched: bool
) -> tf.data.Dataset:
    """The dataset with labels, layout and batches as asked."""
    import tensorflow as tf

    from imgstream.stream.tf.cardinality import with_cardinality

    def element(images: Any, labels: Any) -> Any:
        if layout == "channels_first":
            images = tf.transpose(images, (0, 3, 1, 2))
        if label_mode is None:
            return images
        if label_mode == "binary":
            return images, tf.cast(labels, tf.float32)[:, None]
        if label_mode == "categorical":
            return images, tf.one_hot(labels, len(found.class_names or ()))
        return images, labels if found.values is None else tf.gather(found.values, labels)

    dataset = dataset.map(element)
    return dataset.prefetch(1) if batched else with_cardinality(dataset.unbatch(), stream.sample_count).prefetch(_UNBATCHED)


def _summary(found: Listing) -> str:
    classes = "." if found.class_names is None else f" belonging to {len(found.class_names)} classes."
    others = ", ".join(f"{count:,} {extension}" for extension, count in found.left_out.most_common())
    return f"Found {len(found.images)} files{classes}" + (f" Left out: {others}; formats=None takes them." if others else "")


def _tell(line: str) -> None:
    """Print a line, or log it where Keras' interactive logging is switched off."""
    import keras

    if keras.config.is_interactive_logging_enabled():
        sys.stdout.write(f"{line}\n")
    else:
        logging.getLogger("imgstream").info(line)
