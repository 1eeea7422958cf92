"""What layers of Keras cost one by one on the CPU, and by the batch on the device.

    python bench/training/augment_on.py [--size 96] [--batch 64]

Takes half a minute with TensorFlow on two cores; with KERAS_BACKEND=jax compiling RandAugment takes one or two minutes more on a CPU. One
row for each augmentation: microseconds an image on one thread of the CPU, the same by the batch in a compiled program, and the seconds to
compile it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from imgstream.augment import resolve
from imgstream.augment.keras_layers import BatchLayers

LAYERS: dict[str, Callable[[], Any]] = {
    "flip": lambda: keras.layers.RandomFlip("horizontal"),
    "flip, rotation, erasing": lambda: [
        keras.layers.RandomFlip("horizontal"),
        keras.layers.RandomRotation(0.05),
        keras.layers.RandomErasing(),
    ],
    "RandAugment": lambda: keras.layers.RandAugment(),
}
SECONDS = 2.0


def rate(work: Callable[[], Any], images: int) -> float:
    """Microseconds an image, by the fastest of the calls in SECONDS."""
    best, end = float("inf"), time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        began = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - began)
    return 1e6 * best / images


def compiled(layers: BatchLayers) -> Callable[[np.ndarray], Any]:
    """The layers as one program, with the way of the batch to the device."""
    if keras.backend.backend() == "jax":
        import jax

        program = jax.jit(lambda images, numbers: layers(images.astype("float32"), numbers))
        return lambda images: program(images, layers.numbers(0)).block_until_ready()
    import tensorflow as tf

    function = tf.function(lambda images, numbers: layers(tf.cast(images, tf.float32), numbers), autograph=False)
    return lambda images: function(images, tf.convert_to_tensor(layers.numbers(0))).numpy()


def main() -> None:
    """Measure each, and print its row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--batch", type=int, default=64)
    options = parser.parse_args()
    images = np.random.default_rng(0).integers(0, 256, (options.batch, options.size, options.size, 3), np.uint8)
    print(f"{keras.backend.backend()}, {options.size} x {options.size}, batches of {options.batch}")
    print(f"{'':24}{'one by one, µs':>16}{'by the batch, µs':>18}{'compiling, s':>14}")
    for name, made in LAYERS.items():
        policy: Any = resolve(made())
        policy.apply(images[0], np.random.default_rng(0))
        single = rate(lambda policy=policy: policy.apply(images[0], np.random.default_rng(0)), 1)
        program = compiled(BatchLayers(policy, 0))
        began = time.perf_counter()
        program(images)
        compiling = time.perf_counter() - began
        print(f"{name:24}{single:16,.0f}{rate(lambda program=program: program(images), len(images)):18,.0f}{compiling:14.1f}", flush=True)


if __name__ == "__main__":
    main()
