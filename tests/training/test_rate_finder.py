from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import imgstream as ims
from imgstream.errors import OutputError
from imgstream.pictures.rate_curve import draw_rates
from imgstream.training.rate_finder import HIGHEST, LOWEST, RateCurve, find_rate
from imgstream.training.step.optimizers import peak_learning_rate

pytestmark = pytest.mark.usefixtures("small_cnn")


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
    assert curve.chance == pytest.approx(np.log(2), abs=0.05)


@pytest.mark.slow
def test_the_scale_of_a_manifests_weights_does_not_change_the_curve(two_classes: Path, tmp_path: Path) -> None:
    curves = []
    for weight in (1, 10):
        rows = [f"{path},{path.parent.name},{weight}" for path in sorted(two_classes.rglob("*.jpg"))]
        (tmp_path / "list.csv").write_text("\n".join(["path,label,weight", *rows]), encoding="utf-8")
        curves.append(find_rate(tmp_path / "list.csv", root=str(two_classes), steps=20, size=(32, 32), batch_size=8, precision="float32"))
    assert curves[1].losses[0] == pytest.approx(curves[0].losses[0], rel=1e-3)


def test_half_of_the_rate_from_which_the_loss_rises_is_suggested() -> None:
    curve = RateCurve([0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064], [0.7, 0.69, 0.71, 0.6, 0.5, 0.515, 0.65], 64, chance=0.69)
    assert (curve.beginning, curve.lowest, curve.limit, curve.suggestion) == (0.7, 0.016, 0.032, 0.016)
    never = RateCurve([0.001, 0.01, 0.1, 1.0], [0.7, 0.6, 0.5, 0.4], 64, chance=0.69)
    assert (never.limit, never.suggestion) == (1.0, 0.5)


def test_nothing_is_suggested_where_the_loss_stays_near_chance(tmp_path: Path) -> None:
    curve = RateCurve([0.001, 0.01, 0.1], [0.8, 0.66, 0.9], 64, chance=0.69)
    assert not curve.has_learnt
    assert curve.suggestion is None
    assert curve.to_json()["learning_rate"] is None
    draw_rates(curve, tmp_path / "lr.svg")
    drawn = (tmp_path / "lr.svg").read_text()
    assert "chance: 0.69" in drawn
    assert "suggested" not in drawn


@pytest.mark.slow
def test_chance_is_the_entropy_of_the_classes_shares_in_the_training_images(two_classes: Path) -> None:
    index = ims.scan(two_classes).take(np.arange(25))  # 20 dark ones and 5 light ones
    dark, light = index.split(val=0.2, seed=0)[0].class_counts()
    share = dark / (dark + light)
    curve = find_rate(index, steps=20, size=(32, 32), batch_size=8, label_smoothing=0.0)
    assert curve.chance == pytest.approx(-share * np.log(share) - (1 - share) * np.log(1 - share))


def test_the_curve_is_drawn_into_a_picture(tmp_path: Path) -> None:
    curve = RateCurve([0.001, 0.01, 0.1], [0.7, 0.5, 0.9], 64, chance=0.69)
    assert curve.suggestion == 0.005
    draw_rates(curve, tmp_path / "lr.png")
    assert (tmp_path / "lr.png").read_bytes().startswith(b"\x89PNG")
    draw_rates(curve, tmp_path / "lr.svg")
    assert "suggested: 0.005" in (tmp_path / "lr.svg").read_text()
    with pytest.raises(OutputError, match=r"\.png"):
        draw_rates(curve, tmp_path / "lr.gif")
