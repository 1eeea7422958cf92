"""Derives advice from the figures: which stage is the slowest, what could be reached at most, what to set. Each sentence names its
figures.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from imgstream.profiling.figures import Figures
from imgstream.training.schedule import Sizes
from imgstream.training.settings import TrainSettings

NEAR = 1.5
"""A loader that is less than this many times as fast as the slowest stage is worth mentioning too."""
NEAR_ON_CPU = 5.0
"""The same if they share the cores: a loader that is five times as fast as the step still takes a sixth of the time."""
_MUCH = 0.2  # of a loading thread's time: an augmentation that takes less is not mentioned
_DOMINANT = 0.4  # of an augmentation: the transform that takes it is named
_LARGER = 4.0  # times the pixels of a sample: files that hold more are larger than needed
_SCALES = 0.6  # of the threads' number: what decoding on all of them should be faster by
_ONE_LOCK = 8  # threads that one interpreter lock can serve; beyond them the loader takes processes, and threads alone tell nothing
_WITH_GPU = {"tensorflow": "pip install 'imgstream[gpu]'", "jax": "pip install 'jax[cuda12]'"}  # backends that use it
_WORK = {"read": "Reading", "decode": "Decoding", "augment": "The augmentation"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Advice:
    """The advice that follows from the figures."""

    binding: str
    """The slowest stage: read, decode, augment, transfer or step; the first three are parts of the loader."""
    upper_bound: float
    """Images/s of the slowest stage: what training could reach if all stages overlapped perfectly."""
    minutes: float
    """For one epoch over all images of the folder, at that rate."""
    sentences: tuple[str, ...]
    """First the slowest stage, then everything else worth mentioning."""

    def to_json(self) -> dict[str, Any]:
        """binding, upper_bound_images_per_second, minutes_per_epoch (of all images of the folder), sentences."""
        return {
            "binding": self.binding,
            "upper_bound_images_per_second": self.upper_bound,
            "minutes_per_epoch": self.minutes,
            "sentences": list(self.sentences),
        }


def advise(figures: Figures) -> Advice:
    """Derive the slowest stage, the upper bound, and what to set.

    The stages that could overlap are the loader (which reads, decodes and augments), the transfer and the step; and, if the folder does not
    fit in memory, reading files for the first time. If the loader is the slowest, its part that takes most of a thread's time is named.
    """
    rates = {
        "loader": figures.loader.images_per_second,
        "transfer": figures.transfer.images_per_second,
        "step": figures.step.images_per_second,
    }
    first = figures.read.first
    if first is not None and _exceeds_memory(figures):
        rates["storage"] = first.files_per_second
    slowest = min(rates, key=lambda name: rates[name])
    shares = loader_shares(figures)
    binding = {"loader": max(shares, key=lambda name: shares[name]), "storage": "read"}.get(slowest, slowest)
    loader_counts = rates["loader"] < _near(figures) * rates[slowest]
    sentences = [_binds(figures, slowest, binding, shares)]
    sentences += [
        *_cores(figures, rates[slowest]),
        *_backend(figures),
        *_first_time(figures, slowest, rates[slowest]),
        *(_file_sizes(figures, shares) if loader_counts else ()),
        *(_augmentation(figures, shares) if loader_counts else ()),
        *_threads(figures),
        *_small(figures, slowest),
        *_outputs(figures),
        *_bad(figures),
    ]
    return Advice(binding=binding, upper_bound=rates[slowest], minutes=figures.files / rates[slowest] / 60, sentences=tuple(sentences))


def loader_shares(figures: Figures) -> dict[str, float]:
    """The shares of reading (from the page cache), decoding and augmenting in a loading thread's time, 0 to 1 each."""
    seconds = {
        "read": 1 / figures.read.one_thread_again.files_per_second,
        "decode": 1 / figures.decode.one_thread.images_per_second,
        "augment": figures.augment.microseconds / 1e6,
    }
    whole = sum(seconds.values())
    return {name: each / whole for name, each in seconds.items()}


def number(value: float) -> str:
    """A rate as text for people: 3,900, 271, 2.4."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _binds(figures: Figures, slowest: str, binding: str, shares: dict[str, float]) -> str:
    loader, step = figures.loader.images_per_second, figures.step.images_per_second
    if slowest == "step":
        both = "both matter, for they share the cores" if _on_cpu(figures) else "both matter"
        verdict = both if loader < _near(figures) * step else "the loader is not what to tune"
        return f"The training step binds: {number(step)} images/s; the loader gives {number(loader)}: {verdict}."
    if slowest == "transfer":
        rate = number(figures.transfer.images_per_second)
        return f"Handing batches to Keras binds: {rate} images/s; the loader gives {number(loader)}, the step could take {number(step)}."
    if slowest == "storage":
        assert figures.read.first is not None and figures.memory_bytes is not None
        first, files, memory = figures.read.first.files_per_second, _size(figures.folder_bytes), _size(figures.memory_bytes)
        return (
            f"Reading from the storage binds: {number(first)} files/s the first time; from memory the loader gives {number(loader)} "
            f"images/s, and the step could take {number(step)}. About {files} of files do not stay in {memory} of memory: {_CACHE}."
        )
    share = f"{100 * shares[binding]:.0f} % of a loading thread's time"
    what = {
        "read": f"{share} is reading files that are in the page cache",
        "decode": f"{share} is decoding and resizing",
        "augment": f"{figures.augment.microseconds:,.0f} µs an image are {share}",
    }[binding]
    cure = {
        "read": f"many small files: {_CACHE}",
        "decode": _CACHE,
        "augment": "a lighter --augment is what would help",
    }[binding]
    return f"{_WORK[binding]} binds: the loader gives {number(loader)} images/s, the step could take {number(step)}. {what}: {cure}."


_CACHE = "imgstream train --cache auto would serve epochs after the first from resized images"


def _cores(figures: Figures, bound: float) -> Iterator[str]:
    """How fast loader and step are together; on a CPU they share the cores, and the bound cannot be reached."""
    if figures.together is None:
        return
    rate = figures.together.images_per_second
    measured = f"Loader and step together gave {number(rate)} images/s, {100 * rate / bound:.0f} % of the bound"
    if _on_cpu(figures):
        one_by_one = 1 / (1 / figures.loader.images_per_second + 1 / figures.step.images_per_second)
        yield f"{measured}: on a CPU both share the cores, and one after the other would give {number(one_by_one)}."
    else:
        yield f"{measured}."


def _backend(figures: Figures) -> Iterator[str]:
    """What another backend of Keras, or one that sees the GPU, would change."""
    backend = figures.device.split()[0]
    if figures.idle_gpu is not None:
        package = _WITH_GPU.get(backend, "install one that was built for it")
        yield f"This machine has a GPU, {figures.idle_gpu}, which {backend} does not use: {package}."
    elif figures.device == "torch gpu":
        yield (
            "Keras on PyTorch calls one operation after the other: on an NVIDIA H100 its step was 16 times slower than Keras' on JAX. "
            "Try KERAS_BACKEND=jax (pip install 'jax[cuda12]')."
        )


def _first_time(figures: Figures, slowest: str, bound: float) -> Iterator[str]:
    """What the first reading says about the storage, if anything."""
    first, again = figures.read.all_threads_first, figures.read.all_threads_again
    if first is None or slowest == "storage":
        return
    rates = f"{number(first.files_per_second)} files/s the first time, {number(again.files_per_second)} again"
    if first.files_per_second < bound:
        yield f"Reading: {rates}. So the storage binds the first epoch, at {number(first.files_per_second)} images/s, but none after it."
    else:
        yield f"Reading: {rates}: more than the bound. Where the page cache held the files already, a cold folder reads slower."


def _file_sizes(figures: Figures, shares: dict[str, float]) -> Iterator[str]:
    """A sentence on files that are larger than a sample needs, if decoding them takes much of the time."""
    sizes, target = figures.decode.sizes, figures.spec.size[0] * figures.spec.size[1]
    if shares["decode"] >= _DOMINANT and sizes.stored_pixels > _LARGER * target:
        stored, decoded = _pixels(sizes.stored_pixels), _pixels(sizes.decoded_pixels)
        yield (
            f"The files are larger than needed: at the median {stored}, decoded as {decoded}, for samples of {_pixels(target)}. "
            "Smaller copies of them would decode faster."
        )


def _augmentation(figures: Figures, shares: dict[str, float]) -> Iterator[str]:
    """A sentence on the transform that takes most of an augmentation that takes much."""
    if shares["augment"] < _MUCH or len(figures.augment.parts) < 2:
        return
    part = max(figures.augment.parts, key=lambda part: part.microseconds)
    if figures.augment.share(part) >= _DOMINANT:
        yield (
            f"The transform {part.name} takes {100 * figures.augment.share(part):.0f} % of the augmentation: {part.microseconds:,.0f} of "
            f"{figures.augment.microseconds:,.0f} µs an image."
        )


def _threads(figures: Figures) -> Iterator[str]:
    one, every = figures.decode.one_thread.images_per_second, figures.decode.all_threads.images_per_second
    if 1 < figures.threads <= _ONE_LOCK and every < _SCALES * figures.threads * one:
        yield (
            f"Decoding on {figures.threads} threads is only {every / one:.1f} times as fast as on one ({number(every)} and {number(one)} "
            "images/s): something else holds the cores or the memory, or there are fewer cores than it seems."
        )


def _small(figures: Figures, slowest: str) -> Iterator[str]:
    """A sentence on smaller samples at the beginning, with which a step is faster."""
    if figures.small is None or slowest != "step":
        return
    height, width = figures.spec.size
    cost = figures.small[0] * figures.small[1] / (height * width)
    yield (
        f"All this is for {height}x{width}. Training does the first {100 * Sizes.small_until:.0f} % of its work at "
        f"{figures.small[0]}x{figures.small[1]}, where a step has {100 * cost:.0f} % of the pixels and is quicker by about as much."
    )


def _outputs(figures: Figures) -> Iterator[str]:
    if figures.classes < 2:
        found = "one class" if figures.classes else "no classes"
        yield f"The folder has {found}, and training needs two or more: the step was measured with 2 outputs."


def _bad(figures: Figures) -> Iterator[str]:
    if not figures.bad:
        return
    share, limit = len(figures.bad) / figures.tried, TrainSettings().max_bad
    expected = share * figures.files
    found = f"{len(figures.bad):,} of {figures.tried:,} files tried are bad, {100 * share:.2g} %"
    if figures.tried < figures.files:
        found += f": about {expected:,.0f} or more in the folder"
    if share > limit and expected > 20:
        yield f"{found}. Training stops at more than {100 * limit:.0f} %: mend them, or allow them with --max-bad."
    else:
        yield f"{found}. Training leaves them out and lists them."


def _on_cpu(figures: Figures) -> bool:
    return figures.device.endswith("cpu")


def _near(figures: Figures) -> float:
    return NEAR_ON_CPU if _on_cpu(figures) else NEAR


def _exceeds_memory(figures: Figures) -> bool:
    return figures.memory_bytes is not None and figures.folder_bytes > figures.memory_bytes


def _pixels(count: float) -> str:
    return f"{count / 1e6:.1f} megapixels" if count >= 1e6 else f"{count:,.0f} pixels"


def _size(count: float) -> str:
    return f"{count / 1e9:,.0f} GB" if count >= 1e10 else f"{count / 1e6:,.0f} MB"
