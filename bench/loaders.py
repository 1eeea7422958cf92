"""How fast batches leave the loader, beside tf.data and Keras on the same files, in turn, on this machine.

    python bench/loaders.py DIR [--size 224] [--rounds 7] [--workers 2]

DIR holds one folder of JPEGs a class. Each loader runs in a process of its own: read, decode, resize (bilinear, the whole image) to
SIZE×SIZE, scale to [0, 1] float32, batches of 32, shuffled; the best of three warm epochs. A B C A B C …, medians and the median of
the ratios round by round. The files are read once before, so the page cache is warm; those that are bad are left out for all.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

BATCH = 32
EPOCHS = 3


def imgstream_batches(directory: str, size: int, workers: int) -> Callable[[int], Iterable[Any]]:
    """Ours."""
    import imgstream as ims

    spec = ims.SampleSpec(size=(size, size), fit="stretch", scale="unit")
    stream = ims.Stream(ims.scan(directory), spec, batch_size=BATCH, shuffle=True, workers=workers)
    return lambda epoch: stream.batches(epoch)


def imgstream_tf_batches(directory: str, size: int, workers: int) -> Callable[[int], Iterable[Any]]:
    """Ours, as a tf.data pipeline."""
    import imgstream as ims

    spec = ims.SampleSpec(size=(size, size), fit="stretch", scale="unit")
    dataset = ims.Stream(ims.scan(directory), spec, batch_size=BATCH, shuffle=True, workers=workers).to_tf()
    return lambda _: dataset


def tfdata_batches(directory: str, size: int, workers: int) -> Callable[[int], Iterable[Any]]:
    """tf.data as its guides tune it: parallel map and prefetch by AUTOTUNE, any order."""
    import tensorflow as tf

    files = sorted(str(p) for p in Path(directory).glob("*/*") if p.suffix.lower() in (".jpg", ".jpeg"))
    names = sorted({Path(f).parent.name for f in files})
    labels = [names.index(Path(f).parent.name) for f in files]

    def load(path: Any, label: Any) -> Any:
        image = tf.io.decode_jpeg(tf.io.read_file(path), 3)
        return tf.image.resize(image, (size, size)) / 255.0, label

    dataset = tf.data.Dataset.from_tensor_slices((files, labels)).shuffle(len(files))
    dataset = dataset.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=False).batch(BATCH).prefetch(tf.data.AUTOTUNE)
    return lambda _: dataset


def keras_batches(directory: str, size: int, workers: int) -> Callable[[int], Iterable[Any]]:
    """keras.utils.image_dataset_from_directory as its documentation has it."""
    import keras

    dataset = keras.utils.image_dataset_from_directory(directory, batch_size=BATCH, image_size=(size, size), verbose=False)
    dataset = dataset.map(lambda x, y: (x / 255.0, y)).prefetch(2)
    return lambda _: dataset


LOADERS = {"imgstream": imgstream_batches, "imgstream to_tf": imgstream_tf_batches, "tf.data": tfdata_batches, "Keras": keras_batches}


def measure(loader: str, directory: str, size: int, workers: int) -> None:
    """Print the best epoch's images a second: what a child process does."""
    batches, best = LOADERS[loader](directory, size, workers), 0.0
    for epoch in range(EPOCHS):
        began, images = time.perf_counter(), 0
        for batch, _ in batches(epoch):
            images += int(batch.shape[0])
        best = max(best, images / (time.perf_counter() - began))
    print(best)


def main() -> None:
    """Read the arguments; compare, or be a child that measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--measure", choices=LOADERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure, options.directory, options.size, options.workers)
        return
    with tempfile.TemporaryDirectory() as folder:
        compare(options, link_jpegs(Path(options.directory), Path(folder)), folder)


def link_jpegs(source: Path, target: Path) -> int:
    """Links in `target` to the JPEGs of `source` that every loader can read; returns how many. This also warms the page cache."""
    import imgstream as ims

    index = ims.scan(source)
    jpegs = [i for i in range(len(index)) if index.path(i).lower().endswith((".jpg", ".jpeg")) and index.labels[i] >= 0]
    stream = ims.Stream(index.take(jpegs), ims.SampleSpec(size=(32, 32)))
    for _ in stream.batches():
        pass
    bad = {path for path, _ in stream.skipped}
    good = [i for i in jpegs if index.path(i) not in bad]
    for i in good:
        folder = target / index.class_names[index.labels[i]]
        folder.mkdir(exist_ok=True)
        (folder / f"{i:07}.jpg").symlink_to(Path(index.path(i)).resolve())
    return len(good)


def compare(options: argparse.Namespace, count: int, folder: str) -> None:
    """Run the rounds over the images in `folder` and print the table."""
    rates: dict[str, list[float]] = {name: [] for name in LOADERS}
    arguments = [folder, "--size", str(options.size), "--workers", str(options.workers)]
    for _ in range(options.rounds):
        for name in LOADERS:
            command = [sys.executable, __file__, *arguments, "--measure", name]
            child = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"})
            rates[name].append(float(child.stdout.split()[-1]))
    versions = ", ".join(f"{p} {importlib.metadata.version(p)}" for p in ("tensorflow", "keras", "simplejpeg", "opencv-python-headless"))
    print(f"{count} JPEGs of {options.directory} to {options.size}x{options.size}, batches of {BATCH}, page cache warm,")
    print(f"{options.workers} threads on {os.cpu_count()} cores ({platform.machine()}), n={options.rounds} rounds, in turn; {versions}\n")
    ours = ("imgstream", "imgstream to_tf")
    print("| loader | images/s, median | min – max | " + " | ".join(f"{name} / it, median of rounds" for name in ours) + " |")
    print("|---|---|---|" + "---|" * len(ours))
    for name, measured in rates.items():
        ratios = (statistics.median(a / b for a, b in zip(rates[our], measured, strict=True)) for our in ours)
        shown = " | ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"| {name} | {statistics.median(measured):,.0f} | {min(measured):,.0f} – {max(measured):,.0f} | {shown} |")


if __name__ == "__main__":
    main()
