"""Damages image files, reads them by both pipelines in child processes, and says where these crash, hang, swell, crawl or differ.

    python tools/fuzz.py [CASES] [--seed N] [--seeds DIR …] [--out FOLDER] [--case N]        (Linux; make fuzz)

A case is a pure function of the seed, its number and the files that are damaged: --case N makes it again, alone. What fails is kept in the
folder, with failures.tsv: a line on each. Exit code 0: nothing failed; 1: something did; 130: Ctrl-C, with what was found until then.
"""

from __future__ import annotations

import argparse
import collections
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from fuzzing.cases import BLOCK, Cases
from fuzzing.hunt import Hunter, Record
from fuzzing.seeds import drawn, found

KINDS = ("crash", "hang", "memory", "time", "error", "rows", "order", "labels", "skip", "reason", "detail", "pixels", "values")
CHILDREN = 2
_REPORTED = 10  # seconds between lines of progress


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="?", type=int, default=10_000, help="how many (default: 10,000)")
    parser.add_argument("--seed", type=int, default=0, help="of all cases (default: 0)")
    parser.add_argument(
        "--seeds", type=Path, nargs="+", default=[], metavar="DIR", help="folders of files to damage, beside the drawn ones"
    )
    parser.add_argument("--out", type=Path, default=Path("build/fuzz"), help="where failures are kept (default: build/fuzz)")
    parser.add_argument("--case", type=int, help="make this one again, write it to the folder, and try it alone")
    options = parser.parse_args()
    cases = Cases([*drawn(), *found(options.seeds)], options.seed)
    record = Record(options.out)
    if options.case is not None:
        return again(cases, options.case, record)
    began = time.monotonic()
    finished = hunt(cases, range(options.cases), record, progress=True)
    print(summary(record, time.monotonic() - began, options.seed))
    return 130 if not finished else 1 if record.failures else 0


def hunt(cases: Cases, numbers: range, record: Record, children: int = CHILDREN, progress: bool = False) -> bool:
    """Try cases, which begin with a block, in some children at once; False when Ctrl-C ended it early."""
    blocks = _blocks(numbers)
    lock, errors, stop = threading.Lock(), [], threading.Event()

    def work(folder: Path) -> None:
        hunter = Hunter(cases, record, folder)
        hunters.append(hunter)
        try:
            while not stop.is_set():
                with lock:
                    block = next(blocks, None)
                if block is None:
                    return
                hunter.block(block[0], [cases[number] for number in block[1]])
        except Exception as error:
            if not stop.is_set():
                errors.append(error)
                stop.set()
        finally:
            hunter.close()

    hunters: list[Hunter] = []
    began = due = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="imgstream-fuzz-") as temporary:
        threads = [threading.Thread(target=work, args=(Path(temporary, str(i)),)) for i in range(children)]
        for thread in threads:
            thread.start()
        try:
            while any(thread.is_alive() for thread in threads):
                threads[0].join(1)
                if not threads[0].is_alive():
                    time.sleep(0.2)
                if progress and time.monotonic() > due:
                    due = time.monotonic() + _REPORTED
                    rate = record.cases / (time.monotonic() - began)
                    print(f"{record.cases:,} of {len(numbers):,} cases, {rate:.0f}/s, {len(record.failures)} failures", file=sys.stderr)
        except KeyboardInterrupt:
            stop.set()
            for hunter in hunters:
                hunter.close()
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]
    return not stop.is_set()


def _blocks(numbers: range) -> Iterator[tuple[int, range]]:
    for first in range(numbers.start, numbers.stop, BLOCK):
        yield first // BLOCK, range(first, min(first + BLOCK, numbers.stop))


def again(cases: Cases, number: int, record: Record) -> int:
    """One case, alone, in its place."""
    case = cases[number]
    print(f"case {number}: {case.history}; {len(case.data):,} bytes")
    with tempfile.TemporaryDirectory(prefix="imgstream-fuzz-") as temporary:
        hunter = Hunter(cases, record, Path(temporary))
        try:
            failures = hunter.block(number // BLOCK, [case])
        finally:
            hunter.close()
    record.folder.mkdir(parents=True, exist_ok=True)
    path = record.folder / Path(case.name).name
    path.write_bytes(case.data)
    print(f"written to {path}")
    for failure in failures:
        print(f"{failure.finding.kind}: {failure.finding.text}{f'; smallest: {failure.smallest}' if failure.smallest else ''}")
    print(f"{record.slowest:.2f} s of a core, {record.largest:.0f} MB; {len(failures) or 'no'} failures")
    return 1 if failures else 0


def summary(record: Record, seconds: float, seed: int) -> str:
    """What was found, as lines: how many of each kind, and one example of each sort."""
    by_kind: collections.Counter[str] = collections.Counter(failure.finding.kind for failure in record.failures)
    rate = record.cases / max(seconds, 1e-9)
    lines = [f"{record.cases:,} cases in {seconds:,.0f} s ({rate:,.0f}/s), seed {seed}"]
    lines += [f"  {kind:<8}{by_kind[kind]:>8,}" for kind in KINDS]
    sorts: dict[tuple[str, str], list[str]] = collections.defaultdict(list)
    for failure in record.failures:
        numbers = failure.cases[0].number if len(failure.cases) == 1 else f"{len(failure.cases)} together"
        sorts[failure.finding.kind, failure.finding.sign].append(f"case {numbers}: {failure.finding.text}")
    for (kind, sign), examples in sorted(sorts.items()):
        lines.append(f"{kind} {sign}: {len(examples)}, as {examples[0]}"[:400])
    if record.failures:
        lines.append(f"Kept in {record.folder}: failures.tsv has a line on each. One again: tools/fuzz.py --seed {seed} --case N")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
