"""How far along training is, and the learning rate there."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

WARM_UP = 0.15
"""The share of training in which the rate rises."""


def one_cycle(progress: float) -> float:
    """The learning rate as a share of its peak, for `progress` from 0 (start) to 1 (end): up in a line, down in half a cosine.

    After Smith and Topin, "Super-convergence" (2018), with the cosine that fastai made of it.
    """
    if progress < WARM_UP:
        return 0.04 + 0.96 * progress / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - WARM_UP) / (1 - WARM_UP)))) + 1e-4


@dataclasses.dataclass(kw_only=True)
class Plan:
    """A line from (step, progress) to (last step, 1). A new plan starts where the old one is, so the learning rate never jumps."""

    step: int = 0
    progress: float = 0.0
    last_step: int = 0
    """0 = not known yet: progress stays."""

    def at(self, step: int) -> float:
        """Progress at `step`, 0 to 1."""
        if not self.last_step:
            return self.progress
        if self.last_step <= self.step:
            return 1.0
        return min(1.0, self.progress + (1 - self.progress) * (step - self.step) / (self.last_step - self.step))

    def refitted(self, step: int, last_step: int) -> Plan:
        """The plan that goes on from `step` and ends at `last_step`."""
        return Plan(step=step, progress=self.at(step), last_step=max(last_step, step + 1))


class Clock:
    """The time that a run has: what a step costs, measured, and how many more fit before the deadline.

    All times are seconds of one monotonic clock, given from outside.
    """

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self._step_seconds: float | None = None
        self.validation_seconds = 0.0
        """What the last validation took."""

    def stepped(self, seconds: float, steps: int) -> None:
        """Tell that `steps` steps took `seconds`. Newer measurements count for half."""
        each = seconds / steps
        self._step_seconds = each if self._step_seconds is None else (self._step_seconds + each) / 2

    @property
    def step_seconds(self) -> float:
        """What a step takes."""
        assert self._step_seconds is not None, "measure steps first"
        return self._step_seconds

    def steps_left(self, now: float, steps_an_epoch: int, closing_seconds: float) -> int:
        """Steps that fit, with the validations between them and `closing_seconds` for saving; 0 when none does."""
        room = self.deadline - now - closing_seconds - self.validation_seconds
        validations_a_step = self.validation_seconds / max(1.0, steps_an_epoch * self.epochs_between(steps_an_epoch))
        return max(0, int(room / (self.step_seconds + validations_a_step)))

    def epochs_between(self, steps_an_epoch: int) -> int:
        """Epochs from one validation to the next, so that validating takes about a twentieth of the time."""
        if self._step_seconds is None or not self.validation_seconds:
            return 1
        return max(1, math.ceil(20 * self.validation_seconds / (self._step_seconds * steps_an_epoch)))

    def to_json(self) -> dict[str, Any]:
        """The measurements, for the run's record."""
        return {"step_seconds": self._step_seconds, "validation_seconds": self.validation_seconds}
