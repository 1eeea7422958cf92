"""validation_split and subset: by position, as Keras splits, or by the hash of each path."""

from __future__ import annotations

import numpy as np

from imgstream.index import ImageIndex


def in_keras_order(index: ImageIndex, seed: int) -> ImageIndex:
    """The files in the order that Keras shuffles them into before it splits: with its seed, its very files are for validation."""
    positions = np.arange(len(index), dtype=np.uint32)
    np.random.RandomState(seed).shuffle(positions)
    return index.take(positions)


def split(index: ImageIndex, validation_split: float, seed: int | None, split_by: str) -> tuple[ImageIndex, ImageIndex]:
    """Files for training and for validation.

    By position, validation has the last int(validation_split * n). By path, see ImageIndex.split; a file that is added moves no other.
    """
    if split_by == "path":
        return index.split(val=validation_split, seed=seed or 0)
    first = len(index) - int(validation_split * len(index))
    return index.take(np.arange(first, dtype=np.uint32)), index.take(np.arange(first, len(index), dtype=np.uint32))
