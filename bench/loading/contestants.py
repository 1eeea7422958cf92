"""One loader of imgstream's own environment, measured in this process: a child of bench/loaders.py.

    python bench/loading/contestants.py NAME DIR SIZE WORKERS COLD AUGMENT

A function below prepares a loader of DIR/CLASS/*.jpg and returns one pass over it (see passes.py). Its docstring goes under the table.
"""

from __future__ import annotations

import concurrent.futures
import functools
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import simplejpeg
from passes import BATCH, Pass, count, jpegs, report

AREA = (0.35, 1.0)  # as in imgstream's presets
ASPECT = (3 / 4, 4 / 3)
COLOUR = 0.2


def imgstream(directory: str, size: int, workers: int, augment: str) -> Pass:
    """Stream.batches(): exact order, EXIF, bad files left out; accurate DCT."""
    stream = _stream(directory, size, workers, augment)
    return lambda epoch: count(stream.batches(epoch))


def imgstream_to_tf(directory: str, size: int, workers: int, augment: str) -> Pass:
    """Stream.to_tf(): the same by TensorFlow's ops and threads; accurate DCT."""
    dataset = _stream(directory, size, workers, augment).to_tf()
    return lambda _: count(dataset)


def imgstream_filling(directory: str, size: int, workers: int, augment: str) -> Pass:
    """Stream.batches() with an empty cache, on disk: every image is decoded, and what was made of it is kept."""
    stream = _stream(directory, size, workers, augment)

    def one_pass(epoch: int) -> int:
        with tempfile.TemporaryDirectory(dir=".") as folder:
            return count(stream.replace(cache=folder).batches(epoch))

    return one_pass


def imgstream_cached(directory: str, size: int, workers: int, augment: str) -> Pass:
    """Stream.batches() with a full cache, in the page cache: nothing is decoded."""
    folder = tempfile.TemporaryDirectory(dir=".")
    stream = _stream(directory, size, workers, augment).replace(cache=folder.name)
    for epoch in (0, 1):  # the first fills the cache; the second makes sure that it is whole
        count(stream.batches(epoch))
    return lambda epoch: count(stream.batches(epoch)) * bool(folder)


def bare_cached_work(directory: str, size: int, workers: int, augment: str) -> Pass:
    """A bound: processes, each over its share of the same windows of the same kept images, resize them from the mapped files and scale into
    memory that is used again. Nothing is looked up, checked or flipped.
    """
    folder = tempfile.TemporaryDirectory(dir=".")
    stream = _stream(directory, size, workers, augment).replace(cache=folder.name)
    count(stream.batches(0))
    return _in_processes(functools.partial(_cached, augment, folder), directory, size, workers)


def _stream(directory: str, size: int, workers: int, augment: str) -> Any:
    import imgstream as ims

    spec = ims.SampleSpec(size=(size, size), fit="stretch", scale="unit")
    return ims.Stream(ims.scan(directory), spec, augment=augment, batch_size=BATCH, shuffle=True, workers=workers)


def tf_data(directory: str, size: int, workers: int, augment: str) -> Pass:
    """tf.data as its guides tune it: parallel map and prefetch by AUTOTUNE over all cores, in any order; tf.io.decode_jpeg's own default,
    the fast DCT.
    """
    import tensorflow as tf

    def whole(jpeg: Any) -> Any:
        return tf.image.resize(tf.io.decode_jpeg(jpeg, 3), (size, size)) / 255.0

    def light(jpeg: Any) -> Any:
        shape = tf.io.extract_jpeg_shape(jpeg)
        box = tf.constant([[[0.0, 0.0, 1.0, 1.0]]])
        begin, extent, _ = tf.image.sample_distorted_bounding_box(shape, box, area_range=AREA, aspect_ratio_range=ASPECT)
        window = tf.concat([begin[:2], extent[:2]], 0)
        image = tf.image.resize(tf.io.decode_and_crop_jpeg(jpeg, window, 3), (size, size)) / 255.0
        return tf.image.random_flip_left_right(image)

    def standard(jpeg: Any) -> Any:
        image = tf.image.random_brightness(light(jpeg), COLOUR)
        image = tf.image.random_contrast(image, 1 - COLOUR, 1 + COLOUR)
        return tf.clip_by_value(tf.image.random_saturation(image, 1 - COLOUR, 1 + COLOUR), 0.0, 1.0)

    pixels = {"none": whole, "light": light, "standard": standard}[augment]
    files, labels = jpegs(directory)
    dataset = tf.data.Dataset.from_tensor_slices((files, labels)).shuffle(len(files))
    dataset = dataset.map(lambda f, y: (pixels(tf.io.read_file(f)), y), num_parallel_calls=tf.data.AUTOTUNE, deterministic=False)
    dataset = dataset.batch(BATCH).prefetch(tf.data.AUTOTUNE)
    return lambda _: count(dataset)


def keras(directory: str, size: int, workers: int, augment: str) -> Pass:
    """keras.utils.image_dataset_from_directory as its documentation has it, over all cores; the fast DCT."""
    import keras
    import tensorflow as tf

    dataset = keras.utils.image_dataset_from_directory(directory, batch_size=BATCH, image_size=(size, size), verbose=False)
    dataset = dataset.map(lambda x, y: (x / 255.0, y))
    layers: list[Any] = []
    if augment != "none":
        zoom = (AREA[0] ** 0.5 - 1, 0.0)
        layers += [keras.layers.RandomFlip("horizontal"), keras.layers.RandomZoom(zoom, zoom)]
    if augment == "standard":
        layers += [keras.layers.RandomBrightness(COLOUR, (0, 1)), keras.layers.RandomContrast(COLOUR, (0, 1))]
        factors = tuple(factor / (1 + factor) for factor in (1 - COLOUR, 1 + COLOUR))  # the layer's scale: 0.5 changes nothing
        layers += [keras.layers.RandomSaturation(factors, (0, 1))]
    if layers:
        pipeline = keras.Sequential(layers)
        dataset = dataset.map(lambda x, y: (pipeline(x, training=True), y), num_parallel_calls=tf.data.AUTOTUNE)
    dataset = dataset.prefetch(2)
    return lambda _: count(dataset)


def bare_work(directory: str, size: int, workers: int, augment: str) -> Pass:
    """A bound, not a loader: processes, each over its share of the files, read, decode, resize and scale into memory that is used again.
    No order, no queue, no batches handed over, no bad files. Decoded as imgstream does: accurate DCT, at 1/2, 1/4 or 1/8 if that suffices.
    """
    return _in_processes(_all_of_it, directory, size, workers)


def decoder_alone(directory: str, size: int, workers: int, augment: str) -> Pass:
    """A bound: the same processes, with their files in memory, only decode them."""
    return _in_processes(_only_decode, directory, size, workers)


def reading_alone(directory: str, size: int, workers: int, augment: str) -> Pass:
    """A bound: as many threads open the files, in another order each pass, read and close them."""
    files, _ = jpegs(directory)
    order = np.random.default_rng(0)
    crew = concurrent.futures.ThreadPoolExecutor(workers)

    def read(path: str) -> int:
        with open(path, "rb", buffering=0) as file:
            return bool(file.read())

    return lambda _: sum(crew.map(read, order.permutation(files).tolist()))


def _in_processes(work: Callable[[list[str], int], Callable[[], None]], directory: str, size: int, workers: int) -> Pass:
    files, _ = jpegs(directory)
    start, done = multiprocessing.Barrier(workers + 1), multiprocessing.Barrier(workers + 1)
    for worker in range(workers):
        multiprocessing.Process(target=_worker, args=(work, files[worker::workers], size, start, done), daemon=True).start()

    def one_pass(_: int) -> int:
        start.wait()
        done.wait()
        return len(files)

    start.wait()  # everyone is ready: starting up is not measured
    return one_pass


def _worker(work: Callable[[list[str], int], Callable[[], None]], files: list[str], size: int, start: Any, done: Any) -> None:
    cv2.setNumThreads(0)
    try:
        once = work(files, size)
        start.wait()
        while True:  # ends with its parent
            start.wait()
            once()
            done.wait()
    except Exception:
        start.abort()
        done.abort()  # or the parent would wait for ever
        raise


def _all_of_it(files: list[str], size: int) -> Callable[[], None]:
    decode, small, batch = _decoder(size), np.empty((size, size, 3), np.uint8), np.empty((BATCH, size, size, 3), np.float32)
    scale = np.float32(1 / 255)

    def once() -> None:
        for i, path in enumerate(files):
            file = os.open(path, os.O_RDONLY)
            data = os.read(file, os.fstat(file).st_size)
            os.close(file)
            cv2.resize(decode(data), (size, size), dst=small)
            np.multiply(small, scale, out=batch[i % BATCH])

    return once


def _cached(augment: str, folder: tempfile.TemporaryDirectory[str], files: list[str], size: int) -> Callable[[], None]:
    import imgstream as ims
    from imgstream.augment import Preset, resolve
    from imgstream.cache import PixelCache
    from imgstream.decode.sample import plan_sample
    from imgstream.files.reader import file_version
    from imgstream.order import SampleDraws
    from imgstream.stream.workers.cached_samples import CacheForm

    spec, preset, cache = ims.SampleSpec(size=(size, size), fit="stretch"), resolve(augment), PixelCache(folder.name)
    store, draws, windows = CacheForm.of(spec, preset, cache).store(cache), SampleDraws(0), []
    for row in np.random.default_rng(0).permutation(len(files)).tolist():
        kept = store.find(os.fsencode(files[row]), file_version(files[row]))
        numbers = draws(0, row)
        box = functools.partial(preset.box, numbers) if isinstance(preset, Preset) else None
        plan = plan_sample(spec, kept.shape[1], kept.shape[0], box, reductions=())
        windows.append(kept[plan.y : plan.y + plan.height, plan.x : plan.x + plan.width])
    small, batch, scale = np.empty((size, size, 3), np.uint8), np.empty((BATCH, size, size, 3), np.float32), np.float32(1 / 255)

    def once() -> None:
        for i, window in enumerate(windows):
            if window.shape != small.shape:
                window = cv2.resize(window, (size, size), dst=small)
            np.multiply(window, scale, out=batch[i % BATCH])

    return once


def _only_decode(files: list[str], size: int) -> Callable[[], None]:
    decode, held = _decoder(size), []
    for path in files:
        with open(path, "rb") as file:
            held.append(file.read())

    def once() -> None:
        for data in held:
            decode(data)

    return once


def _decoder(size: int) -> Callable[[bytes], np.ndarray]:
    scratch = np.empty(1 << 20, np.uint8)

    def decode(data: bytes) -> np.ndarray:
        nonlocal scratch
        height, width, _, _ = simplejpeg.decode_jpeg_header(data)
        for reduction in (8, 4, 2, 1):
            rows, columns = -(-height // reduction), -(-width // reduction)
            if min(rows, columns) >= size:
                break
        if scratch.size < rows * columns * 3:
            scratch = np.empty(rows * columns * 3, np.uint8)
        pixels: np.ndarray = simplejpeg.decode_jpeg(data, "RGB", min_height=rows, min_width=columns, buffer=scratch)
        return pixels

    return decode


CONTESTANTS = {
    "imgstream": (imgstream, ("imgstream", "simplejpeg", "opencv-python-headless", "numpy")),
    "imgstream to_tf": (imgstream_to_tf, ("imgstream", "tensorflow")),
    "tf.data": (tf_data, ("tensorflow",)),
    "Keras": (keras, ("keras", "tensorflow")),
    "imgstream filling": (imgstream_filling, ("imgstream", "simplejpeg", "opencv-python-headless", "numpy")),
    "imgstream cached": (imgstream_cached, ("imgstream", "opencv-python-headless", "numpy")),
    "bare cached work": (bare_cached_work, ("opencv-python-headless", "numpy")),
    "bare work": (bare_work, ("simplejpeg", "opencv-python-headless", "numpy")),
    "reading alone": (reading_alone, ()),
    "decoder alone": (decoder_alone, ("simplejpeg",)),
}


if __name__ == "__main__":
    name, directory, size, workers, cold, augment = sys.argv[1:]
    loader, packages = CONTESTANTS[name]
    report(lambda: loader(directory, int(size), int(workers), augment), loader.__doc__, packages, cold)
