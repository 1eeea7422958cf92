"""The images that an int8 model takes its ranges from, and what it loses on others."""

from __future__ import annotations

from typing import Any

import numpy as np

from imgstream.errors import DatasetError, ModelError
from imgstream.evaluation.multi_label import evaluate_either
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
        index = open_index(run.folder.index if source is None else source, multi_label=run.thresholds is not None)
        self._run = run
        order = _stratified(index, run.class_names)
        calibrated_on = min(CALIBRATED_ON, len(order) // 2)
        self._measured_on = index.take(np.sort(order[calibrated_on : calibrated_on + MEASURED_ON]))
        stream = Stream(index.take(order[:calibrated_on]), run.spec, dtype=run.spec.pixel_type)
        batches = [images.copy() for images, *_ in stream.batches()]
        self.pixels = np.concatenate(batches) if batches else np.zeros((0, *run.spec.shape), run.spec.pixel_type)
        """(n, *spec.shape), RGB or grey, of its pixel_type."""
        if len(self.pixels) < FEWEST // 2:
            where = "of those that the run was trained on" if source is None else f"under {index.root or 'the paths given'}"
            raise DatasetError(
                f"int8 takes its ranges from images of the model's classes ({', '.join(run.class_names[:20])}), and {where} only "
                f"{quantity(len(self.pixels), 'image')} can be read; give {FEWEST} or more with --calibrate DIR"
            )

    def measured(self, runtime: Runtime, temperature: float, raw: bool) -> dict[str, Any]:
        """Accuracy of the run and of its int8 model, `runtime`, on the images that the ranges were not taken from; of models that give
        several labels, their mean average precision.
        """
        spec, names = self._run.spec, self._run.class_names
        thresholds = self._run.thresholds
        exported = ExportedLogits(runtime, spec, raw, multi_label=thresholds is not None)
        before, after = (
            evaluate_either(engine, names, Stream(self._measured_on, spec, dtype=spec.pixel_type), thresholds, temperature=divisor)
            for engine, divisor in ((self._run.program, 1.0), (exported, temperature))
        )
        measure, had = next(iter(before.figures.items()))
        has = after.figures[measure]
        return {
            "calibrated_on": len(self.pixels),
            "measured_on": before.images,
            "measure": measure,
            f"{measure}_before": had,
            f"{measure}_after": has,
        }


def before_and_after(measured: dict[str, Any]) -> tuple[str, float, float]:
    """(name of the measure, of the run, of its int8 model), of what CalibrationImages.measured gave."""
    measure = measured["measure"]
    return measure, measured[f"{measure}_before"], measured[f"{measure}_after"]


def loses_too_much(measured: dict[str, Any]) -> bool:
    """Whether more than a point is lost, by what CalibrationImages.measured gave."""
    _, before, after = before_and_after(measured)
    return before - after > MOST_LOST


def refusal(measured: dict[str, Any]) -> ModelError:
    """The error that says what int8 loses."""
    measure, before, after = before_and_after(measured)
    return ModelError(
        f"int8 loses {100 * (before - after):.1f} points of {measure}: {100 * before:.1f} % before, {100 * after:.1f} % after, of "
        f"{quantity(measured['measured_on'], 'image')}; 1 is allowed, and with half of the model in float32 more is lost, too. Nothing was "
        "written. Take --precision float16, or calibrate on images like those that it will see"
    )


def _stratified(index: ImageIndex, class_names: list[str]) -> np.ndarray:
    """Positions of the images of `class_names`, int64, by chance, one of each class in turn until a class has no more."""
    shuffled = np.random.default_rng(0).permutation(len(index)).astype(np.int64)
    places, labels = index.classes_at(shuffled)
    rank = np.full(len(index), -1, np.int64)
    for label, name in enumerate(index.class_names):
        if name in class_names:
            of_class = places[labels == label]
            rank[of_class] = np.where(rank[of_class] < 0, np.arange(len(of_class)), rank[of_class])
    order = np.argsort(rank, kind="stable")
    return shuffled[order[rank[order] >= 0]]
