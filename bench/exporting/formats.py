"""What an exported model costs and is worth, in every format and precision: size, difference, accuracy, latency, images/s.

    PYTHONPATH=bench python bench/exporting/formats.py RUN HOLDOUT [--calibrate DIR] [--formats litert onnx …] [--rounds 3] [--out PAGE]

RUN is a run folder, HOLDOUT a folder of labelled images that it has not seen. Each model is exported into a temporary folder, and measured
in a process of its own; models by turns, in rounds. All threads of the processor are used.

difference  from the run on its golden samples, as a share of the largest logit
latency     of one image at a time, median
images/s    of batches of 128 that lie in memory
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from page import machine, put

from imgstream.errors import ImgstreamError
from imgstream.export import export_run, open_model
from imgstream.runs import load_run
from imgstream.runtimes import FORMATS
from imgstream.runtimes.packages import is_installed
from imgstream.runtimes.runtime import chunk_for
from imgstream.stream.plan import cpu_count

BATCH = 128


def speed(path: str, seconds: str) -> dict[str, float]:
    """Latency in ms, and images/s."""
    file, length = Path(path), float(seconds)
    kind = next(each for each in FORMATS.values() if each.ending == file.suffix or (file.is_dir() and not each.ending))
    threads = cpu_count()
    images = np.random.default_rng(0).integers(0, 256, (BATCH, *kind.open(file).shape)).astype(np.uint8)
    single, many = kind.open(file, 1, threads), kind.open(file, chunk_for(BATCH, threads), threads)
    single(images[:1])
    times = []
    began = time.perf_counter()
    while time.perf_counter() - began < length / 2:
        start = time.perf_counter()
        single(images[:1])
        times.append(time.perf_counter() - start)
    many(images)
    count, began = 0, time.perf_counter()
    while (passed := time.perf_counter() - began) < length / 2:
        many(images)
        count += BATCH
    return {"latency": 1000 * statistics.median(times), "rate": count / passed}


def child(path: Path, seconds: float) -> dict[str, float]:
    """`speed` in a process of its own."""
    command = [sys.executable, __file__, "--speed", str(path), str(seconds)]
    done = subprocess.run(command, env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def main() -> None:
    """Export, measure, print, and put it into the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("holdout", metavar="HOLDOUT")
    parser.add_argument("--calibrate", metavar="DIR")
    parser.add_argument("--formats", nargs="*", choices=FORMATS, default=[n for n, each in FORMATS.items() if is_installed(each.modules)])
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, metavar="PAGE")
    options = parser.parse_args()
    run = load_run(options.run)
    own = run.evaluate(options.holdout)
    lines = [
        f"## Exported: {run.model.name}, {run.spec.size[0]}×{run.spec.size[1]}, {len(run.class_names)} classes",
        "",
        "| format | precision | MB | of float32 | difference | accuracy, % | latency, ms | images/s |",
        "|---|---|---|---|---|---|---|---|",
        f"| the run, in Keras | float32 | {run.folder.model.stat().st_size / 1e6:.2f} | | | {100 * own.accuracy:.2f} | | |",
    ]
    with tempfile.TemporaryDirectory() as folder:
        made: dict[tuple[str, str], Any] = {}
        for name in options.formats:
            for precision in FORMATS[name].precisions:
                path = Path(folder) / precision / f"model{FORMATS[name].ending}"
                calibrate = options.calibrate if precision == "int8" else None
                try:
                    made[name, precision] = export_run(run, path, format=name, precision=precision, calibrate=calibrate)
                except ImgstreamError as error:
                    print(f"  {name} {precision}: {error}", file=sys.stderr)
        speeds: dict[tuple[str, str], list[dict[str, float]]] = {key: [] for key in made}
        for _ in range(options.rounds):
            for key, exported in made.items():
                speeds[key].append(child(exported.path, options.seconds))
                print(f"  {' '.join(key)}: {speeds[key][-1]}", file=sys.stderr)
        for (name, precision), exported in made.items():
            accuracy = open_model(exported.path).evaluate(options.holdout).accuracy
            whole: Any = made.get((name, "float32"))
            found: list[dict[str, Any]] = speeds[name, precision]
            row: list[Any] = [name, precision, f"{exported.bytes / 1e6:.2f}", f"{exported.bytes / whole.bytes:.2f}" if whole else ""]
            row += [f"{exported.difference:.0e}", f"{100 * accuracy:.2f}"]
            row += [
                f"{statistics.median(each['latency'] for each in found):.2f}",
                f"{statistics.median(each['rate'] for each in found):,.0f}",
            ]
            lines.append(f"| {' | '.join(row)} |")
    images = int(own.confusion.counts.sum())
    shown = {options.run: "RUN", options.holdout: "HOLDOUT", options.calibrate: "DIR"}
    command = [shown.get(word, word) for word in sys.argv[1:]]
    lines += [
        "",
        f"- **Accuracy** on {images:,} images kept aside.",
        f"- **Speed**: medians; n = {options.rounds} rounds of {options.seconds:g} s, by turns.",
        f"- **Machine**: {machine()}.",
        f"- **Command**: `PYTHONPATH=bench python bench/exporting/formats.py {shlex.join(command)}`.",
    ]
    put(options.out, "\n".join(lines) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--speed"]:
        print(json.dumps(speed(*sys.argv[2:])))
    else:
        main()
