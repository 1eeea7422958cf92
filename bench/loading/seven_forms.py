"""Whether one set of images is the same in seven forms: rows, labels, pixels to the bit, and predictions.

    python bench/loading/seven_forms.py DIR [--run RUN] [--size 64]

DIR holds one folder of images a class. It is packed, in a temporary folder, as .zip, .tar, TFRecord, WebDataset and Parquet, and as X.npy
of the samples themselves with y.npy. A shuffled epoch of each form is compared with that of the folder, value by value; with --run its
predictions too, and SIZE is the run's. Exits with 1 where anything differs. Some minutes for 6,000 photographs, most of it predicting.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from imgstream import ImageIndex, Run, SampleSpec

BATCH = 64


def main() -> None:
    """Read the arguments, make the forms, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--size", type=int, default=64)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["IMGSTREAM_CACHE"] = f"{folder}/cache"
        sys.exit(0 if compare(options, Path(folder)) else 1)


def compare(options: argparse.Namespace, folder: Path) -> bool:
    """Print a line for each form; whether all are the same."""
    import imgstream as ims

    run = None if options.run is None else ims.load_run(options.run)
    spec = ims.SampleSpec(size=(options.size, options.size)) if run is None else run.spec
    files = ims.scan(options.directory)
    reference = ims.Stream(files, spec, shuffle=True, batch_size=BATCH, dtype=spec.pixel_type)
    scores = predicted(run, files)
    same = True
    print(f"{len(files):,} images of {len(files.class_names)} classes, {spec.size[0]}×{spec.size[1]}\n")
    print("| form | bytes | rows | labels | names | pixels that differ | scores that differ |\n|---|---|---|---|---|---|---|")
    for name, source in forms(options.directory, files, spec, folder).items():
        index = ims.scan(source)
        rows, labels = len(index) == len(files), np.array_equal(index.labels, files.labels) and index.class_names == files.class_names
        names = all(index.relative_bytes(row) == files.relative_bytes(row) for row in range(len(files))) if rows else False
        pixels = 0
        for (images, _), (others, _) in zip(reference.replace(index=index).batches(1), reference.batches(1), strict=True):
            pixels += int((images != others).sum()) if images.shape == others.shape else max(images.size, others.size)
        scored = int((predicted(run, index) != scores).sum())
        size = sum(path.stat().st_size for path in ([source] if source.is_file() else source.rglob("*")) if path.is_file())
        print(f"| {name} | {size:,} | {rows} | {labels} | {'numbers' if name == 'array' else names} | {pixels} | {scored} |")
        same = same and rows and labels and (names or name == "array") and not pixels and not scored
    print("\nall the same" if same else "\nTHERE ARE DIFFERENCES")
    return same


def forms(directory: Path, files: ImageIndex, spec: SampleSpec, folder: Path) -> dict[str, Path]:
    """The other six forms, by name."""
    import imgstream as ims

    made = {"zip": folder / "images.zip", "tar": folder / "images.tar", "array": folder / "array/X.npy"}
    with zipfile.ZipFile(made["zip"], "w") as archive, tarfile.open(made["tar"], "w") as tar:
        for row in range(len(files)):
            name = files.relative_bytes(row).decode("utf-8", "surrogateescape")
            archive.write(directory / name, name)
            tar.add(directory / name, name)
    for form in ("webdataset", "tfrecord", "parquet"):
        made[form] = folder / form
        command = ["pack", str(directory), "-o", str(made[form]), "--format", form, "--shard-size", "64MB", "--json"]
        subprocess.run([sys.executable, "-m", "imgstream", *command], check=True, stdout=subprocess.DEVNULL)
    made["array"].parent.mkdir()
    array = np.lib.format.open_memmap(made["array"], "w+", spec.pixel_type, (len(files), *spec.shape))
    for batch in ims.Stream(files, spec, batch_size=BATCH, dtype=spec.pixel_type).traced_batches():
        array[batch.positions] = batch.images
    array.flush()
    np.save(folder / "array/y.npy", np.array(files.class_names)[files.labels])
    return made


def predicted(run: Run | None, index: ImageIndex) -> np.ndarray:
    """float32 (n, K): the scores of every image; empty without a run."""
    return np.zeros(0) if run is None else np.array([p.scores for p in run.predict(index, progress=False)])


if __name__ == "__main__":
    main()
