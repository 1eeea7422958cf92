"""Order and randomness: an exact permutation for every n, and numbers that are keyed, never summed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgstream.order import DRAWS, SampleDraws, permute, sample_generator


def order(n: int, seed: int = 0, epoch: int = 0) -> list[int]:
    return permute(np.arange(n), n, seed, epoch).tolist()


def test_the_order_is_an_exact_permutation_for_every_small_n() -> None:
    for n in range(1, 301):
        assert sorted(order(n, 3, n)) == list(range(n))


def test_the_order_is_an_exact_permutation_for_a_large_n() -> None:
    n = 100_003
    assert np.array_equal(np.sort(permute(np.arange(n), n, 1, 2)), np.arange(n))


def test_a_position_has_the_same_row_alone_as_in_the_whole_epoch() -> None:
    whole = order(1000, 5, 6)
    for position in (0, 1, 500, 999):
        assert permute(np.array([position]), 1000, 5, 6).tolist() == [whole[position]]
    assert permute(np.array([7, 3, 7]), 1000, 5, 6).tolist() == [whole[7], whole[3], whole[7]]


def test_the_positions_that_were_given_are_left_as_they_are() -> None:
    positions = np.arange(50, dtype=np.uint64)
    permute(positions, 50, 0, 0)
    assert np.array_equal(positions, np.arange(50))


def test_the_order_is_what_it_always_was() -> None:
    # Who is hurt if these change: everyone who resumes a run in the middle of an epoch, or wants to repeat one from before the upgrade.
    assert order(10, 0, 0) == [4, 1, 0, 3, 8, 9, 6, 7, 2, 5]
    assert order(10, 0, 5) == [6, 2, 9, 3, 5, 1, 4, 7, 8, 0]
    assert permute(np.arange(4), 1_000_003, 7, 3).tolist() == [313689, 412052, 952583, 626705]
    assert permute(np.arange(4), 1_000_003, -1, 3).tolist() == [878255, 895140, 276216, 246607]


def test_a_samples_numbers_are_what_they_always_were() -> None:
    # Who is hurt: as above; every augmentation would be drawn anew.
    assert sample_generator(7, 3, 11).random(3) == pytest.approx([0.66891902, 0.12502913, 0.56559266], abs=1e-8)


def test_seed_and_epoch_are_a_pair_and_never_a_sum() -> None:
    assert order(100, 0, 5) != order(100, 5, 0)
    assert order(100, 1, 4) != order(100, 2, 3)
    assert not np.array_equal(sample_generator(0, 5, 1).random(4), sample_generator(5, 0, 1).random(4))
    assert not np.array_equal(sample_generator(0, 5, 1).random(4), sample_generator(0, 1, 5).random(4))


def test_every_epoch_has_another_order() -> None:
    assert len({tuple(order(50, 1, epoch)) for epoch in range(200)}) == 200


def test_every_row_comes_first_about_as_often_as_any_other() -> None:
    first = np.bincount([permute(np.array([0]), 10, 0, epoch)[0] for epoch in range(2000)], minlength=10)
    assert first.min() > 140
    assert first.max() < 260  # 200 expected, deviation 13


def test_the_numbers_of_neighbouring_rows_are_unrelated() -> None:
    numbers = np.array([sample_generator(0, 0, row).random(64) for row in range(64)])
    assert len(np.unique(numbers)) == numbers.size
    assert abs(np.corrcoef(numbers[:-1].ravel(), numbers[1:].ravel())[0, 1]) < 0.05


@given(st.integers(-(2**70), 2**70), st.lists(st.tuples(st.integers(0, 2**40), st.integers(0, 2**32 - 1)), min_size=1, max_size=5))
def test_draws_are_the_generators_first_numbers_whatever_was_drawn_before(seed: int, keys: list[tuple[int, int]]) -> None:
    draws = SampleDraws(seed)
    for epoch, row in keys:
        assert np.array_equal(draws(epoch, row), sample_generator(seed, epoch, row).random(DRAWS))


def test_the_order_of_ten_million_rows_has_each_of_them_once() -> None:
    n, chunk = 10_000_000, 1 << 20
    met = np.zeros(n, bool)
    for start in range(0, n, chunk):
        rows = permute(np.arange(start, min(start + chunk, n)), n, 9, 4)
        assert rows.min() >= 0
        assert rows.max() < n
        met[rows] = True
    assert met.all()  # n places, and n rows among them: none comes twice


def test_a_million_places_of_an_order_of_a_trillion_rows_have_as_many_rows() -> None:
    n, start = 2**40, 123_456_789_000
    rows = permute(np.arange(start, start + 1_000_000), n, 0, 1)
    assert rows.min() >= 0
    assert rows.max() < n
    assert len(np.unique(rows)) == 1_000_000
    assert abs(float(rows.mean()) / n - 0.5) < 0.002  # from everywhere: seven deviations
