"""The whole command: from a folder of class folders to a finished run folder."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import platform
import time
from collections.abc import Callable
from typing import Any

from imgstream.augment import resolve, to_json
from imgstream.errors import DatasetError, RunError
from imgstream.index import ImageIndex, open_index
from imgstream.index.groups import groups
from imgstream.index.split import SplitReport
from imgstream.models import model_info
from imgstream.prediction.drift import Profile, ProfileBuilder, sample_headers
from imgstream.prediction.forward import Forward
from imgstream.runs.folder import RunFolder
from imgstream.runs.golden import write_golden
from imgstream.runs.run import BATCH_SIZE, Run, device
from imgstream.spec import SampleSpec
from imgstream.stream import Stream, choose_pipeline
from imgstream.training.compiling import compiled_model
from imgstream.training.fit import Fit, Report
from imgstream.training.schedule import Sizes
from imgstream.training.settings import TrainSettings

VALIDATION_BATCH = 128


def train(
    source: str | os.PathLike[str] | ImageIndex,
    *,
    out: str | os.PathLike[str],
    resume: bool = False,
    report: Report | None = None,
    scanned: Callable[[int], None] | None = None,
    notice: Callable[[str], None] | None = None,
    started: float | None = None,
    **options: Any,
) -> Run:
    """Train a classifier on a folder of class folders and leave a run folder at `out`; returns its Run.

    `options` are the fields of TrainSettings, which are the command line's options: minutes=15, model="MobileNetV2", …
    `report` is called with a Status after each step and validation, `scanned` with the number of files found so far,
    `notice` with what was decided by itself, such as the pipeline. `started` is the time.monotonic() that `minutes` counts from; None
    means now.

    `resume` goes on with an unfinished run (and gives back a finished one); without one it starts. Ctrl-C keeps what was learnt: the
    run is written, loadable, and KeyboardInterrupt is raised. Raises DatasetError, NoImagesError, ModelError, AugmentError, RunError
    (a run is there already), OutputError.
    """
    started = time.monotonic() if started is None else started
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
        _check_same(folder, recorded)
    info = model_info(settings.model)
    spec = SampleSpec(
        size=settings.size or info.size,
        fit=settings.fit,  # type: ignore[arg-type]  # SampleSpec checks it
        channels=settings.channels,
        scale="signed" if settings.channels == 1 and info.scale == "imagenet" else info.scale,
    )
    index = ImageIndex.load(folder.index) if state is not None else _labelled(source, settings, scanned, notice)
    train_index, val_index, split_report = _split(index, settings)
    class_names = index.class_names

    sizes = Sizes.of(spec.size) if info.any_size else Sizes(spec.size, None)
    model = compiled_model(settings, spec.shape if sizes.small is None else (None, None, spec.channels), len(class_names))
    cache = settings.pixel_cache(spec.size)
    if cache is not None:
        cache.prepare()
    folder.make()
    shared: dict[str, Any] = {"seed": settings.seed, "workers": settings.workers, "shuffle": True, "cache": cache}
    train_stream = Stream(train_index, spec, augment=augmentation, batch_size=settings.batch_size, **shared)
    pipeline, why = choose_pipeline(train_stream, settings.pipeline if state is None else state.get("pipeline", "python"))
    if notice is not None:
        notice(str(split_report))
        notice(f"Pipeline: {pipeline} ({why})")
    if state is None:
        index.save(folder.index)
        folder.write_json("spec.json", spec.to_json())
        folder.write_json("class_names.json", {"format": 1, "class_names": class_names})
        folder.write_json("settings.json", recorded)
        chosen = {"pipeline": pipeline, "pipeline_why": why, "split": split_report.to_json()}
        folder.write_state({"state": "running", "created": _now(), "versions": _versions(), **chosen})
    fit = Fit(
        model,
        train_stream.replace(pipeline=pipeline),
        Stream(val_index, spec, batch_size=VALIDATION_BATCH, pipeline=pipeline, **shared),
        settings,
        folder,
        sizes,
        started=started,
        report=report,
    )
    if state is not None:
        fit.restore()
    finished = fit.run()
    if notice is not None and (changed := index.changed()):
        notice(f"{len(changed):,} files have changed since they were first read, such as {changed[0]!r}")
    _write_run(folder, fit, spec, finished)
    if not finished:
        raise KeyboardInterrupt
    return Run(folder)


def _settings(options: dict[str, Any]) -> TrainSettings:
    known = {f.name for f in dataclasses.fields(TrainSettings)}
    if unknown := set(options) - known:
        raise DatasetError(f"train has no option {', '.join(sorted(unknown))}; it has {', '.join(sorted(known))}")
    return TrainSettings(**options)


def _check_same(folder: RunFolder, recorded: dict[str, Any]) -> None:
    """Resuming with other options would be another run: say which differ."""
    before = folder.read_json("settings.json")
    now = {**recorded, "size": list(recorded["size"]) if recorded["size"] else None}
    for options in (before, now):
        options["cache"] = options.get("cache", "off") != "off"  # where it lies, and how large it may be, changes no pixel
        options.setdefault("allow_outside", False)  # not in runs of before there were manifests
    different = [name for name in now if name not in ("workers", "cache_limit") and now[name] != before.get(name)]
    if different:
        was = ", ".join(f"{name}={before.get(name)!r}" for name in different)
        raise RunError(f"{folder.path} was started with other options ({was}): resume with the same, or choose another --out")


def _labelled(
    source: str | os.PathLike[str] | ImageIndex,
    settings: TrainSettings,
    scanned: Callable[[int], None] | None,
    notice: Callable[[str], None] | None,
) -> ImageIndex:
    """The rows that have a label, of at least two classes with images each."""
    index = open_index(
        source,
        settings.label_pattern,
        exclude=settings.exclude,
        root=settings.root,
        columns=settings.columns,
        allow_outside=settings.allow_outside,
        progress=scanned,
        notice=notice,
    )
    names = index.class_names
    if len(names) < 2:
        found = f"one class, {names[0]!r}" if names else "no class folders"
        raise DatasetError(
            f"training needs two classes or more, and {index.root} has {found}. Put each class's images in a folder of its own, such as "
            f"{os.path.join(index.root, 'cats')} and {os.path.join(index.root, 'dogs')}, or name the classes with --label-pattern"
        )
    counts = index.class_counts()
    empty = [name for name, count in zip(names, counts, strict=True) if not count]
    if empty:
        raise DatasetError(f"no images of {', '.join(map(repr, empty))} under {index.root}: remove the empty folder, or fill it")
    return index if counts.sum() == len(index) else index.with_labels()


def _split(index: ImageIndex, settings: TrainSettings) -> tuple[ImageIndex, ImageIndex, SplitReport]:
    group = None if settings.group is None else groups(settings.group)
    if settings.val is not None:
        val_index = open_index(settings.val, settings.label_pattern)
        return index, val_index, _uncrossed(SplitReport.of(index, val_index, how=f"validation is {settings.val}"))
    if settings.fold_numbers is not None:
        k, n = settings.fold_numbers
        train_index, val_index = index.folds(n, settings.seed, group=group)[k]
        how = f"fold {settings.fold}"
    else:
        train_index, val_index = index.split(val=settings.val_share, seed=settings.seed, group=group)
        how = "as given" if "val" in (index.explicit_split or ()) else "by hash of the path"
    if group is not None and how != "as given":
        how = how.replace("by hash of the path", "by hash") + f", groups by {settings.group}"
    counts = train_index.class_counts()
    for name, count in zip(index.class_names, counts, strict=True):
        if not count:
            raise DatasetError(f"class {name!r} has no image left to train on once validation has its part: add images, or give --val DIR")
    if not len(val_index):
        raise DatasetError(f"no image of {index.root} is left to validate on: add images, or give --val DIR")
    report = SplitReport.of(train_index, val_index, how=how, group=group if how != "as given" else None)
    return train_index, val_index, _uncrossed(report)


def _uncrossed(report: SplitReport) -> SplitReport:
    if report.crossing:
        raise DatasetError(f"{report}: a file or group that is on both sides would be validated on what was learnt from it")
    return report


def _write_run(folder: RunFolder, fit: Fit, spec: SampleSpec, finished: bool) -> None:
    """The model with its best average, its golden samples, and run.json last: a run.json that says so has all the rest beside it."""
    if fit.best is not None:
        fit.average.values = fit.best
    with fit.average.applied():
        model = folder.save_model(fit.model, spec.shape)
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
