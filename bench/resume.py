"""Is a training that was stopped, at any step, and resumed in a new process the undisturbed one, to the bit? On a CPU, with --epochs.

    python bench/resume.py DIR [--images 40] [--batch-size 6] [--size 72] [--epochs 2] [--model cnn] [--pipeline python|tf] [--backend jax]
    python bench/resume.py DIR --kills 20 [--trainings 3] …

DIR holds one folder of images a class. IMAGES of them are trained on, of which two have become bad files and one weighs twice: labels are
mixed (the preset "strong"), samples grow in mid-training where SIZE allows it, and the last batch of an epoch is short. Each line is a
training that was stopped by SIGTERM after that step, or in the validation after it, and resumed in a process of its own; or, with KILLS,
one that was killed at random by SIGKILL that many times. Exits with 1 when any differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def train(source: str, out: str, options: dict[str, Any], stop: str) -> None:
    """In a process of its own: train or resume; with `stop`, "7" or "7v", SIGTERM comes after that step or the validation there.

    Prints what came of it as JSON.
    """
    import imgstream as ims

    def report(status: ims.training.Status) -> None:
        if stop == f"{status.step}{'v' if status.validation else ''}":
            signal.raise_signal(signal.SIGTERM)

    try:
        run = ims.train(source, out=out, resume=True, report=report, **options)
    except KeyboardInterrupt:
        print(json.dumps({}))
        return
    digest = hashlib.sha256()
    for weight in run.model.get_weights():
        digest.update(weight.tobytes())
    history = [[row[name] for name in ("step", "loss", "accuracy", "val_loss", "val_accuracy")] for row in _history(Path(out))]
    digest.update(json.dumps(history).encode())
    print(json.dumps({"sha256": digest.hexdigest()[:16], "steps": run.state["steps"], "resumed_at": run.state["resumed_from_step"]}))


def _history(run: Path) -> list[dict[str, str]]:
    import csv

    return list(csv.DictReader((run / "history.csv").read_text().splitlines()))


def child(source: Path, out: Path, options: dict[str, Any], stop: str = "") -> subprocess.Popen[str]:
    """A process that runs `train`."""
    arguments = json.dumps([str(source), str(out), options, stop])
    return subprocess.Popen(
        [sys.executable, __file__, "--child", arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def result(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What a child printed. Raises RuntimeError with its errors when it failed."""
    out, errors = process.communicate()
    if process.returncode:
        raise RuntimeError(f"exit {process.returncode}\n{errors[-3000:]}")
    return dict(json.loads(out.splitlines()[-1]))


def folder(directory: Path, count: int, root: Path) -> Path:
    """A manifest of `count` images of `directory`, evenly of its classes, two of which are bad files; links to them lie in `root`."""
    classes = sorted(path for path in directory.iterdir() if path.is_dir())
    rows = ["path,label,weight"]
    for number in range(count):
        kind = classes[number % len(classes)]
        image = sorted(kind.iterdir())[number // len(classes)]
        link = root / "images" / kind.name / f"{number}{image.suffix}"
        link.parent.mkdir(parents=True, exist_ok=True)
        if number in (3, 10):
            link.write_bytes(b"" if number == 3 else image.read_bytes()[:1000])
        else:
            link.symlink_to(image.resolve())
        rows.append(f"{link.relative_to(root)},{kind.name},{2 if number == 5 else 1}")
    (root / "list.csv").write_text("\n".join(rows) + "\n")
    return root / "list.csv"


def sweep(source: Path, root: Path, options: dict[str, Any]) -> bool:
    """Stop after each step, and in each validation; True when all were equal."""
    undisturbed = result(child(source, root / "undisturbed", options))
    validated = [row["step"] for row in _history(root / "undisturbed")]
    print(f"undisturbed: {undisturbed['steps']} steps, validated after {', '.join(validated)}: {undisturbed['sha256']}\n")
    print("| stopped after step | resumed at | SHA-256 | equal |\n|---|---|---|---|", flush=True)
    equal = True
    for stop in [str(step) for step in range(1, undisturbed["steps"])] + [f"{step}v" for step in validated[:-1]]:
        if result(child(source, root / stop, options, stop)):
            raise RuntimeError(f"the training was not stopped at {stop}")
        resumed = result(child(source, root / stop, options))
        same = resumed["sha256"] == undisturbed["sha256"]
        equal &= same
        print(
            f"| {stop.replace('v', ', validated')} | {resumed['resumed_at']} | {resumed['sha256']} | {'yes' if same else 'NO'} |",
            flush=True,
        )
    return equal


def kill(source: Path, root: Path, options: dict[str, Any], trainings: int, kills: int, seed: int) -> bool:
    """Kill `trainings` trainings `kills` times each, at random; True when all were equal."""
    draw = random.Random(seed)
    undisturbed = result(child(source, root / "undisturbed", options))
    print(f"undisturbed: {undisturbed['steps']} steps: {undisturbed['sha256']}\n")
    print("| training | kills | resumed at | SHA-256 | equal |\n|---|---|---|---|---|", flush=True)
    equal = True
    for number in range(trainings):
        out, at, killed = root / f"killed-{number}", [], 0
        while True:
            process = child(source, out, options)
            if killed < kills:
                until = _newest(out) + draw.randint(1, max(1, undisturbed["steps"] // kills))  # each life gets on, or it would never end
                while process.poll() is None and _newest(out) < until:
                    time.sleep(0.02)
                time.sleep(draw.uniform(0, 0.3))
                if process.poll() is None:
                    os.kill(process.pid, signal.SIGKILL)
                    process.communicate()
                    killed += 1
                    at.append(_newest(out))
                    continue
            resumed = result(process)
            break
        same = resumed["sha256"] == undisturbed["sha256"]
        equal &= same
        print(f"| {number + 1} | {killed} | {' '.join(map(str, at))} | {resumed['sha256']} | {'yes' if same else 'NO'} |", flush=True)
    return equal


def _newest(out: Path) -> int:
    """The step of the newest checkpoint, 0 where there is none."""
    return max((int(path.stem.removeprefix("step-")) for path in out.glob("checkpoints/step-*.npz")), default=0)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, nargs="?")
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=6)
    parser.add_argument("--size", type=int, default=72)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--model", default="cnn")
    parser.add_argument("--pipeline", default="python")
    parser.add_argument("--backend", default="tensorflow")
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--trainings", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        train(*json.loads(given.child))
        return
    if given.directory is None:
        parser.error("a folder of images is needed")
    os.environ["KERAS_BACKEND"] = given.backend
    options = {"size": [given.size, given.size], "batch_size": given.batch_size, "epochs": given.epochs, "augment": "strong"}
    options |= {"model": given.model, "pipeline": given.pipeline, "checkpoint_every": "1steps" if given.kills else "1000steps"}
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        os.environ["IMGSTREAM_CACHE"] = str(root / "cache")
        source = folder(given.directory, given.images, root)
        if given.kills:
            equal = kill(source, root, options, given.trainings, given.kills, given.seed)
        else:
            equal = sweep(source, root, options)
    sys.exit(0 if equal else 1)


if __name__ == "__main__":
    main()
