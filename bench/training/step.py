"""How fast the training loop's step is beside Keras' own fit: the same network, the same batches in memory, by turns.

    python bench/training/step.py [--network tiny|cnn] [--size 32] [--batch-size 8] [--steps 400] [--rounds 5]

Keras' backend is the one that KERAS_BACKEND names. Printed are the medians of the rounds, images/s, and the ratio. fit has the network
compiled by Keras' defaults, with one metric, takes floats and averages no weights; ours takes pixels and averages.
"""

from __future__ import annotations

import argparse
import collections
import statistics
import time
from typing import Any

import keras
import numpy as np

from imgstream.models import build_model
from imgstream.spec import SampleSpec
from imgstream.training import TrainSettings
from imgstream.training.step.compiled_models import trained_model
from imgstream.training.step.precision import choose_precision
from imgstream.training.step.replicas import Replicas
from imgstream.training.step.step_selection import new_step
from imgstream.training.step.weight_average import WeightAverage
from imgstream.versions import versions


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """The same few batches over and over: images, (B, H, W, 3), and labels, float32 (B, 2)."""

    def __init__(self, batch_size: int, size: int, steps: int, dtype: str) -> None:
        super().__init__()
        rng = np.random.default_rng(0)
        labels = np.eye(2, dtype=np.float32)
        shape = (batch_size, size, size, 3)
        self._made = [(rng.integers(0, 256, shape, np.uint8), labels[rng.integers(0, 2, batch_size)]) for _ in range(8)]
        if dtype == "float32":
            self._made = [(pixels / np.float32(255), of_pixels) for pixels, of_pixels in self._made]
        self._steps = steps

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        return self._made[number % len(self._made)]


def network(name: str, size: int) -> Any:
    """The network of train (`cnn`), or two convolutions (`tiny`), whose step is mostly what surrounds it."""
    if name == "cnn":
        return build_model("cnn", (size, size, 3), 2, "none")
    x = inputs = keras.Input((size, size, 3))
    for channels in (8, 16):
        x = keras.layers.Conv2D(channels, 3, strides=2, use_bias=False)(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    return keras.Model(inputs, keras.layers.Dense(2, name="logits", dtype="float32")(keras.layers.GlobalAveragePooling2D()(x)))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=("tiny", "cnn"), default="tiny")
    for option, value in (("--size", 32), ("--batch-size", 8), ("--steps", 400), ("--rounds", 5)):
        parser.add_argument(option, type=int, default=value)
    options = parser.parse_args()
    policy, _ = choose_precision("auto")
    theirs, ours = (trained_model(network(options.network, options.size), policy, TrainSettings(), Replicas([])) for _ in range(2))
    theirs.compile(theirs.optimizer, theirs.loss, metrics=["accuracy"])
    average = WeightAverage(ours)
    step = new_step(ours, average, Replicas([]), options.batch_size, SampleSpec(size=(options.size, options.size)))
    samples, pixels = (Batches(options.batch_size, options.size, options.steps, dtype) for dtype in ("float32", "uint8"))

    def fit() -> None:
        theirs.fit(samples, verbose=0)

    def loop() -> None:
        results: collections.deque[Any] = collections.deque()
        for number in range(len(pixels)):
            images, labels = pixels[number]
            results.append(step(images, labels, None, rate=0.01, share=average.share(number + 1)))
            while len(results) > step.ahead:
                _ = results.popleft().loss  # waits for it
        for result in results:
            _ = result.loss
        step.sync()

    def rate(run: Any) -> float:
        began = time.perf_counter()
        run()
        return options.steps * options.batch_size / (time.perf_counter() - began)

    fit(), loop()  # compile
    rounds = [(rate(fit), rate(loop)) for _ in range(options.rounds)]
    fits, loops = zip(*rounds, strict=True)
    ratios = sorted(each / of_fit for of_fit, each in rounds)
    backend = keras.backend.backend()
    print(f"{backend}, {options.network}, {options.size}x{options.size}, batches of {options.batch_size}, {policy}:")
    print(f"  fit {statistics.median(fits):,.0f} images/s, ours {statistics.median(loops):,.0f}: {statistics.median(ratios):.2f} of fit")
    print(f"  ({options.rounds} rounds by turns: {', '.join(f'{ratio:.2f}' for ratio in ratios)})")
    print(f"  {versions('keras', backend, 'numpy')}")


if __name__ == "__main__":
    main()
