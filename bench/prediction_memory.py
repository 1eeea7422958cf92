"""Does a long prediction's memory grow with time? What `imgstream predict` takes of its own, minute by minute. Linux only.

    python bench/prediction_memory.py RUN DIR [--minutes 30] [--rows 200000] [--pipeline python] [--out PAGE]

RUN is a run folder, DIR a folder of images, which are linked under other names until there are ROWS of them: many more than are predicted
in the time. RssAnon of /proc/PID/status, so no pages of files, is read twice a second; a line is a minute's mean and its most. It is
growth that counts from the third minute on: before that, graphs are compiled and buffers filled.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from page import machine, put


def link(source: Path, target: Path, rows: int) -> None:
    """`rows` symbolic links to the images of `source` in turn, a thousand a folder."""
    files = sorted(path.resolve() for path in source.rglob("*") if path.is_file())
    for row, file in zip(range(rows), itertools.cycle(files)):  # the one without an end
        folder = target / f"{row // 1000:05}"
        folder.mkdir(exist_ok=True)
        os.symlink(file, folder / f"{row:08}{file.suffix}")


def anonymous(process: int) -> int | None:
    """RssAnon of a process in bytes; None when it has ended."""
    try:
        match = re.search(r"RssAnon:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    except OSError:
        return None
    return None if match is None else 1024 * int(match[1])


def watch(command: list[str], minutes: float) -> list[list[int]]:
    """Run `command` for so long, and end it; what it took in each minute, in bytes."""
    samples: list[list[int]] = []
    began = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while (passed := time.monotonic() - began) < 60 * minutes and process.poll() is None:
            taken = anonymous(process.pid)
            if taken is not None:
                if len(samples) <= passed // 60:
                    samples.append([])
                    if len(samples) > 1:
                        print(_line(len(samples) - 1, samples[-2]), file=sys.stderr, flush=True)
                samples[-1].append(taken)
            time.sleep(0.5)
        if process.poll() is not None:
            sys.exit(f"it ended after {passed:.0f} s, with {process.returncode}: more --rows would keep it busy")
        process.terminate()  # not SIGINT: what a shell starts in the background ignores that
    return samples


def _line(minute: int, taken: list[int]) -> str:
    return f"| {minute} | {statistics.mean(taken) / 1e6:,.1f} | {max(taken) / 1e6:,.1f} |"


def main() -> None:
    """Link, predict, watch and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("directory", type=Path, metavar="DIR")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--pipeline", choices=("python", "tf"), default="python")
    parser.add_argument("--out", type=Path, metavar="PAGE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        links = Path(temporary) / "links"
        links.mkdir()
        link(options.directory, links, options.rows)
        command = [sys.executable, "-m", "imgstream", "predict", options.run, str(links), "-o", f"{temporary}/out.csv"]
        samples = watch([*command, "--pipeline", options.pipeline], options.minutes)
    means = [statistics.mean(minute) for minute in samples]
    lines = [
        f"## The memory of {options.minutes:g} minutes of prediction",
        "",
        "| minute | anonymous memory, MB | its most |",
        "|---|---|---|",
    ]
    lines += [_line(number, minute) for number, minute in enumerate(samples, 1)]
    if len(means) > 2:
        lines += ["", f"- **From the second minute to the last**: {(means[-1] - means[1]) / 1e6:+,.1f} MB."]
    words = ["DIR" if word == str(options.directory) else "RUN" if word == options.run else word for word in sys.argv[1:]]
    lines += [f"- **Machine**: {machine()}.", f"- **Command**: `python bench/prediction_memory.py {shlex.join(words)}`."]
    put(options.out, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
