"""Cross-validation: a run for each part, validated on it."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np

from imgstream.errors import RunError
from imgstream.files.atomic import write_json
from imgstream.index import Source
from imgstream.runs.run import Run
from imgstream.training.train import train

NAME = "folds.json"


@dataclasses.dataclass(frozen=True)
class Folds:
    """The finished runs, in the order of their parts."""

    runs: list[Run]

    @property
    def measure(self) -> str:
        """accuracy, or mAP where an image may have several labels."""
        return "accuracy" if "accuracy" in self.runs[0].metrics else "mAP"

    def spread(self) -> dict[str, float]:
        """mean, deviation (of the sample, n - 1), least and most of what the validations measured, 0 to 1."""
        found = np.array([run.metrics[self.measure] for run in self.runs])
        return {"mean": float(found.mean()), "deviation": float(found.std(ddof=1)), "least": float(found.min()), "most": float(found.max())}

    def to_json(self) -> dict[str, Any]:
        """Values that JSON can hold."""
        folds = [
            {"run": Path(run.path).name, **{name: run.metrics.get(name) for name in (self.measure, "loss", "images")}} for run in self.runs
        ]
        return {"format": 1, "folds": folds, self.measure: self.spread()}


def train_folds(
    source: Source,
    *,
    out: str | os.PathLike[str],
    folds: int = 5,
    resume: bool = False,
    started: float | None = None,
    minutes: float | None = None,
    **options: Any,
) -> Folds:
    """Train on `source` once for each of `folds` parts, into the folders fold-1, fold-2, … of `out`, and write folds.json there.

    Args:
        source: As of imgstream.train.
        out: The folder of the runs.
        folds: Number of parts, 2 to 100.
        resume: Leave finished runs as they are, and go on with the others.
        started: The time.monotonic() that the first run's minutes count from; None for now.
        minutes: Wall time of all runs together; each gets an equal share.
        **options: Keywords of imgstream.train, but not `fold`.

    Returns:
        The runs.

    Raises:
        RunError: There are other files in `out`, or runs without `resume`. Otherwise as imgstream.train.
    """
    folder = Path(out)
    names = [f"fold-{k}" for k in range(1, folds + 1)]
    there = set(os.listdir(folder)) if folder.is_dir() else set()
    if other := sorted(there - {*names, NAME}):
        raise RunError(
            f"{folder} is not empty, and holds no cross-validation of {folds} parts: there is {other[0]!r}. Choose another --out"
        )
    if there and not resume:
        raise RunError(f"{folder} holds a cross-validation already. Go on with it with --resume, or choose another --out")
    runs: list[Run] = []
    for k, name in enumerate(names, 1):
        share = None if minutes is None else minutes / folds  # the same when it is resumed, whenever that is
        runs.append(train(source, out=folder / name, fold=f"{k}/{folds}", resume=resume, minutes=share, started=started, **options))
        started = None
    found = Folds(runs)
    write_json(folder / NAME, found.to_json())
    return found
