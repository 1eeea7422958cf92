"""Evaluates a model whose images may have several labels: each class is a decision of its own, with a threshold of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from imgstream.display import table
from imgstream.errors import DatasetError, OptionError
from imgstream.evaluation.binary import BinaryScores
from imgstream.evaluation.calibration import CalibrationError
from imgstream.evaluation.evaluate import Evaluation, Observe, Progress, evaluate
from imgstream.evaluation.metrics import sigmoid
from imgstream.models.forward import Engine, Forward, late
from imgstream.stream import Batch, Stream

NO_THRESHOLD = 0.5
"""The threshold of a class without an image to choose it on."""


class LabelScores:
    """The scores of every class, and whether each image is of it. Memory: 5 bytes an image and class."""

    def __init__(self, class_names: Sequence[str], known: Sequence[bool] | None = None) -> None:
        """`known`: whether images are said to be of a class or not; what is not said is not measured. None for all classes."""
        self.class_names = list(class_names)
        self._known = [True] * len(self.class_names) if known is None else list(known)
        self._classes = [BinaryScores(name) for name in self.class_names]
        self.images = 0
        """Number of images."""

    def update(self, scores: np.ndarray, truth: np.ndarray) -> None:
        """Add a batch: float32 (B, K) scores, 0 to 1, and bool (B, K)."""
        for number, each in enumerate(self._classes):
            if self._known[number]:
                each.update(scores[:, number], truth[:, number])
        self.images += len(scores)

    def best_thresholds(self) -> np.ndarray:
        """float32 (K,): for each class the threshold of its highest F1; NO_THRESHOLD for one without an image."""
        points = [each.at_best_f1() for each in self._classes]
        return np.array([NO_THRESHOLD if point is None else point.threshold for point in points], np.float32)

    def report(self, thresholds: np.ndarray) -> dict[str, Any]:
        """Values that JSON can hold: images, mean_average_precision, micro_average and macro_average (precision, recall, f1), and
        per_class {name: precision, recall, f1, n, average_precision, threshold}, with images of a score of at least its threshold taken for
        a class's.

        n is the number of images of the class. What was not measured is None: the figures of a class without an image, which
        macro_average and mean_average_precision, means over the classes, leave out. micro_average counts the decisions of all classes
        together.
        """
        per_class: dict[str, dict[str, float | int | None]] = {}
        hits = taken = wanted = 0
        for each, threshold, name in zip(self._classes, thresholds.tolist(), self.class_names, strict=True):
            right, claimed, n = each.counts_at(threshold)
            hits, taken, wanted = hits + right, taken + claimed, wanted + n
            precision, recall, f1 = _figures(right, claimed, n) if n else (None, None, None)
            figures = {"precision": precision, "recall": recall, "f1": f1, "n": n, "average_precision": each.average_precision}
            per_class[name] = {**figures, "threshold": threshold}
        measured = [of for of in per_class.values() if of["n"]]
        names = ("precision", "recall", "f1")
        macro = {name: float(np.mean([of[name] for of in measured])) if measured else None for name in names}
        micro = dict(zip(names, _figures(hits, taken, wanted) if wanted else (None, None, None), strict=True))
        return {
            "images": self.images,
            "class_names": self.class_names,
            "mean_average_precision": float(np.mean([of["average_precision"] for of in measured])) if measured else None,
            "micro_average": micro,
            "macro_average": {**macro, "classes": len(measured)},
            "per_class": per_class,
        }


def _figures(hits: int, taken: int, wanted: int) -> tuple[float, float, float]:
    """Precision, recall and F1; the precision of nothing is 0, as in scikit-learn."""
    return hits / taken if taken else 0.0, hits / wanted, 2 * hits / (taken + wanted)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelsEvaluation:
    """The result of evaluating a model on images that may have several labels."""

    scores: LabelScores
    thresholds: np.ndarray
    """float32 (K,): from which score on an image is taken for a class's."""
    exact: float
    """Share of the images with exactly their labels, 0 to 1."""
    loss: float
    """Mean over the images of the binary cross-entropies of all classes, added up, in nats."""
    ece: float
    """Expected calibration error of the scores, over all classes, 0 to 1, in 15 bins."""
    skipped: list[tuple[str, str]]
    """(path, reason) of the bad files that were left out."""
    unknown_classes: list[str]
    """Labels that are no class of the model."""
    unlabelled: int
    """Number of readable images without labels, which were left out."""
    missing_classes: list[str]
    """Classes of the model that the labels do not know; they were not measured."""

    @property
    def images(self) -> int:
        """Number of images that were evaluated."""
        return self.scores.images

    @property
    def figures(self) -> dict[str, float]:
        """The most important figures by name, the first of which models are compared by; 0.0 where nothing was measured."""
        report = self.scores.report(self.thresholds)
        found = {
            "mAP": report["mean_average_precision"],
            "f1_micro": report["micro_average"]["f1"],
            "f1_macro": report["macro_average"]["f1"],
        }
        return {name: value or 0.0 for name, value in found.items()}

    def _repr_html_(self) -> str:
        report = self.report()
        facts = [(name, f"{100 * value:.2f} %") for name, value in self.figures.items()] if self.images else []
        facts += [(name, f"F1 {of['f1']:.3f} of {of['n']:,}") for name, of in list(report["per_class"].items())[:20] if of["n"]]
        return table("Evaluation", facts + ([("skipped", f"{len(self.skipped):,}")] if self.skipped else []))

    def report(self) -> dict[str, Any]:
        """The fields as values that JSON can hold, together with LabelScores.report; skipped as a count. `accuracy` is `exact`. What was
        not measured is None.
        """
        measured = {"accuracy": self.exact, "loss": self.loss, "ece": self.ece}
        return {
            **(measured if self.images else dict.fromkeys(measured)),
            **self.scores.report(self.thresholds),
            "skipped": len(self.skipped),
            "unknown_classes": self.unknown_classes,
            "unlabelled": self.unlabelled,
            "missing_classes": self.missing_classes,
        }


def evaluate_labels(
    engine: Engine,
    class_names: Sequence[str],
    stream: Stream,
    *,
    thresholds: np.ndarray | None = None,
    flip: bool = False,
    max_batches: int | None = None,
    observe: Observe | None = None,
    progress: Progress | None = None,
) -> LabelsEvaluation:
    """Evaluate a model, whose logits `engine` computes, on images that may have several labels; scores are sigmoid(logits). Classes are
    matched by name. Where the stream's images have one label each, they are taken for images of that class alone.

    `thresholds`: float32 (K,); None for those of the highest F1 on these images. `flip`, `max_batches`, `observe`, whose labels are float32
    (B, K), and `progress`: as in `evaluate`. Raises DatasetError when the labels know none of the model's classes.
    """
    names, index = list(class_names), stream.index
    if not set(names).intersection(index.class_names):
        found = f"the labels {', '.join(index.class_names[:20])}" if index.class_names else "no labels"
        raise DatasetError(
            f"no image under {index.root or 'the paths given'} has one of the model's classes as its label "
            f"({', '.join(names[:20])}); found {found}"
        )
    forward, scored = Forward(engine, stream.batch_size), LabelScores(names, [name in index.class_names for name in names])
    calibration, losses, rows, unlabelled = CalibrationError(), 0.0, 0, 0
    kept: list[tuple[np.ndarray, np.ndarray]] = []

    def started() -> Iterator[tuple[Batch, np.ndarray, list[Callable[[], np.ndarray]]]]:
        for batch in stream.traced_batches():
            views = (batch.images, batch.images[:, :, ::-1]) if flip else (batch.images,)
            targets = targets_for(batch.labels, index.class_names, names)
            yield batch, targets, [forward.start(view) for view in views] if (targets >= 0).any() else []
            if max_batches is not None and batch.number + 1 >= max_batches:
                return

    for batch, targets, computed in late(started(), forward.ahead):
        rows += len(targets) + len(batch.bad)
        known = targets[:, 0] >= 0
        unlabelled += int((~known).sum())
        if computed:
            logits, truth = computed[0]()[known], targets[known]
            scores = sigmoid(logits)
            if flip:
                scores = (scores + sigmoid(computed[1]()[known])) / 2
            scored.update(scores, truth > 0)
            kept.append((scores, truth > 0))
            losses -= float(np.log(np.maximum(np.where(truth > 0, scores, 1 - scores), 1e-12)).sum())
            calibration.update(scores.ravel(), truth.ravel() > 0)
            if observe is not None:
                observe(batch.images if known.all() else batch.images[known], logits, truth)
        if progress is not None:
            progress(rows)
    thresholds = scored.best_thresholds() if thresholds is None else thresholds
    exact = sum(int(((scores >= thresholds) == truth).all(1).sum()) for scores, truth in kept)
    return LabelsEvaluation(
        scores=scored,
        thresholds=thresholds,
        exact=exact / max(1, scored.images),
        loss=losses / max(1, scored.images),
        ece=calibration.value,
        skipped=stream.skipped,
        unknown_classes=[name for name in index.class_names if name not in names],
        unlabelled=unlabelled,
        missing_classes=[name for name in names if name not in index.class_names],
    )


def evaluate_either(
    engine: Engine,
    class_names: Sequence[str],
    stream: Stream,
    thresholds: np.ndarray | None,
    *,
    temperature: float = 1.0,
    positive: str | None = None,
    **how: Any,
) -> Evaluation | LabelsEvaluation:
    """Evaluate a model that gives an image one label, where `thresholds` is None, or several. `how`: see evaluate."""
    if thresholds is None:
        return evaluate(engine, class_names, stream, temperature=temperature, positive=positive, **how)
    if positive is not None:
        raise OptionError("positive is for a model of two classes of which an image has one; this one gives several labels", "positive")
    return evaluate_labels(engine, class_names, stream, thresholds=thresholds, **how)


def targets_for(labels: np.ndarray, label_names: Sequence[str], class_names: Sequence[str]) -> np.ndarray:
    """float32 (B, K), 1 for each class of an image and 0 for the others, or -1 throughout for an image without labels.

    `labels`: of a batch, int32 (B,) or float32 (B, number of `label_names`); `class_names`: the K classes, matched by name.
    """
    if labels.ndim == 1:
        each = np.zeros((len(labels), len(label_names)), np.float32)
        each[np.flatnonzero(labels >= 0), labels[labels >= 0]] = 1
        each[labels < 0] = -1
        labels = each
    targets = np.zeros((len(labels), len(class_names)), np.float32)
    for at, name in enumerate(label_names):
        if name in class_names:
            targets[:, class_names.index(name)] = labels[:, at]
    targets[(labels < 0).any(axis=1) if len(label_names) else slice(None)] = -1
    return targets
