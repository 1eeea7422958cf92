"""Which augmentations work, whether batches are the same for any number of workers, and what an image costs.

    python bench/loading/augmentations.py [DIR] [--size 96]

Prints the table of docs/guide/augment.md. DIR defaults to sample_data. Transforms of torchvision are tried where it is installed.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

try:  # before TensorFlow: torch with CUDA crashes when it is loaded after it
    from torchvision.transforms import v2
except ImportError:
    v2 = None
import albumentations as A  # noqa: N812 - as its own documentation has it
import keras
import numpy as np
from keras import layers as L  # noqa: N812

import imgstream as ims
from imgstream.errors import AugmentError

IMAGES, BATCH = 64, 16


def mirror(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A function as users write it."""
    return image[:, ::-1].copy() if rng.random() < 0.5 else image


def contestants() -> dict[str, Callable[[], Any]]:
    """What is tried, by the name in the table."""
    made: dict[str, Callable[[], Any]] = {
        '`"standard"`': lambda: "standard",
        '`"strong"`': lambda: "strong",
        "a function `(image, rng)`": lambda: mirror,
        "`A.HorizontalFlip`": A.HorizontalFlip,
        "`A.Compose` of four": lambda: A.Compose([A.HorizontalFlip(), A.Affine(rotate=(-15, 15)), A.ColorJitter(), A.GaussianBlur()]),
        "`A.Normalize`": A.Normalize,
        '`RandomFlip("horizontal")`': lambda: L.RandomFlip("horizontal"),
        "`RandomRotation(0.1)`": lambda: L.RandomRotation(0.1),
        "`RandomTranslation(0.1, 0.1)`": lambda: L.RandomTranslation(0.1, 0.1),
        "`RandomZoom(0.2)`": lambda: L.RandomZoom(0.2),
        "`RandomContrast(0.3)`": lambda: L.RandomContrast(0.3),
        "`RandomErasing()`": L.RandomErasing,
        "`RandAugment()`": L.RandAugment,
        "`AugMix()`": L.AugMix,
        "`MixUp()`": L.MixUp,
        "`CutMix()`": L.CutMix,
        "`Sequential` of three layers": lambda: keras.Sequential(
            [L.RandomFlip("horizontal"), L.RandomRotation(0.1), L.RandomContrast(0.2)]
        ),
        "`Rescaling(1 / 255)`": lambda: L.Rescaling(1 / 255),
    }
    if v2 is None:
        return made
    made["`v2.RandomHorizontalFlip`"] = v2.RandomHorizontalFlip
    made["`v2.Compose` of three"] = lambda: v2.Compose([v2.RandomHorizontalFlip(), v2.RandomRotation(15), v2.ColorJitter(0.3, 0.3)])
    return made


def row(index: ims.ImageIndex, size: int, augment: Any) -> str:
    """Whether it works, whether workers matter, and its cost: three cells of the table."""
    try:
        stream = ims.Stream(index, ims.SampleSpec(size=(size, size)), augment=augment, batch_size=BATCH, shuffle=True, seed=1)
        batches = {workers: list(stream.replace(workers=workers).batches()) for workers in (1, 2, 8)}
    except AugmentError as error:
        return f"no: {str(error).rpartition(': ')[2] if 'write it without' not in str(error) else str(error).partition(': ')[2]} | |"
    same = all(
        np.array_equal(a, b)
        for workers in (2, 8)
        for found, expected in zip(batches[workers], batches[1], strict=True)
        for a, b in zip(found, expected, strict=True)
    )
    costs = [seconds(stream.replace(workers=1)) - seconds(stream.replace(workers=1, augment=None)) for _ in range(3)]
    return f"yes | {'yes' if same else 'NO'} | {1e3 * max(0.0, min(costs)):,.2f}"


def seconds(stream: ims.Stream) -> float:
    """Seconds an image, of the second epoch: the first may compile."""
    for _ in stream.batches(0):
        pass
    began, images = time.perf_counter(), 0
    for batch, *_ in stream.batches(1):
        images += len(batch)
    return (time.perf_counter() - began) / images


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", nargs="?", default="sample_data")
    parser.add_argument("--size", type=int, default=96)
    arguments = parser.parse_args()
    index = ims.scan(arguments.directory).with_labels()
    index = index.take(np.linspace(0, len(index) - 1, min(len(index), IMAGES)).astype(np.int64))
    print("| augmentation | works | the same for 1, 2, 8 workers | ms an image |\n|---|---|---|---|")
    for name, make in contestants().items():
        print(f"| {name} | {row(index, arguments.size, make())} |", flush=True)


if __name__ == "__main__":
    main()
