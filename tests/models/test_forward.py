from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from imgstream.models import forward


class Sums:
    """A program of one logit, that notes how large its batches are."""

    ahead = 0

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, images: np.ndarray) -> np.ndarray:
        self.sizes.append(len(images))
        return images.sum(axis=(1, 2, 3))[:, None]


def test_short_batches_are_filled_up_and_their_logits_are_those_of_their_images() -> None:
    model = Sums()
    logits = forward.Forward(model, 4)(np.ones((3, 2, 2, 3), np.float32))
    assert logits.tolist() == [[12.0]] * 3
    assert model.sizes == [4]


def test_freed_memory_is_given_back_every_20_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    now, trimmed = [0.0], []
    monkeypatch.setattr(forward, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(forward, "trim", lambda: trimmed.append(now[0]))
    compute, images = forward.Forward(Sums(), 1), np.zeros((1, 2, 2, 3), np.float32)
    for now[0] in (1.0, 19.0, 21.0, 22.0, 40.0, 42.0):
        compute(images)
    assert trimmed == [21.0, 42.0]
