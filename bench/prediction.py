"""How fast a folder is predicted, beside what its parts could do and beside the usual Keras script; and whether memory grows. Linux only.

    python bench/prediction.py RUN DIR [--engines openvino litert …] [--memory DIR] [--rounds 3] [--out PAGE]

RUN is a run folder, DIR a folder of images; --memory another one, of another size, whose peak of anonymous memory is compared. Each
measurement has a process of its own, by turns:

model      model.predict on 6,000 of the images (or all), decoded before, in memory as arrays
loader     the batches of the same pipeline alone, nothing done with them
imgstream  imgstream predict RUN DIR -o …, from nothing; images/s of reading and predicting, and of the whole command
engine     each of --engines (default: those that are installed): its own rate on the images in memory, and imgstream predict with it
Keras      image_dataset_from_directory over the files that TensorFlow can decode (it would end at the first other one), and model.predict

The bound is 1 / (1/loader + 1/model): both share the processor. For an engine it is 1 / (1/loader + 1/engine). imgstream without an engine
computes with Keras.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from page import machine, put

from imgstream.export import ENGINES
from imgstream.runtimes.packages import is_installed

IN_MEMORY = 6000
LOADED = 60_000  # images that the loader alone reads


def model(run: str, folder: str) -> dict[str, Any]:
    """model.predict on arrays."""
    import imgstream as ims

    opened = ims.load_run(run)
    index = ims.scan(folder, index="auto")
    index = index.take(np.linspace(0, len(index) - 1, min(IN_MEMORY, len(index))).astype(np.int64))
    images = np.concatenate([batch for batch, _ in ims.Stream(index, opened.spec, batch_size=128).batches()])
    opened.model.predict(images[:256], batch_size=128, verbose=0)
    start = time.perf_counter()
    opened.model.predict(images, batch_size=128, verbose=0)
    return {"rate": len(images) / (time.perf_counter() - start)}


def engine(run: str, folder: str, name: str) -> dict[str, Any]:
    """An engine on the same arrays, in the batches that predict uses."""
    import imgstream as ims
    from imgstream.export import ConvertedModel
    from imgstream.prediction.job import batch_size_for

    opened = ims.load_run(run)
    index = ims.scan(folder, index="auto")
    index = index.take(np.linspace(0, len(index) - 1, min(IN_MEMORY, len(index))).astype(np.int64))
    size = batch_size_for(opened.spec.shape)
    batches = [batch.copy() for batch, _ in ims.Stream(index, opened.spec, batch_size=size).batches()]
    converted = ConvertedModel(opened.model, opened.spec, name, size)
    converted(batches[0])
    start = time.perf_counter()
    for batch in batches:
        converted(batch)
    return {"rate": sum(len(batch) for batch in batches) / (time.perf_counter() - start), "difference": converted.difference}


def loader(run: str, folder: str) -> dict[str, Any]:
    """The stream's batches."""
    import imgstream as ims

    opened = ims.load_run(run)
    index = ims.scan(folder, index="auto")
    index = index.take(np.arange(min(LOADED, len(index))))
    stream = ims.Stream(index, opened.spec, batch_size=128)
    next(stream.batches())
    start = time.perf_counter()
    count = sum(len(images) + len(batch.bad) for batch in stream.traced_batches() for images in [batch.images])
    return {"rate": count / (time.perf_counter() - start)}


def keras(run: str, folder: str) -> dict[str, Any]:
    """The usual script, on links to the files that it can read."""
    import imgstream as ims

    opened = ims.load_run(run)
    index = ims.scan(folder, index="auto")
    with tempfile.TemporaryDirectory() as links:
        (Path(links) / "all").mkdir()
        readable: dict[int, bool] = {}  # by inode: links to one file are looked at once
        count = 0
        paths = [index.path(i) for i in range(min(LOADED, len(index)))]
        for path in paths:
            inode = os.stat(path).st_ino
            if inode not in readable:
                readable[inode] = _is_read_by_keras(path)
            if readable[inode]:
                os.symlink(os.path.abspath(path), Path(links) / "all" / f"{count:08}.jpg")
                count += 1
        from keras.utils import image_dataset_from_directory

        offset, factor = (-1.0, 2 / 255) if opened.spec.scale == "signed" else (0.0, 1 / 255)
        opened.model.predict(np.zeros((128, *opened.spec.shape), np.float32), batch_size=128, verbose=0)
        start = time.perf_counter()
        data = image_dataset_from_directory(
            links, labels=None, image_size=opened.spec.size, batch_size=128, shuffle=False, crop_to_aspect_ratio=True, verbose=False
        )
        scores = opened.model.predict(data.map(lambda images: images * factor + offset), verbose=0)
        return {"rate": len(scores) / (time.perf_counter() - start), "images": len(scores)}


def _is_read_by_keras(path: str) -> bool:
    """Whether TensorFlow decodes it as image_dataset_from_directory asks it to."""
    import tensorflow as tf

    if not path.lower().endswith((".jpg", ".jpeg", ".png", ".bmp", ".gif")):
        return False
    try:
        return tf.io.decode_image(tf.io.read_file(path), channels=3, expand_animations=False).shape[0] > 0
    except tf.errors.OpError:
        return False


def imgstream(run: str, folder: str, name: str = "keras") -> dict[str, Any]:
    """The command with an engine, from nothing, with its peak of anonymous memory."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "imgstream", "predict", run, folder, "-o", f"{out}/out.csv", "--json", "--pipeline", "python"]
        command += ["--engine", name]
        start, peak = time.perf_counter(), 0
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            ended = threading.Event()

            def watch() -> None:
                nonlocal peak
                while not ended.wait(0.05):
                    match = re.search(r"RssAnon:\s+(\d+) kB", _status(process.pid))
                    peak = max(peak, 1024 * int(match[1])) if match else peak

            watcher = threading.Thread(target=watch)
            watcher.start()
            assert process.stdout is not None
            told = process.stdout.read()
            ended.set()
            watcher.join()
        seconds = time.perf_counter() - start
        result = json.loads(told)
        return {"rate": result["images_per_second"], "seconds": seconds, "rows": result["rows"], "bad": result["bad"], "anonymous": peak}


def _status(process: int) -> str:
    try:
        return Path(f"/proc/{process}/status").read_text()
    except OSError:
        return ""


CHILDREN = {f.__name__: f for f in (model, engine, loader, keras, imgstream)}


def child(name: str, run: str, folder: str, *more: str) -> dict[str, Any]:
    """Measure in a process of its own."""
    command = [sys.executable, __file__, "--child", name, run, folder, *more]
    done = subprocess.run(command, env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}, stdout=subprocess.PIPE, text=True, check=True)
    print(f"  {name} {folder} {' '.join(more)}: {done.stdout.strip()}", file=sys.stderr)
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def main() -> None:
    """Measure, print, and put it into the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("directory", metavar="DIR")
    parser.add_argument("--memory", metavar="DIR")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, metavar="PAGE")
    installed = [each for each in ENGINES if each != "keras" and is_installed([each if each != "litert" else "ai_edge_litert"])]
    parser.add_argument("--engines", nargs="*", default=installed, choices=ENGINES[1:])
    options = parser.parse_args()
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in ("model", "loader", "imgstream", "keras")}
    by_engine: dict[tuple[str, str], list[float]] = {}
    for _ in range(options.rounds):
        for name, results in found.items():
            results.append(child(name, options.run, options.directory))
        for each in options.engines:
            for name in ("engine", "imgstream"):
                by_engine.setdefault((name, each), []).append(child(name, options.run, options.directory, each)["rate"])
    other = child("imgstream", options.run, options.memory) if options.memory else None
    rates = {name: [result["rate"] for result in results] for name, results in found.items()}
    bounds = [1 / (1 / a + 1 / b) for a, b in zip(rates["model"], rates["loader"], strict=True)]
    ours = found["imgstream"]
    text = {
        "model": f"model.predict, {IN_MEMORY:,} of the images in memory",
        "loader": f"the loader alone, {LOADED:,} of the images",
        "bound": "1 / (1/loader + 1/model)",
        "imgstream": "imgstream predict, reading and predicting",
        "keras": f"image_dataset_from_directory + model.predict, {found['keras'][0]['images']:,} files that it can read",
    }
    rates = {"model": rates["model"], "loader": rates["loader"], "bound": bounds, "imgstream": rates["imgstream"], "keras": rates["keras"]}
    lines = [f"## Predicting {ours[0]['rows']:,} images", "", "| | images/s, median | imgstream / it, median of rounds |", "|---|---|---|"]
    for name, values in rates.items():
        ratio = statistics.median(a / b for a, b in zip(rates["imgstream"], values, strict=True))
        lines.append(f"| {text[name]} | {statistics.median(values):,.0f} | {ratio:.2f} |")
    if options.engines:
        lines += [
            "",
            "| engine | alone, images/s | imgstream predict with it | / model.predict | / (1 / (1/loader + 1/engine)) |",
            "|---|---|---|---|---|",
        ]
    for each in options.engines:
        alone, ours_with = by_engine["engine", each], by_engine["imgstream", each]
        to_model = statistics.median(a / b for a, b in zip(ours_with, rates["model"], strict=True))
        to_bound = statistics.median(a * (1 / b + 1 / c) for a, b, c in zip(ours_with, rates["loader"], alone, strict=True))
        lines.append(
            f"| {each} | {statistics.median(alone):,.0f} | {statistics.median(ours_with):,.0f} | {to_model:.2f} | {to_bound:.2f} |"
        )
    whole = statistics.median(result["rows"] / result["seconds"] for result in ours)
    lines += [
        "",
        f"- **The whole command**, its start and the writing included: {whole:,.0f} images/s. {ours[0]['bad']:,} of the files are bad.",
        f"- **Rounds**: n = {options.rounds}, all in turn, each in a process of its own; page cache warm.",
    ]
    if other is not None:
        peaks = f"{other['rows']:,} images {other['anonymous'] / 1e6:,.0f} MB, {ours[0]['rows']:,} images "
        lines.append(f"- **Peak anonymous memory**: {peaks}{max(result['anonymous'] for result in ours) / 1e6:,.0f} MB.")
    command = ["DIR" if word == options.directory else "RUN" if word == options.run else word for word in sys.argv[1:]]
    lines += [f"- **Machine**: {machine()}.", f"- **Command**: `python bench/prediction.py {shlex.join(command)}`."]
    section = "\n".join(lines) + "\n"
    put(options.out, section)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(CHILDREN[sys.argv[2]](*sys.argv[3:])))
    else:
        main()
