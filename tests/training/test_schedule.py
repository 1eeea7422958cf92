from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgstream.training.schedule import WARM_UP, Clock, Plan, one_cycle


def test_the_rate_rises_to_its_peak_and_falls_to_almost_nothing() -> None:
    assert one_cycle(0) == pytest.approx(0.04)
    assert one_cycle(WARM_UP) == pytest.approx(1, abs=1e-3)
    assert one_cycle((1 + WARM_UP) / 2) == pytest.approx(0.5, abs=1e-3)
    assert 0 < one_cycle(1) < 1e-3


def test_a_plan_without_an_end_stays_at_the_start() -> None:
    assert Plan().at(50) == 0


@given(st.integers(0, 1000), st.integers(1, 1000), st.integers(0, 3000))
def test_a_refitted_plan_goes_on_from_where_the_old_one_was(step: int, first_end: int, second_end: int) -> None:
    old = Plan().refitted(0, first_end)
    new = old.refitted(step, second_end)
    assert new.at(step) == pytest.approx(old.at(step))
    assert new.at(max(second_end, step + 1)) == pytest.approx(1)


def test_the_clock_leaves_room_for_validation_and_closing() -> None:
    clock = Clock(deadline=100.0)
    clock.stepped(seconds=5.0, steps=10)
    clock.validation_seconds = 10.0
    assert clock.epochs_between(100) == 4  # 10 s of validation after 4 epochs of 50 s: a twentieth
    assert clock.steps_left(now=0.0, steps_an_epoch=100, closing_seconds=4.0) == int(86 / (0.5 + 10 / 400))
    assert clock.steps_left(now=99.0, steps_an_epoch=100, closing_seconds=4.0) == 0


def test_newer_measurements_of_a_step_count_for_half() -> None:
    clock = Clock(deadline=0)
    clock.stepped(10.0, 10)
    clock.stepped(20.0, 10)
    assert clock.step_seconds == 1.5
