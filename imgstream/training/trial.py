"""Measures how long steps and validations will take, on a few batches."""

from __future__ import annotations

import itertools
import time
from typing import Any

import numpy as np

from imgstream.errors import DatasetError
from imgstream.models.forward import Forward
from imgstream.stream import Stream
from imgstream.training.step.compiled_models import Models
from imgstream.training.step.step_selection import new_step
from imgstream.training.step.weight_average import WeightAverage

_VALIDATION_BATCHES = 5
_STEPS, _STEPS_SECONDS = 12, 3.0
_CLOSING_FIXED, _CLOSING_COMPILED = 1.0, 2.0
"""Duration of a run's end: in seconds, and in compilations of the model's forward pass, as it is cloned, saved, and its golden samples are
computed. (On two cores, cnn: 1.8 s of writing and 0.5 s of leaving Python, where compiling takes 0.7 s.)
"""


def try_validation(served: Any, val: Stream, most: float) -> tuple[float, float]:
    """(seconds to validate all of `val`, seconds to compile for it). `most`: seconds to spend on it, beside compiling and two batches."""
    forward, began = Forward(served, val.batch_size), time.monotonic()
    batches = (batch.images for batch in val.traced_batches() if len(batch.images))
    first = next(batches, None)
    if first is None:  # all files are bad, so that was all of it
        return time.monotonic() - began, 0.0
    forward(first)
    compiled = time.monotonic()
    forward(first)
    marks = [time.monotonic()]
    each = marks[0] - compiled
    compiling = max(0.0, compiled - began - each)
    for images in itertools.islice(batches, _VALIDATION_BATCHES):  # with their reading
        forward(images)
        marks.append(time.monotonic())
        if marks[-1] - marks[0] > most:
            break
    if len(marks) > 1:
        each = (marks[-1] - marks[0]) / (len(marks) - 1)
    return each * len(val), compiling


def try_steps(models: Models, train: Stream) -> tuple[float, float]:
    """(seconds of a step, seconds to compile it), by some steps of `models.trained`.

    Raises DatasetError when no image can be read.
    """
    classes = len(train.index.class_names)
    take_step = new_step(models.trained, WeightAverage(models.trained), models.replicas, train.batch_size)
    batches = (batch for epoch in range(_STEPS) for batch in train.traced_batches(epoch) if len(batch.images))
    marks = [time.monotonic()]
    for batch in itertools.islice(batches, _STEPS):
        labels = np.eye(classes, dtype=np.float32)[batch.labels] if batch.labels.ndim == 1 else batch.labels
        float(take_step(batch.images, labels, train.index.weights_at(batch.positions), rate=0.0, share=0.0).loss)  # waits for it
        marks.append(time.monotonic())
        if len(marks) > 2 and marks[-1] - marks[1] > _STEPS_SECONDS:
            break
    if len(marks) < 3:
        raise DatasetError(f"no image under {train.index.root} could be read: imgstream check names them")
    each = (marks[-1] - marks[1]) / (len(marks) - 2)
    return each, max(0.0, marks[1] - marks[0] - each)


def closing_seconds(compiling: float) -> float:
    """Seconds to write a run and leave Python, where compiling the model's forward pass takes `compiling` seconds."""
    return _CLOSING_FIXED + _CLOSING_COMPILED * compiling
