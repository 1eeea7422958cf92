"""imgstream.image_dataset_from_directory beside Keras' own, in turns, from the page cache.

    python bench/loading/keras_function.py DIR [--size 224] [--rounds 5]

Prints images/s of each, and the processor's time an image, which other work on the machine changes less: the best of the rounds, each a
pass over DIR after a first one that is not counted. Give 1,000 ImageNet photographs at 224, and cats_dogs at 96.
"""

from __future__ import annotations

import argparse
import os
import time
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras

import imgstream as ims


def measure(dataset: Any) -> tuple[float, float]:
    """Images/s of one pass, and µs of the processor an image."""
    began, spent, images = time.perf_counter(), time.process_time(), 0
    for batch in dataset:
        images += len(batch)
    return images / (time.perf_counter() - began), 1e6 * (time.process_time() - spent) / images


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    how: dict[str, Any] = {"labels": None, "image_size": (given.size, given.size), "seed": 1, "verbose": False}
    contestants = {
        "imgstream": ims.image_dataset_from_directory(given.directory, **how),
        "Keras": keras.utils.image_dataset_from_directory(given.directory, **how),
        "imgstream, bicubic": ims.image_dataset_from_directory(given.directory, **how, interpolation="bicubic"),
        "Keras, bicubic": keras.utils.image_dataset_from_directory(given.directory, **how, interpolation="bicubic"),
    }
    for dataset in contestants.values():
        measure(dataset)
    best = dict.fromkeys(contestants, (0.0, float("inf")))
    for _ in range(given.rounds):
        for name, dataset in contestants.items():
            rate, cost = measure(dataset)
            best[name] = max(best[name][0], rate), min(best[name][1], cost)
    print("| | images/s | µs of a core an image |\n|---|---|---|")
    for name, (rate, cost) in best.items():
        print(f"| {name} | {rate:,.0f} | {cost:,.0f} |")


if __name__ == "__main__":
    main()
