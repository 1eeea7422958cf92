from __future__ import annotations

from pathlib import Path

import pytest

from imgstream.errors import OutputError
from imgstream.report.curve import draw_rates
from imgstream.training.optimizers import peak_learning_rate
from imgstream.training.rates import HIGHEST, LOWEST, RateCurve, find_rate


def test_rates_grow_until_the_loss_does(two_classes: Path) -> None:
    done: list[int] = []
    curve = find_rate(two_classes, steps=30, size=(32, 32), batch_size=8, progress=done.append)
    usual = peak_learning_rate(8, is_transfer=False)
    assert curve.rates[0] == pytest.approx(usual * LOWEST)
    assert curve.usual == pytest.approx(usual)
    assert curve.rates == sorted(curve.rates)
    assert curve.rates[-1] <= usual * HIGHEST * 1.001
    assert len(curve.rates) == len(curve.losses) == len(done)
    assert curve.lowest <= curve.limit


def test_half_of_the_rate_from_which_the_loss_rises_is_suggested() -> None:
    curve = RateCurve([0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064], [0.7, 0.69, 0.71, 0.6, 0.5, 0.515, 0.65], 64)
    assert (curve.beginning, curve.lowest, curve.limit, curve.suggestion) == (0.7, 0.016, 0.032, 0.016)
    never = RateCurve([0.001, 0.01, 0.1, 1.0], [0.7, 0.6, 0.5, 0.4], 64)
    assert (never.limit, never.suggestion) == (1.0, 0.5)


def test_the_curve_is_drawn_into_a_picture(tmp_path: Path) -> None:
    curve = RateCurve([0.001, 0.01, 0.1], [0.7, 0.5, 0.9], 64)
    assert curve.suggestion == 0.005
    draw_rates(curve, tmp_path / "lr.png")
    assert (tmp_path / "lr.png").read_bytes().startswith(b"\x89PNG")
    draw_rates(curve, tmp_path / "lr.svg")
    assert "suggested: 0.005" in (tmp_path / "lr.svg").read_text()
    with pytest.raises(OutputError, match=r"\.png"):
        draw_rates(curve, tmp_path / "lr.gif")
