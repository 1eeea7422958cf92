"""Evaluates a model on labelled images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from imgstream.display import table
from imgstream.errors import DatasetError, OptionError
from imgstream.evaluation.binary import BinaryScores
from imgstream.evaluation.calibration import CalibrationError
from imgstream.evaluation.metrics import ConfusionMatrix, softmax
from imgstream.models.forward import Engine, Forward, late
from imgstream.stream import Batch, Stream

Progress = Callable[[int], None]
"""Called with the number of rows done so far."""
Observe = Callable[[np.ndarray, np.ndarray, np.ndarray], None]
"""Called with images, (B, H, W, C) in the stream's dtype, logits, float32 (B, K), and the model's labels, integer (B,), batch by batch."""


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The result of evaluating a model on labelled images."""

    confusion: ConfusionMatrix
    loss: float
    """Mean cross-entropy of the evaluated images, in nats, of the scores that predict gives: with the temperature."""
    temperature: float
    """Divisor of the logits."""
    ece: float
    """Expected calibration error of these scores, 0 to 1, in 15 bins of confidence."""
    ece_uncalibrated: float
    """The same without the temperature."""
    skipped: list[tuple[str, str]]
    """(path, reason) of the bad files that were left out."""
    unknown_classes: list[str]
    """Labels that are no class of the model; their images were left out."""
    unknown_images: int
    """Number of readable images that were left out for that."""
    unlabelled: int
    """Number of readable images without a label, which were left out too."""
    missing_classes: list[str]
    """Classes of the model without an image here."""
    binary: BinaryScores | None = None
    """Of a model of two classes: how well the scores separate them."""

    @property
    def accuracy(self) -> float:
        """Share of the evaluated images whose class was predicted correctly, 0 to 1."""
        return self.confusion.accuracy

    @property
    def images(self) -> int:
        """Number of images that were evaluated."""
        return int(self.confusion.counts.sum())

    @property
    def figures(self) -> dict[str, float]:
        """The most important figures by name, the first of which models are compared by."""
        return {"accuracy": self.accuracy}

    def _repr_html_(self) -> str:
        report = self.report()
        facts = [("accuracy", f"{100 * self.accuracy:.2f} % of {report['images']:,} images")] if report["images"] else []
        facts += [("loss", f"{self.loss:.4f}"), ("calibration error", f"{100 * self.ece:.2f} %")] if report["images"] else []
        facts += [(name, f"F1 {of['f1']:.3f} of {of['n']:,}") for name, of in list(report["per_class"].items())[:20] if of["n"]]
        return table("Evaluation", facts + ([("skipped", f"{len(self.skipped):,}")] if self.skipped else []))

    def report(self) -> dict[str, Any]:
        """The fields as values that JSON can hold, together with ConfusionMatrix.report; skipped as a count. What was not measured is
        None.
        """
        confusion = self.confusion.report()
        measured = {"loss": self.loss, "ece": self.ece, "ece_uncalibrated": self.ece_uncalibrated}
        return {
            **confusion,
            **(measured if confusion["images"] else dict.fromkeys(measured)),
            "temperature": self.temperature,
            "skipped": len(self.skipped),
            "unknown_classes": self.unknown_classes,
            "unknown_images": self.unknown_images,
            "unlabelled": self.unlabelled,
            "missing_classes": self.missing_classes,
            **({} if self.binary is None else {"binary": self.binary.report()}),
        }


def evaluate(
    engine: Engine,
    class_names: Sequence[str],
    stream: Stream,
    *,
    temperature: float = 1.0,
    flip: bool = False,
    positive: str | None = None,
    max_batches: int | None = None,
    observe: Observe | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Evaluate a model, whose logits `engine` computes, on a labelled stream; scores are softmax(logits / `temperature`). Classes are
    matched by name, so the stream's index may have fewer, more or other classes.

    With `flip`, the scores of an image are the mean of its own and those of its mirror image. `positive`: of a model of two classes, the
    one that `binary` is of; None for the second. `max_batches` stops early: with a shuffled stream that is a fair sample. Raises
    DatasetError when no image belongs to the model's classes, and OptionError for a `positive` that is none of two.
    """
    names = list(class_names)
    binary = _binary(names, positive)
    to_model = np.array([names.index(n) if n in names else -1 for n in stream.index.class_names], np.int64)
    unknown = [n for n in stream.index.class_names if n not in names]
    counts = stream.index.class_counts()
    there = {n for n, count in zip(stream.index.class_names, counts, strict=True) if count}
    if not (to_model >= 0).any():
        found = f"the labels {', '.join(unknown[:20])}" if unknown else "no labels"
        raise DatasetError(
            f"no image under {stream.index.root or 'the paths given'} has one of the model's classes as its label "
            f"({', '.join(names[:20])}); found {found}"
        )
    forward, confusion = Forward(engine, stream.batch_size), ConfusionMatrix(names)
    calibrated, uncalibrated = CalibrationError(), CalibrationError()
    losses, rows, unknown_images, unlabelled = 0.0, 0, 0, 0

    def started() -> Iterator[tuple[Batch, np.ndarray, list[Callable[[], np.ndarray]]]]:
        for batch in stream.traced_batches():
            labels = np.where(batch.labels >= 0, to_model[batch.labels], -1)
            views = (batch.images, batch.images[:, :, ::-1]) if flip else (batch.images,)
            yield batch, labels, [forward.start(view) for view in views] if (labels >= 0).any() else []
            if max_batches is not None and batch.number + 1 >= max_batches:
                return

    for batch, labels, computed in late(started(), forward.ahead):
        rows += len(labels) + len(batch.bad)
        unlabelled += int((batch.labels < 0).sum())
        unknown_images += int(((batch.labels >= 0) & (labels < 0)).sum())
        if computed:
            known = labels >= 0
            logits, true = computed[0]()[known], labels[known]
            raw, scores = softmax(logits), softmax(logits / temperature)
            if flip:
                mirrored = computed[1]()[known]
                raw, scores = (raw + softmax(mirrored)) / 2, (scores + softmax(mirrored / temperature)) / 2
            best = scores.argmax(axis=1)
            confusion.update(true, best)
            losses -= float(np.log(np.maximum(scores[np.arange(len(scores)), true], 1e-12)).sum())
            if binary is not None:
                at = names.index(binary.positive)
                binary.update(scores[:, at], true == at)
            calibrated.update(scores.max(axis=1), best == true)
            uncalibrated.update(raw.max(axis=1), best == true)
            if observe is not None:
                observe(batch.images if known.all() else batch.images[known], logits, true)
        if progress is not None:
            progress(rows)
    return Evaluation(
        confusion=confusion,
        loss=losses / max(1, int(confusion.counts.sum())),
        temperature=temperature,
        ece=calibrated.value,
        ece_uncalibrated=uncalibrated.value,
        skipped=stream.skipped,
        unknown_classes=unknown,
        unknown_images=unknown_images,
        unlabelled=unlabelled,
        missing_classes=[n for n in names if n not in there],
        binary=binary,
    )


def _binary(class_names: list[str], positive: str | None) -> BinaryScores | None:
    if len(class_names) != 2:
        if positive is not None:
            raise OptionError(f"positive is for a model of two classes; this one has {len(class_names)}", "positive")
        return None
    if positive is not None and positive not in class_names:
        raise OptionError(f"positive must be one of the model's classes, {' and '.join(class_names)}; got {positive!r}", "positive")
    return BinaryScores(positive if positive is not None else class_names[1])
