from __future__ import annotations

from pathlib import Path

import pytest

from imgstream.errors import OutputError
from imgstream.report.curve import draw_rates
from imgstream.training.rates import HIGHEST, LOWEST, RateCurve, find_rate


def test_rates_grow_until_the_loss_does_and_a_tenth_of_the_best_is_suggested(two_classes: Path) -> None:
    done: list[int] = []
    curve = find_rate(two_classes, steps=30, size=(32, 32), batch_size=8, progress=done.append)
    assert curve.rates[0] == LOWEST
    assert curve.rates == sorted(curve.rates)
    assert curve.rates[-1] <= HIGHEST * 1.001
    assert len(curve.rates) == len(curve.losses) == len(done)
    assert curve.losses[curve.rates.index(curve.lowest)] == min(curve.losses)
    assert curve.suggestion == pytest.approx(curve.lowest / 10, rel=0.05)


def test_the_curve_is_drawn_into_a_picture(tmp_path: Path) -> None:
    curve = RateCurve([0.001, 0.01, 0.1], [0.7, 0.5, 0.9], 64)
    draw_rates(curve, tmp_path / "lr.png")
    assert (tmp_path / "lr.png").read_bytes().startswith(b"\x89PNG")
    draw_rates(curve, tmp_path / "lr.svg")
    assert "suggested: 0.001" in (tmp_path / "lr.svg").read_text()
    with pytest.raises(OutputError, match=r"\.png"):
        draw_rates(curve, tmp_path / "lr.gif")
