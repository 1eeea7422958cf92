from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgstream.training.schedule import WARM_UP, Clock, Plan, Sizes, one_cycle


def test_the_rate_rises_to_its_peak_and_falls_to_almost_nothing() -> None:
    assert one_cycle(0) == pytest.approx(0.04)
    assert one_cycle(WARM_UP) == pytest.approx(1, abs=1e-3)
    assert one_cycle((1 + WARM_UP) / 2) == pytest.approx(0.5, abs=1e-3)
    assert 0 < one_cycle(1) < 1e-3


def test_a_plan_without_an_end_stays_at_the_start() -> None:
    assert Plan().at(50) == 0


@given(st.floats(0, 1000), st.floats(1, 1000), st.floats(0, 3000))
def test_a_refitted_plan_goes_on_from_where_the_old_one_was(work: float, first_end: float, second_end: float) -> None:
    old = Plan().refitted(0, first_end)
    new = old.refitted(work, second_end)
    assert new.at(work) == pytest.approx(old.at(work))
    assert new.at(max(second_end, work + 1)) == pytest.approx(1)


def measure(clock: Clock, seconds: float, steps: int = 6) -> None:
    for _ in range(steps):
        clock.step_took(seconds, 1.0, now=0.0)


def test_the_clock_leaves_room_for_validations_and_closing() -> None:
    clock = Clock(deadline=114.0)
    measure(clock, 0.5)
    assert clock.work_left(now=0.0) == pytest.approx(110 / 0.5)
    clock.validation_seconds = 10.0
    assert clock.work_left(now=0.0) == pytest.approx(100 / 0.5)  # too short for a validation between
    assert clock.work_left(now=109.0) == 0
    assert not clock.is_over(now=99.74)  # half a step
    assert clock.is_over(now=99.76)
    clock.validation_seconds = 1.0
    assert clock.work_left(now=0.0) == pytest.approx((109 - 5) / 0.5)
    assert not clock.validation_due(since=19)
    assert clock.validation_due(since=20)


def test_steps_that_compile_are_not_measured_and_older_ones_count_for_half() -> None:
    clock = Clock(deadline=1000.0)
    assert [clock.step_took(60.0, 0.5, now=0.0) for _ in range(2)] == [False, False]
    assert clock.step_took(0.5, 0.5, now=0.0)
    assert clock.work_seconds == 1.0
    assert clock.step_took(1.5, 0.5, now=0.0)
    assert clock.work_seconds == pytest.approx((0.25 + 1.5) / (0.25 + 0.5))
    assert not clock.step_took(60.0, 1.0, now=0.0)  # another size compiles again
    assert clock.compiling_seconds == 60.0


def run(
    seconds_of: Callable[[int, float], float], minutes: float, compiling: float = 5.0, validating: float = 3.0
) -> tuple[float, int, list[float]]:
    """What a training by the clock comes to: its seconds, its fits, and the progress at each step. `seconds_of`: (step, now) → what a unit
    of work takes.
    """
    clock, plan, sizes = Clock(60 * minutes), Plan(), Sizes.of((96, 96))
    now, work, fits, compiled = 10.0, 0.0, 0, 0.0
    progress: list[float] = []
    while not progress or (not clock.is_over(now) and plan.at(work) < 1):
        cost = sizes.cost(plan.at(work))
        took = seconds_of(len(progress), now) * cost + (compiling if cost != compiled else 0.0)
        compiled, now, work = cost, now + took, work + cost
        progress.append(plan.at(work))
        if clock.step_took(took, cost, now):
            clock.validation_seconds, fits = validating, fits + 1
            plan = plan.refitted(work, work + clock.work_left(now))
    return now + validating + clock.closing_seconds, fits, progress


@pytest.mark.parametrize(
    "seconds_of",
    [
        pytest.param(lambda step, now: 0.2, id="steady"),
        pytest.param(lambda step, now: 0.01, id="a GPU"),
        pytest.param(lambda step, now: 0.2 * 8 ** ((now // 7) % 2), id="a processor that others use by turns"),
        pytest.param(lambda step, now: 0.2 if now < 40 else 0.8, id="slower from then on"),
        pytest.param(lambda step, now: 0.8 if now < 40 else 0.05, id="faster from then on"),
        pytest.param(lambda step, now: 20.0 if step == 40 else 0.2, id="a stall"),
    ],
)
@pytest.mark.parametrize("minutes", [1, 5])
def test_the_time_is_used_up_and_not_exceeded_however_the_speed_changes(seconds_of: Callable[[int, float], float], minutes: float) -> None:
    seconds, fits, progress = run(seconds_of, minutes)
    assert 0.97 * 60 * minutes < seconds < 60 * minutes + 3
    assert fits < 150
    assert progress == sorted(progress)
    assert progress[-1] > 0.9
    if minutes == 5:
        assert progress[-1] > 0.97


def test_small_samples_are_worth_their_compiling_where_more_images_are_seen_in_the_same_time() -> None:
    sizes = Sizes.of((96, 96))  # a unit of work is 0.6 * 9 / 4 + 0.4 = 1.75 steps
    assert sizes.earns(42.0, 100.0)
    assert not sizes.earns(43.0, 100.0)
    assert not sizes.earns(5.0, 4.0)


def test_training_begins_small_where_two_thirds_of_the_size_still_show_something() -> None:
    sizes = Sizes.of((96, 144))
    assert sizes.at(0.0) == sizes.at(0.59) == (64, 96)
    assert sizes.at(0.6) == sizes.at(1.0) == (96, 144)
    assert sizes.cost(0.0) == pytest.approx(4 / 9)
    assert Sizes.of((64, 64)).at(0.0) == (64, 64)


def test_the_steps_of_a_plan_are_those_that_its_work_buys() -> None:
    sizes = Sizes.of((96, 96))
    plan, work, steps = Plan().refitted(0, 1000 / sizes.steps_in(1.0, 0.0)), 0.0, 0
    while plan.at(work) < 1:
        work, steps = work + sizes.cost(plan.at(work)), steps + 1
    assert steps == pytest.approx(1000, abs=2)
