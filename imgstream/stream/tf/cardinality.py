"""Gives a dataset that leaves out bad batches a known length."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def with_cardinality(dataset: tf.data.Dataset, count: int) -> tf.data.Dataset:
    """The first `count` elements of `dataset`, as a dataset whose cardinality is `count` although it may end earlier.

    take(n) of an infinite dataset has n elements. The one here counts as infinite because one of its choices is; that one is never chosen,
    and the dataset ends with the other.
    """
    shapes = tf.nest.map_structure(lambda part: tf.zeros([0 if n is None else n for n in part.shape], part.dtype), dataset.element_spec)
    never = tf.data.Dataset.from_tensors(shapes).repeat()
    always_first = tf.data.Dataset.from_tensors(tf.constant(0, tf.int64)).repeat()
    return tf.data.Dataset.choose_from_datasets([dataset, never], always_first, stop_on_empty_dataset=True).take(count)


@tf.autograph.experimental.do_not_convert
def has_rows(images: Any, *_: Any) -> Any:
    """Whether a batch has a sample: what a dataset of batches is filtered by."""
    return tf.shape(images)[0] > 0
