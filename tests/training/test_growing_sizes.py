"""With a time budget, small samples first: only where they earn more than their compiling costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import imgstream as ims
from imgstream.training import loop
from imgstream.training.progress import TrainingProgress
from imgstream.training.schedule import Sizes

pytestmark = pytest.mark.usefixtures("small_cnn")


def heights_of(
    two_classes: Path, out: Path, monkeypatch: pytest.MonkeyPatch, compiles: bool = True, **options: Any
) -> tuple[ims.Run, list[int]]:
    """A training of samples of 72 × 72, 48 × 48 at first, and the height of each step's batch."""
    heights: list[int] = []
    original = loop.new_step

    def new_step(*arguments: Any) -> Any:
        step = original(*arguments)

        class Noted:
            ahead, compiles_for_each_size = step.ahead, compiles

            def __call__(self, images: np.ndarray, *rest: Any, **named: Any) -> Any:
                heights.append(images.shape[1])
                return step(images, *rest, **named)

            def sync(self) -> None:
                step.sync()

        return Noted()

    monkeypatch.setattr(loop, "new_step", new_step)
    run = ims.train(two_classes, out=out, size=(72, 72), batch_size=8, augment="light", **options)
    return run, heights


@pytest.mark.slow
@pytest.mark.parametrize("earns", [True, False])
def test_the_first_steps_are_of_the_full_size_and_tell_whether_small_ones_are_worth_compiling_for(
    two_classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, earns: bool
) -> None:
    asked: list[tuple[float, float]] = []
    monkeypatch.setattr(Sizes, "earns", lambda self, compiling, seconds: asked.append((compiling, seconds)) or earns)
    waited: list[str] = []
    monkeypatch.setattr(TrainingProgress, "waiting", lambda self, what: waited.append(what))
    run, heights = heights_of(two_classes, tmp_path / "run", monkeypatch, minutes=0.2)
    assert heights[:3] == [72] * 3
    assert set(heights[3:]) == ({48, 72} if earns else {72})
    assert heights[3:] == sorted(heights[3:])
    assert {plan["small_until"] for plan in run.state["plans"]} == {0.6 if earns else 0.0}
    ((compiling, seconds),) = asked
    assert 0 < compiling < 12
    assert 0 < seconds < 12
    assert [what for what in waited if "×" in what] == ["compiling for 72×72", *(["compiling for 48×48"] if earns else [])]
    assert waited.index("compiling for the validation") < waited.index("validating")


@pytest.mark.slow
def test_where_one_program_takes_every_size_the_first_steps_are_small(
    two_classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Sizes, "earns", lambda self, compiling, seconds: False)
    _, heights = heights_of(two_classes, tmp_path / "run", monkeypatch, compiles=False, minutes=0.1)
    assert heights[0] == 48


def test_with_epochs_the_first_steps_are_small_whatever_compiling_takes(
    two_classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Sizes, "earns", lambda self, compiling, seconds: False)
    _, heights = heights_of(two_classes, tmp_path / "run", monkeypatch, epochs=2)
    assert (heights[0], heights[-1]) == (48, 72)
