"""Both pipelines over a folder of files, measured and compared row by row. Contracts 2 to 5 of a pass, as far as one can see them."""

from __future__ import annotations

import collections
import dataclasses
import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

import imgstream as ims
from fuzzing.messages import Cost, Finding, Setting, Verdict
from fuzzing.processes import forget_peak, memory
from imgstream.stream import Batch

_TOLERANCE = 1e-3  # of a level: float32 arithmetic in other orders
_SAID = 300


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

    def counts(self) -> collections.Counter[int]:
        """How often each row was given or skipped."""
        return collections.Counter([*itertools.chain(*self.batches), *self.bad])


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
    forget_peak()
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
    counts = {"python": python.counts(), "tf": tf.counts()}
    for position, name in enumerate(names):
        for pipeline, count in counts.items():
            if count[position] != 1:
                found.append(Finding(name, "rows", pipeline, f"{pipeline}: given or skipped {count[position]} times"))
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
