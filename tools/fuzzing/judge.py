"""Both pipelines over a folder of files, measured and compared row by row. Contracts 2 to 5 of a pass, as far as one can see them."""

from __future__ import annotations

import dataclasses
import resource
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

import imgstream as ims
from fuzzing.cases import Setting
from imgstream.stream import Batch

_TOLERANCE = 1e-3  # of a level: float32 arithmetic in other orders
_SAID = 300


class Finding(NamedTuple):
    """What is wrong with a file, or with a whole pass."""

    name: str
    """The file below its folder; "" for the pass."""
    kind: str
    """One of: skip reason detail rows order labels values pixels error; and, as the parent sees it, crash hang memory time."""
    sign: str
    """What two findings of one kind and one cause share."""
    text: str


class Cost(NamedTuple):
    """Of one pipeline's pass."""

    seconds: float
    """Of one core."""
    megabytes: float
    """How far the process's memory rose above what it was before."""


class Verdict(NamedTuple):
    """What came of a folder."""

    findings: list[Finding]
    python: Cost
    tf: Cost


@dataclasses.dataclass
class Reading:
    """What one pipeline made of a folder."""

    images: dict[int, np.ndarray]
    """float32 (H, W, C) by position."""
    labels: dict[int, int]
    bad: dict[int, tuple[str, str]]
    """(reason, detail) by position."""
    batches: list[list[int]]
    """Positions in each batch, as they came."""
    skipped: list[tuple[str, str]]

    @property
    def rows(self) -> list[int]:
        """Every row that was given or skipped."""
        return [*(position for batch in self.batches for position in batch), *self.bad]


def judge(folder: Path, names: Sequence[str], setting: Setting, tell: Callable[[str], None] = lambda at: None) -> Verdict:
    """Read files of `folder` by both pipelines. `tell` is called with what was reached, after each batch.

    An error that ends a pass is a finding of kind "error", of no file; rows and pixels are then not compared.
    """
    index = ims.scan(folder)
    where = {Path(index.path(i)).relative_to(folder).as_posix(): i for i in range(len(index))}
    wanted = {where[name]: name for name in names}
    spec = ims.SampleSpec(size=setting.size, fit=setting.fit, channels=setting.channels)
    part = index.take(sorted(wanted))
    stream = ims.Stream(part, spec, augment=setting.augment, batch_size=setting.batch_size, seed=setting.seed, workers=2)
    at = [wanted[position] for position in sorted(wanted)]
    python, python_cost = _measured(stream.replace(pipeline="python"), tell)
    tf, tf_cost = _measured(stream.replace(pipeline="tf"), tell)
    findings = [result for result in (python, tf) if isinstance(result, Finding)]
    if isinstance(python, Reading) and isinstance(tf, Reading):
        most = 1.0 if setting.augment is None else 3.0
        findings = compared(python, tf, at, [int(label) for label in part.labels], most)
    return Verdict(findings, python_cost, tf_cost)


def _measured(stream: ims.Stream, tell: Callable[[str], None]) -> tuple[Reading | Finding, Cost]:
    """What a stream gives, or the error that ended it, and what that cost."""
    pipeline = stream.pipeline
    tell(pipeline)
    _forget_peak()
    before, began = memory("VmRSS"), time.process_time()
    reading = Reading({}, {}, {}, [], [])
    result: Reading | Finding = reading
    try:
        for batch in stream.traced_batches():
            _add(reading, batch)
            tell(f"{pipeline} {batch.number}")
        reading.skipped = sorted(stream.skipped)
    except Exception as error:
        text = " ".join(str(error).split())[:_SAID]
        result = Finding("", "error", f"{pipeline} {type(error).__name__}", f"{pipeline}: {type(error).__name__}: {text}")
    return result, Cost(time.process_time() - began, max(0.0, memory("VmHWM") - before))


def _add(reading: Reading, batch: Batch) -> None:
    positions = batch.positions.tolist()
    reading.batches.append(positions)
    for position, image, label in zip(positions, batch.images, batch.labels.tolist(), strict=True):
        reading.images[position], reading.labels[position] = image, label
    for position, error in batch.bad:
        reading.bad[position] = error.reason, error.detail


def compared(python: Reading, tf: Reading, names: Sequence[str], labels: Sequence[int], most: float) -> list[Finding]:
    """What is wrong with two readings of the files `names`, which have `labels`. `most`: levels that a value may differ by."""
    found: list[Finding] = []
    for position, name in enumerate(names):
        for pipeline, reading in (("python", python), ("tf", tf)):
            count = reading.rows.count(position) if len(names) < 2 else 1
            if (position in reading.images) == (position in reading.bad) or count != 1:
                found.append(Finding(name, "rows", pipeline, f"{pipeline}: it is given or skipped not once, but twice or never"))
        found += _bad(name, python.bad.get(position), tf.bad.get(position))
        if position in python.images and position in tf.images:
            found += _good(name, python, tf, position, labels[position], most)
    if not found and python.batches != tf.batches:
        first = next((a + b for a, b in zip(python.batches, tf.batches, strict=False) if a != b), [0])
        found.append(Finding(names[first[0]] if first else "", "order", "", "the same rows in other batches, or in another order"))
    if not found and python.skipped != tf.skipped:
        found.append(Finding("", "rows", "skipped", f"Stream.skipped: {python.skipped[:3]} and {tf.skipped[:3]}"))
    return found


def _bad(name: str, python: tuple[str, str] | None, tf: tuple[str, str] | None) -> list[Finding]:
    if python == tf:
        return []
    text = " | ".join("read" if bad is None else ": ".join(bad)[:_SAID] for bad in (python, tf))
    reasons = ["read" if bad is None else bad[0] for bad in (python, tf)]
    kind = "skip" if None in (python, tf) else "reason" if reasons[0] != reasons[1] else "detail"
    return [Finding(name, kind, " | ".join(reasons), text)]


def _good(name: str, python: Reading, tf: Reading, position: int, label: int, most: float) -> list[Finding]:
    found = []
    if not python.labels[position] == tf.labels[position] == label:
        found.append(Finding(name, "labels", "", f"{python.labels[position]} | {tf.labels[position]}, and should be {label}"))
    a, b = python.images[position], tf.images[position]
    for pipeline, image in (("python", a), ("tf", b)):
        if not np.isfinite(image).all() or image.min() < 0 or image.max() > 1:
            found.append(Finding(name, "values", pipeline, f"{pipeline}: values from {image.min()} to {image.max()}"))
    difference = float(np.abs(a - b).max()) * 255
    if not difference <= most + _TOLERANCE:
        found.append(Finding(name, "pixels", "", f"{difference:.1f} levels apart, {most:g} allowed"))
    return found


def memory(field: str, pid: int | str = "self") -> float:
    """VmRSS (in use now) or VmHWM (the peak) of a process in MB, as Linux has it."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _forget_peak() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass  # not permitted here: the peak is then that of the whole life
