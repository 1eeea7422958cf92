"""How fast images are read from each form they may be in, beside the tools that read such forms; and an index of a million records.

    python bench/loading/sources.py DIR [--size 224] [--rounds 3] [--workers 2] [--only NAME,NAME] [--million N]

DIR holds one folder of JPEGs a class. They are packed by `imgstream pack` into shards of 64 MB in a temporary folder. Each reader runs in a
process of its own: read, decode, resize to SIZE×SIZE, float32 in [0, 1], batches of 32, shuffled; the better of two passes, page cache
warm. A B C A B C …, medians. The second column, of processor time, holds on a busy machine too, more or less. imgstream's order is an exact
permutation of all rows; the others shuffle in a buffer of 1,000, and datasets reads its rows in a shuffled order. webdataset and datasets
decode with OpenCV in a pool of threads, which is faster than their own Pillow.

--million N: instead, N records of one small JPEG each in TFRecord shards: the time to list them beside that of reading the files once, the
table's bytes a row, the time to open it again, random batches a second, and the memory that this took.
"""

from __future__ import annotations

import argparse
import glob
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

BATCH, BUFFER = 32, 1000
READERS = {
    "files: imgstream": "files",
    "zip: imgstream": "zip",
    "tfrecord: imgstream": "tfrecord",
    "webdataset: imgstream": "webdataset",
    "parquet: imgstream": "parquet",
    "tfrecord: tf.data": "tfrecord",
    "webdataset: webdataset": "webdataset",
    "parquet: datasets": "parquet",
}


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, nargs="?")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--only", default=",".join(READERS))
    parser.add_argument("--million", type=int)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(options)))
    elif options.million:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["IMGSTREAM_CACHE"] = f"{folder}/cache"
            million(Path(folder), options.million)
    else:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["IMGSTREAM_CACHE"] = f"{folder}/cache"
            compare(options, Path(folder))


def compare(options: argparse.Namespace, folder: Path) -> None:
    """Pack the images, read them in turns, print medians."""
    made = {"files": options.directory}
    names = [name for name in READERS if name in options.only.split(",")]
    for form in {READERS[name] for name in names} - {"files"}:
        made[form] = folder / (f"{form}.zip" if form == "zip" else form)
        if form == "zip":
            with zipfile.ZipFile(made[form], "w") as archive:
                for path in sorted(options.directory.glob("*/*")):
                    archive.write(path, path.relative_to(options.directory))
        else:
            command = ["pack", str(options.directory), "-o", str(made[form]), "--format", form, "--shard-size", "64MB", "--json"]
            subprocess.run([sys.executable, "-m", "imgstream", *command], check=True, stdout=subprocess.DEVNULL)
    rates: dict[str, list[list[float]]] = {name: [] for name in names}
    for _ in range(options.rounds):
        for name in names:
            arguments = [str(made[READERS[name]]), "--one", name, "--size", str(options.size), "--workers", str(options.workers)]
            done = subprocess.run([sys.executable, __file__, *arguments], check=True, capture_output=True, text=True)
            rates[name].append(json.loads(done.stdout.splitlines()[-1]))
    print(
        f"| form and reader | images/s, {options.size}×{options.size}, {options.workers} cores | images a second of a core |\n|---|---|---|"
    )
    for name in names:
        print(f"| {name} | " + " | ".join(f"{statistics.median(values):,.0f}" for values in zip(*rates[name], strict=True)) + " |")


def one(options: argparse.Namespace) -> list[float]:
    """Images/s of one reader, and images for each second that it takes of a core: the better of two passes, each."""
    _, reader = options.one.split(": ")
    batches: Callable[[int], Iterator[Any]]
    if reader == "imgstream":
        import imgstream as ims

        stream = ims.Stream(
            ims.scan(options.directory),
            ims.SampleSpec(size=(options.size, options.size), fit="stretch"),
            batch_size=BATCH,
            shuffle=True,
            workers=options.workers,
        )
        batches = lambda epoch: stream.batches(epoch)  # noqa: E731
    else:
        made = {"tf.data": tensorflow_batches, "webdataset": webdataset_batches, "datasets": datasets_batches}[reader]
        batches = made(options.directory, options.size, options.workers)
    best = [0.0, 0.0]
    for epoch in range(2):
        clocks = (time.perf_counter, time.process_time)
        began, images = [clock() for clock in clocks], 0
        for batch in batches(epoch):
            images += len(batch[0])
        best = [max(rate, images / (clock() - since)) for rate, clock, since in zip(best, clocks, began, strict=True)]
    return best


def tensorflow_batches(directory: Path, size: int, workers: int) -> Callable[[int], Iterator[Any]]:
    """TFRecordDataset as TensorFlow's guides have it."""
    import tensorflow as tf

    tf.config.threading.set_inter_op_parallelism_threads(workers)
    tf.config.threading.set_intra_op_parallelism_threads(workers)
    features = {"image/encoded": tf.io.FixedLenFeature((), tf.string), "image/class/label": tf.io.FixedLenFeature((), tf.int64)}

    def sample(record: Any) -> tuple[Any, Any]:
        found = tf.io.parse_single_example(record, features)
        image = tf.io.decode_jpeg(found["image/encoded"], channels=3)
        return tf.image.resize(image, (size, size)) / 255.0, found["image/class/label"]

    files = sorted(glob.glob(f"{directory}/*.tfrecord"))
    dataset = tf.data.TFRecordDataset(files, num_parallel_reads=tf.data.AUTOTUNE).shuffle(BUFFER)
    dataset = dataset.map(sample, tf.data.AUTOTUNE).batch(BATCH).prefetch(tf.data.AUTOTUNE)
    return lambda epoch: iter(dataset)


def webdataset_batches(directory: Path, size: int, workers: int) -> Callable[[int], Iterator[Any]]:
    """WebDataset with a buffer, decoded by threads."""
    import webdataset

    files = sorted(glob.glob(f"{directory}/*.tar"))

    def batches(epoch: int) -> Iterator[Any]:
        samples = webdataset.WebDataset(files, shardshuffle=len(files), seed=epoch).shuffle(BUFFER)
        return _batched(((sample["jpg"], int(sample["cls"])) for sample in samples), size, workers)

    return batches


def datasets_batches(directory: Path, size: int, workers: int) -> Callable[[int], Iterator[Any]]:
    """A dataset of Parquet files as Arrow, in a shuffled order, decoded by threads."""
    import datasets

    files = sorted(glob.glob(f"{directory}/*.parquet"))
    rows = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=f"{directory}-cache")
    rows = rows.cast_column("image", datasets.Image(decode=False))

    def batches(epoch: int) -> Iterator[Any]:
        order = np.random.default_rng(epoch).permutation(len(rows)).tolist()
        return _batched(((row["image"]["bytes"], row["label"]) for row in (rows[i] for i in order)), size, workers)

    return batches


def _batched(samples: Iterator[tuple[bytes, int]], size: int, workers: int) -> Iterator[Any]:
    import cv2

    cv2.setNumThreads(0)

    def decoded(sample: tuple[bytes, int]) -> tuple[np.ndarray, int]:
        image = cv2.imdecode(np.frombuffer(sample[0], np.uint8), cv2.IMREAD_COLOR_RGB)
        return cv2.resize(image, (size, size)), sample[1]

    with ThreadPoolExecutor(workers) as pool:
        waiting = [pool.submit(decoded, sample) for sample in islice(samples, 4 * BATCH)]
        while waiting:
            ready = [future.result() for future in waiting[:BATCH]]
            waiting = waiting[BATCH:] + [pool.submit(decoded, sample) for sample in islice(samples, BATCH)]
            images, labels = zip(*ready, strict=True)
            yield np.stack(images).astype(np.float32) / 255, np.array(labels)


def million(folder: Path, count: int) -> None:
    """Figures of a large TFRecord set."""
    import cv2

    import imgstream as ims
    from imgstream.packing.images import PackedImage
    from imgstream.packing.tfrecord_shard import TFRecordShard

    _, encoded = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8))
    (folder / "shards").mkdir()
    a_shard = 50_000
    for first in range(0, count, a_shard):
        with open(folder / f"shards/train-{first // a_shard:05}.tfrecord", "wb") as file:
            shard = TFRecordShard(file, ["even", "odd"])
            for row in range(first, min(first + a_shard, count)):
                shard.add(PackedImage(row, b"%d/%07d.jpg" % (row % 2, row), encoded.tobytes(), "jpeg", 16, 16, row % 2))
    size = sum(path.stat().st_size for path in (folder / "shards").iterdir())
    began = time.perf_counter()
    subprocess.run(f"cat {folder}/shards/*.tfrecord > /dev/null", shell=True, check=True)
    cat = time.perf_counter() - began
    before, began = _anonymous(), time.perf_counter()
    index = ims.scan(folder / "shards")
    listed = time.perf_counter() - began
    print(f"{count:,} records, {size / 1e6:,.0f} MB: listed in {listed:.1f} s, {len(index) / listed:,.0f} a second; cat takes {cat:.1f} s")
    assert index.table.path is not None
    print(f"table: {os.path.getsize(index.table.path) / count:.1f} bytes a row; memory grew by {(_anonymous() - before) / 1e6:,.0f} MB")
    opening = []
    for _ in range(5):
        began = time.perf_counter()
        index = ims.scan(folder / "shards")
        opening.append(time.perf_counter() - began)
    print(f"opened again in {1e3 * statistics.median(opening):.0f} ms")
    os.utime(folder / "shards/train-00000.tfrecord")
    began = time.perf_counter()
    index = ims.scan(folder / "shards")
    print(f"one of {-(-count // a_shard)} shards has changed: listed again in {time.perf_counter() - began:.1f} s")
    stream = ims.Stream(index, ims.SampleSpec(size=(16, 16)), shuffle=True, batch_size=BATCH)
    began, memory = time.perf_counter(), []
    for number, _ in enumerate(islice(stream.batches(), 4000)):
        if number % 1000 == 999:
            memory.append(f"{_anonymous() / 1e6:,.0f}")
    print(
        f"random batches of {BATCH}: {4000 / (time.perf_counter() - began):,.0f} a second; memory after each 1,000: {', '.join(memory)} MB"
    )


def _anonymous() -> int:
    """Bytes of this process that are in no file (Linux)."""
    with open("/proc/self/smaps_rollup") as lines:
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("Anonymous"))


if __name__ == "__main__":
    main()
