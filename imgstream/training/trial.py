"""Measures how long steps and validations will take, on a few batches."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable, Sequence

import keras
import numpy as np

from imgstream.errors import DatasetError
from imgstream.models.forward import Forward, Program
from imgstream.spec import SampleSpec
from imgstream.stream import Stream
from imgstream.training.step.compiled_models import Models
from imgstream.training.step.step_selection import new_step

_VALIDATION_BATCHES = 5
_STEPS, _STEPS_SECONDS = 12, 3.0
_FASTER = 1.1
"""A larger batch has to be faster by so much: it also means fewer steps, of which each learns a little less for an image."""
_CLOSING_FIXED, _CLOSING_COMPILED = 1.0, 2.0
"""Duration of a run's end: in seconds, and in compilations of the model's forward pass, as it is cloned, saved, and its golden samples are
computed. (On two cores, cnn: 1.8 s of writing and 0.5 s of leaving Python, where compiling takes 0.7 s.)
"""


def try_validation(program: Program, val: Stream, most: float) -> tuple[float, float]:
    """(seconds to validate all of `val`, seconds to compile for it). `most`: seconds to spend on it, beside compiling and two batches."""
    forward, began = Forward(program, val.batch_size), time.monotonic()
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
    take_step = new_step(models.trained, models.new_average(), models.replicas, train.batch_size, train.spec, models.augmentation)
    batches = (batch for epoch in range(_STEPS) for batch in train.traced_batches(epoch) if len(batch.images))
    marks = [time.monotonic()]
    for batch in itertools.islice(batches, _STEPS):
        labels = np.eye(classes, dtype=np.float32)[batch.labels] if batch.labels.ndim == 1 else batch.labels
        targets = models.targets(batch.images, labels, train.batch_size)
        result = take_step(batch.images, targets, train.index.weights_at(batch.positions), rate=0.0, share=0.0)
        _ = result.loss  # waits for it
        marks.append(time.monotonic())
        if len(marks) > 2 and marks[-1] - marks[1] > _STEPS_SECONDS:
            break
    if len(marks) < 3:
        raise DatasetError(f"no image under {train.index.root} could be read: imgstream check names them")
    each = (marks[-1] - marks[1]) / (len(marks) - 2)
    return each, max(0.0, marks[1] - marks[0] - each)


def fastest_batch(models: Models, spec: SampleSpec, sizes: Sequence[int], most: float, waiting: Callable[[str], None]) -> int:
    """The one of `sizes`, growing, with which steps of `models.trained` take most images a second, as they would on any image.

    A larger one is tried as long as the one before it was faster by _FASTER, compiling for it took no more than `most` seconds, and it fits
    into the device's memory. The models are left as they were. `waiting` is called with what is being tried.
    """
    variables = [*models.trained.variables, *models.trained.optimizer.variables]
    before = [np.array(keras.ops.convert_to_numpy(v)) for v in variables]
    best, best_rate = sizes[0], 0.0
    for size in sizes:
        waiting(f"trying batches of {size}")
        try:
            each, compiling = _step_on_zeros(models, spec, size)
        except Exception as error:
            if not re.search("resource_?exhausted|out of memory", f"{type(error).__name__} {error}", re.IGNORECASE):
                raise
            break
        if size / each < _FASTER * best_rate:
            break
        best, best_rate = size, size / each
        if compiling > most:
            break
    for variable, value in zip(variables, before, strict=True):
        variable.assign(value)
    return best


def _step_on_zeros(models: Models, spec: SampleSpec, size: int) -> tuple[float, float]:
    """(seconds of a step on a batch of `size` black images, seconds to compile it)."""
    take_step = new_step(models.trained, models.new_average(), models.replicas, size, spec, models.augmentation)
    images, labels = np.zeros((size, *spec.shape), spec.pixel_type), np.zeros((size, models.trained.output_shape[-1]), np.float32)
    labels[:, 0] = 1

    def steps(count: int) -> float:
        began = time.monotonic()
        results = [take_step(images, models.targets(images, labels, size), None, rate=0.0, share=0.0) for _ in range(count)]
        _ = results[-1].loss  # waits for it
        return time.monotonic() - began

    first, second = steps(1), steps(1)
    count = max(2, min(_STEPS, int(_STEPS_SECONDS / 4 / max(1e-4, second))))
    return steps(count) / count, max(0.0, first - second)


def closing_seconds(compiling: float) -> float:
    """Seconds to write a run and leave Python, where compiling the model's forward pass takes `compiling` seconds."""
    return _CLOSING_FIXED + _CLOSING_COMPILED * compiling
