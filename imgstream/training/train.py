"""The whole command: from a folder of class folders to a finished run folder."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import platform
import time
from collections.abc import Callable, Sequence
from typing import Any

from imgstream.augment import resolve, to_json
from imgstream.errors import DatasetError, ModelError, RunError
from imgstream.index import ImageIndex
from imgstream.models import MODEL_NAMES, infer_model, model_info
from imgstream.prediction.drift import Profile, ProfileBuilder, sample_headers
from imgstream.prediction.forward import Forward
from imgstream.runs.folder import RunFolder
from imgstream.runs.golden import write_golden
from imgstream.runs.run import BATCH_SIZE, Run, device
from imgstream.spec import SampleSpec
from imgstream.stream import Stream, choose_pipeline
from imgstream.training.checkpoint import latest
from imgstream.training.compiling import served_model, trained_model
from imgstream.training.data import labelled, sample_spec, split
from imgstream.training.devices import limit_gpu
from imgstream.training.fit import Fit, Report
from imgstream.training.precision import choose_precision
from imgstream.training.replicas import Replicas
from imgstream.training.resuming import check_same, tell_changes
from imgstream.training.schedule import Sizes
from imgstream.training.settings import DEFAULT_BATCH_SIZE, TrainSettings
from imgstream.training.transfer import BACKBONE_SHARE, train_head

VALIDATION_BATCH = 128


def train(
    source: str | os.PathLike[str] | ImageIndex,
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

    `options` are the fields of TrainSettings, which are the command line's options: minutes=15, model="MobileNetV2", …
    `callbacks` are Keras callbacks; they see the model that is trained, and may stop it (model.stop_training). The learning rate is this
    function's own. `report` is called with a Status after each step and validation, `scanned` with the number of files found so far,
    `embedded` with the number of images whose features a head is to be trained on, `notice` with what was decided by itself, such as the pipeline. `started` is the time.monotonic() that `minutes` counts from; None
    means now.

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
        check_same(folder, recorded)
    limit_gpu(settings.gpu_memory)
    replicas = Replicas()
    info = model_info(settings.model or infer_model(settings.weights) or "cnn")
    is_transfer = settings.weights != "none" or info.name not in MODEL_NAMES
    if settings.head_only and not is_transfer:
        raise ModelError(
            "head_only keeps the network as it is but for its head: give the weights it has, with --weights or a saved --model"
        )
    spec = sample_spec(settings, info)
    if info.scale_guessed:
        tell(
            f"Nothing in {info.name} says how it wants its pixels: they are scaled to 0..1. A run folder, or a model with its own scaling, does"
        )
    if state is None:
        index = labelled(source, settings, scanned, tell)
    else:
        index = ImageIndex.load(folder.index)
        tell_changes(index, lambda: labelled(source, settings, scanned, None), tell)
    train_index, val_index, split_report = split(index, settings)
    class_names = index.class_names

    sizes = Sizes.of(spec.size) if info.any_size and not is_transfer else Sizes(spec.size, None)
    open_shape = (None, None, spec.channels)
    served = served_model(settings, info.name, spec.shape if sizes.small is None else open_shape, len(class_names))
    policy, policy_why = (state["precision"], "as before") if state and "precision" in state else choose_precision(settings.precision)
    batch_size = state["batch_size"] if state and "batch_size" in state else settings.batch_size or DEFAULT_BATCH_SIZE * len(replicas)
    model = trained_model(
        served,
        policy,
        settings,
        replicas,
        learning_rate=settings.peak_learning_rate(batch_size),
        backbone_share=BACKBONE_SHARE if is_transfer else 1.0,
    )
    cache = settings.pixel_cache(spec.size)
    if cache is not None:
        cache.prepare()
    folder.make()
    if state is None:
        index.save(folder.index)
        index = ImageIndex.load(folder.index)  # what is found out of the files is kept with the run's own table: a resumed run compares
        train_index, val_index, split_report = split(index, settings)
    shared: dict[str, Any] = {"seed": settings.seed, "workers": settings.workers, "shuffle": True, "cache": cache}
    train_stream = Stream(train_index, spec, augment=augmentation, batch_size=batch_size, **shared)
    pipeline, why = choose_pipeline(train_stream, settings.pipeline if state is None else state.get("pipeline", "python"))
    tell(str(split_report))
    tell(f"Pipeline: {pipeline} ({why})")
    tell(f"Precision: {policy} ({policy_why})")
    if state is None:
        folder.write_json("spec.json", spec.to_json())
        folder.write_json("class_names.json", {"format": 1, "class_names": class_names})
        folder.write_json("settings.json", recorded)
        chosen = {"pipeline": pipeline, "pipeline_why": why, "split": split_report.to_json()}
        chosen |= {"model": info.name, "precision": policy, "batch_size": batch_size}
        folder.write_state({"state": "running", "created": _now(), "versions": _versions(), **chosen})
    train_stream = train_stream.replace(pipeline=pipeline)
    val_stream = Stream(val_index, spec, batch_size=VALIDATION_BATCH, pipeline=pipeline, **shared)
    if is_transfer and latest(folder.checkpoints) is None:
        head = train_head(served, train_stream, val_stream, settings, os.fspath(folder.path), embedded or (lambda images: None))
        model.set_weights(served.get_weights())
        tell(f"The head alone, on frozen features: validation accuracy {head.accuracy:.4f}, loss {head.loss:.4f}")
    fit = Fit(
        model,
        served,
        train_stream,
        val_stream,
        settings,
        folder,
        sizes,
        replicas,
        started=started,
        report=report,
        callbacks=callbacks,
    )
    if state is not None:
        fit.restore()
    if settings.head_only:
        fit.finish()
        finished = True
    else:
        finished = fit.run()
    if changed := index.changed():
        tell(f"{len(changed):,} files have changed since they were first read, such as {changed[0]!r}")
    _write_run(folder, fit, spec, finished)
    if not finished:
        raise KeyboardInterrupt
    return Run(folder)


def _settings(options: dict[str, Any]) -> TrainSettings:
    known = {f.name for f in dataclasses.fields(TrainSettings)}
    if unknown := set(options) - known:
        raise DatasetError(f"train has no option {', '.join(sorted(unknown))}; it has {', '.join(sorted(known))}")
    return TrainSettings(**options)


def _write_run(folder: RunFolder, fit: Fit, spec: SampleSpec, finished: bool) -> None:
    """The model with its best average, its golden samples, and run.json last: a run.json that says so has all the rest beside it."""
    if fit.best is not None:
        fit.average.values = fit.best
    fit.average.assign_to(fit.served)
    model = folder.save_model(fit.served, spec.shape)
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
        checkpoints={"written": fit.checkpoints.count, "longest_pause_seconds": round(fit.checkpoints.pause, 4)},
        epochs=fit.state.epoch,
        plans=fit.state.plans,
        seconds=round(fit.elapsed(), 1),
        images_per_second=round(fit.images_seen / max(1e-9, fit.train_seconds), 1),
    )
    state.pop("format")
    folder.write_state(state)


def _profile(train: ImageIndex, validated: Profile) -> Profile:
    """What files the run was trained on, and what was found of its validation images."""
    files = ProfileBuilder()
    for header in sample_headers(train):
        files.add_header(header)
    return dataclasses.replace(files.profile(), brightness=validated.brightness, confidence=validated.confidence)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _versions() -> dict[str, str]:
    packages = ("imgstream", "keras", "tensorflow", "numpy", "opencv-python-headless", "simplejpeg", "pillow", "albumentations")
    versions = {"python": platform.python_version()}
    for package in packages:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue  # TensorFlow under another backend
    return versions
