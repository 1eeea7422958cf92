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


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Progressive resizing: smaller samples for the first part of the work, when a network learns what does not need detail.

    Work is counted in steps at full size. On two cores, cats and dogs, a minute's budget at 64 then 96 pixels sees 1.6 times the images
    that 96 alone does (docs/decisions/0005-progressive-resizing.md).
    """

    full: tuple[int, int]
    small: tuple[int, int] | None

    SMALL_UNTIL = 0.6
    """The share of the work done with small samples."""

    @classmethod
    def of(cls, full: tuple[int, int]) -> Sizes:
        """Two thirds of `full` (height, width) in multiples of 8; none where that would be under 48 pixels."""
        small = tuple(max(8, 8 * round(n / 12)) for n in full)
        return cls(full, (small[0], small[1]) if min(small) >= 48 else None)

    def at(self, progress: float) -> tuple[int, int]:
        """The size to train with at `progress`, 0 to 1."""
        return self.small if self.small is not None and progress < self.SMALL_UNTIL else self.full

    def cost(self, progress: float) -> float:
        """The work of a step: its share of a full-size step's pixels."""
        size = self.at(progress)
        return size[0] * size[1] / (self.full[0] * self.full[1])

    def steps_in(self, work: float, progress: float) -> float:
        """The steps that `work` from `progress` to the end is."""
        early = max(0.0, self.SMALL_UNTIL - progress) / max(1e-9, 1 - progress) if self.small is not None else 0.0
        return work * (early / self.cost(0.0) + 1 - early)


@dataclasses.dataclass(kw_only=True)
class Plan:
    """A line from (work, progress) to (last work, 1), in steps at full size. A new plan starts where the old one is, so the learning
    rate never jumps.
    """

    work: float = 0.0
    progress: float = 0.0
    last_work: float = 0.0
    """0 = not known yet: progress stays."""

    def at(self, work: float) -> float:
        """Progress at `work`, 0 to 1."""
        if not self.last_work:
            return self.progress
        if self.last_work <= self.work:
            return 1.0
        return min(1.0, self.progress + (1 - self.progress) * (work - self.work) / (self.last_work - self.work))

    def refitted(self, work: float, last_work: float) -> Plan:
        """The plan that goes on from `work` and ends at `last_work`."""
        return Plan(work=work, progress=self.at(work), last_work=max(last_work, work + 1e-6))


class Clock:
    """The time that a run has: what a unit of work costs, measured, and how many more fit before the deadline.

    All times are seconds of one monotonic clock, given from outside.
    """

    CLOSING_SECONDS = 4.0
    """Kept back at the end for writing the run and leaving Python."""
    VALIDATION_SHARE = 1 / 20
    """Validating takes about this share of the time, at most."""
    _COMPILING, _FIRST_STRETCH = 4, 4

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.work_seconds: float | None = None
        """What a unit of work (a step at full size) takes; None before the first measurement."""
        self.validation_seconds = 0.0
        """What the last validation took."""
        self._steps, self._seconds, self._work = -self._COMPILING, 0.0, 0.0
        self._stretch = self._FIRST_STRETCH

    def step_took(self, seconds: float, work: float) -> bool:
        """Tell what a step of `work` took. True when `work_seconds` has been measured anew: the first four steps, which compile, do not
        count; then stretches of 4, 8, 16, 32, … steps are measured, and newer ones count for half.
        """
        if self._steps >= 0:
            self._seconds, self._work = self._seconds + seconds, self._work + work
        self._steps += 1
        if self._steps < self._stretch:
            return False
        each = self._seconds / self._work
        self.work_seconds = each if self.work_seconds is None else (self.work_seconds + each) / 2
        self._steps, self._seconds, self._work, self._stretch = 0, 0.0, 0.0, 2 * self._stretch
        return True

    def work_left(self, now: float) -> float:
        """Work that fits, with the validations between and CLOSING_SECONDS; 0 when none does."""
        assert self.work_seconds is not None, "measure first"
        return max(0.0, self._room(now) * (1 - self.VALIDATION_SHARE) / self.work_seconds)

    def is_over(self, now: float) -> bool:
        """Whether only the last validation and CLOSING_SECONDS are left, or less."""
        return self._room(now) <= 0

    def validation_due(self, since: float) -> bool:
        """Whether to validate, `since` seconds after the last time."""
        return since >= self.validation_seconds / self.VALIDATION_SHARE

    def to_json(self) -> dict[str, Any]:
        """The measurements, for the run's record."""
        return {"work_seconds": self.work_seconds, "validation_seconds": self.validation_seconds}

    def _room(self, now: float) -> float:
        return self.deadline - now - self.CLOSING_SECONDS - self.validation_seconds
