"""train: from a folder of class folders to a finished run folder."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from imgstream.evaluation.drift import Profile, ProfileBuilder, sample_headers
from imgstream.index import ImageIndex, Source
from imgstream.models.forward import Forward, Program
from imgstream.runs.folder import RunFolder
from imgstream.runs.golden import write_golden
from imgstream.runs.run import BATCH_SIZE, Run, device
from imgstream.runs.tensorboard import write_options
from imgstream.spec import SampleSpec
from imgstream.training.data import split
from imgstream.training.frozen_backbone import train_head
from imgstream.training.loop import Report, TrainingLoop
from imgstream.training.memory.record import MemoryRecord
from imgstream.training.preparation import Preparation, known_settings, prepare
from imgstream.training.processes.group import joined, telling
from imgstream.training.processes.run_copy import run_folder
from imgstream.training.progress import TrainingProgress
from imgstream.training.state.checkpoint import latest
from imgstream.training.state.config_file import write_config
from imgstream.versions import versions
from imgstream.wording import quantity

_PACKAGES = ("imgstream", "keras", "tensorflow", "numpy", "opencv-python-headless", "simplejpeg", "pillow", "albumentations")

_LEAST = 0.05
"""Minutes that are left for training, whatever is reserved."""

T = TypeVar("T")


def train(
    source: Source,
    *,
    out: str | os.PathLike[str],
    resume: bool = False,
    progress: bool | None = None,
    callbacks: Sequence[Any] = (),
    report: Report | None = None,
    scanned: Callable[[int], None] | None = None,
    embedded: Callable[[int], None] | None = None,
    notice: Callable[[str], None] | None = None,
    started: float | None = None,
    reserve: float = 0.0,
    repeated: Mapping[str, Any] | None = None,
    **options: Any,
) -> Run:
    """Train a classifier on a folder of class folders and write a run folder.

    ```python
    run = imgstream.train("photos/", out="runs/pets", minutes=15)
    run = imgstream.train("photos/", out="runs/mobile", model="MobileNetV2", weights="imagenet", epochs=5)
    ```

    Ctrl-C keeps what was learnt: the run folder is written and can be loaded, and KeyboardInterrupt is raised.

    Args:
        source: A folder, a manifest (with root= and columns=), a table or an index: what imgstream.scan takes.
        out: The run folder to write.
        resume: Go on with an unfinished run in `out`, or return a finished one; without a run there, start it.
        progress: None shows progress on a terminal or in a notebook, unless `report` is given; False never, True everywhere.
        callbacks: Keras callbacks. They see the model that is trained, and may stop training (model.stop_training); the learning rate is
            set by this function.
        report: Called with a Status after each step and each validation.
        scanned: Called with the number of images found so far.
        embedded: Called with the number of images whose features have been computed for a head.
        notice: Called with lines about automatic decisions, such as the pipeline.
        started: The time.monotonic() that `minutes` counts from; None for now.
        reserve: Seconds of `minutes` to leave for what the caller does afterwards.
        repeated: Options of the caller's own that the run's train.yaml is to hold too, by name.
        **options: Fields of TrainSettings, which are the options of the command line: minutes=15, model="MobileNetV2", …

    Returns:
        The run, loaded from `out`.

    Raises:
        DatasetError: An option is impossible, or the images cannot be trained on: fewer than two classes, an empty class, too many bad
            files.
        NoImagesError: There are no images at `source`.
        ModelError: The model or its weights cannot be used, do not fit into the memory, or training diverged.
        AugmentError: The augmentation cannot be loaded or used.
        RunError: There is a run in `out` already, or it cannot be resumed with these options.
        OutputError: The run folder cannot be written.
        ClusterError: Of several processes that train together (docs/guide/processes.md), one cannot be reached, or has ended.
        KeyboardInterrupt: Ctrl-C ended the training.
    """
    started = time.monotonic() if started is None else started
    settings, processes = known_settings(options), joined()
    if not processes.is_first:
        progress, report, notice = False, None, None
    if progress is None and report is not None:
        progress = False
    with telling(processes), TrainingProgress(progress) as line, run_folder(RunFolder(out), processes) as folder, folder.locked():
        tell = _each(line.notice, notice)
        how: dict[str, Any] = {"scanned": _each(line.scanned, scanned), "waiting": line.waiting, "tell": tell}
        prepared = prepare(source, settings, folder, resume=resume, processes=processes, **how)
        if prepared is None:
            return Run(folder)
        finished = _run(
            prepared,
            source,
            started,
            reserve,
            repeated or {},
            callbacks,
            _each(line, report),
            _each(line.embedded, embedded),
            line.waiting,
            tell,
        )
        run = Run(folder)
    if not finished:
        raise KeyboardInterrupt
    return run


def _run(
    prepared: Preparation,
    source: Source,
    started: float,
    reserve: float,
    repeated: Mapping[str, Any],
    callbacks: Sequence[Any],
    report: Report,
    embedded: Callable[[int], None],
    waiting: Callable[[str], None],
    tell: Callable[[str], None],
) -> bool:
    """Train, and write the run folder; False when Ctrl-C ended it early."""
    folder, settings, state, models, memory = prepared.folder, prepared.settings, prepared.state, prepared.models, prepared.memory
    if prepared.cache is not None:
        prepared.cache.prepare()
    folder.make()
    pipeline, why = prepared.pipeline
    for line in (prepared.split, f"Pipeline: {pipeline} ({why})", f"Precision: {models.policy} ({models.policy_why})", f"Memory: {memory}"):
        tell(str(line))
    if state is None:
        prepared.index.save(folder.index)
        index = ImageIndex.load(folder.index)  # facts about files are kept with the run's table, for a resumed run to compare with
        train_index, val_index, _ = split(index, settings)
        prepared = dataclasses.replace(prepared, index=index, train=train_index, val=val_index)
        folder.write_json("spec.json", prepared.spec.to_json())
        names = {"format": 1, "class_names": index.class_names}
        folder.write_json("class_names.json", {**names, "multi_label": True} if settings.multi_label else names)
        folder.write_json("settings.json", prepared.recorded)
        write_config(folder, source, {**prepared.recorded, **repeated})
        write_options(folder, prepared.recorded)
        chosen: dict[str, Any] = {"pipeline": pipeline, "pipeline_why": why, "split": prepared.split.to_json()}
        chosen |= {"model": prepared.info.name, "precision": models.policy}
        chosen |= {"batch_size": memory.batch_size, "validation_batch": memory.validation_batch}
        if models.teacher is not None:
            chosen["teacher"] = models.teacher.fingerprints
        folder.write_state({"state": "running", "created": _now(), "versions": versions(*_PACKAGES), **chosen})
    with MemoryRecord(folder.memory, settings.memory) as record:
        train_stream, val_stream = prepared.train_stream(), prepared.val_stream()
        phases = {"starting": time.monotonic() - started}
        if models.is_transfer and latest(folder.checkpoints) is None:
            head = train_head(models.served, train_stream, val_stream, settings, os.fspath(folder.path), embedded)
            models.served.set_weights(prepared.processes.from_first(models.served.get_weights()))
            models.trained.set_weights(models.served.get_weights())
            phases["head"] = time.monotonic() - started - phases["starting"]
            tell(f"The head alone, on frozen features: validation accuracy {head.accuracy:.4f}, loss {head.loss:.4f}")
        how: dict[str, Any] = {
            "processes": prepared.processes,
            "started": started,
            "record": record,
            "report": report,
            "waiting": waiting,
            "callbacks": callbacks,
        }
        left = settings if settings.minutes is None else dataclasses.replace(settings, minutes=max(_LEAST, settings.minutes - reserve / 60))
        loop = TrainingLoop(models, train_stream, val_stream, left, folder, prepared.sizes, **how)
        if state is not None:
            loop.restore()
        for phase, seconds in phases.items():
            loop.spent(phase, seconds)
        finished = loop.finish() if settings.head_only else loop.run()
        if changed := prepared.index.changed():
            tell(f"{quantity(len(changed), 'file has', 'files have')} changed since first read, such as {changed[0]!r}")
        waiting("writing the run")
        _write_run(folder, loop, prepared.spec, finished, {"planned_bytes": memory.expected_bytes, "peak_bytes": record.peak})
    return finished


def _each(own: Callable[[T], None], given: Callable[[T], None] | None) -> Callable[[T], None]:
    """A function that calls both."""

    def tell(what: T) -> None:
        own(what)
        if given is not None:
            given(what)

    return tell


def _write_run(folder: RunFolder, loop: TrainingLoop, spec: SampleSpec, finished: bool, memory: dict[str, int]) -> None:
    """Write the model with its best average, its golden samples, and run.json last: when run.json says finished, all the rest is there."""
    began = time.monotonic()
    if loop.best is not None:
        loop.average.values = loop.best
    loop.average.assign_to(loop.models.served)
    calibration = dict(loop.state.calibration or {})
    temperature, thresholds = calibration.pop("temperature", 1.0), calibration.pop("thresholds", None)
    if (temperatures := calibration.get("temperatures")) is not None:  # each class's divides its own column: the model then has none
        head = loop.models.served.get_layer("logits")
        head.set_weights([weight / np.asarray(temperatures, np.float32) for weight in head.get_weights()])
    model = folder.save_model(loop.models.served, spec.shape)
    write_golden(folder.golden, spec, Forward(Program(model, spec), BATCH_SIZE), device())
    if loop.state.profile is not None:
        folder.write_json("profile.json", _profile(loop.train.index, Profile.from_json(loop.state.profile)).to_json())
    loop.spent("writing", time.monotonic() - began)
    state = folder.state()
    state.update(
        state="finished" if finished else "interrupted",
        fingerprint=folder.fingerprint(temperature, thresholds),
        metrics=loop.state.best or {},
        temperature=temperature,
        **({} if thresholds is None else {"thresholds": thresholds}),
        calibration=calibration,
        steps=loop.state.step,
        steps_run=loop.state.step - (loop.resumed_from_step or 0),
        resumed_from_step=loop.resumed_from_step,
        memory=memory,
        checkpoints={"written": loop.checkpoints.count, "longest_pause_seconds": round(loop.checkpoints.pause, 4)},
        epochs=loop.state.epoch,
        plans=loop.state.plans,
        seconds=round(loop.elapsed(), 1),
        phases={phase: round(seconds, 1) for phase, seconds in loop.state.phases.items()},
        images_per_second=round(loop.images_seen / max(1e-9, loop.train_seconds), 1),
    )
    folder.write_state(state)


def _profile(train: ImageIndex, validated: Profile) -> Profile:
    """Statistics of the training files and of the validation images."""
    files = ProfileBuilder()
    for header in sample_headers(train):
        files.add_header(header)
    return dataclasses.replace(files.profile(), brightness=validated.brightness, confidence=validated.confidence)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
