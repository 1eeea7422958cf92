"""Does training take the memory that was expected? Peak anonymous memory against the plan made of the layers' shapes. Linux only.

    python bench/training/memory.py DIR [--steps 40] [--policy mixed_bfloat16]

DIR holds one folder of images a class. Each network trains for STEPS steps in a process of its own, with the averages and the copy of all
weights that a checkpoint takes, then three batches of validation, then six more steps; RssAnon is read every 5 ms from the first step on.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np

CASES = (("cnn", 96, 64), ("cnn", 128, 64), ("cnn", 96, 16), ("MobileNetV2", 96, 32))


def measure(directory: str, model: str, size: int, batch_size: int, steps: int, policy: str) -> None:
    """Train, validate and print what was expected and the peak, in bytes."""
    import imgstream as ims
    from imgstream.memory import anonymous_bytes
    from imgstream.models.forward import Forward, Program
    from imgstream.training.memory.plan import Footprint
    from imgstream.training.settings import TrainSettings
    from imgstream.training.step.compiled_models import served_model, trained_model
    from imgstream.training.step.replicas import Replicas
    from imgstream.training.step.step_selection import new_step
    from imgstream.training.step.weight_average import WeightAverage

    train, val = ims.scan(directory).split(val=0.2, seed=0)
    settings, spec = TrainSettings(minutes=1), ims.SampleSpec(size=(size, size), scale="signed")
    served = served_model(settings, model, spec.shape, len(train.class_names))
    trained = trained_model(served, policy, settings, Replicas())
    stream = ims.Stream(train, spec, augment="light", batch_size=batch_size, shuffle=True, dtype="uint8")
    footprint = Footprint.of(trained, served, spec.shape, workers=stream.thread_count)
    peak, done = [0], threading.Event()

    def watch() -> None:
        while not done.is_set():
            peak[0] = max(peak[0], anonymous_bytes() or 0)
            time.sleep(0.005)

    def train_for(count: int, epoch: int) -> None:
        for images, labels in stream.batches(epoch):
            result = step(images, np.eye(len(train.class_names), dtype=np.float32)[labels], None, rate=0.01, share=0.1)
            _ = result.loss  # waits for it
            count -= 1
            if not count:
                break

    threading.Thread(target=watch, daemon=True).start()
    average = WeightAverage(trained)
    step = new_step(trained, average, Replicas(), batch_size, spec)
    copies = (
        [average.values for _ in range(2)],
        [np.array(v) for v in (*trained.variables, *trained.optimizer.variables)],
    )
    train_for(steps, 0)
    forward = Forward(Program(served, spec), 128)
    for (images, _), _ in zip(ims.Stream(val, spec, batch_size=128, dtype="uint8").batches(), range(3), strict=False):
        forward(images)
    train_for(6, 1)
    done.set()
    del copies
    print(footprint.expected(batch_size, 128), peak[0])


def main() -> None:
    """Measure all cases and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--policy", default="mixed_bfloat16")
    parser.add_argument("--case", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        model, size, batch_size = options.case
        measure(str(options.directory), model, int(size), int(batch_size), options.steps, options.policy)
        return
    print("| network | pixels | batch | expected, MB | peak, MB | |\n|---|---|---|---|---|---|")
    for case in CASES:
        command = [sys.executable, __file__, str(options.directory), "--steps", str(options.steps), "--policy", options.policy]
        child = subprocess.run([*command, "--case", *map(str, case)], capture_output=True, text=True, check=True)
        expected, real = map(int, child.stdout.split()[-2:])
        print(f"| {' | '.join(map(str, case))} | {expected / 1e6:,.0f} | {real / 1e6:,.0f} | {expected / real - 1:+.0%} |", flush=True)


if __name__ == "__main__":
    main()
