"""Geometry by value: boxes, reductions, whole-pixel windows and padding, worked out by hand; and what holds for every size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgstream.geometry import Box, Plan, fit_box, make_plan, reduced_size
from imgstream.spec import Fit

sides = st.integers(1, 20_000)
targets = st.integers(1, 600)
fits = st.sampled_from(["crop", "pad", "stretch"])


@pytest.mark.parametrize(
    ("size", "target", "box"),
    [
        ((500, 375), (224, 224), (62.5, 0, 375, 375)),
        ((375, 500), (224, 224), (0, 62.5, 375, 375)),
        ((300, 300), (200, 100), (0, 75, 300, 150)),
        ((100, 300), (100, 200), (0, 50, 100, 200)),
    ],
)
def test_crop_takes_the_largest_centred_box_of_the_targets_aspect(
    size: tuple[int, int], target: tuple[int, int], box: tuple[float, float, float, float]
) -> None:
    assert fit_box(*size, "crop", *target) == box


@pytest.mark.parametrize("fit", ["pad", "stretch"])
def test_pad_and_stretch_take_the_whole_image(fit: Fit) -> None:
    assert fit_box(500, 375, fit, 10, 20) == (0, 0, 500, 375)


def test_stretch_fills_the_target_whatever_its_aspect() -> None:
    assert make_plan(100, 50, "stretch", 30, 40) == Plan(1, 0, 0, 100, 50, 30, 40, 0, 0)


def test_a_crop_keeps_its_size_when_its_edges_fall_on_half_pixels() -> None:
    assert make_plan(500, 375, "crop", 224, 224) == Plan(1, 63, 0, 375, 375, 224, 224, 0, 0)


@pytest.mark.parametrize(
    ("side", "reduction"), [(100, 1), (199, 1), (200, 2), (399, 2), (400, 4), (799, 4), (800, 8), (100_000, 8), (99, 1), (1, 1)]
)
def test_the_reduction_is_the_largest_that_still_covers_the_output(side: int, reduction: int) -> None:
    assert make_plan(side, side, "stretch", 100, 100).reduction == reduction
    assert make_plan(side, 100_000, "stretch", 100, 100).reduction == reduction  # on both sides
    assert make_plan(100_000, side, "stretch", 100, 100).reduction == reduction


def test_the_reduction_of_a_padded_image_looks_at_the_part_it_fills() -> None:
    # 800×200 fills 100×25 of 100×100: at 1/8 it is 100×25 still
    assert make_plan(800, 200, "pad", 100, 100) == Plan(8, 0, 0, 100, 25, 100, 25, 0, 37)


@pytest.mark.parametrize(
    ("size", "target", "out", "left", "top"),
    [
        ((10, 5), (10, 10), (10, 5), 0, 2),  # 5 rows over: 2 above, 3 below
        ((5, 10), (10, 10), (5, 10), 2, 0),
        ((10, 10), (10, 10), (10, 10), 0, 0),
        ((1000, 1), (10, 10), (10, 1), 0, 4),  # never thinner than a pixel
        ((3, 2), (7, 7), (7, 5), 0, 1),
    ],
)
def test_padding_is_centred_with_the_odd_pixel_right_or_below(
    size: tuple[int, int], target: tuple[int, int], out: tuple[int, int], left: int, top: int
) -> None:
    plan = make_plan(*size, "pad", *target)
    assert (plan.out_width, plan.out_height, plan.pad_left, plan.pad_top) == (*out, left, top)


def test_an_augmentations_box_replaces_the_fits_own_and_fills_the_target() -> None:
    assert make_plan(100, 80, "pad", 20, 10, Box(8.4, 16.5, 40.2, 20)) == Plan(2, 4, 8, 20, 10, 20, 10, 0, 0)


@given(sides, sides, fits, targets, targets)
def test_every_plan_stays_inside_the_image_and_the_target(width: int, height: int, fit: Fit, target_width: int, target_height: int) -> None:
    holds(make_plan(width, height, fit, target_width, target_height), width, height, target_width, target_height)


fractions = st.floats(0, 1)


@given(sides, sides, targets, targets, fractions, fractions, fractions, fractions)
def test_every_random_box_becomes_at_least_a_pixel_inside_the_image(
    width: int, height: int, target_width: int, target_height: int, left: float, top: float, across: float, down: float
) -> None:
    box = Box(left * width * (1 - across), top * height * (1 - down), across * width, down * height)
    plan = make_plan(width, height, "crop", target_width, target_height, box)
    holds(plan, width, height, target_width, target_height)
    assert (plan.out_width, plan.out_height) == (target_width, target_height)


@given(sides, sides, targets, targets)
def test_a_crop_is_centred_to_the_pixel_and_of_the_targets_aspect(width: int, height: int, target_width: int, target_height: int) -> None:
    box = fit_box(width, height, "crop", target_width, target_height)
    assert box.x == pytest.approx((width - box.width) / 2)
    assert box.y == pytest.approx((height - box.height) / 2)
    assert box.width / box.height == pytest.approx(target_width / target_height)
    assert box.width == width or box.height == height


def holds(plan: Plan, width: int, height: int, target_width: int, target_height: int) -> None:
    r = plan.reduction
    assert r in (1, 2, 4, 8)
    assert 0 <= plan.x < plan.x + plan.width <= -(-width // r)
    assert 0 <= plan.y < plan.y + plan.height <= -(-height // r)
    assert 0 <= plan.pad_left < plan.pad_left + plan.out_width <= target_width
    assert 0 <= plan.pad_top < plan.pad_top + plan.out_height <= target_height
    # centred, and the odd pixel is on the right and below
    assert target_width - plan.out_width - 2 * plan.pad_left in (0, 1)
    assert target_height - plan.out_height - 2 * plan.pad_top in (0, 1)


# ---- the size at which an image is kept


@pytest.mark.parametrize(
    ("size", "target", "margin", "expected"),
    [
        ((1000, 500), (100, 100), 1.3, (2, 260, 130)),  # the shorter side covers 1.3 times the target
        ((1000, 500), (200, 100), 1.0, (4, 200, 100)),
        ((4000, 4000), (100, 100), 1.3, (8, 130, 130)),
        ((261, 260), (100, 100), 1.3, (1, 131, 130)),
        ((130, 130), (100, 100), 1.3, (1, 130, 130)),  # smaller ones are never enlarged
        ((129, 5000), (100, 100), 1.3, (1, 129, 5000)),
        ((1, 1), (100, 100), 1.3, (1, 1, 1)),
    ],
)
def test_an_image_is_kept_just_large_enough(
    size: tuple[int, int], target: tuple[int, int], margin: float, expected: tuple[int, int, int]
) -> None:
    assert reduced_size(*size, *target, margin) == expected


@given(sides, sides, targets, targets, st.floats(1, 2))
def test_what_is_kept_covers_the_target_or_is_the_whole_image(
    width: int, height: int, target_width: int, target_height: int, margin: float
) -> None:
    reduction, kept_width, kept_height = reduced_size(width, height, target_width, target_height, margin)
    assert 1 <= kept_width <= -(-width // reduction)
    assert 1 <= kept_height <= -(-height // reduction)
    assert kept_width >= min(width, int(margin * target_width))
    assert kept_height >= min(height, int(margin * target_height))
    if (kept_width, kept_height) == (width, height):
        assert reduction == 1
    else:
        assert kept_width - margin * target_width <= 1 or kept_height - margin * target_height <= 1  # no more than it takes
