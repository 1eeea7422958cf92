"""Trains a head on frozen features before the whole model is trained: gradients of a random head would spoil the backbone.

After Kumar et al., "Fine-tuning can distort pretrained features and underperform out-of-distribution" (2022): linear probing, then
fine-tuning.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from imgstream.embedding import LinearHead, fit_head, head_data
from imgstream.index import ImageIndex
from imgstream.models import features
from imgstream.models.forward import Forward, Program
from imgstream.stream import Stream
from imgstream.training.data import class_weights
from imgstream.training.settings import TrainSettings

MOST_IMAGES = 20_000
"""The most images to train a head on when the whole model is trained after it; with head_only all images are used."""
_TIME_SHARE = 0.2


def train_head(
    served: Any, train: Stream, val: Stream, settings: TrainSettings, folder: str, progress: Callable[[int], None]
) -> LinearHead:
    """Fit the last layer of `served` to the features of the training images, without augmentation, and set its weights.

    Features are kept in `folder` meanwhile, 4 D bytes an image. `progress` is called with the images done so far. Raises what
    embedding.head_data and fit_head raise.
    """
    model = features(served)
    most = len(train.index) if settings.head_only else _most_images(model, train, settings)
    done = 0

    def count(rows: int) -> None:
        progress(done + rows)

    parts = []
    for stream in (train, val):
        part = stream.replace(index=_some(stream.index, most), batch_size=val.batch_size)
        file = settings.features if stream.index.root == train.index.root else None  # only for the training folder; --val may be another
        parts.append(head_data(model, part, file, class_names=train.index.class_names, folder=folder, progress=count))
        done += part.sample_count
    learnt, held_out = parts
    weights = learnt.weights
    if settings.balance and not settings.multi_label:
        by_class = class_weights(train)[learnt.labels]
        weights = by_class if weights is None else weights * by_class
    head = fit_head(
        learnt.features,
        learnt.labels,
        len(train.index.class_names),
        sample_weight=weights,
        validation=(held_out.features, held_out.labels),
        multi_label=settings.multi_label,
    )
    served.get_layer("logits").set_weights([head.kernel, head.bias])
    return head


def _some(index: ImageIndex, most: int) -> ImageIndex:
    """At most about `most` images, evenly spread over the index."""
    return index if len(index) <= most else index.take(np.linspace(0, len(index) - 1, most).astype(np.int64))


def _most_images(model: Any, stream: Stream, settings: TrainSettings) -> int:
    """With --minutes, as many images as a fifth of the time suffices for, at the speed of a batch."""
    if settings.minutes is None:
        return MOST_IMAGES
    forward, images = Forward(Program(model, stream.spec), stream.batch_size), np.zeros((stream.batch_size, *stream.spec.shape), np.uint8)
    forward(images)  # compiles
    began = time.monotonic()
    forward(images)
    rate = stream.batch_size / (time.monotonic() - began)
    return int(min(MOST_IMAGES, max(100, _TIME_SHARE * 60 * settings.minutes * rate)))
