"""How fast batches leave the loader, beside other loaders on the same files, in turn, on this machine. Prints a table in Markdown.

    python bench/loaders.py DIR [--size 224] [--rounds 7] [--workers 2] [--augment none] [--cold]
                                [--only NAME,NAME] [--out FILE] [--title TEXT]

DIR holds one folder of JPEGs a class. Each loader runs in a process of its own (loading/contestants.py; peers.py in .venv-peers): read,
decode, resize (bilinear, the whole image) to SIZE×SIZE, scale to [0, 1] float32, batches of 32, shuffled; the best of three passes.
A B C A B C …, medians and the median of the ratios round by round. The files are read once before, so the page cache is warm; those that
are bad are left out for all. A loader that is not installed is left out, with a line that says why.
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
from pathlib import Path
from typing import Any

from loading.passes import BATCH, PASSES
from page import machine, with_section

HERE = Path(__file__).resolve().parent
PEERS_PYTHON = HERE.parent / ".venv-peers" / "bin" / "python"

OURS = ("imgstream", "imgstream to_tf")
TENSORFLOW = ("tf.data", "Keras")
PEERS = ("grain", "torch", "DALI")
BOUNDS = ("bare work", "decoder alone")
COLD = "reading alone"
CACHE = ("imgstream filling", "imgstream cached", "bare cached work")
LOADERS = (*OURS, *TENSORFLOW, *PEERS, *BOUNDS, COLD, *CACHE)

THEIR_AUGMENTATION = (
    "; in tf.data sample_distorted_bounding_box, decode_and_crop_jpeg and tf.image.random_*; in Keras layers on whole batches,"
    " where RandomZoom into the middle stands for the random resized crop that Keras lacks"
)


def main() -> None:
    """Read the arguments, compare, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--augment", default="none", help="what imgstream is given; only TensorFlow's loaders are compared, up to standard")
    parser.add_argument("--cold", action="store_true", help="let the files leave the page cache before each pass (Linux)")
    parser.add_argument("--only", help="some of: " + ",".join(LOADERS) + "; default: those that suit --augment")
    parser.add_argument("--out", type=Path, help="a page for the table: its section of that title is replaced")
    parser.add_argument("--title", default="Loaders compared")
    options = parser.parse_args()
    suited = (*OURS, *TENSORFLOW, *PEERS, *BOUNDS) if options.augment == "none" else (*OURS, *TENSORFLOW, *CACHE)
    suited += (COLD,) if options.cold else ()
    names = options.only.split(",") if options.only else list(suited)
    for name in names:
        if name not in LOADERS:
            parser.error(f"--only: no loader is called {name!r}; there are {', '.join(LOADERS)}")
    left_out = {name: reason for name in names if (reason := why_not(name, options.augment))}
    names = [name for name in names if name not in left_out]
    with tempfile.TemporaryDirectory() as folder:
        images = link_jpegs(options.directory, Path(folder))
        if not images:
            parser.error(
                f"{options.directory} holds no folder with a JPEG that can be read; give a folder with one folder of JPEGs a class"
            )
        results = measure(names, folder, options, left_out)
    text = "\n".join([f"## {options.title}", "", *table(results), "", *conditions(options, images, results, left_out)]) + "\n"
    if options.out:
        before = options.out.read_text("utf-8") if options.out.exists() else "# Measured\n"
        options.out.write_text(with_section(before, text), "utf-8")
        print(f"The table is in {options.out}", file=sys.stderr)
    else:
        print(text)


def why_not(name: str, augment: str) -> str | None:
    """Why a loader cannot take part, or None."""
    if augment != "none" and name in (*PEERS, *BOUNDS):
        return "compared without augmentation only"
    if augment not in ("none", "light", "standard") and name in TENSORFLOW:
        return f"nothing equivalent to --augment {augment} is written for it"
    if name in PEERS and not PEERS_PYTHON.exists():
        return "there is no .venv-peers; `make bench` makes it"
    return None


def link_jpegs(source: Path, target: Path) -> int:
    """Links in `target` to the JPEGs of `source` that every loader can read; returns how many. This also warms the page cache."""
    import simplejpeg

    import imgstream as ims

    index = ims.scan(source)
    jpegs = [i for i in range(len(index)) if index.path(i).lower().endswith((".jpg", ".jpeg")) and index.labels[i] >= 0]
    stream = ims.Stream(index.take(jpegs), ims.SampleSpec(size=(32, 32)))
    for _ in stream.batches():
        pass
    bad = {path for path, _ in stream.skipped}
    count = 0
    for i in jpegs:
        if index.path(i) in bad:
            continue
        file = Path(index.path(i)).resolve()
        try:
            simplejpeg.decode_jpeg(file.read_bytes(), "RGB")
        except ValueError:  # CMYK and what libjpeg warns of: imgstream reads it, not every loader does
            continue
        folder = target / index.class_names[index.labels[i]]
        folder.mkdir(exist_ok=True)
        (folder / f"{i:07}.jpg").symlink_to(file)
        count += 1
    return count


def measure(names: list[str], folder: str, options: argparse.Namespace, left_out: dict[str, str]) -> dict[str, list[dict[str, Any]]]:
    """What each loader reported, round by round. A peer that fails goes to `left_out`; any other failure ends the program."""
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    arguments = [folder, str(options.size), str(options.workers), folder if options.cold else ""]
    for number in range(1, options.rounds + 1):
        for name in list(results):
            if name in PEERS:
                command = [str(PEERS_PYTHON), str(HERE / "loading" / "peers.py"), name, *arguments]
            else:
                command = [sys.executable, str(HERE / "loading" / "contestants.py"), name, *arguments, options.augment]
            child = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"})
            if child.returncode == 0:
                results[name].append(json.loads(child.stdout.splitlines()[-1]))
                print(f"round {number} of {options.rounds}: {name}: {results[name][-1]['rate']:,.0f} images/s", file=sys.stderr)
                continue
            if name not in PEERS:
                raise SystemExit(f"{name} failed:\n{child.stderr}")
            del results[name]
            left_out[name] = "failed: " + (child.stderr.strip().splitlines() or [f"exit status {child.returncode}"])[-1]
            print(f"round {number} of {options.rounds}: {name}: left out, {left_out[name]}", file=sys.stderr)
    return results


def table(results: dict[str, list[dict[str, Any]]]) -> list[str]:
    """The lines of the table."""
    rates = {name: [result["rate"] for result in reported] for name, reported in results.items()}
    ours = [name for name in OURS if name in rates]
    lines = ["| " + " | ".join(["loader", "images/s, median", "min – max", *(f"{name} / it, median of rounds" for name in ours)]) + " |"]
    lines.append("|---" * (3 + len(ours)) + "|")
    for name, measured in rates.items():
        ratios = (statistics.median(a / b for a, b in zip(rates[our], measured, strict=True)) for our in ours)
        shown = [
            f"{statistics.median(measured):,.0f}",
            f"{min(measured):,.0f} – {max(measured):,.0f}",
            *(f"{ratio:.2f}" for ratio in ratios),
        ]
        lines.append(f"| {name} | " + " | ".join(shown) + " |")
    return lines


def conditions(options: argparse.Namespace, images: int, results: dict[str, list[dict[str, Any]]], left_out: dict[str, str]) -> list[str]:
    """What was measured, how and on what: the lines under the table."""
    size = f"{options.size}×{options.size}"
    fit = "bilinear, the whole image" if options.augment == "none" else f"--augment {options.augment}{THEIR_AUGMENTATION}"
    names = {reason: ", ".join(name for name in left_out if left_out[name] == reason) for reason in left_out.values()}
    lines = [f"- **Left out**: {those}: {reason}." for reason, those in names.items()]
    lines += [
        f"- **Work**: {images:,} JPEGs to {size} ({fit}), scaled to [0, 1] float32, batches of {BATCH}, shuffled;"
        f" {'the files come from the disk in every pass' if options.cold else 'page cache warm'}.",
        f"- **Rounds**: n = {options.rounds}, all loaders in turn, each in a process of its own; the best of {PASSES} passes counts."
        " A ratio is the median of the rounds' ratios.",
        f"- **Machine**: {machine()}.",
        f"- **Command**: `python bench/loaders.py {shlex.join(sys.argv[1:])}`, which gives {options.workers} threads or processes.",
    ]
    for name, reported in results.items():
        versions = ", ".join(f"{package} {version}" for package, version in reported[0]["versions"].items())
        lines.append(f"- **{name}**: {reported[0]['how']} ({versions})")
    return lines


if __name__ == "__main__":
    main()
