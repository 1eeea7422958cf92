"""What makes a model smaller, and what it costs: whole, float16, int8, a small network alone, distilled, pruned, and both.

    PYTHONPATH=bench python bench/exporting/smaller.py DIR [--minutes 1] [--images N] [--seeds 0 …] [--rounds 2] [--out PAGE]

DIR holds one folder of images a class. A fifth of each class is kept aside, by a hash of the path that no training splits by. On the rest
`cnn` is trained for MINUTES; then, each for as long, `cnn-small` alone, `cnn-small` with the first run as its teacher, half of the channels
of the first run (imgstream shrink), and that with the teacher too. Each is exported to LiteRT, in the precision of its row, and measured by
turns on all threads of the processor. By default that is five trainings of a minute, and some four minutes for the rest.

MB          of the LiteRT file
accuracy    on the images kept aside; mean of the seeds
latency     of one image at a time, median
images/s    of batches of 128 that lie in memory
"""

from __future__ import annotations

import argparse
import shlex
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from formats import child
from page import machine, put
from recipes import divide

from imgstream.errors import ImgstreamError
from imgstream.export import export_run, open_model
from imgstream.runs import load_run

ROWS = (
    # row, the run, precision
    *(("as trained", "whole", "float32"), ("float16", "whole", "float16"), ("int8", "whole", "int8")),
    *(("cnn-small, alone", "small", "float32"), ("cnn-small, distilled", "distilled", "float32")),
    *(("half of the channels, pruned", "pruned", "float32"), ("pruned and distilled", "both", "float32")),
    ("pruned and distilled, int8", "both", "int8"),
)


def train_all(images: Path, folder: Path, minutes: float, seed: int) -> None:
    """Write a run of each name in ROWS into `folder`."""
    whole = str(folder / "whole")
    train, shrink = ["train", str(images), "--seed", str(seed), "--no-report"], ["shrink", whole, "--keep", "0.5"]
    for name, command in {
        "whole": train,
        "small": [*train, "--model", "cnn-small"],
        "distilled": [*train, "--model", "cnn-small", "--teacher", whole],
        "pruned": shrink,
        "both": [*shrink, "--teacher", whole],
    }.items():
        print(f"  seed {seed}: {name}", file=sys.stderr)
        line = [sys.executable, "-m", "imgstream", *command, "--out", str(folder / name), "--minutes", str(minutes)]
        subprocess.run(line, check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    """Train, export, measure, print, and put it into the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", metavar="DIR", type=Path)
    parser.add_argument("--minutes", type=float, default=1)
    parser.add_argument("--images", type=int, metavar="N", help="train on so many only")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", type=Path, metavar="PAGE")
    options = parser.parse_args()
    accuracies: dict[str, list[float]] = {row: [] for row, *_ in ROWS}
    made: dict[str, Any] = {}
    weights: dict[str, int] = {}
    speeds: dict[str, list[dict[str, float]]] = {row: [] for row, *_ in ROWS}
    with tempfile.TemporaryDirectory() as work:
        data = Path(work) / "images"
        learnt, aside = divide(options.directory, data, options.images)
        for seed in options.seeds:
            folder = Path(work) / f"seed-{seed}"
            train_all(data / "train", folder, options.minutes, seed)
            for row, name, precision in ROWS:
                run, file = load_run(folder / name), folder / f"{name}-{precision}.models" / "model.tflite"
                file.parent.mkdir()
                try:
                    made[row] = export_run(run, file, precision=precision)
                except ImgstreamError as error:  # int8 loses too much
                    print(f"  {row}: {error}", file=sys.stderr)
                    continue
                weights[row] = run.model.count_params()
                accuracies[row].append(open_model(file).evaluate(data / "test").accuracy)
        for _ in range(options.rounds):
            for row, exported in made.items():
                speeds[row].append(child(exported.path, options.seconds))
        lines = [
            f"## Smaller: cnn, trained for {options.minutes:g} minutes on {learnt:,} images",
            "",
            "| | weights | MB | accuracy, % | latency, ms | images/s |",
            "|---|---|---|---|---|---|",
        ]
        for row, exported in made.items():
            accuracy = 100 * statistics.mean(accuracies[row])
            latency, rate = (statistics.median(each[what] for each in speeds[row]) for what in ("latency", "rate"))
            lines.append(f"| {row} | {weights[row]:,} | {exported.bytes / 1e6:.2f} | {accuracy:.2f} | {latency:.2f} | {rate:,.0f} |")
    command = ["DIR" if word == str(options.directory) else word for word in sys.argv[1:]]
    lines += [
        "",
        f"- **Accuracy** on {aside:,} images kept aside; mean of n = {len(options.seeds)}. Each training had {options.minutes:g} "
        "minutes; those that are distilled or pruned come after the first.",
        f"- **Speed** by LiteRT: medians; n = {options.rounds} rounds of {options.seconds:g} s, by turns.",
        f"- **Machine**: {machine()}.",
        f"- **Command**: `PYTHONPATH=bench python bench/exporting/smaller.py {shlex.join(command)}`.",
    ]
    put(options.out, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
