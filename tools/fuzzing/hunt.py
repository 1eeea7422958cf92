"""Blocks of cases → the files that fail, each found alone, kept, and the first of each sort made as small as can be."""

from __future__ import annotations

import collections
import csv
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from fuzzing.cases import BLOCK, CLASSES, Case, Cases, setting_of
from fuzzing.children import COMMAND, Child, Limits, Trial
from fuzzing.messages import Finding, Setting
from fuzzing.minimise import fewest, minimised
from fuzzing.seeds import SUFFIXES, drawn

_PARTS = 8
"""Into how many a pass is split in which something is wrong with nobody knows which file."""
_WHOLE = frozenset({"crash", "hang", "memory", "time", "error"})
_MINIMISED = 2
"""Of each sort of failure; the others are kept as they are."""
_WARM_UP = Setting((48, 48), "crop", 3, None, 32, 0)


class Failure(NamedTuple):
    """A case that fails, or several that fail only together."""

    cases: tuple[Case, ...]
    finding: Finding
    seconds: float
    megabytes: float
    file: str
    """Where the first of them is kept, below the folder of all; the others lie beside it."""
    smallest: str
    """The same, minimised; "" where that was not tried, or found nothing smaller."""


class Record:
    """What has been found so far, on disk as it is found. For any number of threads."""

    def __init__(self, folder: Path, minimising: float = 15.0) -> None:
        """`minimising`: seconds for a failure; four times as many where each trial may take a child along; 0: none."""
        self.folder, self.minimising = folder, minimising
        self.failures: list[Failure] = []
        self.cases = 0
        self._sorts: collections.Counter[tuple[str, str]] = collections.Counter()
        self._lock = threading.Lock()

    def worth_minimising(self, finding: Finding) -> bool:
        """Whether few of its sort have been."""
        with self._lock:
            self._sorts[finding.kind, finding.sign] += 1
            return self.minimising > 0 and self._sorts[finding.kind, finding.sign] <= _MINIMISED

    def add(self, failure: Failure) -> None:
        """Write a failure down."""
        with self._lock:
            self.folder.mkdir(parents=True, exist_ok=True)
            table = self.folder / "failures.tsv"
            is_new = not table.exists()
            with open(table, "a", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, delimiter="\t")
                if is_new:
                    writer.writerow(("case", "kind", "sort", "what", "seconds", "megabytes", "file", "smallest", "history"))
                numbers = " ".join(str(case.number) for case in failure.cases)
                finding, cost = failure.finding, (f"{failure.seconds:.1f}", f"{failure.megabytes:.0f}")
                history = failure.cases[0].history if len(failure.cases) == 1 else f"{len(failure.cases)} cases together"
                row = (numbers, finding.kind, finding.sign, finding.text, *cost, failure.file, failure.smallest, history)
                writer.writerow([" ".join(str(part).split()) for part in row])
            self.failures.append(failure)

    def done(self, cases: int) -> None:
        """So many more cases are through."""
        with self._lock:
            self.cases += cases


class Hunter:
    """Tries blocks with a child of its own. For one thread."""

    def __init__(self, cases: Cases, record: Record, folder: Path, limits: Limits, command: Sequence[str] = COMMAND) -> None:
        """`folder`: for its files; `command`: what starts a child."""
        self._cases, self._record = cases, record
        self._photos, self._trials = folder / "photos", folder / "trials"
        self._child = Child(folder, limits, command, _whole_files(folder / "whole") if command is COMMAND else None)
        self._setting = _WARM_UP
        self._by_name: dict[str, Case] = {}

    def end(self) -> None:
        """End the child, whatever it does; `block` raises Over. For any thread."""
        self._child.end()

    def close(self) -> None:
        """End the child."""
        self._child.close()

    def block(self, number: int, cases: Sequence[Case]) -> list[Failure]:
        """Try `cases` of a block; what fails is recorded, and returned."""
        self._setting = setting_of(self._cases.seed, number)
        shutil.rmtree(self._photos, ignore_errors=True)
        self._by_name = {case.name: case for case in cases}
        for name, data in _in_place(number, cases):
            path = self._photos / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        failures = [self._kept(*found) for found in self._search(sorted(self._by_name))]
        self._record.done(len(cases))
        return failures

    def _search(self, names: list[str]) -> list[tuple[Finding, list[str], Trial]]:
        """What is wrong with some files of the folder, and with which."""
        trial = self._child.attempt(self._photos, names, self._setting)
        whole = trial.whole
        if whole is None:
            return [(finding, [finding.name], trial) for finding in trial.findings]
        if len(names) == 1:
            return [*self._confirmed(whole, names, trial), *((finding, names, trial) for finding in trial.findings)]
        size = -(-len(names) // _PARTS)
        found = [one for first in range(0, len(names), size) for one in self._search(names[first : first + size])]
        if any(not finding.name for finding, _, _ in found) or whole.kind == "time":  # a sum of times is no failure
            return found
        return [*found, *((why, self._fewest(why, names), again) for why, _, again in self._confirmed(whole, names, trial))]

    def _fewest(self, whole: Finding, names: list[str]) -> list[str]:
        """Files that fail together, and not by halves."""

        def first_failing(candidates: Sequence[tuple[str, ...]]) -> int | None:
            for i, some in enumerate(candidates):
                trial = self._child.attempt(self._photos, some, self._setting)
                if trial.whole is not None and _alike(whole, trial.whole):
                    return i
            return None

        return list(fewest(tuple(names), first_failing, 4 * self._record.minimising))

    def _confirmed(self, whole: Finding, names: list[str], trial: Trial) -> list[tuple[Finding, list[str], Trial]]:
        """The same in a fresh process, which no earlier file has touched: what limits of memory and time are about. What ends a process
        is a failure even when it does not happen again.
        """
        self._child.close()
        again = self._child.attempt(self._photos, names, self._setting)
        if again.whole is not None:
            return [(again.whole, names, again)]
        if whole.kind in ("memory", "time"):
            return []
        return [(whole._replace(text=whole.text + " (but not in a fresh process)"), names, trial)]

    def _kept(self, finding: Finding, names: list[str], trial: Trial) -> Failure:
        cases = tuple(self._by_name[name] for name in names)
        self._record.folder.mkdir(parents=True, exist_ok=True)
        for case in cases:
            (self._record.folder / Path(case.name).name).write_bytes(case.data)
        file, smallest = Path(cases[0].name).name, ""
        if len(cases) == 1 and self._record.worth_minimising(finding):
            smaller = self._minimised(finding, cases[0])
            if len(smaller) < len(cases[0].data):
                smallest = f"{cases[0].number:09}.smallest{Path(file).suffix}"
                (self._record.folder / smallest).write_bytes(smaller)
        failure = Failure(cases, finding, trial.seconds, trial.megabytes, file, smallest)
        self._record.add(failure)
        return failure

    def _minimised(self, finding: Finding, case: Case) -> bytes:
        """The smallest that fails alike in the place of the case; the case itself when it does not fail alone."""
        place = self._photos / case.name

        def in_place(data: bytes) -> bool:
            place.write_bytes(data)
            trial = self._child.attempt(self._photos, [case.name], self._setting)
            return any(_alike(finding, one) for one in [*trial.findings, *filter(None, [trial.whole])])

        def one_by_one(candidates: Sequence[bytes]) -> int | None:
            return next((i for i, data in enumerate(candidates) if in_place(data)), None)

        def all_at_once(candidates: Sequence[bytes]) -> int | None:
            shutil.rmtree(self._trials, ignore_errors=True)
            (self._trials / "a").mkdir(parents=True)
            names = [f"a/{i:03}{Path(case.name).suffix}" for i in range(len(candidates))]
            for name, data in zip(names, candidates, strict=True):
                (self._trials / name).write_bytes(data)
            trial = self._child.attempt(self._trials, names, self._setting)
            failing = {one.name for one in trial.findings if _alike(finding, one)}
            return next((i for i, name in enumerate(names) if name in failing), None)

        is_whole = finding.kind in _WHOLE
        try:
            seconds = self._record.minimising
            if is_whole:
                smaller = minimised(case.data, one_by_one, 4 * seconds)
            else:
                smaller = minimised(case.data, all_at_once, seconds)
            return smaller if in_place(smaller) else case.data
        finally:
            place.write_bytes(case.data)


def _alike(one: Finding, other: Finding) -> bool:
    return (one.kind, one.sign) == (other.kind, other.sign)


def _in_place(number: int, cases: Sequence[Case]) -> list[tuple[str, bytes]]:
    """Files of a block, and empty ones for its other cases: a file's place decides what an augmentation draws for it."""
    wanted = {case.number: (case.name, case.data) for case in cases}
    first = number * BLOCK
    return [wanted.get(i, (f"{CLASSES[i % len(CLASSES)]}/{i:09}.jpg", b"")) for i in range(first, first + BLOCK)]


def _whole_files(folder: Path) -> tuple[Path, list[str], Setting]:
    """A drawn file of each kind and each way to store it."""
    names = []
    for i, seed in enumerate(drawn()):
        if seed.name.startswith("big "):  # BigTIFFs, that not every Pillow reads
            continue
        names.append(f"a/{i:02}{SUFFIXES[seed.kind]}")
        path = folder / names[-1]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(seed.read())
    return folder, names, _WARM_UP
