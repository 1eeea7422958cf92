"""Measures the stages in turn, over a random sample of a folder, within a given time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from imgstream.augment import resolve
from imgstream.decode.depth import choose_levels
from imgstream.errors import BadImage, NoImagesError
from imgstream.index import ImageIndex
from imgstream.models import model_info
from imgstream.order import permute
from imgstream.profiling.figures import BadFile, Figures
from imgstream.profiling.stages import (
    Bad,
    augment_stage,
    decode_stage,
    load,
    loader_stage,
    plain_samples,
    read_stage,
    ready_batch,
    step_stage,
    together_stage,
    transfer_stage,
)
from imgstream.spec import SampleSpec
from imgstream.stream import Stream

_MOST_SAMPLED = 32_768
_SHARES = {"read": 0.1, "load": 0.03, "decode": 0.16, "samples": 0.03, "augment": 0.1, "loader": 0.16, "transfer": 0.02, "step": 0.12}
"""Shares of the time that is left when the model is compiled; the rest is for loader and step together."""
_LEAST = 0.4
"""The share of the requested time that the stages get at least, however long the model takes to compile."""


def examine(
    index: ImageIndex,
    *,
    size: tuple[int, int] | None = None,
    levels: str | None = None,
    model: str = "cnn",
    augment: Any = "standard",
    batch_size: int = 64,
    seconds: float = 30.0,
    seed: int = 0,
    stage: Callable[[str], None] | None = None,
) -> Figures:
    """Measure every stage on a random sample of `index`, as training with these options would read it.

    `size`: (height, width) of a sample in pixels, None for the model's own. `levels`: "auto", "LOW:HIGH" or None. `seconds` is about how
    long it takes in all, beyond importing Keras; compiling a large model, or a single step or image that takes long, can make it more.
    `stage` is called with the name of each stage as it begins.

    Raises NoImagesError when no file of the sample can be read, SpecError, AugmentError, ModelError.
    """
    tell = stage if stage is not None else lambda name: None
    info, augmentation = model_info(model), resolve(augment)
    spec = SampleSpec(size=size or info.size, scale=info.scale, channels=info.channels or 3, levels=choose_levels(levels, index))
    sample = index.take(permute(np.arange(min(len(index), _MOST_SAMPLED)), len(index), seed, 0))
    stream = Stream(sample, spec, augment=augmentation, batch_size=batch_size, shuffle=True, seed=seed, dtype=spec.pixel_type)
    threads, outputs = stream.thread_count, max(2, len(index.class_names))

    tell("starting Keras")
    from imgstream.profiling.training_step import TrainingStep
    from imgstream.runs.run import device
    from imgstream.training.memory.gpu import gpu_name
    from imgstream.training.schedule import Sizes
    from imgstream.training.settings import TrainSettings

    began = time.perf_counter()
    tell(f"compiling {info.name}")
    small = Sizes.of(spec.size).small if info.any_size else None
    trainee = TrainingStep(TrainSettings(model=info.name, batch_size=batch_size, seed=seed), spec, small is not None, outputs)
    trainee.step(np.zeros((batch_size, *spec.shape), spec.pixel_type), np.zeros(batch_size, np.int32))
    given = max(seconds - (time.perf_counter() - began), _LEAST * seconds)
    share = {name: part * given for name, part in _SHARES.items()}
    end = time.perf_counter() + given

    bad: Bad = {}
    tell("reading")
    read, good = read_stage(sample, threads, share["read"], spec.max_pixels, bad)
    loaded = load(sample, good, share["load"], spec.max_pixels, bad)
    tell("decoding")
    decode = decode_stage(loaded, spec, threads, share["decode"], bad)
    if read is None or decode is None:
        raise NoImagesError(_all_bad(sample, bad))
    tell("augmenting")
    samples = plain_samples(loaded, spec, share["samples"], bad)
    augmented = augment_stage(augmentation, samples, seed, share["augment"])
    tell("loading batches")
    within: Bad = {}
    loader = loader_stage(stream.replace(index=sample.take(good)), decode.all_threads.images_per_second, share["loader"], within)
    bad.update((good[position], error) for position, error in within.items())
    stream = stream.replace(index=sample.take([position for position in good if position not in bad]))
    images, labels = ready_batch(stream)
    tell("handing batches to Keras")
    transfer = transfer_stage(images, share["transfer"])
    tell("training steps")
    step = step_stage(trainee, images, labels, share["step"])
    together, left = None, end - time.perf_counter()
    if left > batch_size * (2 / step.images_per_second + 2 / loader.images_per_second):
        tell("loader and steps together")
        together = together_stage(trainee, stream, left, {})
    return Figures(
        directory=index.root,
        files=len(index),
        classes=len(index.class_names),
        outputs=outputs,
        spec=spec,
        small=small,
        model=info.name,
        batch_size=batch_size,
        threads=threads,
        device=device(),
        idle_gpu=None if device().endswith("gpu") else gpu_name(),
        memory_bytes=_memory(),
        seconds=time.perf_counter() - began,
        tried=len(set(good) | set(bad)),
        bad=tuple(_bad_file(sample, position, bad[position]) for position in sorted(bad)),
        read=read,
        decode=decode,
        augment=augmented,
        loader=loader,
        transfer=transfer,
        step=step,
        together=together,
    )


def _bad_file(sample: ImageIndex, position: int, error: BadImage) -> BadFile:
    return BadFile(path=os.fsdecode(sample.relative_bytes(position)), reason=error.reason, detail=error.detail)


def _all_bad(sample: ImageIndex, bad: Bad) -> str:
    position = min(bad)
    path = os.fsdecode(sample.path_bytes(position))
    return f"none of {len(bad):,} images under {sample.root} could be read; {path!r} is {bad[position].reason}: {bad[position].detail}"


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # not on Windows
        return None
