"""How fast `imgstream check` is, what it finds, and what it takes for a copy that is none. Prints a section in Markdown.

    python bench/check.py DIR [--pairs 500] [--rounds 5] [--seed 1] [--out PAGE]

DIR holds a folder of real photographs a class; it is only read. Four measurements:

- speed: examine with headers only, with decode=True, and a pass of Stream at 224 over the same index, in turn; page cache warm
- recall: PAIRS photographs at random, each encoded again or resized in 18 ways. Each way is looked for on its own, in a folder of all the
  files of DIR and the PAIRS copies made that way: no copy is found by way of another one
- what is found in DIR as it is, by name: somebody has to look whether these are copies
- planted in DIR as it is: exact copies, copies encoded again or resized, and copies in the folder of another class

What is made lies in a temporary folder, with links to the files of DIR, and is removed. --out PAGE puts the section into a page, in the
place of the section of the same name.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from page import machine, put
from PIL import Image, ImageOps

import imgstream as ims
from imgstream.check import Findings, examine

SIZE, BATCH = 224, 32
MOST_LISTED = 60  # clusters or files of a kind
ORIENTATION, TURN_BACK = 274, 6  # the EXIF tag, and the value that says: turn it clockwise
EXACT, NEAR, CONFLICTING = 5, 5, 3


class Variant(NamedTuple):
    """A way to make another file of a photograph."""

    name: str
    suffix: str
    options: dict[str, Any]
    """Of Pillow's save."""
    across: float = 1.0
    down: float = 1.0
    resample: Image.Resampling = Image.Resampling.LANCZOS
    turned: bool = False
    """Stored on its side, with the orientation that sets it right."""

    def make(self, image: Image.Image, file: Path) -> None:
        """Write it."""
        size = max(1, round(image.width * self.across)), max(1, round(image.height * self.down))
        made, options = image if size == image.size else image.resize(size, self.resample), dict(self.options)
        if self.turned:
            made, options["exif"] = made.transpose(Image.Transpose.ROTATE_90), Image.Exif()
            options["exif"][ORIENTATION] = TURN_BACK
        made.save(file, **options)


VARIANTS = (
    *(Variant(f"JPEG, quality {quality}", ".jpg", {"quality": quality}) for quality in (95, 75, 50, 30)),
    Variant("JPEG, progressive, quality 80", ".jpg", {"quality": 80, "progressive": True}),
    Variant("PNG", ".png", {"compress_level": 1}),
    *(Variant(f"WebP, quality {quality}", ".webp", {"quality": quality}) for quality in (80, 30)),
    *(Variant(f"{scale}×, Lanczos, quality 85", ".jpg", {"quality": 85}, scale, scale) for scale in (0.3, 0.5, 0.7, 1.5, 2.0)),
    Variant("0.3×, bilinear, quality 30", ".jpg", {"quality": 30}, 0.3, 0.3, Image.Resampling.BILINEAR),
    Variant("0.5×, nearest pixel, quality 85", ".jpg", {"quality": 85}, 0.5, 0.5, Image.Resampling.NEAREST),
    Variant("0.5× wide, 0.55× high, quality 75", ".jpg", {"quality": 75}, 0.5, 0.55),
    Variant("1.2× wide, 1.05× high, quality 75", ".jpg", {"quality": 75}, 1.2, 1.05),
    Variant("on its side with EXIF orientation 6, quality 85", ".jpg", {"quality": 85}, turned=True),
)
PLANTED = tuple(VARIANTS[i] for i in (2, 5, 6, 9, 11))
"""JPEG at 50, PNG, WebP at 80, half as large, and 1.5 times."""


# ---- folders to look at


def link_all(index: ims.ImageIndex, target: Path) -> None:
    """A folder with a link to every file of `index`, at the path that it has there."""
    for i in range(len(index)):
        link = target / os.fsdecode(index.relative_bytes(i))
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.abspath(index.path(i)))


def beside(tree: Path, path: str, name: str) -> Path:
    """A new file in the folder of the file `path`, relative to `tree`."""
    file = (tree / path).with_name(name)
    assert not file.exists(), f"{file} is there already"
    return file


def relative(file: Path, tree: Path) -> str:
    """As Findings.path gives it."""
    return file.relative_to(tree).as_posix()


def photograph(file: Path) -> Image.Image:
    """Upright, in RGB, without the profile and the EXIF of the file. Raises OSError where Pillow does not read it."""
    with Image.open(file) as opened:
        image = ImageOps.exif_transpose(opened).convert("RGB")
    image.info.clear()
    return image


def clusters(findings: Findings, found: Iterable[np.ndarray]) -> list[frozenset[str]]:
    """Clusters as paths."""
    return [frozenset(findings.path(row) for row in rows.tolist()) for rows in found]


# ---- the measurements


def speed(index: ims.ImageIndex, rounds: int) -> list[str]:
    """Table of files a second. The first pass of each does not count: it also reads the files into the page cache."""

    def pass_of_stream() -> None:
        for _ in ims.Stream(index, ims.SampleSpec(size=(SIZE, SIZE)), batch_size=BATCH).batches():
            pass

    contestants: dict[str, Callable[[], object]] = {
        "examine, headers only": lambda: examine(index),
        "examine, decode=True": lambda: examine(index, decode=True),
        f"a pass of Stream at {SIZE}×{SIZE}": pass_of_stream,
    }
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        for name, work in contestants.items():
            start = time.perf_counter()
            work()
            if number:
                seconds[name].append(time.perf_counter() - start)
        print(f"speed: round {number} of {rounds}", file=sys.stderr)
    base = [*seconds.values()][-1]
    lines = ["| speed | files/s, median | min – max | Stream's seconds / its seconds, median of rounds |", "|---|---|---|---|"]
    for name, own in seconds.items():
        rates = sorted(len(index) / value for value in own)
        ratio = statistics.median(stream / value for stream, value in zip(base, own, strict=True))
        lines.append(f"| {name} | {statistics.median(rates):,.0f} | {rates[0]:,.0f} – {rates[-1]:,.0f} | {ratio:.2f} |")
    return lines


def make_variants(tree: Path, paths: Sequence[str], variants: Sequence[Variant]) -> dict[str, list[str]]:
    """Each variant of each photograph, beside it in `tree`: path of the photograph → paths of the variants.

    A photograph that Pillow does not read is left out.
    """

    def make(number: int) -> list[str]:
        made = []
        try:
            image = photograph(tree / paths[number])
        except OSError:
            return []
        for i, variant in enumerate(variants):
            file = beside(tree, paths[number], f"variant {number:06} {i:02}{variant.suffix}")
            variant.make(image, file)
            made.append(relative(file, tree))
        return made

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        made = pool.map(make, range(len(paths)))
        return {path: files for path, files in zip(paths, made, strict=True) if files}


def recall(work: Path, untouched: Findings, pairs: int, random: np.random.Generator) -> list[str]:
    """Table: of how many photographs the copy that was made in each way is in one cluster with its original."""
    index, tree = untouched.index, work / "recall"
    link_all(index, tree)
    good = np.flatnonzero(untouched.facts.good)
    chosen = [untouched.path(row) for row in random.choice(good, min(pairs, len(good)), replace=False).tolist()]
    start = time.perf_counter()
    made = make_variants(tree, chosen, VARIANTS)
    print(f"recall: {len(made) * len(VARIANTS):,} files made in {time.perf_counter() - start:.0f} s", file=sys.stderr)
    everything = ims.scan(tree)
    row_of = {os.fsdecode(everything.relative_bytes(i)): i for i in range(len(everything))}
    originals = [row_of[untouched.path(row)] for row in range(len(index))]

    picture_of = {untouched.path(row): row for row in range(len(index))}  # files that are alike in DIR are one picture
    for rows in untouched.alike:
        picture_of.update((untouched.path(row), int(rows[0])) for row in rows.tolist())
    picture_of.update((file, picture_of[path]) for path, files in made.items() for file in files)

    lines, lost, mixed = ["| recall: each looked for on its own | found | of |", "|---|---|---|"], [], set()
    for i, variant in enumerate(VARIANTS):
        copies = [row_of[files[i]] for files in made.values()]
        findings = examine(everything.take(sorted(originals + copies)), decode=True)
        cluster_of = {path: cluster for cluster in clusters(findings, findings.alike) for path in cluster}
        missed = [path for path, files in made.items() if files[i] not in cluster_of.get(path, ())]
        mixed |= {cluster for cluster in cluster_of.values() if len({picture_of[path] for path in cluster}) > 1}
        lost += [f"{code(path)} as {variant.name}" for path in missed]
        lines.append(f"| {variant.name} | {len(made) - len(missed):,} | {len(made):,} |")
        print(f"recall: {variant.name}: {len(made) - len(missed)} of {len(made)}", file=sys.stderr)
    total = len(made) * len(VARIANTS)
    lines.append(f"| all | {total - len(lost):,} ({(total - len(lost)) / max(1, total):.2%}) | {total:,} |")
    lines += [
        "",
        f"- **Clusters that join different photographs**, beyond those in the folder as it is: {len(mixed)}.",
        *listed(map(names, mixed)),
    ]
    return [*lines, f"- **Not found**: {len(lost)} of {total:,}.", *listed(lost)]


def as_it_is(untouched: Findings) -> list[str]:
    """What was found in DIR itself, by name."""
    conflicting = set(clusters(untouched, (untouched.alike[number] for number in untouched.conflicts.tolist())))
    lines = []
    near = clusters(untouched, (untouched.alike[number] for number in untouched.near.tolist()))
    for name, found in (("exact copies", clusters(untouched, untouched.exact)), ("near duplicates", near)):
        lines.append(f"- **Found in the folder as it is, {name}**: {len(found)} {'cluster' if len(found) == 1 else 'clusters'}.")
        lines += listed(names(cluster) + (": conflicting labels" if cluster in conflicting else "") for cluster in found)
    too_plain = f"{untouched.plain} too plain to be compared"
    return [*lines, f"- **Bad files there**: {untouched.bad}; {too_plain}."]


def planted(work: Path, untouched: Findings, random: np.random.Generator) -> list[str]:
    """Table: what was planted, what was found of it, and what was found beyond it and beyond what was there before."""
    tree = work / "planted"
    link_all(untouched.index, tree)
    alone = untouched.facts.good.copy()
    alone[untouched.alike.rows] = False
    alone &= untouched.index.labels >= 0
    chosen = [untouched.path(row) for row in random.choice(np.flatnonzero(alone), EXACT + NEAR + CONFLICTING, replace=False).tolist()]

    exact = set()
    for number, path in enumerate(chosen[:EXACT]):
        copy = beside(tree, path, f"copy {number}{Path(path).suffix}")
        shutil.copyfile(tree / path, copy)
        exact.add(frozenset((path, relative(copy, tree))))
    near = set()
    for path, variant in zip(chosen[EXACT : EXACT + NEAR], PLANTED, strict=True):
        copy = beside(tree, path, f"again {len(near)}{variant.suffix}")
        variant.make(photograph(tree / path), copy)
        near.add(frozenset((path, relative(copy, tree))))
    conflicting = set()
    label_of = {untouched.path(row): int(label) for row, label in enumerate(untouched.index.labels.tolist())}
    for path in chosen[EXACT + NEAR :]:
        home = next(other for other, label in label_of.items() if label not in (-1, label_of[path]))
        copy = beside(tree, home, f"wrong {len(conflicting)}{Path(path).suffix}")
        shutil.copyfile(tree / path, copy)
        conflicting.add(frozenset((path, relative(copy, tree))))

    findings = examine(ims.scan(tree), decode=True)
    before = set(clusters(untouched, untouched.alike)) | set(clusters(untouched, untouched.exact))
    lines = ["| planted | found | of | false alarms beyond what is in the folder as it is |", "|---|---|---|---|"]
    for name, wanted, meant, found in (
        ("exact copies", exact, exact | conflicting, findings.exact),
        ("copies encoded again or resized", near, near, (findings.alike[number] for number in findings.near.tolist())),
        ("exact copies in another class", conflicting, conflicting, (findings.alike[number] for number in findings.conflicts.tolist())),
    ):
        there = set(clusters(findings, found))
        lines.append(f"| {name} | {len(wanted & there)} | {len(wanted)} | {len(there - meant - before)} |")
    return lines


# ---- the section


def code(path: str) -> str:
    """A path as Markdown shows it; what cannot be printed is escaped."""
    return f"`{repr(path)[1:-1]}`"


def names(cluster: Iterable[str]) -> str:
    """The paths of a cluster."""
    return ", ".join(map(code, sorted(cluster)))


def listed(items: Iterable[str]) -> list[str]:
    """Items below an item of a list, the first of them."""
    lines = [f"    - {item}" for item in items]
    return lines[:MOST_LISTED] + [f"    - and {len(lines) - MOST_LISTED:,} more"] * (len(lines) > MOST_LISTED)


def main() -> None:
    """Measure, print the section, and put it into the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path, metavar="DIR")
    parser.add_argument("--pairs", type=int, default=500, help="photographs that variants are made of")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, metavar="PAGE")
    options = parser.parse_args()
    if options.pairs < 1 or options.rounds < 1:
        parser.error("--pairs and --rounds must be 1 or more")
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="bench-check-") as folder:
        work = Path(folder)
        os.environ["IMGSTREAM_CACHE"] = str(work / "cache")  # the user's stays as it is, and nothing comes from it
        index = ims.scan(options.directory)
        untouched = examine(index, decode=True)
        labelled = untouched.facts.good & (index.labels >= 0)
        labelled[untouched.alike.rows] = False
        if labelled.sum() < EXACT + NEAR + CONFLICTING or len(np.unique(index.labels[index.labels >= 0])) < 2:
            parser.error(f"{options.directory} needs two class folders or more, and {EXACT + NEAR + CONFLICTING} photographs that differ")
        lines = [f"## imgstream check on {len(index):,} files of {options.directory.resolve().name}", ""]
        lines += [*speed(index, options.rounds), ""]
        lines += [*planted(work, untouched, np.random.default_rng(options.seed)), ""]
        lines += recall(work, untouched, options.pairs, np.random.default_rng(options.seed))
        lines += as_it_is(untouched)
    command = ["DIR" if word == str(options.directory) else word for word in sys.argv[1:]]
    size = untouched.sizes()
    lines += [
        f"- **Files**: {len(index):,}, median {size['width_pixels'][1]:.0f}×{size['height_pixels'][1]:.0f} and "
        f"{size['file_bytes'][1] / 1e3:.0f} KB; page cache warm.",
        f"- **Speed**: n = {options.rounds} rounds in turn, in one process, after one that does not count; batches of {BATCH}.",
        f"- **Recall**: photographs at random (seed {options.seed}), made by Pillow. Each of the {len(VARIANTS)} ways is a check of its "
        "own, of all files and the copies made that way; found is what is in one cluster with its original.",
        f"- **Machine**: {machine()}.",
        f"- **Command**: `python bench/check.py {shlex.join(command)}`, {time.perf_counter() - began:.0f} s in all.",
    ]
    section = "\n".join(lines) + "\n"
    put(options.out, section)


if __name__ == "__main__":
    main()
