"""The images that an int8 model takes its ranges from, and what it loses on others."""

from __future__ import annotations

from typing import Any

import numpy as np

from imgstream.errors import DatasetError, ModelError
from imgstream.evaluation.evaluate import evaluate
from imgstream.export.logits import ExportedLogits
from imgstream.index import ImageIndex, Source, open_index
from imgstream.runs import Run
from imgstream.runtimes import Runtime
from imgstream.stream import Stream
from imgstream.wording import quantity

CALIBRATED_ON, MEASURED_ON = 300, 2_000
"""The most images for the ranges, and for what is lost."""
FEWEST = 20
MOST_LOST = 0.01
"""Accuracy that an int8 model may lose: one point."""


class CalibrationImages:
    """A stratified sample of `source`'s images of the classes of `run`: some for the ranges, and others to measure with.

    `source` None: the images that the run was trained on. Raises DatasetError when there are too few.
    """

    def __init__(self, run: Run, source: Source | None) -> None:
        index = open_index(run.folder.index if source is None else source)
        self._run = run
        order = _stratified(index, run.class_names)
        calibrated_on = min(CALIBRATED_ON, len(order) // 2)
        self._measured_on = index.take(np.sort(order[calibrated_on : calibrated_on + MEASURED_ON]))
        stream = Stream(index.take(order[:calibrated_on]), run.spec, dtype="uint8")
        batches = [images.copy() for images, *_ in stream.batches()]
        self.pixels = np.concatenate(batches) if batches else np.zeros((0, *run.spec.shape), np.uint8)
        """uint8 (n, *spec.shape), RGB or grey."""
        if len(self.pixels) < FEWEST // 2:
            where = "of those that the run was trained on" if source is None else f"under {index.root or 'the paths given'}"
            raise DatasetError(
                f"int8 takes its ranges from images of the model's classes ({', '.join(run.class_names[:20])}), and {where} only "
                f"{quantity(len(self.pixels), 'image')} can be read; give {FEWEST} or more with --calibrate DIR"
            )

    @property
    def samples(self) -> np.ndarray:
        """The same, scaled: float32 (n, *spec.shape), as the run's model takes them."""
        samples = np.empty(self.pixels.shape, np.float32)
        self._run.spec.to_float(self.pixels, samples)
        return samples

    def measured(self, runtime: Runtime, temperature: float) -> dict[str, Any]:
        """Accuracy of the run and of its int8 model, `runtime`, on the images that the ranges were not taken from."""
        spec, names = self._run.spec, self._run.class_names
        before = evaluate(self._run.program, names, Stream(self._measured_on, spec, dtype="uint8"))
        after = evaluate(ExportedLogits(runtime, spec), names, Stream(self._measured_on, spec, dtype="uint8"), temperature=temperature)
        return {
            "calibrated_on": len(self.pixels),
            "measured_on": int(before.confusion.counts.sum()),
            "accuracy_before": before.accuracy,
            "accuracy_after": after.accuracy,
        }


def loses_too_much(measured: dict[str, Any]) -> bool:
    """Whether more than a point is lost, by what CalibrationImages.measured gave."""
    return bool(measured["accuracy_before"] - measured["accuracy_after"] > MOST_LOST)


def refusal(measured: dict[str, Any]) -> ModelError:
    """The error that says what int8 loses."""
    before, after = measured["accuracy_before"], measured["accuracy_after"]
    return ModelError(
        f"int8 loses {100 * (before - after):.1f} points of accuracy: {100 * before:.1f} % before, {100 * after:.1f} % after, of "
        f"{quantity(measured['measured_on'], 'image')}; 1 is allowed, and with half of the model in float32 more is lost, too. Nothing was "
        "written. Take --precision float16, or calibrate on images like those that it will see"
    )


def _stratified(index: ImageIndex, class_names: list[str]) -> np.ndarray:
    """Positions of the images of `class_names`, int64, by chance, one of each class in turn until a class has no more."""
    shuffled = np.random.default_rng(0).permutation(len(index)).astype(np.int64)
    labels = index.labels_at(shuffled)
    rank = np.full(len(index), -1, np.int64)
    for label, name in enumerate(index.class_names):
        if name in class_names:
            places = np.flatnonzero(labels == label)
            rank[places] = np.arange(len(places))
    order = np.argsort(rank, kind="stable")
    return shuffled[order[rank[order] >= 0]]
