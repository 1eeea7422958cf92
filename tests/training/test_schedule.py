from __future__ import annotations

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


def measure(clock: Clock, seconds: float) -> None:
    for _ in range(8):
        clock.step_took(seconds, 1.0)


def test_the_clock_leaves_room_for_validation_and_closing() -> None:
    clock = Clock(deadline=100.0)
    measure(clock, 0.5)
    clock.validation_seconds = 10.0
    assert clock.work_left(now=0.0) == pytest.approx(86 * 0.95 / 0.5)
    assert clock.work_left(now=99.0) == 0
    assert not clock.is_over(now=85.9)
    assert clock.is_over(now=86.0)
    assert not clock.validation_due(since=199)
    assert clock.validation_due(since=200)


def test_steps_that_compile_are_not_measured_and_newer_stretches_count_for_half() -> None:
    clock = Clock(deadline=0)
    assert not any(clock.step_took(60.0, 1.0) for _ in range(4))
    assert [clock.step_took(0.5, 0.5) for _ in range(4)] == [False, False, False, True]
    assert clock.work_seconds == 1.0
    assert [clock.step_took(2.0, 1.0) for _ in range(8)] == [False] * 7 + [True]
    assert clock.work_seconds == 1.5


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
