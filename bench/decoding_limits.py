"""What it takes to decode one file: peak memory, seconds of a core, and what the two pipelines say of it. Linux.

    python bench/decoding_limits.py                    one drawn picture of every kind, 16 MP: bytes and nanoseconds a pixel
    python bench/decoding_limits.py FILE|FOLDER …     your files

Each file is read in a process of its own, after a small one has warmed the decoder up. Memory is the peak (VmHWM) above what it was
before. The figures in imgstream/formats/limits.py and header.py are from here.
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
from typing import Any

SIDE, SMALL = 4000, 40
_LONGEST = 120  # seconds that a file may take

_KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "rgb.png": ("RGB", {}),
    "grey.png": ("L", {}),
    "deep.png": ("I;16", {}),
    "one_bit.png": ("1", {}),
    "palette.gif": ("P", {}),
    "rgb.bmp": ("RGB", {}),
    "lossy.webp": ("RGB", {}),
    "lossless.webp": ("RGB", {"lossless": True}),
    "alpha.webp": ("RGBA", {}),
    "uncompressed.tif": ("RGB", {}),
    "lzw.tif": ("RGB", {"compression": "tiff_lzw"}),
    "one_strip.tif": ("RGB", {"compression": "tiff_adobe_deflate", "strip_size": 1 << 30}),
    "cmyk.tif": ("CMYK", {"compression": "tiff_lzw"}),
    "fax.tif": ("1", {"compression": "group4"}),
    "rgb.avif": ("RGB", {"speed": 10}),
    "full_chroma.avif": ("RGB", {"speed": 10, "subsampling": "4:4:4"}),
    "rgb.heic": ("RGB", {}),
    "baseline.jpg": ("RGB", {}),
    "progressive.jpg": ("RGB", {"progressive": True}),
    "progressive_full_chroma.jpg": ("RGB", {"progressive": True, "subsampling": 0}),
}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--read", nargs=2, metavar=("FILE", "WARM"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        print(json.dumps(read(*options.read)))
    elif options.files:
        of_files(
            [path for given in options.files for path in ([given] if given.is_file() else sorted(filter(Path.is_file, given.rglob("*"))))]
        )
    else:
        of_kinds()


def of_kinds() -> None:
    """A table of the drawn kinds."""
    print(f"{'kind':28}{'bytes':>12}{'bytes/pixel':>13}{'declared':>10}{'ns/pixel':>10}")
    with tempfile.TemporaryDirectory() as folder:
        for name, (mode, options) in _KINDS.items():
            large, small = Path(folder, name), Path(folder, f"small_{name}")
            for path, side in ((large, SIDE), (small, SMALL)):
                draw(path, side, mode, options)
            told = in_a_process(large, small, "python")
            pixels = SIDE * SIDE
            line = f"{told['memory'] / pixels:13.2f}{told['declared'] / pixels:10.2f}{told['seconds'] / pixels * 1e9:10.1f}"
            print(f"{name:28}{large.stat().st_size:12,}{line}   {told['says']}")


def draw(path: Path, side: int, mode: str, options: dict[str, Any]) -> None:
    """A picture that takes few bytes: what a decoder takes for it, it takes for its pixels."""
    import pillow_heif
    from PIL import Image

    pillow_heif.register_heif_opener()
    Image.new(mode, (side, side), 90 if mode in ("L", "P", "I;16") else None).save(path, **options)


def of_files(paths: list[Path]) -> None:
    """A table of given files, by both pipelines."""
    print(f"{'file':34}{'bytes':>10}   {'pipeline':8}{'seconds':>8}{'MB':>7}   says")
    with tempfile.TemporaryDirectory() as folder:
        for path in paths:
            for pipeline in ("python", "tf"):
                told = in_a_process(path, Path(folder), pipeline)
                size = f"{path.stat().st_size:10,}" if pipeline == "python" else " " * 10
                name = path.name[:32] if pipeline == "python" else ""
                print(f"{name:34}{size}   {pipeline:8}{told['seconds']:8.2f}{told['memory'] / 1e6:7.0f}   {told['says']}")


def in_a_process(path: Path, warm: Path, pipeline: str) -> dict[str, Any]:
    """What `read` says, or how its process ended."""
    command = [sys.executable, __file__, "--read", os.fspath(path), os.fspath(warm)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_LONGEST, env=os.environ | {"PIPELINE": pipeline})
    except subprocess.TimeoutExpired:
        return {"memory": 0, "declared": 0, "seconds": _LONGEST, "says": "STILL READING"}
    if done.returncode:
        return {"memory": 0, "declared": 0, "seconds": 0, "says": f"ENDED with {done.returncode}: {done.stderr.decode()[-200:]}"}
    return json.loads(done.stdout.splitlines()[-1])


def read(file: str, warm: str) -> dict[str, Any]:
    """One file by the pipeline that PIPELINE names. `warm`: a file to read before, or a folder to put a drawn one into."""
    import imgstream as ims
    from imgstream.formats.header import read_header
    from imgstream.formats.limits import decoder_memory

    if os.path.isdir(warm):
        warm = os.path.join(warm, "warm.jpg")
        draw(Path(warm), SMALL, "RGB", {})
    spec = ims.SampleSpec(size=(64, 64))

    def once(path: str) -> str:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, Path(path).name).symlink_to(Path(path).resolve())
            stream = ims.Stream(ims.scan(folder), spec, batch_size=1, workers=2, pipeline=os.environ["PIPELINE"])
            batches = list(stream.traced_batches())
        return next((f"{error.reason}: {error.detail}" for batch in batches for _, error in batch.bad), "read")

    once(warm)
    before, began = peak(), time.process_time()
    says = once(file)
    seconds, memory = time.process_time() - began, peak() - before
    data = Path(file).read_bytes()
    try:
        declared = decoder_memory(read_header(data), len(data))
    except ims.BadImage:
        declared = 0
    return {"memory": memory, "declared": declared, "seconds": seconds, "says": says}


def peak() -> int:
    """Bytes that this process has had in memory at the most."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


if __name__ == "__main__":
    main()
