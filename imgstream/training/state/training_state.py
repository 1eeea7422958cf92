"""Where a training is, as far as it is no array."""

from __future__ import annotations

import dataclasses
from typing import Any


@dataclasses.dataclass
class State:
    """What a checkpoint keeps beside the arrays, as values that JSON can hold."""

    step: int = 0
    work: float = 0.0
    """Steps, in units of a full-size one."""
    epoch: int = 0
    batch: int = 0
    """The next batch of the epoch."""
    elapsed: float = 0.0
    """Seconds of the commands before this one."""
    plans: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    history: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    best: dict[str, Any] | None = None
    calibration: dict[str, Any] | None = None
    """Temperature of the best validation, and its effect."""
    profile: dict[str, Any] | None = None
    """Statistics of the images of the best validation, without those of files."""
    since_best: int = 0
    rows: int = 0
    """Files of this epoch so far, and how many of them were bad."""
    bad: int = 0
    sums: list[float] = dataclasses.field(default_factory=lambda: [0.0, 0.0, 0.0])
    """Of this epoch so far: images, loss times images, correct predictions."""
    phases: dict[str, float] = dataclasses.field(default_factory=dict)
    """Seconds of starting, head, compiling, steps, validating and writing, of this command and those that it resumes."""
