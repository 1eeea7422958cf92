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
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path

from fuzzing.cases import BLOCK, Case, Cases
from fuzzing.children import COMMAND, Limits, Over
from fuzzing.hunt import Hunter, Record
from fuzzing.seeds import drawn, found

KINDS = ("crash", "hang", "memory", "time", "error", "rows", "order", "labels", "skip", "reason", "detail", "pixels", "values")
CHILDREN = 2
LIMITS = Limits()
_REPORTED = 10  # seconds between lines of progress


def main(arguments: Sequence[str] | None = None, command: Sequence[str] = COMMAND, limits: Limits = LIMITS) -> int:
    """The command line. `command`: what starts a child."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="?", type=int, default=10_000, help="how many (default: 10,000)")
    parser.add_argument("--seed", type=int, default=0, help="of all cases (default: 0)")
    parser.add_argument(
        "--seeds", type=Path, nargs="+", default=[], metavar="DIR", help="folders of files to damage, beside the drawn ones"
    )
    parser.add_argument("--out", type=Path, default=Path("build/fuzz"), help="where failures are kept (default: build/fuzz)")
    parser.add_argument("--case", type=int, metavar="N", help="make this one again, write it to the folder, and try it alone")
    options = parser.parse_args(arguments)
    cases, record = Cases([*drawn(), *found(options.seeds)], options.seed), Record(options.out)
    if options.case is None:
        numbers = range(options.cases)
    else:
        numbers = range(options.case, options.case + 1)
        _show(cases[options.case], options.out)
    began = time.monotonic()
    finished = hunt(cases, numbers, record, _progress(len(numbers)), command=command, limits=limits)
    print(summary(record, time.monotonic() - began, options.seed))
    return 130 if not finished else 1 if record.failures else 0


def _show(case: Case, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / Path(case.name).name
    path.write_bytes(case.data)
    print(f"{path}: {len(case.data):,} bytes, {case.history}")


def _progress(total: int) -> Callable[[Record], None]:
    """Prints a line every few seconds, where it does not get in the way of the result."""
    began = time.monotonic()
    due = began + _REPORTED

    def tell(record: Record) -> None:
        nonlocal due
        now = time.monotonic()
        if now > due:
            due = now + _REPORTED
            rate = record.cases / (now - began)
            print(f"{record.cases:,} of {total:,} cases, {rate:.0f}/s, {len(record.failures)} failures", file=sys.stderr)

    return tell


def hunt(
    cases: Cases,
    numbers: range,
    record: Record,
    progress: Callable[[Record], None] = lambda record: None,
    *,
    children: int = CHILDREN,
    command: Sequence[str] = COMMAND,
    limits: Limits = LIMITS,
) -> bool:
    """Try cases in some children at once; False when Ctrl-C ended it early. `progress` is called twice a second."""
    blocks = _blocks(numbers)
    stop = threading.Event()
    with tempfile.TemporaryDirectory(prefix="imgstream-fuzz-") as temporary, ThreadPoolExecutor(children) as threads:
        hunters = [Hunter(cases, record, Path(temporary, str(i)), limits, command) for i in range(children)]

        def work(hunter: Hunter) -> None:
            try:
                while not stop.is_set() and (block := next(blocks, None)) is not None:
                    hunter.block(block[0], [cases[number] for number in block[1]])
            except Over:
                pass
            finally:
                hunter.close()

        working = [threads.submit(work, hunter) for hunter in hunters]
        try:
            while wait(working, 0.5, FIRST_EXCEPTION).not_done:
                progress(record)
                if any(one.done() and one.exception() for one in working):
                    break
        except KeyboardInterrupt:
            stop.set()
            for hunter in hunters:
                hunter.end()
            return False
        stop.set()
        for one in working:
            one.result()
    return True


def _blocks(numbers: range) -> Iterator[tuple[int, range]]:
    """Each block's number, and those of its cases that are wanted. The iterator is for several threads at once."""
    wanted = range(numbers.start // BLOCK, -(-numbers.stop // BLOCK))
    return iter([(block, range(max(numbers.start, block * BLOCK), min(numbers.stop, (block + 1) * BLOCK))) for block in wanted])


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
