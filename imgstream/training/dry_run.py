"""dry_run: finds out what a training would do, without writing anything."""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path
from typing import Any

from imgstream.errors import OutputError
from imgstream.index import ImageIndex
from imgstream.index.split.validation import SplitReport
from imgstream.models.forward import Program
from imgstream.runs.folder import RunFolder
from imgstream.training.frozen_backbone import MOST_IMAGES
from imgstream.training.memory.plan import MemoryPlan
from imgstream.training.preparation import Preparation, known_settings, prepare
from imgstream.training.progress import TrainingProgress
from imgstream.training.schedule import Clock
from imgstream.training.state.checkpoint import latest, step_of
from imgstream.training.trial import closing_seconds, try_steps, try_validation

_VALIDATION_SECONDS = 3.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class DryRun:
    """What train would do with the same options."""

    run: str
    """The folder that it would write to."""
    resumed_from_step: int | None
    """The step that the existing run would go on from; None for a new run."""
    split: SplitReport
    classes: dict[str, int]
    """Number of images of each class, for training and validation."""
    size: tuple[int, int]
    """(height, width) of a sample in pixels."""
    levels: tuple[float, float] | None
    """The stored values that become black and white; None for samples of 8 bits."""
    first_size: tuple[int, int] | None
    """The smaller size that the first `first_share` of the work is done with; None if all is done with `size`."""
    first_share: float
    model: str
    parameters: int
    weights: str
    """The weights to start from: none, imagenet, or a file."""
    head_only: bool
    teacher: str | None
    """The runs to learn from beside the labels."""
    augment: Any
    augment_on: str
    precision: str
    pipeline: str
    pipeline_why: str
    memory: MemoryPlan
    epochs: int | None
    minutes: float | None
    steps: int
    """Number of steps; with `minutes`, as many as the measured speed gives. 0 when only a head is trained."""
    step_seconds: float
    """Duration of a step at full size, measured now."""
    seconds: float
    """Estimated duration of the whole command, for a resumed run from its step on."""

    def to_json(self) -> dict[str, Any]:
        """The fields as values that JSON can hold."""
        found = dataclasses.asdict(self)
        memory = found.pop("memory")
        return {
            **found,
            "batch_size": memory["batch_size"],
            "validation_batch_size": memory["validation_batch"],
            "memory": {"planned_bytes": memory["expected_bytes"], "limit_bytes": memory["limit_bytes"]},
            "step_seconds": round(self.step_seconds, 4),
            "seconds": round(self.seconds, 1),
        }


def dry_run(
    source: str | os.PathLike[str] | ImageIndex,
    *,
    out: str | os.PathLike[str],
    resume: bool = False,
    progress: bool | None = None,
    started: float | None = None,
    **options: Any,
) -> DryRun | None:
    """What imgstream.train would do with the same arguments; None if that run is finished already.

    It lists the images, splits them, builds the model, selects the pipeline, plans the memory, and runs a few steps to measure their
    duration; their result is dropped. Nothing is written. Raises what train raises before it starts.
    """
    started = time.monotonic() if started is None else started
    settings, folder = known_settings(options), RunFolder(out)
    with TrainingProgress(progress) as line:
        prepared = prepare(source, settings, folder, resume=resume, scanned=line.scanned, waiting=line.waiting, tell=line.notice)
        if prepared is None:
            return None
        _check_can_be_made(folder.path)
        return _planned(prepared, time.monotonic() - started)


def _planned(prepared: Preparation, passed: float) -> DryRun:
    """`passed`: the seconds that preparing took, and will take again."""
    settings, sizes, train, val = prepared.settings, prepared.sizes, prepared.train_stream(), prepared.val_stream()
    validating, compiling_validation = try_validation(Program(prepared.models.served, val.spec), val, _VALIDATION_SECONDS)
    step_seconds, compiling = try_steps(prepared.models, train)
    checkpoint = latest(prepared.folder.checkpoints)
    before = None if prepared.state is None else 0 if checkpoint is None else step_of(checkpoint)
    seconds = passed + closing_seconds(compiling_validation) + compiling_validation + compiling * (1 if sizes.small is None else 2)
    if prepared.models.is_transfer and checkpoint is None:  # the features of a head: as much work an image as validating is
        images = len(train.index) if settings.head_only else min(MOST_IMAGES, len(train.index))
        seconds += validating * (images / len(val.index) + 1)
    if settings.head_only:
        steps, seconds = 0, seconds + validating
    elif settings.minutes is None:
        assert settings.planned_epochs is not None
        steps = settings.planned_epochs * len(train)
        left = 1 - (before or 0) / steps
        seconds += left * (steps / sizes.steps_in(1.0, 0.0) * step_seconds + settings.planned_epochs * validating)
    else:
        clock = Clock(60 * settings.minutes)
        clock.work_seconds, clock.validation_seconds, clock.closing_seconds = step_seconds, validating, 0.0
        steps, seconds = round(sizes.steps_in(clock.work_left(seconds), 0.0)), 60 * settings.minutes
    return DryRun(
        run=os.fspath(prepared.folder.path),
        resumed_from_step=before,
        split=prepared.split,
        classes=dict(zip(prepared.index.class_names, prepared.index.class_counts().tolist(), strict=True)),
        size=prepared.spec.size,
        levels=prepared.spec.levels,
        first_size=sizes.small,
        first_share=sizes.small_until if sizes.small is not None else 0.0,
        model=prepared.info.name,
        parameters=prepared.models.served.count_params(),
        weights=settings.weights,
        head_only=settings.head_only,
        teacher=",".join(settings.teacher_runs) or None,
        augment=prepared.recorded["augment"],
        augment_on=settings.augment_on,
        precision=prepared.models.policy,
        pipeline=prepared.pipeline.pipeline,
        pipeline_why=prepared.pipeline.why,
        memory=prepared.memory,
        epochs=settings.planned_epochs,
        minutes=settings.minutes,
        steps=steps,
        step_seconds=step_seconds,
        seconds=seconds,
    )


def _check_can_be_made(path: Path) -> None:
    """Raise OutputError where RunFolder.make would."""
    there = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        why = "no permission to write there" if there.is_dir() else f"{there} is no folder"
        raise OutputError(f"cannot make the run folder {path}: {why}. Choose another --out")
