"""The schedule: the progress of training, sizes of samples and learning rate, planned for a number of steps or for the clock."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

WARM_UP = 0.15
"""The share of training in which the learning rate rises."""


def one_cycle(progress: float) -> float:
    """The learning rate as a share of its peak, for `progress` from 0 (start) to 1 (end): up linearly, down along half a cosine.

    After Smith and Topin, "Super-convergence" (2018), with fastai's cosine.
    """
    if progress < WARM_UP:
        return 0.04 + 0.96 * progress / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - WARM_UP) / (1 - WARM_UP)))) + 1e-4


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Progressive resizing: smaller samples for the first part of the work, when a model learns what needs no detail.

    Work is counted in steps at full size. On two cores, cats and dogs, a minute's budget at 64 then 96 pixels sees 1.6 times the images
    that 96 alone does (docs/decisions/0005-progressive-resizing.md).
    """

    full: tuple[int, int]
    small: tuple[int, int] | None
    small_until: float = 0.6
    """The share of the work done with small samples."""

    @classmethod
    def of(cls, full: tuple[int, int]) -> Sizes:
        """Start with two thirds of `full` (height, width), in multiples of 8; with `full` if that would be under 48 pixels."""
        small = tuple(max(8, 8 * round(n / 12)) for n in full)
        return cls(full, (small[0], small[1]) if min(small) >= 48 else None)

    def at(self, progress: float) -> tuple[int, int]:
        """The size to train with at `progress`, 0 to 1."""
        return self.small if self.small is not None and progress < self.small_until else self.full

    def cost(self, progress: float) -> float:
        """The work of a step: its share of a full-size step's pixels."""
        size = self.at(progress)
        return size[0] * size[1] / (self.full[0] * self.full[1])

    def earns(self, compiling: float, seconds: float) -> bool:
        """Whether more images are seen in some seconds if training starts with small samples, although compiling for another size takes
        `compiling` of them. A step is taken to cost as much as its pixels.
        """
        return (seconds - compiling) * self.steps_in(1.0, 0.0) > seconds

    def steps_in(self, work: float, progress: float) -> float:
        """The number of steps in `work`, from `progress` to the end."""
        early = max(0.0, min(1.0, self.small_until) - progress) / max(1e-9, 1 - progress) if self.small is not None else 0.0
        return work * (early / self.cost(0.0) + 1 - early)


@dataclasses.dataclass(kw_only=True)
class Plan:
    """Progress as a line from (work, progress) to (last work, 1), in steps at full size. A new plan starts where the old one is, so that
    the learning rate never jumps.
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
    """The time that a run has: the measured cost of a unit of work, and how many more units fit before the deadline.

    All times are seconds of one monotonic clock, given as arguments.
    """

    VALIDATION_SHARE = 1 / 20
    """The most time that validating takes, as a share."""
    REFIT_SHARE = 1 / 10
    """The schedule is fitted again once this share of the time left, or of the work planned for it, is used. The effect of a wrong
    measurement on the end becomes smaller and smaller, and the fits stay few: a hundred in ten hours.
    """
    _COMPILING = 2

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.work_seconds: float | None = None
        """Duration of a unit of work (a step at full size); None before the first measurement."""
        self.validation_seconds = 0.0
        """Duration of the last validation, or the expected one; 0 if unknown."""
        self.closing_seconds = 4.0
        """Kept at the end for writing the run and leaving Python."""
        self.compiling_seconds = 0.0
        """Duration of a size's first step, which compiles: the first step of another size will take as long."""
        self._size = 0.0
        self._steps, self._seconds, self._work = 0, 0.0, 0.0
        self._fitted_room = self._fitted_work = math.inf
        self._worked = 0.0
        """Work since the last fit."""

    def step_took(self, seconds: float, work: float, now: float) -> bool:
        """Record the duration of a step of `work`, which identifies its size. True when it is time to fit the schedule again.

        The first two steps of a size, which compile, do not count. Measurements from before the last fit count half.
        """
        if work != self._size:
            self._size, self._steps, self._seconds, self._work = work, -self._COMPILING, 0.0, 0.0
        if self._steps < 0:
            self.compiling_seconds = max(self.compiling_seconds, seconds)
        self._steps, self._worked = self._steps + 1, self._worked + work
        if self._steps <= 0:
            return False
        self._seconds, self._work = self._seconds + seconds, self._work + work
        self.work_seconds = self._seconds / self._work
        room, left = self.room(now), 1 - self.REFIT_SHARE
        is_early = self._steps & (self._steps - 1) == 0  # 1, 2, 4, 8, … measured steps
        if not is_early and room > left * self._fitted_room and self._worked < self.REFIT_SHARE * self._fitted_work:
            return False
        self._seconds, self._work, self._worked = self._seconds / 2, self._work / 2, 0.0
        self._fitted_room, self._fitted_work = room, room / self.work_seconds
        return True

    def work_left(self, now: float) -> float:
        """Work that fits before the deadline, besides the validations and the closing; 0 when none does."""
        assert self.work_seconds is not None, "measure first"
        room = max(0.0, self.room(now))
        if self.validation_seconds:
            room -= self.validation_seconds * (room * self.VALIDATION_SHARE // self.validation_seconds)
        return room / self.work_seconds

    def is_over(self, now: float) -> bool:
        """Whether less than half a step's time is left before the last validation and the closing."""
        return self.room(now) <= (self.work_seconds or 0.0) * self._size / 2

    def validation_due(self, since: float) -> bool:
        """Whether to validate, `since` seconds after the last validation."""
        return since >= self.validation_seconds / self.VALIDATION_SHARE

    def to_json(self) -> dict[str, Any]:
        """The measurements, for the run's record."""
        return {"work_seconds": self.work_seconds, "validation_seconds": self.validation_seconds, "closing_seconds": self.closing_seconds}

    def room(self, now: float) -> float:
        """Seconds left for training steps and for all validations but the last."""
        return self.deadline - now - self.closing_seconds - self.validation_seconds
