"""The stages, each measured on its own within the seconds it is given; an item that was begun is finished."""

from __future__ import annotations

import concurrent.futures
import copy
import dataclasses
import itertools
import random
import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from imgstream.augment import Augmentation, OperationPreset, Policy, Preset
from imgstream.augment.presets import mix_batch
from imgstream.decode.sample import SampleReader
from imgstream.errors import BadImage, NoImagesError
from imgstream.files.reader import FileReader
from imgstream.formats.header import Header
from imgstream.geometry import make_plan
from imgstream.index import ImageIndex
from imgstream.order import SampleDraws, sample_generator
from imgstream.profiling.figures import Augment, Decode, Part, Rate, Read, Reading, Sizes
from imgstream.spec import SampleSpec
from imgstream.stream import Stream

if TYPE_CHECKING:
    from imgstream.profiling.training_step import TrainingStep

_Item = TypeVar("_Item")
_MOST_LOADED = 1024, 128 << 20  # files and bytes that are kept in memory to be decoded
_MOST_SAMPLES = 32, 64 << 20  # samples and bytes that are kept to be augmented

Bad = dict[int, BadImage]
"""Position in the sample → error; the stages add to it."""


class Loaded(NamedTuple):
    """A file in memory."""

    position: int
    """In the sample."""
    data: bytes
    header: Header


# ---- reading


def read_stage(sample: ImageIndex, threads: int, seconds: float, max_pixels: int, bad: Bad) -> tuple[Read | None, list[int]]:
    """Measure how fast files are read; also return the positions of the good ones, which are in the page cache afterwards.

    One thread reads the first half of `sample`, all threads the other half, so that both read files for the first time. None when no file
    could be read.
    """
    half = -(-len(sample) // 2)
    reads: list[tuple[Reading | None, list[int]]] = []
    for positions, workers in ((range(half), 1), (range(half, len(sample)), threads)):
        reads.append(_read(sample, positions, workers, seconds / 4, max_pixels, bad))
    (one_first, by_one), (all_first, by_all) = reads
    good = [position for position in (*by_one, *by_all) if position not in bad]
    if not good:
        return None, []
    one_again, _ = _read(sample, _again(good, bad), 1, seconds / 4, max_pixels, bad)
    all_again, _ = _read(sample, _again(good, bad), threads, seconds / 4, max_pixels, bad)
    if one_again is None or all_again is None:  # the files have just vanished
        return None, []
    read = Read(one_thread_first=one_first, one_thread_again=one_again, all_threads_first=all_first, all_threads_again=all_again)
    return read, good


def _read(
    sample: ImageIndex, positions: Iterable[int], threads: int, seconds: float, max_pixels: int, bad: Bad
) -> tuple[Reading | None, list[int]]:
    """The measurement, or None if nothing could be read; and the positions that were tried."""
    tried: list[int] = []

    def reader() -> Callable[[int], int | None]:
        files = FileReader()

        def read(position: int) -> int | None:
            tried.append(position)
            try:
                return len(files.read(sample.path_bytes(position), max_pixels)[0])
            except BadImage as error:
                bad[position] = error
                return None

        return read

    files, size, took = _in_threads(reader, positions, threads, seconds)
    return (Reading(files=files, bytes=size, seconds=took) if files else None), tried


def load(sample: ImageIndex, positions: Sequence[int], seconds: float, max_pixels: int, bad: Bad) -> list[Loaded]:
    """Load the files of `positions` into memory, as many as the time and 128 MB allow, and at least one if any is good."""
    files, loaded, size, deadline = FileReader(), [], 0, time.perf_counter() + seconds
    for position in positions[: _MOST_LOADED[0]]:
        try:
            data, header = files.read(sample.path_bytes(position), max_pixels)
        except BadImage as error:
            bad[position] = error
            continue
        loaded.append(Loaded(position, bytes(data), header))
        size += len(data)
        if size > _MOST_LOADED[1] or time.perf_counter() > deadline:
            break
    return loaded


# ---- decoding


def decode_stage(loaded: Sequence[Loaded], spec: SampleSpec, threads: int, seconds: float, bad: Bad) -> Decode | None:
    """Measure how fast files in memory become samples, without augmentation: the better of two rounds on one thread and, with the same
    files, on all threads. None when all are bad.
    """
    made: dict[int, Loaded] = {}

    def decoder() -> Callable[[Loaded], int | None]:
        reader, out = SampleReader(spec), np.zeros(spec.shape, np.uint8)

        def decode(file: Loaded) -> int | None:
            try:
                reader.decode(file.data, out)
            except BadImage as error:
                bad[file.position] = error
                return None
            made[file.position] = file
            return len(file.data)

        return decode

    by_position = {file.position: file for file in loaded}
    first = _decoding(decoder, map(by_position.__getitem__, _again([*by_position], bad)), 1, seconds / 4)
    if first is None:
        return None
    files = list(made.values())
    rates: dict[int, list[Rate]] = {threads: [], 1: [first]}
    for workers in (threads, 1, threads):  # in turns, as other load on the machine comes and goes
        rate = _decoding(decoder, itertools.cycle(files), workers, seconds / 4)
        assert rate is not None  # all of them are good
        rates[workers].append(rate)
    best = {workers: max(found, key=lambda rate: rate.images_per_second) for workers, found in rates.items()}
    return Decode(one_thread=best[1], all_threads=best[threads], sizes=_sizes(files, spec))


def _decoding(decoder: Callable[[], Callable[[Loaded], int | None]], files: Iterable[Loaded], threads: int, seconds: float) -> Rate | None:
    images, _, took = _in_threads(decoder, files, threads, seconds)
    return Rate(images=images, seconds=took) if images else None


def _again(positions: Sequence[int], bad: Bad) -> Iterator[int]:
    """All of `positions`, then those that are not bad, over and over; ends when all are bad."""
    yield from positions
    while good := [position for position in positions if position not in bad]:
        yield from good


def _sizes(loaded: Sequence[Loaded], spec: SampleSpec) -> Sizes:
    stored, decoded = [], []
    for file in loaded:
        width, height = file.header.oriented
        plan = make_plan(width, height, spec.fit, spec.size[1], spec.size[0])
        stored.append(width * height)
        decoded.append(width * height / (plan.reduction**2 if file.header.kind == "jpeg" else 1))
    return Sizes(
        file_bytes=statistics.median(len(file.data) for file in loaded),
        stored_pixels=statistics.median(stored),
        decoded_pixels=statistics.median(decoded),
    )


def plain_samples(loaded: Sequence[Loaded], spec: SampleSpec, seconds: float, bad: Bad) -> np.ndarray:
    """uint8 (n, H, W, C): as many good ones of `loaded` as the time and 64 MB allow, but at least one if there is any."""
    most = max(1, min(_MOST_SAMPLES[0], _MOST_SAMPLES[1] // int(np.prod(spec.shape))))
    reader, samples, deadline = SampleReader(spec), [], time.perf_counter() + seconds
    for file in loaded:
        out = np.zeros(spec.shape, np.uint8)
        try:
            reader.decode(file.data, out)
        except BadImage as error:
            bad[file.position] = error
            continue
        samples.append(out)
        if len(samples) == most or time.perf_counter() > deadline:
            break
    return np.stack(samples)


# ---- augmentation


def augment_stage(augmentation: Augmentation | None, samples: np.ndarray, seed: int, seconds: float) -> Augment:
    """Measure the augmentation, and its parts, on uint8 (n, H, W, C) `samples`. Raises AugmentError when it breaks a sample."""
    if augmentation is None:
        return Augment(name="none", microseconds=0.0, parts=())
    if isinstance(augmentation, Preset):
        return _preset(augmentation, samples, seed, seconds)
    return _policy(augmentation, samples, seed, seconds)


def _policy(policy: Policy, samples: np.ndarray, seed: int, seconds: float) -> Augment:
    """Measure the whole and its parts in turns, with the same random numbers, so that the parts add up to that whole."""
    timed = _TimedPolicy(policy.compose) if policy.compose is not None else None
    spent, calls = 0.0, 0
    for calls in _rounds(len(samples), seconds):
        image, row = samples[(calls - 1) % len(samples)], calls - 1
        began = time.perf_counter()
        policy.apply(image, sample_generator(seed, 0, row))
        spent += time.perf_counter() - began
        if timed is not None:
            timed.apply(image, sample_generator(seed, 0, row))
    return Augment(name=policy.name, microseconds=1e6 * spent / calls, parts=timed.parts(calls) if timed is not None else ())


class _TimedPolicy:
    """An albumentations policy whose transforms are timed within it, each on the output of those before it."""

    def __init__(self, compose: Any) -> None:
        self._compose = copy.deepcopy(compose)
        self._transforms = list(self._compose.transforms)
        self._timed = [_Timed(transform) for transform in self._transforms]
        self._compose.transforms = self._timed

    def apply(self, image: np.ndarray, rng: np.random.Generator) -> None:
        """Apply the policy as Policy.apply does."""
        numbers = random.Random(int(rng.integers(2**63)))
        self._compose.set_random_state(rng, numbers)
        for transform in self._transforms:  # albumentations hands its numbers on to transforms of its own classes only
            transform.set_random_state(rng, numbers)
        self._compose(image=image.copy())

    def parts(self, calls: int) -> tuple[Part, ...]:
        """The mean time of each transform over `calls` calls."""
        pairs = zip(self._transforms, self._timed, strict=True)
        return tuple(Part(name=_title(transform), microseconds=1e6 * timed.seconds / calls) for transform, timed in pairs)


class _Timed:
    """A transform that adds up the time it takes."""

    def __init__(self, transform: Any) -> None:
        self._transform = transform
        self.seconds = 0.0

    def __call__(self, *arguments: Any, **data: Any) -> Any:
        began = time.perf_counter()
        try:
            return self._transform(*arguments, **data)
        finally:
            self.seconds += time.perf_counter() - began

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transform, name)


def _title(transform: Any) -> str:
    """The transform's class, with those inside it: "OneOf(MotionBlur, GaussianBlur)"."""
    inner = ", ".join(map(_title, getattr(transform, "transforms", ())))
    return type(transform).__name__ + (f"({inner})" if inner else "")


def _preset(preset: Preset, samples: np.ndarray, seed: int, seconds: float) -> Augment:
    """Measure a preset's parts: the random crop's box, the flip, and what colour, rotation and erasing each add to the flip."""
    flip = Preset(name=preset.name, area=preset.area, aspect=preset.aspect, mix=preset.mix)
    added = {
        "operations": preset if isinstance(preset, OperationPreset) else flip,
        "colour": dataclasses.replace(flip, colour=preset.colour),
        "rotation": dataclasses.replace(flip, rotation=preset.rotation),
        "erasing": dataclasses.replace(flip, erase=preset.erase),
    }
    added = {name: one for name, one in added.items() if one != flip}
    presets = {"all": preset, "flip": flip, **added}
    draws, pixels, scratch = SampleDraws(seed), np.empty_like(samples), np.empty_like(samples[0])
    height, width = samples.shape[1:3]
    rounds: dict[str, list[float]] = defaultdict(list)
    for number in _rounds(3, seconds):
        began, numbers = time.perf_counter(), []
        for i in range(len(samples)):
            numbers.append(draws(number, i))
            preset.box(numbers[-1], 2 * width, 2 * height, width, height)
        rounds["crop box"].append(time.perf_counter() - began)
        for name, one in presets.items():
            pixels[:] = samples
            began = time.perf_counter()
            for image, drawn in zip(pixels, numbers, strict=True):
                one.apply(image, drawn, scratch)
            rounds[name].append(time.perf_counter() - began)
        if preset.mix:
            batch, labels = samples.astype(np.float32), np.zeros(len(samples), np.int32)
            began = time.perf_counter()
            mix_batch(batch, labels, [preset.mixing(drawn) for drawn in numbers], 2)
            rounds["mixing"].append(time.perf_counter() - began)
    cost = {name: 1e6 * statistics.median(took) / len(samples) for name, took in rounds.items()}
    parts = {"crop box": cost["crop box"], "flip": cost["flip"], **{name: max(0.0, cost[name] - cost["flip"]) for name in added}}
    if preset.mix:
        parts["mixing"] = cost["mixing"]
    whole = cost["crop box"] + cost["all"] + parts.get("mixing", 0.0)
    return Augment(name=preset.name, microseconds=whole, parts=tuple(Part(name=n, microseconds=m) for n, m in parts.items()))


# ---- batches and steps


def loader_stage(stream: Stream, images_per_second: float, seconds: float, bad: Bad) -> Rate:
    """Measure how fast `stream`, over the sample, gives batches when nothing is done with them.

    `images_per_second` is the expected rate: if only a few batches would pass in the time, they are made smaller.
    """
    batch_size = min(stream.batch_size, max(1, int(images_per_second * seconds / 8)))
    return _passing(stream.replace(batch_size=batch_size), lambda images, labels: None, seconds, bad)


def ready_batch(stream: Stream) -> tuple[np.ndarray, np.ndarray]:
    """The first batch of `stream`, over the sample, as the step gets it: uint8 (B, H, W, C) and labels."""
    images, labels, *_ = _repeated(stream).to_keras()[0]
    return images, labels


def transfer_stage(images: np.ndarray, seconds: float) -> Rate:
    """Measure how fast a uint8 (B, H, W, C) batch becomes a tensor of the Keras backend, on its device."""
    import keras

    def hand_over() -> None:
        tensor = keras.ops.convert_to_tensor(images)
        keras.ops.convert_to_numpy(tensor[0, 0, 0, 0])  # waits until it is there

    hand_over()
    return Rate(images=len(images), seconds=_mean(lambda *_: hand_over(), 1, seconds))


def step_stage(trainee: TrainingStep, images: np.ndarray, labels: np.ndarray, seconds: float) -> Rate:
    """Measure training steps on one batch in memory, over and over."""
    each = _mean(lambda i, step: trainee.step(images, labels), 1, seconds)
    return Rate(images=trainee.batch_size, seconds=each)


def together_stage(trainee: TrainingStep, stream: Stream, seconds: float, bad: Bad) -> Rate:
    """Measure `stream`, over the sample, and training steps when one feeds the other."""
    return _passing(stream, trainee.step, seconds, bad)


def _passing(stream: Stream, take: Callable[[np.ndarray, np.ndarray], None], seconds: float, bad: Bad) -> Rate:
    """The rate at which `take` takes batches, after the first one, which waits for decoders to be created."""
    files = len(stream.index)
    stream = _repeated(stream)
    began, images, deadline = 0.0, -1, time.perf_counter() + seconds
    for epoch in itertools.count():
        seen = False
        for batch in stream.traced_batches(epoch):
            bad.update((position % files, error) for position, error in batch.bad)
            if not len(batch.images):
                continue
            seen = True
            take(batch.images, batch.labels)
            now = time.perf_counter()
            if images < 0:
                began, images = now, 0
                continue
            images += len(batch.images)
            if now >= deadline:
                return Rate(images=images, seconds=now - began)
        if not seen:
            raise NoImagesError(f"none of {files:,} images under {stream.index.root} can be read any more: has the folder gone away?")
    raise AssertionError("itertools.count ends")


_FEWEST_ROWS = 65_536
"""Rows of an epoch: the beginning and end of an epoch take time, which should not count."""


def _repeated(stream: Stream) -> Stream:
    """The stream over its files again and again, whole batches only."""
    rows = -(-max(_FEWEST_ROWS, len(stream.index)) // stream.batch_size) * stream.batch_size
    return stream.replace(index=stream.index.take(np.resize(np.arange(len(stream.index)), rows)))


# ---- time


def _in_threads(
    make: Callable[[], Callable[[_Item], int | None]], items: Iterable[_Item], threads: int, seconds: float
) -> tuple[int, int, float]:
    """Number of items done, the sum of their results, and the seconds they took. Each thread makes its own function by `make`, which gives
    None for an item that does not count. Goes on until the time is over and one item is done, or no items are left.
    """
    lock, source, done, total = threading.Lock(), iter(items), 0, 0
    deadline = time.perf_counter() + seconds

    def work() -> None:
        nonlocal done, total
        process, end = make(), object()
        while True:
            with lock:
                item: Any = next(source, end)
            if item is end:
                return
            result = process(item)
            with lock:
                if result is not None:
                    done, total = done + 1, total + result
                if done and time.perf_counter() > deadline:
                    return

    began = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(threads, thread_name_prefix="imgstream-bench") as pool:
        for future in [pool.submit(work) for _ in range(threads)]:
            future.result()
    return done, total, time.perf_counter() - began


def _mean(work: Callable[[int, int], object], count: int, seconds: float) -> float:
    """Mean seconds of work(i, call number), i cycling through 0..count-1 until the time is over; each i comes at least once."""
    began, calls = time.perf_counter(), 0
    for calls in _rounds(count, seconds):
        work((calls - 1) % count, calls - 1)
    return (time.perf_counter() - began) / calls


def _rounds(fewest: int, seconds: float) -> Iterator[int]:
    """1, 2, 3, … until the time is over, at least up to `fewest`."""
    deadline = time.perf_counter() + seconds
    for number in itertools.count(1):
        yield number
        if number >= fewest and time.perf_counter() > deadline:
            return
