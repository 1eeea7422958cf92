"""Decides everything about a training before anything is written."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import Any

from imgstream.augment import resolve, to_json
from imgstream.cache import PixelCache
from imgstream.errors import DatasetError, ModelError, OptionError, RunError
from imgstream.index import ImageIndex, Source
from imgstream.index.split.validation import SplitReport
from imgstream.memory import limit_arenas
from imgstream.models import ModelInfo, infer_model, model_info
from imgstream.runs.folder import RunFolder
from imgstream.runs.run import device
from imgstream.spec import SampleSpec
from imgstream.stream import Stream, choose_pipeline
from imgstream.stream.pipeline_selection import PipelineSelection
from imgstream.stream.plan import Pipeline, cpu_count
from imgstream.training.data import labelled, positive_weights, sample_spec, split
from imgstream.training.memory.gpu import limit_gpu
from imgstream.training.memory.plan import Footprint, MemoryPlan, plan
from imgstream.training.processes.group import Processes
from imgstream.training.processes.part_stream import PartStream
from imgstream.training.schedule import Sizes
from imgstream.training.settings import TrainSettings
from imgstream.training.state.resuming import check_same, tell_changes
from imgstream.training.step.compiled_models import Models, is_transfer
from imgstream.training.step.precision import choose_precision
from imgstream.training.step.step_selection import augmentation_of_steps
from imgstream.training.trial import fastest_batch

_ON_GPU = (64, 128, 256, 512, 1024)
"""Batch sizes that are tried on a GPU, where the time is given and not the epochs: a GPU may be five times as fast with a larger one."""
_FEWEST_STEPS = 100
"""Steps of an epoch: fewer, of larger batches, learn less in the same time however fast they are."""
_COMPILING_SHARE = 0.02
"""The most time, as a share of all, that compiling for one size may have taken for the next one to be tried."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preparation:
    """All decisions of a training, with the models built; nothing is written yet."""

    folder: RunFolder
    settings: TrainSettings
    recorded: dict[str, Any]
    """The contents of settings.json."""
    state: dict[str, Any] | None
    """run.json of the run that is resumed; None for a new one."""
    info: ModelInfo
    index: ImageIndex
    train: ImageIndex
    val: ImageIndex
    split: SplitReport
    spec: SampleSpec
    sizes: Sizes
    augmentation: Any
    """What the loader does to the images; None where the step augments them."""
    models: Models
    cache: PixelCache | None
    pipeline: PipelineSelection
    memory: MemoryPlan
    processes: Processes

    def train_stream(self) -> Stream:
        """The training images, as samples of the full size; of several processes, the part of each batch that this one reads."""
        stream = Stream(self.train, self.spec, augment=self.augmentation, batch_size=self.memory.batch_size, **self._how())
        return PartStream.of(stream, self.processes)

    def val_stream(self) -> Stream:
        """The validation images."""
        return Stream(self.val, self.spec, batch_size=self.memory.validation_batch, **self._how())

    def _how(self) -> dict[str, Any]:
        return {**_reading(self.settings, self.cache), "pipeline": self.pipeline.pipeline, "dtype": self.spec.pixel_type}


def known_settings(options: dict[str, Any]) -> TrainSettings:
    """The settings for these keyword options. Raises DatasetError for an unknown option."""
    known = {f.name for f in dataclasses.fields(TrainSettings)}
    if unknown := set(options) - known:
        raise DatasetError(f"train has no option {', '.join(sorted(unknown))}; it has {', '.join(sorted(known))}")
    return TrainSettings(**options)


def prepare(
    source: Source,
    settings: TrainSettings,
    folder: RunFolder,
    *,
    resume: bool,
    scanned: Callable[[int], None],
    waiting: Callable[[str], None],
    tell: Callable[[str], None],
    processes: Processes = Processes(),  # noqa: B008  # immutable
) -> Preparation | None:
    """List the images, split them, build the models, select the pipeline and plan the memory. None: the run in `folder` is finished
    already.

    Raises what imgstream.train raises before it starts.
    """
    state = folder.state() if (folder.path / "run.json").exists() else None
    augmentation = resolve(settings.augment)
    recorded = settings.to_json(to_json(augmentation))
    if state is not None:
        if not resume:
            raise RunError(f"{folder.path} holds a run already ({state['state']}). Go on with it with --resume, or choose another --out")
        folder.check(state, "spec.json", "class_names.json", "settings.json")
        check_same(folder, recorded)
        if state["state"] == "finished":
            return None
    else:
        folder.check_new(source if isinstance(source, str | bytes | os.PathLike) else None)
    if settings.memory is not None:
        limit_arenas()
    limit_gpu(settings.gpu_memory)
    info = model_info(settings.model or infer_model(settings.weights) or "cnn")
    transfer = is_transfer(settings, info)
    if settings.head_only and not transfer:
        raise ModelError("head_only trains only the head of a model with weights: give them with --weights, or give a saved --model")
    if processes.count > 1 and (settings.cache != "off" or settings.pipeline == "tf"):
        raise OptionError("several processes train without a cache and with the pipeline python: leave out cache and pipeline", "cache")
    if processes.count > 1 and settings.teacher is not None:
        raise OptionError("several processes train without a teacher: leave it out, or train in one process", "teacher")
    if state is None:
        index = processes.same_index(lambda: labelled(source, settings, scanned, tell))
        spec = sample_spec(settings, info, index, tell)
    else:
        index = ImageIndex.load(folder.index)
        tell_changes(index, lambda: labelled(source, settings, scanned, None), tell)
        spec = SampleSpec.from_json(folder.read_json("spec.json"))
    if info.scale_guessed:
        tell(f"Nothing in {info.name} says how it wants its pixels; they are scaled to {spec.scale}. A run folder would say it")
    if settings.size is None and spec.size != info.size:
        tell(f"Size: {spec.size[0]}x{spec.size[1]}, twice that of the images; --size asks for another")
    train, val, split_report = split(index, settings)
    sizes = Sizes.of(spec.size) if info.any_size and not transfer else Sizes(spec.size, None)
    before = state or {}
    if processes.count > 1 and state is None:
        before = {"precision": processes.from_first(choose_precision(settings.precision, deep=spec.levels is not None)[0])}
    weights = positive_weights(train) if settings.multi_label and settings.balance else None
    models = Models.make(settings, info, spec, sizes, index.class_names, before, weights)
    if state is not None and models.teacher is not None and state.get("teacher") != models.teacher.fingerprints:
        raise RunError(f"{folder.path} learns from {settings.teacher}, which is another model now. Put it back, or choose another --out")
    if settings.augment_on == "device":
        shapes = [(*size, spec.channels) for size in (sizes.full, sizes.small) if size is not None]
        on_device = augmentation_of_steps(augmentation, settings.seed, shapes, models.replicas)
        models, augmentation = dataclasses.replace(models, augmentation=on_device), None
    cache = settings.pixel_cache(spec.size)
    pipeline = choose_pipeline(
        Stream(train, spec, augment=augmentation, **_reading(settings, cache)),
        "python" if processes.count > 1 else settings.pipeline if state is None else state.get("pipeline", "python"),
    )
    memory = _plan(models, settings, spec, sizes, pipeline.pipeline, state or {})
    if processes.count > 1:
        chosen = processes.from_first({"batch_size": memory.batch_size, "validation_batch": memory.validation_batch})
        memory = _plan(models, settings, spec, sizes, pipeline.pipeline, chosen)
    elif state is None and settings.batch_size is None and settings.minutes is not None and device().endswith("gpu"):
        candidates = [size for size in _ON_GPU if size == _ON_GPU[0] or size * _FEWEST_STEPS <= len(train)]
        size = fastest_batch(models, spec, candidates, _COMPILING_SHARE * 60 * settings.minutes, waiting)
        memory = _plan(models, settings, spec, sizes, pipeline.pipeline, {"batch_size": size})
    return Preparation(
        folder=folder,
        settings=settings,
        recorded=recorded,
        state=state,
        info=info,
        index=index,
        train=train,
        val=val,
        split=split_report,
        spec=spec,
        sizes=sizes,
        augmentation=augmentation,
        models=models,
        cache=cache,
        pipeline=pipeline,
        memory=memory,
        processes=processes,
    )


def _reading(settings: TrainSettings, cache: PixelCache | None) -> dict[str, Any]:
    return {"seed": settings.seed, "workers": settings.workers, "shuffle": True, "cache": cache}


def _plan(
    models: Models, settings: TrainSettings, spec: SampleSpec, sizes: Sizes, pipeline: Pipeline, before: dict[str, Any]
) -> MemoryPlan:
    """Plan the memory, from what the process takes now. A resumed run keeps its batch size and, if it fits, its validation batch size, on
    which the last bits of a loss depend; both are in `before`, its run.json.
    """
    footprint = Footprint.of(
        models.trained,
        models.served,
        spec.shape,
        small=sizes.small,
        workers=settings.workers or cpu_count(),
        pipeline=pipeline,
        on_gpu=device().endswith("gpu"),
        pixel_bytes=spec.pixel_type.itemsize,
        teachers=models.teacher.sizes if models.teacher is not None else (),
    )
    return plan(
        footprint,
        ceiling=settings.memory,
        batch_size=before.get("batch_size") or settings.batch_size,
        validation_batch=before.get("validation_batch"),
    )
