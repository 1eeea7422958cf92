"""An exported model in the place of a run: it evaluates and predicts, by its own runtime."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from imgstream.errors import ModelError
from imgstream.evaluation.evaluate import Evaluation, Progress
from imgstream.evaluation.multi_label import LabelsEvaluation, evaluate_either
from imgstream.export.description import DESCRIPTION, Description, digests_beside, drawn_patterns
from imgstream.export.logits import ExportedLogits
from imgstream.files.digests import digests
from imgstream.index import Source, open_index
from imgstream.models.forward import Engine
from imgstream.prediction.predict import predict
from imgstream.prediction.rows import Prediction
from imgstream.prediction.scorer import Member
from imgstream.runs import Run, load_run
from imgstream.runs.golden import FLOAT32_TOLERANCE, OTHER_TOLERANCE
from imgstream.runtimes import FORMATS, Format, Runtime
from imgstream.runtimes.runtime import chunk_for
from imgstream.stream import Stream
from imgstream.stream.plan import Pipeline, cpu_count

BATCH_SIZE = 32
PATTERN_TOLERANCES = {"float32": FLOAT32_TOLERANCE, "float16": OTHER_TOLERANCE, "int8": 0.1}
"""How much what a model gives may differ from what it gave when it was exported, as a share of the largest number. Processors round the
sums of 8-bit products differently.
"""


class ExportedModel:
    """The model that `imgstream export` wrote to a path.

    It is checked when it is opened: against the digests beside it, if they are there, and against what it gave when it was exported.

    Raises:
        ModelError: It is no exported model, was changed, is damaged, or its runtime is not installed.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        file = Path(path)
        kind = _format_of(file)
        _check_digests(kind, file)
        threads = cpu_count()
        self._runtime = kind.open(file, chunk_for(BATCH_SIZE, threads), threads)
        description = Description.parse(self._runtime.metadata.get(DESCRIPTION), file)
        if description.spec.shape != self._runtime.shape or len(description.class_names) != self._runtime.class_count:
            raise ModelError(
                f"{file} takes {self._runtime.shape} and gives {self._runtime.class_count} numbers, which it describes otherwise"
            )
        _check_patterns(self._runtime, description)
        self.path = os.fspath(path)
        self.description = description
        self.class_names = description.class_names
        """The names of the classes, in the order of the outputs."""
        self.temperature = description.temperature if description.raw else 1.0
        """Divisor of the logits before the softmax; 1.0 where it is in the model."""
        self.thresholds = None if description.thresholds is None else np.array(description.thresholds, np.float32)
        """float32 (K,) where an image may have several labels: from which score on it is taken for a class's; else None."""
        self.spec = description.spec
        """How a file becomes a sample."""
        self.profile = None
        """An exported model does not know the images that its run was trained on."""

    @cached_property
    def fingerprint(self) -> str:
        """Identifies the files, as hex digits."""
        path = Path(self.path)
        files = _format_of(path).files(path)
        found = digests(Path(), [os.fspath(file) for file in files])
        return hashlib.sha256("".join(found.values()).encode()).hexdigest()[:16]

    @property
    def engine(self) -> Engine:
        """uint8 (B, *spec.shape) pixels → logits float32 (B, K)."""
        return ExportedLogits(self._runtime, self.spec, multi_label=self.thresholds is not None and not self.description.raw)

    @property
    def member(self) -> Member:
        """As a Scorer takes it."""
        return Member(self.engine, self.class_names, self.spec, self.temperature, self.thresholds)

    def stream(self, source: Source, *, batch_size: int = BATCH_SIZE, workers: int | None = None, pipeline: Pipeline = "python") -> Stream:
        """The images of `source` as pixels, in index order; see Run.stream."""
        index = open_index(source, multi_label=self.thresholds is not None)
        return Stream(index, self.spec, batch_size=batch_size, workers=workers, pipeline=pipeline, dtype="uint8")

    def evaluate(
        self,
        source: Source,
        *,
        batch_size: int = BATCH_SIZE,
        workers: int | None = None,
        pipeline: Pipeline = "python",
        flip: bool = False,
        positive: str | None = None,
        progress: Progress | None = None,
    ) -> Evaluation | LabelsEvaluation:
        """Evaluate the model on labelled images, as Run.evaluate does."""
        stream = self.stream(source, batch_size=batch_size, workers=workers, pipeline=pipeline)
        how: dict[str, Any] = {"temperature": self.temperature, "flip": flip, "positive": positive}
        return evaluate_either(self.engine, self.class_names, stream, self.thresholds, progress=progress, **how)

    def predict(
        self, source: Source, *, batch_size: int = BATCH_SIZE, workers: int | None = None, pipeline: Pipeline = "python"
    ) -> Iterator[Prediction]:
        """Predict every image of `source`, in index order, lazily and in constant memory, as Run.predict does."""
        stream = self.stream(source, batch_size=batch_size, workers=workers, pipeline=pipeline)
        how: dict[str, Any] = {"batch_size": batch_size, "temperature": self.temperature, "thresholds": self.thresholds}
        return predict(self.engine, self.class_names, stream.traced_batches(), stream.index.relative_bytes, **how)


def is_exported(path: str | os.PathLike[str]) -> bool:
    """Whether a path means an exported model, by its ending, or as a folder with a saved_model.pb."""
    file = Path(path)
    return (file / "saved_model.pb").exists() or file.suffix.lower() in {each.ending for each in FORMATS.values() if each.ending}


def open_model(path: str | os.PathLike[str]) -> Run | ExportedModel:
    """The run folder or the exported model at `path`. Raises RunError or ModelError."""
    return ExportedModel(path) if is_exported(path) else load_run(path)


def _format_of(path: Path) -> Format:
    if path.is_dir():
        return FORMATS["savedmodel"]
    found = next((each for each in FORMATS.values() if each.ending and each.ending == path.suffix.lower()), None)
    if found is None:
        raise ModelError(f"{path} is no exported model: they end in .tflite, .onnx or .xml, or are folders with a saved_model.pb")
    return found


def _check_digests(kind: Format, path: Path) -> None:
    home = kind.home(path)
    first = kind.files(path)[0]
    expected = digests_beside(home, first.name)
    if expected is None:
        return
    if (found := digests(home, [name for name in expected if "/" not in name or name.startswith("variables/")])) != expected:
        wrong = next(name for name in expected if found.get(name) != expected[name])
        raise ModelError(f"{home / wrong} is not what it was when it was exported: it is damaged, missing, or was changed. Export it again")


def _check_patterns(runtime: Runtime, description: Description) -> None:
    found = runtime(drawn_patterns(description.spec, description.raw))
    expected = np.asarray(description.patterns, np.float32)
    tolerance = PATTERN_TOLERANCES[description.precision]
    difference = float(np.abs(found - expected).max() / max(1e-6, float(np.abs(expected).max())))
    if not difference <= tolerance:
        raise ModelError(
            f"{runtime.path} does not give what it gave when it was exported: drawn images differ by {difference:.1e}, {tolerance:.0e} is "
            "allowed. It was changed, or its runtime computes otherwise here"
        )
