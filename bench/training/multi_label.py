"""How well several labels an image are learnt: mosaics of two photographs each, which have the labels of both.

    PYTHONPATH=bench python bench/training/multi_label.py DIR --minutes 5 [--mosaics 6000] [--side 128] [--seed 0] [--out PAGE]

DIR holds one folder of images a class. A fifth of each class, by a hash of the path, makes the mosaics to test on, a quarter as many; the
others those to train on. The two photographs are chosen by chance from all, and lie side by side or one above the other. `imgstream train
--multi-label` gets a manifest with labels such as cats|dogs, and `imgstream evaluate` measures the run on the mosaics to test on. Beside it
stands what scores by chance give: a class's share of the images as its average precision.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from page import machine, put
from PIL import Image, ImageOps

import imgstream as ims

KEPT_ASIDE = 20_261_128
"""Seed of the division."""


def compose(index: ims.ImageIndex, count: int, side: int, folder: Path, seed: int) -> Path:
    """`count` mosaics of 2 · side × side pixels, or upright, and a manifest of them."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "label"))
        for number in range(count):
            chosen = rng.choice(len(index), 2, replace=False).tolist()
            upright = rng.random() < 0.5
            mosaic = Image.new("RGB", (side, 2 * side) if upright else (2 * side, side))
            for place, at in enumerate(chosen):
                photo = ImageOps.fit(ImageOps.exif_transpose(Image.open(index.path(at))).convert("RGB"), (side, side))
                mosaic.paste(photo, (0, place * side) if upright else (place * side, 0))
            mosaic.save(folder / f"{number:06}.jpg", quality=92)
            names = sorted({index.class_names[index.labels[at]] for at in chosen})
            writer.writerow((f"{number:06}.jpg", "|".join(names)))
    return folder / "labels.csv"


def command(*arguments: object) -> dict[str, Any]:
    """What an imgstream command prints with --json."""
    line = [sys.executable, "-m", "imgstream", *map(str, arguments), "--json"]
    found: dict[str, Any] = json.loads(subprocess.run(line, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return found


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, metavar="DIR")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--mosaics", type=int, default=6000)
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    train, test = ims.scan(options.directory).split(val=0.2, seed=KEPT_ASIDE)
    with tempfile.TemporaryDirectory() as folder:
        listed = compose(train, options.mosaics, options.side, Path(folder, "train"), options.seed)
        kept = compose(test, options.mosaics // 4, options.side, Path(folder, "test"), options.seed + 1)
        run = Path(folder, "run")
        how = ("--minutes", options.minutes, "--seed", options.seed, "--fit", "stretch", "--no-report")
        trained = command("train", listed, "--multi-label", "--out", run, *how)
        found = command("evaluate", run, kept)
    chance = statistics.mean(of["n"] / found["images"] for of in found["per_class"].values() if of["n"])
    section = f"""## Several labels an image

{options.mosaics:,} mosaics of two of {len(train):,} photographs of {len(train.class_names)} classes, {options.minutes:g} minutes, seed
{options.seed}: {trained["images_per_second"]:.0f} images/s, {trained["epochs"]} epochs. On {
        found["images"]:,} mosaics of other photographs, %:

| mAP | by chance | F1 of all labels | F1 of the mean class | exactly its labels |
|---|---|---|---|---|
| {100 * found["mean_average_precision"]:.2f} | {100 * chance:.2f} | {100 * found["micro_average"]["f1"]:.2f} | {
        100 * found["macro_average"]["f1"]:.2f} | {100 * found["accuracy"]:.2f} |

{machine()}.
"""
    put(options.out, section)


if __name__ == "__main__":
    main()
