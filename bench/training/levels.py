"""What levels are for: how many of the values of 12-bit scans reach the network as different floats, and what that is worth.

    python bench/training/levels.py [--images 600] [--epochs 8]

Draws grey scans of 64×64 pixels as 16-bit PNG: a bright spot and a slope of some hundred levels that say nothing, and a pattern of 12
levels of 4,096, under noise of 6, whose period is 8 pixels in one class and 4 in the other. Trains the same network with --levels auto and
without, and evaluates both on as many scans that were kept aside. About two minutes on two cores.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

SIDE, PATTERN, NOISE = 64, 12.0, 6.0


def main() -> None:
    """Read the arguments, draw, train twice, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--epochs", type=int, default=8)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["IMGSTREAM_CACHE"] = f"{folder}/cache"
        measure(Path(folder), options.images, options.epochs)


def measure(folder: Path, images: int, epochs: int) -> None:
    """Print what arrives of 12 bits, and the accuracy with and without levels."""
    import imgstream as ims

    (folder / "ramp").mkdir()
    Image.fromarray(np.arange(4096, dtype=np.uint16).reshape(SIDE, SIDE)).save(folder / "ramp/ramp.png")
    for seed, part in enumerate(("train", "aside")):
        draw(folder / part, images, seed)
    print(f"{images} scans to train on, {images} kept aside, {epochs} epochs\n")
    print("| | of 4,096 values, different floats | accuracy on scans kept aside |\n|---|---|---|")
    for name, levels in (("without levels", None), ("--levels auto", "auto")):
        run = ims.train(
            folder / "train",
            out=folder / name,
            size=(SIDE, SIDE),
            channels=1,
            levels=levels,
            epochs=epochs,
            augment=None,
            progress=False,
        )
        spec = ims.SampleSpec(size=(SIDE, SIDE), channels=1, levels=None if levels is None else (0, 4095))
        ramp, _ = next(ims.Stream(ims.scan(folder / "ramp"), spec).batches())
        found = run.evaluate(folder / "aside")
        taken = "" if run.spec.levels is None else f" ({run.spec.levels[0]:g}:{run.spec.levels[1]:g})"
        print(f"| {name}{taken} | {len(np.unique(ramp)):,} | {100 * found.accuracy:.1f} % |")


def draw(folder: Path, images: int, seed: int) -> None:
    """Write the scans of both classes."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    for number in range(images):
        period, name = ((8, "wide"), (4, "narrow"))[number % 2]
        (folder / name).mkdir(parents=True, exist_ok=True)
        left, top = rng.uniform(8, SIDE - 8, 2)
        slope = rng.uniform(-3, 3) * (x - SIDE / 2) + rng.uniform(-3, 3) * (y - SIDE / 2)
        spot = rng.uniform(500, 3000) * np.exp(-((x - left) ** 2 + (y - top) ** 2) / 50)
        pattern = PATTERN * np.sign(np.sin(2 * np.pi * (x / period + rng.uniform())))
        values = rng.uniform(300, 900) + slope + spot + pattern + rng.normal(0, NOISE, x.shape)
        Image.fromarray(np.clip(np.rint(values), 0, 4095).astype(np.uint16)).save(folder / name / f"{number:04}.png")


if __name__ == "__main__":
    main()
