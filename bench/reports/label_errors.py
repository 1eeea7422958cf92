"""How many of the labels that were swapped on purpose a report suggests, and what correcting them is worth.

    python bench/reports/label_errors.py DIR SQUEEZENET.h5 [--shares 0.03 0.2] [--seeds 0 1 2] [--most 4000]

A quarter of DIR's images, at most 1,000, is kept aside with its true labels. Of the others this share is given the next class (by a file of
corrections: no image is moved), and a head is trained on the features of SqueezeNet, as `imgstream train --weights SQUEEZENET.h5
--head-only` does:

`one run`: it was trained on four fifths of the images, and is asked for its suggestions on both sides, the images that it was
trained on and those that it was validated on.
`folds`: five runs (`--fold all --folds 5`), each asked about the part that it was not trained on, and all suggestions ranked together.

Then a person who knows the truth looks at all suggestions of `folds`, and corrects those that were swapped. Heads trained on the labels
before, after and without any swap are measured on the images kept aside. A line of JSON for each share and seed, and the means at the end.
For 2,000 photographs a share and seed took some four minutes on two cores that others kept busy, of which 70 s were its own.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

import imgstream as ims
from imgstream.index import ImageIndex
from imgstream.report.label_errors import likely_label_errors
from imgstream.report.measure import Measurement, measure
from imgstream.runs.sides import own_images
from imgstream.training.folds import train_folds

FOLDS = 5
MOST_ASIDE = 1_000
FIRST = (10, 20, 50, 100, 200)
HOW: dict[str, Any] = {"head_only": True, "size": (96, 96), "progress": False}


def write_labels(file: Path, labels: dict[bytes, str]) -> Path:
    """`labels` as a file of corrections."""
    with file.open("w", newline="", encoding="utf-8", errors="surrogateescape") as out:
        csv.writer(out).writerows([("path", "label"), *((os.fsdecode(path), label) for path, label in labels.items())])
    return file


def swapped_labels(index: ImageIndex, share: float, seed: int) -> dict[bytes, str]:
    """Path → the next class, for this share of the images."""
    chosen = np.random.default_rng(seed).permutation(len(index))[: round(share * len(index))]
    names = index.class_names
    return {index.relative_bytes(i): names[(index.labels[i] + 1) % len(names)] for i in chosen.tolist()}


def measured(run: ims.Run, side: str) -> Measurement:
    """`run` measured on one of its own sides, under the labels that it had."""
    parts, faults = own_images(run.folder)
    assert not faults, faults
    return measure(run.model, run.class_names, run.spec, run.temperature, parts[side])


def suggested(found: Iterable[Measurement]) -> list[bytes]:
    """Paths of likely label errors over all of `found`, the likeliest first."""
    paths, rows = [], []
    for each in found:
        at = each.labelled
        paths += [each.index.relative_bytes(i) for i in at.tolist()]
        rows.append(each.rows[at])
    of = np.concatenate(rows)
    return [paths[i] for i in likely_label_errors(of["label"], of["predicted"], of["score"], of["label_score"]).tolist()]


def figures(paths: list[bytes], wrong: set[bytes], there: Iterable[bytes]) -> dict[str, Any]:
    """What suggestions are worth among the images `there`."""
    hits = np.array([path in wrong for path in paths], bool)
    first = {n: int(hits[:n].sum()) for n in FIRST if n <= len(hits)}
    return {"swapped": len(wrong & set(there)), "suggested": len(paths), "of these swapped": int(hits.sum()), "among the first": first}


def paths_of(index: ImageIndex) -> list[bytes]:
    """The paths of an index."""
    return [index.relative_bytes(i) for i in range(len(index))]


def experiment(train: ImageIndex, aside: ImageIndex, share: float, seed: int, how: dict[str, Any], folder: Path) -> dict[str, Any]:
    """One share and seed."""
    folder.mkdir()
    swapped = swapped_labels(train, share, seed)
    wrong, file = set(swapped), write_labels(folder / "swapped.csv", swapped)
    before = ims.train(train, out=folder / "before", corrections=str(file), seed=seed, **how)
    found: dict[str, Any] = {"share": share, "seed": seed, "images": len(train)}
    for side in ("val", "train"):
        on = measured(before, side)
        found[f"one run, {side}"] = figures(suggested([on]), wrong, paths_of(on.index))
    folds = train_folds(train, out=folder / "folds", folds=FOLDS, corrections=str(file), seed=seed, **how)
    suggestions = suggested(measured(run, "val") for run in folds.runs)
    found["folds"] = figures(suggestions, wrong, wrong)
    left = write_labels(folder / "left.csv", {path: label for path, label in swapped.items() if path not in set(suggestions)})
    after = ims.train(train, out=folder / "after", corrections=str(left), seed=seed, **how)
    true = ims.train(train, out=folder / "true", seed=seed, **how)
    for name, run in (("before", before), ("after", after), ("never swapped", true)):
        on_aside = run.evaluate(aside, progress=False)
        found[name] = {
            "accuracy": round(on_aside.accuracy, 4),
            "loss": round(on_aside.loss, 4),
            "own validation": round(run.metrics["accuracy"], 4),
        }
    return found


def evenly(index: ImageIndex, most: int) -> ImageIndex:
    """At most `most` images, of all classes."""
    return index.take(np.linspace(0, len(index) - 1, min(most, len(index))).astype(np.int64))


def mean(results: list[dict[str, Any]], *keys: str) -> float:
    """The mean over the seeds of what lies under `keys`."""
    values = []
    for each in results:
        value: Any = each
        for key in keys:
            value = value[key]
        values.append(float(value))
    return round(float(np.mean(values)), 4)


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.03, 0.2])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--most", type=int, default=4000)
    asked = parser.parse_args()
    train, aside = ims.scan(asked.images).split(val=0.25, seed=1_000_003)  # no seed of the trainings, which would split by the same hash
    train, aside = evenly(train, asked.most), evenly(aside, MOST_ASIDE)
    print(json.dumps({"images": len(train), "aside": len(aside), "classes": train.class_names}), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        features = Path(folder) / "features.parquet"  # the backbone is frozen: its features are the same in all trainings
        size = "x".join(map(str, HOW["size"]))
        command = ["embed", "SqueezeNet", asked.images, "--weights", asked.weights, "--size", size, "-o", features]
        subprocess.run([sys.executable, "-m", "imgstream", *map(str, command)], check=True, stdout=subprocess.DEVNULL)
        how = HOW | {"weights": str(asked.weights), "features": str(features)}
        for share in asked.shares:
            results = []
            for seed in asked.seeds:
                results.append(experiment(train, aside, share, seed, how, Path(folder) / f"{share}-{seed}"))
                print(json.dumps(results[-1]), flush=True)
            summary = {
                name: {what: mean(results, name, what) for what in ("swapped", "suggested", "of these swapped")}
                for name in ("one run, val", "one run, train", "folds")
            }
            ends = {
                name: {what: mean(results, name, what) for what in ("accuracy", "loss", "own validation")}
                for name in ("before", "after", "never swapped")
            }
            print(json.dumps({"share": share, "means of seeds": asked.seeds, **summary, **ends}), flush=True)


if __name__ == "__main__":
    main()
