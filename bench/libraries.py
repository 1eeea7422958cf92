"""What imgstream does itself beside the libraries that come nearest: the figures in docs/decisions/0021-our-own-code.md.

    pip install fnvhash xxhash imagehash faiss-cpu scikit-learn imagesize tifffile grain
    python bench/libraries.py DIR            DIR: a folder of some hundred photographs

CPU time of all threads (set OPENBLAS_NUM_THREADS=1), the two taken in turns; medians of PASSES.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import csv
import importlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

PASSES = 5


def cpu(*works: Callable[[], Any]) -> list[float]:
    """Median CPU seconds of each, in turns, after one pass that is not counted."""
    taken: list[list[float]] = [[] for _ in works]
    for number in range(PASSES + 1):
        for times, work in zip(taken, works, strict=True):
            before = time.process_time()
            work()
            if number:
                times.append(time.process_time() - before)
    return list(map(statistics.median, taken))


def told(name: str, unit: str, items: int, scale: float, **seconds: float) -> None:
    """One line of results."""
    print(f"{name:34}" + "   ".join(f"{who} {value / items * scale:,.2f}" for who, value in seconds.items()) + f"   {unit}", flush=True)


def _jpegs(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))[:100]


def hashes(folder: Path) -> None:
    """FNV-1a of 100,000 relative paths."""
    from imgstream.index.split.path_hash import keys_of

    names = [b"class_%d/%08d_photograph.jpg" % (i % 50, i * 7919) for i in range(100_000)]
    fnv1a, digest = importlib.import_module("fnvhash").fnv1a_64, importlib.import_module("xxhash").xxh64_intdigest
    assert len(np.unique(keys_of(names))) == len(names)
    ours, fnv, xx = cpu(lambda: keys_of(names), lambda: [fnv1a(name) for name in names[:1000]], lambda: [digest(name) for name in names])
    told("hash of a path", "µs", len(names), 1e6, ours=ours, fnvhash=fnv * 100, xxhash=xx)


def thumbnails(folder: Path) -> None:
    """What a near duplicate is proposed by, from file to hash."""
    from imgstream.check.thumbnail import CHROMA_SHAPE, LUMA_SHAPE, ThumbnailReader

    image, imagehash = importlib.import_module("PIL.Image"), importlib.import_module("imagehash")
    paths = _jpegs(folder)
    reader, luma, chroma = ThumbnailReader(1 << 28), np.empty(LUMA_SHAPE, np.uint8), np.empty(CHROMA_SHAPE, np.uint8)
    ours, theirs = cpu(
        lambda: [reader.read(os.fsencode(path), luma, chroma) for path in paths],
        lambda: [imagehash.phash(image.open(path)) for path in paths],
    )
    told("thumbnail or hash of an image", "ms", len(paths), 1e3, ours=ours, imagehash=theirs)


def headers(folder: Path) -> None:
    """Size and orientation of a JPEG from its bytes; what more ours tells is in Header."""
    from imgstream.formats.header import read_header

    image, imagesize = importlib.import_module("PIL.Image"), importlib.import_module("imagesize")
    paths = _jpegs(folder)

    def ours() -> None:
        for path in paths:
            read_header(path.read_bytes())

    def pillow() -> None:
        for path in paths:
            with image.open(path) as opened:
                opened.size, opened.getexif().get(274)

    def bytes_alone() -> None:
        for path in paths:
            path.read_bytes()

    none, own, theirs, sizes = cpu(bytes_alone, ours, pillow, lambda: [imagesize.get(path) for path in paths])
    told("header of a JPEG", "µs, the file read (first: that alone)", len(paths), 1e6, read=none, ours=own, pillow=theirs, imagesize=sizes)


def rows(folder: Path) -> None:
    """A manifest of 300,000 rows, path and label, into Arrow arrays; the paths in quotes, or not."""
    from imgstream.index.manifest.csv_rows import read_delimited
    from imgstream.index.manifest.rows import BadRows

    count = 300_000
    for quote in ("", '"'):
        with tempfile.TemporaryDirectory() as place:
            file = Path(place) / "manifest.csv"
            file.write_text("path,label\n" + "".join(f"{quote}photos/{i:08}.jpg{quote},class {i % 50}\n" for i in range(count)))

            def ours(file: Path = file) -> int:
                return sum(chunk.read for chunk in read_delimited(file, {}, BadRows()).chunks)

            def python(file: Path = file) -> list[pa.Array]:
                paths, labels = [], []
                with file.open(newline="", encoding="utf-8", errors="surrogateescape") as opened:
                    for path, label in csv.reader(opened):
                        paths.append(os.fsencode(path))
                        labels.append(os.fsencode(label))
                return [pa.array(paths, pa.binary()), pa.array(labels, pa.binary())]

            own, theirs = cpu(ours, python)
            told(f"row of a CSV{', in quotes' if quote else ''}", "µs", count, 1e6, ours=own, csv_reader=theirs)


def heads(folder: Path) -> None:
    """Logistic regression of 20,000 images, 1,024 features and 10 classes; each in a process of its own, for its peak of memory."""
    for who in ("ours", "sklearn"):
        subprocess.run([sys.executable, __file__, "--head", who], check=True)


def head(who: str) -> None:
    """One of the two, at the strength of L2 that is the same for both."""
    from imgstream.embedding.linear_head import fit_head

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 21_000)
    features = (rng.normal(0, 1, (21_000, 1024)) + rng.normal(0, 0.08, (10, 1024))[labels]).astype(np.float32)
    train, rest = slice(0, 20_000), slice(20_000, 21_000)
    if who == "ours":

        def fit() -> float:
            fitted = fit_head(features[train], labels[train], 10, validation=(features[rest], labels[rest]), strengths=[0.01])
            return fitted.accuracy
    else:
        regression = importlib.import_module("sklearn.linear_model").LogisticRegression
        scaler = importlib.import_module("sklearn.preprocessing").StandardScaler
        pipeline = importlib.import_module("sklearn.pipeline").make_pipeline(scaler(), regression(C=1 / (0.01 * 20_000), max_iter=300))

        def fit() -> float:
            return pipeline.fit(features[train], labels[train]).score(features[rest], labels[rest])

    importlib.import_module("scipy.optimize")
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew; Linux
    before, began = _peak(), time.process_time()
    accuracy = fit()
    print(
        f"linear head, {who:21}CPU {time.process_time() - began:.2f} s, accuracy {accuracy:.3f}, peak grew by {_peak() - before:.0f} MB",
        flush=True,
    )


def _peak() -> float:
    """MB."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024


def order(folder: Path) -> None:
    """Rows at 65,536 positions of an order of a million."""
    from imgstream.order import permute

    shuffle = importlib.import_module("grain._src.python.experimental.index_shuffle.python.index_shuffle_module").index_shuffle
    positions, n = np.arange(65_536), 1_000_000
    ours, theirs = cpu(
        lambda: permute(positions, n, 7, 3), lambda: [shuffle(at, max_index=n - 1, seed=7, rounds=4) for at in positions.tolist()]
    )
    told("row number at a position", "µs", len(positions), 1e6, ours=ours, grain=theirs)


def _nothing(paths: list[bytes]) -> int:
    return len(paths)


def pools(folder: Path) -> None:
    """What a task of 8 paths costs the process that hands it out, with 2 workers; nothing is done in them."""
    paths = [b"/photos/class_%d/%08d.jpg" % (i, i) for i in range(8)]
    with concurrent.futures.ProcessPoolExecutor(2) as pool:
        (theirs,) = cpu(lambda: list(pool.map(_nothing, [paths] * 2000)))
    told("task handed out and heard of", "µs of the parent (ours: docs/decisions/0008)", 2000, 1e6, ProcessPoolExecutor=theirs)


def clusters(folder: Path) -> None:
    """A million rows, 200,000 links."""
    from imgstream.check.clusters import Links

    sparse, graph = importlib.import_module("scipy.sparse"), importlib.import_module("scipy.sparse.csgraph")
    rng = np.random.default_rng(0)
    n, m = 1_000_000, 200_000
    a, b = rng.integers(0, n, m), rng.integers(0, n, m)

    def ours() -> np.ndarray:
        links = Links(np.arange(n, dtype=np.uint32))
        links.add(a, b)
        return links.roots()

    def theirs() -> np.ndarray:
        return graph.connected_components(sparse.coo_array((np.ones(m, bool), (a, b)), (n, n)), directed=False)[1]

    assert len(np.unique(ours())) == len(np.unique(theirs()))
    first, second = cpu(ours, theirs)
    told("linked components of 10⁶ rows", "ms", 1, 1e3, ours=first, scipy=second)


def confusion(folder: Path) -> None:
    """A batch of 64 counted, of 100 classes."""
    from imgstream.evaluation.metrics import ConfusionMatrix

    matrix = importlib.import_module("sklearn.metrics").confusion_matrix
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(0, 100, 64), rng.integers(0, 100, 64)
    counts = ConfusionMatrix(list(map(str, range(100))))
    classes = np.arange(100)
    ours, theirs = cpu(
        lambda: [counts.update(labels, predicted) for _ in range(20)],
        lambda: [matrix(labels, predicted, labels=classes) for _ in range(20)],
    )
    told("batch of 64 counted", "µs", 20, 1e6, ours=ours, sklearn=theirs)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("sample_data"))
    parser.add_argument("--head", help=argparse.SUPPRESS)
    parser.add_argument("--only", help="one of the comparisons, such as rows")
    options = parser.parse_args()
    if options.head:
        head(options.head)
        return
    for compare in (hashes, thumbnails, headers, rows, order, pools, clusters, confusion, heads):
        if options.only in (None, compare.__name__):
            compare(options.folder)


if __name__ == "__main__":
    main()
