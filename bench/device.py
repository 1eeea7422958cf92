"""What a GPU, or a CPU of many cores, gives: steps beside Keras' fit, training from files, start-up, the loader by cores, prediction.

    KERAS_BACKEND=jax python bench/device.py [DIR] [--seconds 240] [--network NAME:SIZE:BATCH ...] [--json FILE]

Takes five minutes at most on a GPU, of which a first compiling may take two, and needs no TensorFlow. DIR holds class folders of 1,000
photographs or more, in the page cache (default: photographs drawn here). Rates are images/s, medians of rounds by turns in one process.
Each part has a share of the time; a part that fails is told.
"""

from __future__ import annotations

import argparse
import collections
import functools
import itertools
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("KERAS_BACKEND", "jax")

NETWORKS = ("cnn:96:64", "cnn:96:512", "ResNet50:224:128")
ROUNDS = 5
PHOTOGRAPHS = 1_000

START = """
import time; began = time.time()
import sys, keras, numpy as np, imgstream as ims
from imgstream.profiling.training_step import TrainingStep
from imgstream.training import TrainSettings
imported = time.time()
step = TrainingStep(TrainSettings(model="cnn"), ims.SampleSpec(size=(96, 96)), True, 2)
built = time.time()
step.step(np.zeros((64, 96, 96, 3), np.uint8), np.zeros(64, np.int32))
print(f"{imported - began:.1f} {built - imported:.1f} {time.time() - built:.1f}")
"""


def draw(folder: Path) -> None:
    """Photographs of 500 × 375 pixels, noisy and smooth in parts, as JPEG: 60 KB each, of two classes."""
    import cv2

    rng = np.random.default_rng(0)
    for number in range(PHOTOGRAPHS):
        coarse = rng.integers(0, 256, (12, 16, 3), np.uint8)
        image = cv2.resize(coarse, (500, 375), interpolation=cv2.INTER_CUBIC).astype(np.int16) + rng.integers(-12, 13, (375, 500, 3))
        path = folder / ("a", "b")[number % 2] / f"{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), np.clip(image, 0, 255).astype(np.uint8))


def steps(name: str, size: int, batch_size: int, seconds: float) -> dict[str, float]:
    """Images/s of Keras' fit and of imgstream's step, on batches in memory: floats for the one, pixels for the other."""
    import keras

    import imgstream as ims
    from imgstream.models import build_model
    from imgstream.training import TrainSettings
    from imgstream.training.step.compiled_models import trained_model
    from imgstream.training.step.precision import choose_precision
    from imgstream.training.step.replicas import Replicas
    from imgstream.training.step.step_selection import new_step
    from imgstream.training.step.weight_average import WeightAverage

    policy, _ = choose_precision("auto")
    theirs, ours = (trained_model(build_model(name, (size, size, 3), 2), policy, TrainSettings(), Replicas([])) for _ in range(2))
    theirs.compile(theirs.optimizer, theirs.loss, metrics=["accuracy"])
    average, spec = WeightAverage(ours), ims.SampleSpec(size=(size, size))
    step = new_step(ours, average, Replicas([]), batch_size, spec)
    rng = np.random.default_rng(0)
    labels = np.eye(2, dtype=np.float32)[rng.integers(0, 2, batch_size)]
    pixels = [rng.integers(0, 256, (batch_size, size, size, 3), np.uint8) for _ in range(4)]

    class Floats(keras.utils.PyDataset):  # type: ignore[misc]
        def __init__(self, count: int) -> None:
            super().__init__()
            self._batches, self._count = [each / np.float32(255) for each in pixels], count

        def __len__(self) -> int:
            return self._count

        def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
            return self._batches[number % len(self._batches)], labels

    def fit(count: int) -> None:
        theirs.fit(Floats(count), verbose=0)

    def loop(count: int) -> None:
        results: collections.deque[Any] = collections.deque()
        for number in range(count):
            results.append(step(pixels[number % len(pixels)], labels, None, rate=0.01, share=average.share(number + 1)))
            while len(results) > step.ahead:
                _ = results.popleft().loss
        while results:
            _ = results.popleft().loss

    fit(2), loop(2)  # compile
    began = time.perf_counter()
    loop(3)
    count = max(4, int(seconds / (2 * ROUNDS) * 3 / (time.perf_counter() - began)))
    rates: dict[str, list[float]] = {"fit": [], "step": []}
    for _ in range(ROUNDS):
        for part, run in (("fit", fit), ("step", loop)):
            rates[part].append(count * batch_size / seconds_of(lambda run=run: run(count)))
    step.sync()
    return {part: statistics.median(found) for part, found in rates.items()}


def from_files(directory: str, seconds: float) -> dict[str, float]:
    """Images/s of the loader alone, of steps alone, and of both, for `cnn` at 96 × 96 in batches of 512."""
    import imgstream as ims
    from imgstream.profiling.training_step import TrainingStep
    from imgstream.training import TrainSettings

    spec, size = ims.SampleSpec(size=(96, 96)), 512
    stream = ims.Stream(repeated(ims.scan(directory)), spec, augment="standard", batch_size=size, shuffle=True, dtype="uint8")
    step = TrainingStep(TrainSettings(model="cnn", batch_size=size), spec, False, 2)
    images, labels = next(stream.batches())
    step.step(images, labels)
    return {
        "loader": passing(stream.batches(1), lambda *_: None, seconds / 3),
        "step": passing(itertools.repeat((images, labels)), step.step, seconds / 3),
        "together": passing(stream.batches(2), step.step, seconds / 3),
    }


def start_up() -> dict[str, list[float]]:
    """Seconds to import, to build `cnn` and its step, and to take the first step: in a new process with an empty cache, and again."""
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as home:
        for name in ("cold", "warm"):
            environment = {**os.environ, "IMGSTREAM_CACHE": home}
            done = subprocess.run([sys.executable, "-c", START], capture_output=True, text=True, check=True, env=environment)
            found[name] = [float(each) for each in done.stdout.split()]
    return found


def by_cores(directory: str, seconds: float) -> dict[int, list[float]]:
    """For 1, 2, 4, … cores: images/s of the loader at 224 × 224, and of the bare work, decoding and resizing in as many processes."""
    import imgstream as ims
    from imgstream.stream.plan import cpu_count

    index, cores = ims.scan(directory), cpu_count()
    counts = sorted({*(2**n for n in range(10) if 2**n <= cores), cores})
    paths = [index.path_bytes(position) for position in range(len(index))]
    found: dict[int, list[list[float]]] = {count: [] for count in counts}
    each = seconds / len(counts) / 4
    for _ in range(2):
        for count in counts:
            stream = ims.Stream(repeated(index), ims.SampleSpec(), batch_size=64, workers=count, dtype="uint8")
            loader = passing(stream.batches(), lambda *_: None, each)
            with multiprocessing.get_context("spawn").Pool(count) as pool:
                pool.map(decode, [(paths[:4], 0.0)] * count, chunksize=1)  # imports
                bare = sum(pool.map(decode, [(paths[n::count], each) for n in range(count)], chunksize=1))
            found[count].append([loader, bare])
    return {count: np.median(rounds, axis=0).tolist() for count, rounds in found.items()}


def decode(job: tuple[list[bytes], float]) -> float:
    """Images/s of one process that makes samples of these files, over and over for some seconds."""
    import imgstream as ims
    from imgstream.decode.sample import SampleReader

    paths, seconds = job
    spec = ims.SampleSpec()
    reader, out = SampleReader(spec), np.zeros(spec.shape, np.uint8)
    began, done = time.perf_counter(), 0
    for path in itertools.cycle(paths):
        reader.read(path, out)
        done += 1
        if time.perf_counter() - began > seconds:
            break
    return done / (time.perf_counter() - began)


def prediction(seconds: float) -> dict[int, float]:
    """Images/s of ResNet50's forward pass at 224 × 224 on pixels in memory, by batch size."""
    import imgstream as ims
    from imgstream.models import build_model
    from imgstream.models.forward import Forward, Program, late

    program = Program(build_model("ResNet50", (224, 224, 3), 10), ims.SampleSpec())
    found = {}
    for size in (32, 128, 512):
        forward, images = Forward(program, size), np.random.default_rng(0).integers(0, 256, (size, 224, 224, 3), np.uint8)
        forward(images)  # compiles
        began, done = time.perf_counter(), 0
        for logits in late((forward.start(images) for _ in itertools.count()), forward.ahead):
            logits()
            done += size
            if time.perf_counter() - began > seconds / 3:
                break
        found[size] = done / (time.perf_counter() - began)
    return found


def repeated(index: Any) -> Any:
    """The index over and over, 65,536 rows at least: the beginning and end of an epoch take time."""
    return index.take(np.resize(np.arange(len(index)), max(len(index), 65_536)))


def passing(batches: Iterator[tuple[np.ndarray, ...]], take: Callable[..., object], seconds: float) -> float:
    """The rate at which `take` takes batches, after the first two."""
    for images, labels in itertools.islice(batches, 2):
        take(images, labels)
    began, done = time.perf_counter(), 0
    for images, labels in batches:
        take(images, labels)
        done += len(images)
        if time.perf_counter() - began > seconds:
            break
    return done / (time.perf_counter() - began)


def seconds_of(work: Callable[[], object]) -> float:
    """How long `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    """Measure and print, part by part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", nargs="?")
    parser.add_argument("--seconds", type=float, default=240.0)
    parser.add_argument("--network", action="append", metavar="NAME:SIZE:BATCH")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    end, found = time.monotonic() + options.seconds, dict[str, Any]()
    with tempfile.TemporaryDirectory() as drawn:
        if options.directory is None:
            draw(Path(drawn))
        directory = options.directory or drawn
        share = options.seconds / 10
        parts: list[tuple[str, Callable[[], Any]]] = []
        for name, size, batch in (each.split(":") for each in options.network or NETWORKS):
            run = functools.partial(steps, name, int(size), int(batch), share)
            parts.append((f"{name} {size}², batches of {batch}, in memory", run))
        parts += [
            ("cnn 96² from files, batches of 512", lambda: from_files(directory, share)),
            ("loader at 224² and bare work, by cores", lambda: by_cores(directory, 2 * share)),
            ("ResNet50's forward pass, by batch size", lambda: prediction(share)),
            ("start-up, s: import, build, first step", start_up),
        ]
        for name, part in parts:
            if time.monotonic() > end:
                print(f"{name}: no time left", flush=True)
                continue
            try:
                found[name] = part()
            except Exception as error:
                found[name] = f"{type(error).__name__}: {error}"[:300]
            print(f"{name}: {found[name]}", flush=True)

    from imgstream.runs.run import device
    from imgstream.versions import versions

    found["device"], found["cores"] = device(), os.cpu_count()
    found["versions"] = versions("imgstream", "keras", "jax", "torch", "tensorflow", "numpy")
    print({name: found[name] for name in ("device", "cores", "versions")})
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
