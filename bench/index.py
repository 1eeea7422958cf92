"""How long it takes to list a folder, and what the list costs: imgstream beside find, Keras and a list of paths. Linux only.

    python bench/index.py WORK [--files 1000000] [--rounds 3]            listing: time, opening again, refreshing
    python bench/index.py WORK --rows 10000000                           a manifest of that many rows; the order of as many and of 2^40
    python bench/index.py WORK --sizes 10000,100000,1000000              anonymous memory against rows, and its picture

Folders of hard links to a few small images are made below WORK, a thousand links a class folder, and stay there for the next time. Each
measurement has a process of its own and begins after its imports; a cache folder of imgstream's is made for it and removed.
--out PAGE puts the result into a page, in the place of the section of the same name; --picture FILE draws the memory.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from memory import anonymous
from page import machine, put

FOLDER = 1000  # files in one
SOURCES = 400  # images that are linked to: file systems allow some 65,000 links to one
BATCHES, BATCH = 1000, 32
ADDED = 10


# ---- what is measured, each in a process of its own


def find(folder: str) -> dict[str, Any]:
    """`find -type f`, its output thrown away."""
    start = time.perf_counter()
    subprocess.run(["find", folder, "-type", "f"], stdout=subprocess.DEVNULL, check=True)
    return {"seconds": time.perf_counter() - start}


def walk(folder: str) -> dict[str, Any]:
    """os.scandir and a count: the least that Python can do."""

    def files(path: str) -> int:
        with os.scandir(path) as entries:
            return sum(files(entry.path) if entry.is_dir() else 1 for entry in entries)

    return timed(lambda: files(folder))


def paths(folder: str) -> dict[str, Any]:
    """A sorted list of paths and a list of labels, as a script has them; then batches of rows at random."""

    def listed() -> tuple[list[str], list[int]]:
        found = [(os.path.join(base, name), base) for base, _, names in os.walk(folder) for name in names]
        found.sort()
        classes = {name: i for i, name in enumerate(sorted({base for _, base in found}))}
        return [path for path, _ in found], [classes[base] for _, base in found]

    def read(held: tuple[list[str], list[int]]) -> int:
        random = np.random.default_rng(0)
        for _ in range(BATCHES):
            _ = [(held[0][i], held[1][i]) for i in random.integers(len(held[0]), size=BATCH).tolist()]
        return len(held[0])

    return timed(lambda: read(listed()))


def keras(folder: str) -> dict[str, Any]:
    """keras.utils.image_dataset_from_directory; nothing is read from it."""
    from keras.utils import image_dataset_from_directory

    return timed(lambda: len(image_dataset_from_directory(folder, image_size=(8, 8), batch_size=BATCH, verbose=False).file_paths))


def scan(folder: str) -> dict[str, Any]:
    """imgstream.scan: every folder listed, the table written."""
    import imgstream as ims
    import imgstream.index

    return timed(lambda: len(ims.scan(folder)))


def again(folder: str) -> dict[str, Any]:
    """imgstream.scan with index="auto": the table that is there, refreshed."""
    import imgstream as ims
    import imgstream.index

    return timed(lambda: len(ims.scan(folder, index="auto")))


def rows(folder: str) -> dict[str, Any]:
    """imgstream.scan, and batches of rows at random: paths, labels, row numbers."""
    import imgstream as ims
    import imgstream.index

    return timed(lambda: read_rows(ims.scan(folder)))


def manifest(file: str) -> dict[str, Any]:
    """imgstream.index.read_manifest of a CSV."""
    from imgstream.index import read_manifest

    return timed(lambda: len(read_manifest(file, output=Path(f"{file}.arrow"))[0]))


def unchecked(file: str) -> dict[str, Any]:
    """The same without looking whether the files are there."""
    from imgstream.index import read_manifest

    return timed(lambda: len(read_manifest(file, output=Path(f"{file}.arrow"), check_files=False)[0]))


def opened(table: str) -> dict[str, Any]:
    """ImageIndex.load."""
    import imgstream as ims
    import imgstream.index

    return timed(lambda: len(ims.ImageIndex.load(table)))


def random_rows(table: str) -> dict[str, Any]:
    """Batches of rows at random from a table that is open: paths, labels, row numbers; with ImageIndex.load before it in the memory."""
    import imgstream as ims
    import imgstream.index

    found: dict[str, Any] = {}

    def read() -> int:
        index = ims.ImageIndex.load(table)
        start = time.perf_counter()
        count = read_rows(index)
        found["seconds"] = time.perf_counter() - start
        return count

    return timed(read) | found


def order(n: str) -> dict[str, Any]:
    """Seconds for one batch of indices of an epoch of n, alone and as a part of a block, as a stream asks for them."""
    from imgstream.order import permute
    from imgstream.stream.plan import ORDER_BLOCK

    def one(size: int) -> float:
        places = np.random.default_rng(0).integers(int(n) - size, size=200)
        seconds = []
        for epoch, first in enumerate(places.tolist()):
            start = time.perf_counter()
            permute(np.arange(first, first + size), int(n), 7, epoch)
            seconds.append(time.perf_counter() - start)
        return statistics.median(seconds)

    return {"alone": one(BATCH), "in a block": one(ORDER_BLOCK) * BATCH / ORDER_BLOCK}


def read_rows(index: Any) -> int:
    """Paths, labels and row numbers of batches at random."""
    random = np.random.default_rng(0)
    for _ in range(BATCHES):
        at = random.integers(len(index), size=BATCH)
        _ = [index.path_bytes(i) for i in at.tolist()], index.labels_at(at), index.rows_at(at)
    return len(index)


def timed(work: Callable[[], int]) -> dict[str, Any]:
    """Seconds, rows, and the peak of anonymous memory beyond what the process had before, looked at every 2 ms."""
    peak, done = [0], threading.Event()
    before = anonymous()

    def watch() -> None:
        while not done.wait(0.002):
            peak[0] = max(peak[0], anonymous())

    watcher = threading.Thread(target=watch, daemon=True)
    if os.environ.get("BENCH_MEMORY"):
        watcher.start()
    start = time.perf_counter()
    count = work()
    seconds = time.perf_counter() - start
    peak[0] = max(peak[0], anonymous())
    done.set()
    return {"seconds": seconds, "rows": count, "anonymous": max(0, peak[0] - before)}


CHILDREN = {f.__name__: f for f in (find, walk, paths, keras, scan, again, rows, manifest, unchecked, opened, random_rows, order)}


def child(name: str, argument: str, cache: Path | None = None, memory: bool = False) -> dict[str, Any]:
    """Measure in a process of its own."""
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "BENCH_MEMORY": "1" if memory else ""}
    if cache is not None:
        environment["IMGSTREAM_CACHE"] = os.fspath(cache)
    command = [sys.executable, __file__, "--child", name, argument]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    print(f"  {name} {argument}: {done.stdout.strip()}", file=sys.stderr)
    return dict(json.loads(done.stdout))


@contextmanager
def cache_folder(work: Path) -> Iterator[Path]:
    """A fresh one."""
    folder = Path(tempfile.mkdtemp(dir=work, prefix="cache-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


# ---- what it is measured on


def tree(work: Path, files: int) -> Path:
    """A folder of `files` hard links in class folders of FOLDER, made once."""
    root = work / f"{files}"
    if root.exists():
        return root
    sources = work / "sources"
    sources.mkdir(exist_ok=True)
    random = np.random.default_rng(0)
    for i in range(SOURCES):
        if not (sources / f"{i}.jpg").exists():
            cv2.imwrite(str(sources / f"{i}.jpg"), random.integers(256, size=(8, 8, 3), dtype=np.uint8))
    making = work / "making"
    shutil.rmtree(making, ignore_errors=True)
    for first in range(0, files, FOLDER):
        folder = making / class_name(first)
        folder.mkdir(parents=True)
        for i in range(first, min(first + FOLDER, files)):
            os.link(sources / f"{i % SOURCES}.jpg", folder / file_name(i))
    making.rename(root)
    return root


def class_name(i: int) -> str:
    """Of the i-th file."""
    return f"class_{i // FOLDER:05}"


def file_name(i: int) -> str:
    """Of the i-th file."""
    return f"IMG_{i:08}.jpg"


def csv(work: Path, count: int) -> Path:
    """A manifest of `count` rows, path and label, that names the files of tree(work, count)."""
    file = work / f"{count}" / "manifest.csv"
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        with file.open("w") as lines:
            lines.write("path,label\n")
            for first in range(0, count, FOLDER):
                name = class_name(first)
                lines.writelines(f"{name}/{file_name(i)},{name}\n" for i in range(first, min(first + FOLDER, count)))
    return file


# ---- the sections


def listing(work: Path, files: int, rounds: int) -> list[str]:
    """Table: seconds to list, to open again, and to refresh."""
    root = tree(work, files)
    seconds: dict[str, list[float]] = {}
    with cache_folder(work) as cache:
        for number in range(rounds):
            shutil.rmtree(cache)
            for name in ("find", "walk", "paths", *(["keras"] if not number else []), "scan", "again"):
                seconds.setdefault(name, []).append(child(name, str(root), cache)["seconds"])
            new = [root / class_name(i * FOLDER % files) / f"new {number} {i}.jpg" for i in range(ADDED)]
            for file in new:
                os.link(work / "sources" / "0.jpg", file)
            time.sleep(4)  # a folder that was changed within the last three seconds is listed again in any case
            seconds.setdefault("refresh", []).append(child("again", str(root), cache)["seconds"])
            for file in new:
                file.unlink()
            time.sleep(4)
    lines = ["| | seconds, median | of `find`, median of rounds |", "|---|---|---|"]
    labels = {
        "find": "`find -type f`",
        "walk": "os.scandir, counting",
        "paths": "os.walk into a sorted list of paths and one of labels",
        "keras": "keras.utils.image_dataset_from_directory (one round)",
        "scan": "imgstream.scan, fresh cache folder",
        "again": 'imgstream.scan(index="auto"), nothing changed',
        "refresh": f'imgstream.scan(index="auto"), {ADDED} files added in {ADDED} folders',
    }
    for name, label in labels.items():
        ratio = statistics.median(own / base for own, base in zip(seconds[name], seconds["find"], strict=False))
        lines.append(f"| {label} | {statistics.median(seconds[name]):.3f} | {ratio:.2f} |")
    return [f"## Listing {files:,} files in {files // FOLDER:,} folders", "", *lines, "", f"- **Rounds**: n = {rounds}, all in turn."]


def many_rows(work: Path, count: int) -> list[str]:
    """What a manifest costs to read, and the table to hold; the order of its rows."""
    tree(work, count)
    file = csv(work, count)
    with cache_folder(work) as cache:
        built, trusting = (child(name, str(file), cache, memory=True) for name in ("manifest", "unchecked"))
    table = Path(f"{file}.arrow")
    loads = [child("opened", str(table)) for _ in range(3)]
    reading = child("random_rows", str(table), memory=True)
    names = len(file_name(0)) * count
    orders = {n: child("order", str(n)) for n in (count, 1 << 40)}
    lines = [
        f"## {count:,} rows from a manifest",
        "",
        "| | |",
        "|---|---|",
        f"| a CSV of {file.stat().st_size / 1e6:,.0f} MB, path and label, into a table | {built['seconds']:.1f} s |",
        f"| the same, without looking whether the files are there | {trusting['seconds']:.1f} s |",
        f"| anonymous memory while doing so, peak, beyond the imports | {max(built['anonymous'], trusting['anonymous']) / 1e6:.0f} MB |",
        f"| the table: bytes a row beside the file names | {(table.stat().st_size - names) / count:.2f} |",
        f"| opening it, its checksum compared | {1000 * statistics.median(load['seconds'] for load in loads):.0f} ms |",
        f"| {BATCHES:,} batches of {BATCH} rows at random: path, label, row number | {BATCHES * BATCH / reading['seconds']:,.0f} rows/s |",
        f"| anonymous memory of opening and reading these, peak, beyond the imports | {reading['anonymous'] / 1e6:.1f} MB |",
    ]
    for n, found in orders.items():
        text = f"{1e6 * found['in a block']:.1f} µs; asked for alone {1e6 * found['alone']:.0f} µs"
        lines.append(f"| the order of {'2^40' if n == 1 << 40 else f'{n:,}'} rows: a batch of {BATCH} indices | {text} |")
    return lines


def memory(work: Path, sizes: list[int], picture: Path | None) -> list[str]:
    """Anonymous memory against rows."""
    names = {"keras": "image_dataset_from_directory", "paths": "a list of paths and one of labels", "rows": "imgstream"}
    found: dict[str, list[float]] = {name: [] for name in names}
    for size in sizes:
        root = tree(work, size)
        for name in names:
            with cache_folder(work) as cache:
                found[name].append(child(name, str(root), cache, memory=True)["anonymous"] / 1e6)
    if picture is not None:
        draw({names[name]: values for name, values in found.items()}, sizes, picture)
    lines = ["| files | " + " | ".join(names.values()) + " |", "|---|" + "---|" * len(names)]
    lines += [f"| {size:,} | " + " | ".join(f"{found[name][i]:,.1f} MB" for name in names) + " |" for i, size in enumerate(sizes)]
    note = (
        "- **Measured**: peak of RssAnon beyond the imports, looked at every 2 ms, while a folder is listed and then, apart from Keras, "
        f"{BATCHES:,} batches of {BATCH} rows at random are read: paths and labels. Keras builds its dataset, and nothing is read from it."
    )
    return ["## Memory of the list of files", "", *lines, "", note]


def draw(found: dict[str, list[float]], sizes: list[int], picture: Path) -> None:
    """The picture of `memory`."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 3.8), layout="constrained")
    for (name, values), colour in zip(found.items(), ("#9a9a9a", "#c98a3d", "#1f6fb4"), strict=True):
        ours = name == "imgstream"
        axes.plot(sizes, values, "o-", color=colour, linewidth=2.6 if ours else 1.8, zorder=3 if ours else 2)
        text = f"{name}  {values[-1]:,.0f} MB"
        axes.annotate(
            text, (sizes[-1], values[-1]), (8, 0), textcoords="offset points", va="center", color=colour, weight="bold" if ours else None
        )
    axes.set_xscale("log")
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.minorticks_off()
    axes.set_xlim(sizes[0] * 0.8, sizes[-1] * 1.1)
    axes.set_xlabel("files in the folder")
    axes.set_ylabel("memory of the list, MB")
    axes.set_ylim(bottom=-0.02 * max(map(max, found.values())))
    axes.grid(axis="y", color="#e6e6e6")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(picture, dpi=150, bbox_inches="tight", metadata={"Software": None})


def main() -> None:
    """Measure what is asked for, print it, and put it into the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, metavar="WORK")
    parser.add_argument("--files", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--sizes", type=lambda text: [int(part) for part in text.split(",")])
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--out", type=Path, metavar="PAGE")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    if not (options.files or options.rows or options.sizes):
        options.files = 1_000_000
    sections = [listing(options.work, options.files, options.rounds)] if options.files else []
    sections += [many_rows(options.work, options.rows)] if options.rows else []
    sections += [memory(options.work, options.sizes, options.picture)] if options.sizes else []
    command = ["WORK" if word == str(options.work) else word for word in sys.argv[1:]]
    for lines in sections:
        if not lines[-1].startswith("- "):
            lines.append("")
        lines += [f"- **Machine**: {machine()}.", f"- **Command**: `python bench/index.py {shlex.join(command)}`."]
        section = "\n".join(lines) + "\n"
        put(options.out, section)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(CHILDREN[sys.argv[2]](sys.argv[3])))
    else:
        main()
