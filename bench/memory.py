"""Does memory grow with the folder? Peak anonymous memory of training steps on few files and on a hundred times as many. Linux only.

    python bench/memory.py DIR [--times 100] [--steps 200] [--pipeline python]

DIR holds one folder of images a class. A second folder is made beside the system's temporary files, with TIMES hard links (copies, on
another disk) to each file. Both are trained on for STEPS steps in a process of their own, RssAnon of /proc/self/status read every 20 ms
from before the scan on.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path


def multiply(source: Path, target: Path, times: int) -> None:
    """Link every image of `source` `times` times into the same class folders below `target`."""
    for file in source.glob("*/*"):
        folder = target / file.parent.name
        folder.mkdir(exist_ok=True)
        first = folder / f"{file.stem}-0{file.suffix}"
        try:
            os.link(file, first)
        except OSError:  # another disk
            first.write_bytes(file.read_bytes())
        for copy in range(1, times):
            os.link(first, folder / f"{file.stem}-{copy}{file.suffix}")


def anonymous() -> int:
    """RssAnon of this process in bytes."""
    match = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert match, "no RssAnon: this needs Linux 4.5 or newer"
    return 1024 * int(match[1])


def measure(directory: str, steps: int, pipeline: str) -> None:
    """Train for `steps` steps and print rows, peak and its place."""
    peak, done = [0], threading.Event()

    def watch() -> None:
        while not done.is_set():
            peak[0] = max(peak[0], anonymous())
            time.sleep(0.02)

    threading.Thread(target=watch, daemon=True).start()
    import keras

    import imgstream as ims
    from imgstream.models import build_model

    train, _ = ims.scan(directory).split(val=0.2, seed=0)
    spec = ims.SampleSpec(size=(96, 96), scale="signed")
    stream = ims.Stream(train, spec, augment="standard", batch_size=64, shuffle=True, pipeline=pipeline)
    model = build_model("cnn", stream.spec.shape, len(train.class_names))
    model.compile(keras.optimizers.SGD(0.01), keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    step, epoch = 0, 0
    while step < steps:
        for images, labels in stream.batches(epoch):
            model.train_on_batch(images, labels)
            step += 1
            if step == steps:
                break
        epoch += 1
    done.set()
    print(len(train), peak[0])


def main() -> None:
    """Measure both and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--pipeline", choices=("python", "tf"), default="python")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(str(options.directory), options.steps, options.pipeline)
        return
    print("| training rows | peak anonymous memory, MB |\n|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        multiply(options.directory, Path(folder), options.times)
        for directory in (options.directory, folder):
            command = [sys.executable, __file__, str(directory), "--steps", str(options.steps), "--pipeline", options.pipeline, "--measure"]
            child = subprocess.run(command, capture_output=True, text=True, check=True)
            rows, peak = map(int, child.stdout.split()[-2:])
            print(f"| {rows:,} | {peak / 1e6:,.1f} |", flush=True)


if __name__ == "__main__":
    main()
