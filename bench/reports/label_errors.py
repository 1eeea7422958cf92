"""How many of the labels that were swapped on purpose are among the first that a report suggests.

    python bench/reports/label_errors.py swap DIR OUT [--share 0.03] [--seed 3]
    python bench/reports/label_errors.py find RUN DIR TRUTH.csv [-o corrections.csv]

`swap` links the images of DIR's class folders into OUT, this share of each class under another class, and writes OUT.csv: path, label, was,
where the label is the true one.

`find` measures RUN on DIR, apart on the images that the run was validated on and on those that it was trained on,
and says how many of the swapped are among the first N suggestions. With -o it writes the corrections that a person would make who looks at
all suggestions, and knows the truth.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
from pathlib import Path

import numpy as np

import imgstream as ims
from imgstream.report.label_errors import likely_label_errors
from imgstream.report.measure import measure
from imgstream.runs.sides import own_images


def swap(source: Path, target: Path, share: float, seed: int) -> None:
    """Link the images, some of them under the next class."""
    chosen, classes = random.Random(seed), sorted(path.name for path in source.iterdir() if path.is_dir())
    rows = []
    for number, name in enumerate(classes):
        files = sorted(path for path in (source / name).iterdir() if path.is_file())
        wrong = set(chosen.sample(files, round(share * len(files))))
        for file in files:
            under = classes[(number + 1) % len(classes)] if file in wrong else name
            (target / under).mkdir(parents=True, exist_ok=True)
            os.symlink(file.resolve(), target / under / f"{name}-{file.name}")
            if file in wrong:
                rows.append((f"{under}/{name}-{file.name}", name, under))
    with target.with_name(f"{target.name}.csv").open("w", newline="") as out:
        csv.writer(out).writerows([("path", "label", "was"), *rows])


def find(run: ims.Run, images: Path, truth: dict[bytes, str], out: Path | None) -> None:
    """Print, for both sides, the swapped among the first N suggestions."""
    whole = ims.scan(images)
    parts, _ = own_images(run.folder)
    validated = {parts["val"].relative_bytes(i) for i in range(len(parts["val"]))}
    corrections = []
    for side, index in (
        ("validation", whole.take(whole.positions_of(validated))),
        ("training", whole.without(validated)),
    ):
        found = measure(run.model, run.class_names, run.spec, run.temperature, index)
        at = found.labelled
        rows = found.rows[at]
        ranked = at[likely_label_errors(rows["label"], rows["predicted"], rows["score"], rows["label_score"])]
        paths = [index.relative_bytes(int(i)) for i in ranked]
        hits = np.array([path in truth for path in paths], bool)
        there = sum(index.relative_bytes(i) in truth for i in range(len(index)))
        first = {n: int(hits[:n].sum()) for n in (10, 20, 50, 100, 200) if n <= len(hits)}
        print(
            json.dumps(
                {
                    "images": side,
                    "of": len(index),
                    "swapped": there,
                    "suggested": len(hits),
                    "swapped among all": int(hits.sum()),
                    "among the first": first,
                }
            )
        )
        corrections += [(path, truth[path]) for path, hit in zip(paths, hits, strict=True) if hit]
    if out is not None:
        with out.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            csv.writer(file).writerows([("path", "label"), *((os.fsdecode(path), label) for path, label in corrections)])


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    of_swap, of_find = commands.add_parser("swap"), commands.add_parser("find")
    of_swap.add_argument("source", type=Path)
    of_swap.add_argument("target", type=Path)
    of_swap.add_argument("--share", type=float, default=0.03)
    of_swap.add_argument("--seed", type=int, default=3)
    of_find.add_argument("run")
    of_find.add_argument("images", type=Path)
    of_find.add_argument("truth", type=Path)
    of_find.add_argument("-o", dest="out", type=Path)
    asked = parser.parse_args()
    if asked.command == "swap":
        swap(asked.source, asked.target, asked.share, asked.seed)
        return
    with asked.truth.open(newline="") as file:
        truth = {os.fsencode(row["path"]): row["label"] for row in csv.DictReader(file)}
    find(ims.load_run(asked.run), asked.images, truth, asked.out)


if __name__ == "__main__":
    main()
