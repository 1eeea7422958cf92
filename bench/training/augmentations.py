"""What an augmentation is worth in a given time: the accuracy of trainings that differ in nothing else.

    PYTHONPATH=bench python bench/training/augmentations.py DIR --minutes 5 [--augment light standard strong randaugment trivialaugment]
                                                            [--seeds 0] [--out PAGE]

DIR holds one folder of images a class. For each augmentation and seed, by turns, `imgstream train DIR` gets so many minutes of wall time;
the accuracy is that of the best validation, on a fifth of the images. It takes MINUTES × augmentations × seeds.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from page import machine, put

AUGMENTATIONS = ("light", "standard", "strong", "randaugment", "trivialaugment")


def train(directory: Path, run: Path, augment: str, minutes: float, seed: int) -> dict[str, Any]:
    """What `imgstream train --json` prints."""
    line = [sys.executable, "-m", "imgstream", "train", str(directory), "--out", str(run), "--augment", augment, "--minutes", str(minutes)]
    line += ["--seed", str(seed), "--no-report", "--json"]
    found: dict[str, Any] = json.loads(subprocess.run(line, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return found


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, metavar="DIR")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--augment", nargs="+", default=AUGMENTATIONS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for seed, augment in itertools.product(options.seeds, options.augment):
        with tempfile.TemporaryDirectory() as folder:
            found[augment].append(train(options.directory, Path(folder, "run"), augment, options.minutes, seed))
        print(f"{augment}, seed {seed}: {100 * found[augment][-1]['accuracy']:.2f} %", file=sys.stderr)
    rows = [_row(name, runs) for name, runs in found.items()]
    section = f"""## Augmentations, {options.minutes:g} minutes each

`{options.directory.name}`, best validation accuracy of the seeds {", ".join(map(str, options.seeds))}; {machine()}.

| augmentation | accuracy, % | mean | images/s | epochs |
|---|---|---|---|---|
"""
    put(options.out, section + "\n".join(rows) + "\n")


def _row(name: str, runs: list[dict[str, Any]]) -> str:
    accuracies = [100 * run["accuracy"] for run in runs]
    rate, epochs = (statistics.mean(run[figure] for run in runs) for figure in ("images_per_second", "epochs"))
    each = ", ".join(f"{accuracy:.2f}" for accuracy in accuracies)
    return f"| {name} | {each} | {statistics.mean(accuracies):.2f} | {rate:.0f} | {epochs:.0f} |"


if __name__ == "__main__":
    main()
