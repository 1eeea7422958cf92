"""The whole command: from a folder of class folders to a finished run folder."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from imgstream.augment import resolve, to_json
from imgstream.errors import DatasetError, ModelError, RunError
from imgstream.index import ImageIndex, Source
from imgstream.models import infer_model, model_info
from imgstream.prediction.drift import Profile, ProfileBuilder, sample_headers
from imgstream.prediction.forward import Forward
from imgstream.runs.folder import RunFolder
from imgstream.runs.golden import write_golden
from imgstream.runs.run import BATCH_SIZE, Run, device
from imgstream.spec import SampleSpec
from imgstream.stream import Stream, choose_pipeline
from imgstream.stream.stream import Pipeline, cpu_count
from imgstream.training.checkpoint import latest
from imgstream.training.compiling import Models, is_transfer
from imgstream.training.data import labelled, sample_spec, split
from imgstream.training.devices import limit_gpu
from imgstream.training.fit import Fit, Report
from imgstream.training.memory import limit_arenas
from imgstream.training.memory_plan import Footprint, MemoryPlan, plan
from imgstream.training.memory_record import MemoryRecord
from imgstream.training.resuming import check_same, tell_changes
from imgstream.training.schedule import Sizes
from imgstream.training.settings import TrainSettings
from imgstream.training.transfer import train_head
from imgstream.versions import versions

_PACKAGES = ("imgstream", "keras", "tensorflow", "numpy", "opencv-python-headless", "simplejpeg", "pillow", "albumentations")


def train(
    source: Source,
    *,
    out: str | os.PathLike[str],
    resume: bool = False,
    callbacks: Sequence[Any] = (),
    report: Report | None = None,
    scanned: Callable[[int], None] | None = None,
    embedded: Callable[[int], None] | None = None,
    notice: Callable[[str], None] | None = None,
    started: float | None = None,
    **options: Any,
) -> Run:
    """Train a classifier on a folder of class folders and leave a run folder at `out`; returns its Run.

    `source` may also be a manifest (with root= and columns=), a table or an index: what imgstream.scan takes.
    `options` are the fields of TrainSettings, which are the command line's options: minutes=15, model="MobileNetV2", …
    `callbacks` are Keras callbacks; they see the model that is trained, and may stop it (model.stop_training). The learning rate is this
    function's own. `report` is called with a Status after each step and validation, `scanned` with the number of files found so far,
    `embedded` with the number of images whose features a head is to be trained on, `notice` with what was decided by itself, such as the
    pipeline. `started` is the time.monotonic() that `minutes` counts from; None means now.

    `resume` goes on with an unfinished run (and gives back a finished one); without one it starts. Ctrl-C keeps what was learnt: the
    run is written, loadable, and KeyboardInterrupt is raised. Raises DatasetError, NoImagesError, ModelError, AugmentError, RunError
    (a run is there already), OutputError.
    """
    started = time.monotonic() if started is None else started
    tell = notice or (lambda line: None)
    settings = _settings(options)
    folder = RunFolder(out)
    state = folder.state() if (folder.path / "run.json").exists() else None
    augmentation = resolve(settings.augment)
    recorded = settings.to_json(to_json(augmentation))
    if state is not None:
        if not resume:
            raise RunError(f"{folder.path} holds a run already ({state['state']}). Go on with it with --resume, or choose another --out")
        if state["state"] == "finished":
            return Run(folder)
        folder.check(state, "spec.json", "class_names.json", "settings.json")
        check_same(folder, recorded)
    if settings.memory is not None:
        limit_arenas()
    limit_gpu(settings.gpu_memory)
    info = model_info(settings.model or infer_model(settings.weights) or "cnn")
    transfer = is_transfer(settings, info)
    if settings.head_only and not transfer:
        raise ModelError(
            "head_only keeps the network as it is but for its head: give the weights it has, with --weights or a saved --model"
        )
    if state is None:
        index = labelled(source, settings, scanned, tell)
        spec = sample_spec(settings, info, index)
    else:
        index = ImageIndex.load(folder.index)
        tell_changes(index, lambda: labelled(source, settings, scanned, None), tell)
        spec = SampleSpec.from_json(folder.read_json("spec.json"))
    if info.scale_guessed:
        tell(f"Nothing in {info.name} says how it wants its pixels; they are scaled to {spec.scale}. A run folder would say it")
    if settings.size is None and spec.size != info.size:
        tell(f"Size: {spec.size[0]}x{spec.size[1]}, twice that of the images; --size asks for another")
    train_index, val_index, split_report = split(index, settings)
    class_names = index.class_names

    sizes = Sizes.of(spec.size) if info.any_size and not transfer else Sizes(spec.size, None)
    models = Models.make(settings, info, spec, sizes, len(class_names), state or {})
    cache = settings.pixel_cache(spec.size)
    if cache is not None:
        cache.prepare()
    shared: dict[str, Any] = {"seed": settings.seed, "workers": settings.workers, "shuffle": True, "cache": cache}
    pipeline, why = choose_pipeline(
        Stream(train_index, spec, augment=augmentation, **shared), settings.pipeline if state is None else state.get("pipeline", "python")
    )
    memory = _plan(models, settings, spec, sizes, pipeline, state or {})
    folder.make()
    if state is None:
        index.save(folder.index)
        index = ImageIndex.load(folder.index)  # what is found out of the files is kept with the run's own table: a resumed run compares
        train_index, val_index, split_report = split(index, settings)
    for line in (split_report, f"Pipeline: {pipeline} ({why})", f"Precision: {models.policy} ({models.policy_why})", f"Memory: {memory}"):
        tell(str(line))
    if state is None:
        folder.write_json("spec.json", spec.to_json())
        folder.write_json("class_names.json", {"format": 1, "class_names": class_names})
        folder.write_json("settings.json", recorded)
        chosen: dict[str, Any] = {"pipeline": pipeline, "pipeline_why": why, "split": split_report.to_json()}
        chosen |= {"model": info.name, "precision": models.policy}
        chosen |= {"batch_size": memory.batch_size, "validation_batch": memory.validation_batch}
        folder.write_state({"state": "running", "created": _now(), "versions": versions(*_PACKAGES), **chosen})
    with MemoryRecord(folder.memory, settings.memory) as record:
        shared["pipeline"] = pipeline
        train_stream = Stream(train_index, spec, augment=augmentation, batch_size=memory.batch_size, **shared)
        val_stream = Stream(val_index, spec, batch_size=memory.validation_batch, **shared)
        if transfer and latest(folder.checkpoints) is None:
            head = train_head(models.served, train_stream, val_stream, settings, os.fspath(folder.path), embedded or (lambda images: None))
            models.trained.set_weights(models.served.get_weights())
            tell(f"The head alone, on frozen features: validation accuracy {head.accuracy:.4f}, loss {head.loss:.4f}")
        fit = Fit(
            models, train_stream, val_stream, settings, folder, sizes, started=started, record=record, report=report, callbacks=callbacks
        )
        if state is not None:
            fit.restore()
        finished = fit.finish() if settings.head_only else fit.run()
        if changed := index.changed():
            tell(f"{len(changed):,} files have changed since they were first read, such as {changed[0]!r}")
        _write_run(folder, fit, spec, finished, {"planned_bytes": memory.expected_bytes, "peak_bytes": record.peak})
    if not finished:
        raise KeyboardInterrupt
    return Run(folder)


def _plan(
    models: Models, settings: TrainSettings, spec: SampleSpec, sizes: Sizes, pipeline: Pipeline, before: dict[str, Any]
) -> MemoryPlan:
    """What fits into the memory there is, told by what the process takes now. A resumed run keeps the batch size that it had `before`, as
    its run.json tells, and if it fits that of its validation, which the last bits of a loss depend on.
    """
    footprint = Footprint.of(
        models.trained,
        models.served,
        spec.shape,
        small=sizes.small,
        workers=settings.workers or cpu_count(),
        pipeline=pipeline,
        on_gpu=device().endswith("gpu"),
    )
    return plan(
        footprint,
        ceiling=settings.memory,
        batch_size=before.get("batch_size") or settings.batch_size,
        validation_batch=before.get("validation_batch"),
    )


def _settings(options: dict[str, Any]) -> TrainSettings:
    known = {f.name for f in dataclasses.fields(TrainSettings)}
    if unknown := set(options) - known:
        raise DatasetError(f"train has no option {', '.join(sorted(unknown))}; it has {', '.join(sorted(known))}")
    return TrainSettings(**options)


def _write_run(folder: RunFolder, fit: Fit, spec: SampleSpec, finished: bool, memory: dict[str, int]) -> None:
    """The model with its best average, its golden samples, and run.json last: a run.json that says so has all the rest beside it."""
    if fit.best is not None:
        fit.average.values = fit.best
    fit.average.assign_to(fit.models.served)
    model = folder.save_model(fit.models.served, spec.shape)
    write_golden(folder.golden, spec, Forward(model, BATCH_SIZE), device())
    if fit.state.profile is not None:
        folder.write_json("profile.json", _profile(fit.train.index, Profile.from_json(fit.state.profile)).to_json())
    calibration = dict(fit.state.calibration or {})
    temperature = calibration.pop("temperature", 1.0)
    state = folder.state()
    state.update(
        state="finished" if finished else "interrupted",
        fingerprint=folder.fingerprint(temperature),
        metrics=fit.state.best or {},
        temperature=temperature,
        calibration=calibration,
        steps=fit.state.step,
        steps_run=fit.state.step - (fit.resumed_from_step or 0),
        resumed_from_step=fit.resumed_from_step,
        memory=memory,
        checkpoints={"written": fit.checkpoints.count, "longest_pause_seconds": round(fit.checkpoints.pause, 4)},
        epochs=fit.state.epoch,
        plans=fit.state.plans,
        seconds=round(fit.elapsed(), 1),
        images_per_second=round(fit.images_seen / max(1e-9, fit.train_seconds), 1),
    )
    folder.write_state(state)


def _profile(train: ImageIndex, validated: Profile) -> Profile:
    """What files the run was trained on, and what was found of its validation images."""
    files = ProfileBuilder()
    for header in sample_headers(train):
        files.add_header(header)
    return dataclasses.replace(files.profile(), brightness=validated.brightness, confidence=validated.confidence)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
