"""How fast `predict --on ray` is beside the plain command on the same cores, and whether both write the same.

    python bench/cluster/prediction.py RUN DIR [--parts N] [--rounds N]     6,000 photographs at 96²: about three minutes on two cores

The two take turns. Images/s are of the work alone; what starting Ray and the workers takes is printed apart.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def predicted(run: str, images: str, output: Path, *options: str) -> tuple[float, float]:
    """(images/s, seconds of the command beside the work)."""
    command = [sys.executable, "-m", "imgstream", "predict", run, images, "-o", str(output), "--fresh", "--json", *options]
    began = time.monotonic()
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | {"RAY_ADDRESS": "local"})
    seconds, summary = time.monotonic() - began, json.loads(done.stdout)
    rate: float = summary["images_per_second"]
    return rate, seconds - summary["decoded"] / rate


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("images")
    parser.add_argument("--parts", type=int, default=None, help="as of predict; one worker with all cores if not given")
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    same = ("--pipeline", "python", "--engine", "keras")
    on_ray = (*same, "--on", "ray", *(() if arguments.parts is None else ("--parts", str(arguments.parts))))
    with tempfile.TemporaryDirectory() as folder:
        plain, spread = Path(folder) / "plain.csv", Path(folder) / "ray.csv"
        for number in range(arguments.rounds):
            alone, started = predicted(arguments.run, arguments.images, plain, *same)
            of_ray, started_ray = predicted(arguments.run, arguments.images, spread, *on_ray)
            outputs = "equal" if plain.read_bytes() == spread.read_bytes() else "DIFFERENT"
            print(f"round {number + 1}: plain {alone:,.0f} images/s, and {started:.0f} s beside; Ray {of_ray:,.0f} and {started_ray:.0f} s")
            print(f"  {of_ray / alone:.2f} of the plain command; outputs are {outputs}", flush=True)


if __name__ == "__main__":
    main()
