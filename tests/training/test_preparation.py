from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imgstream.runs.folder import RunFolder
from imgstream.stream.plan import cpu_count
from imgstream.training import preparation
from imgstream.training.memory.plan import Footprint
from imgstream.training.preparation import Preparation, prepare
from imgstream.training.settings import TrainSettings


def prepared(photos: Path, settings: TrainSettings, folder: Path) -> Preparation:
    silent = {"scanned": lambda files: None, "waiting": lambda what: None, "tell": lambda text: None}
    found = prepare(photos, settings, RunFolder(folder / "run"), resume=False, **silent)
    assert found is not None
    return found


def test_memory_is_planned_for_training_the_one_model_and_validating_with_the_other(
    two_classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgstream.training.memory.plan.anonymous_bytes", lambda: 10**8)
    settings = TrainSettings(size=(32, 32), batch_size=8, epochs=1, precision="mixed", pipeline="python")
    found = prepared(two_classes, settings, tmp_path)
    where = {"shape": (32, 32, 3), "small": found.sizes.small, "workers": cpu_count(), "baseline": 10**8}
    right, swapped = (
        Footprint.of(trained, served, **where).expected(8, found.memory.validation_batch)
        for trained, served in ((found.models.trained, found.models.served), (found.models.served, found.models.trained))
    )
    assert right != swapped  # the one computes in bfloat16, the other in float32
    assert found.memory.expected_bytes == right


@pytest.mark.parametrize(
    ("device", "options", "tried"),
    [
        ("jax gpu", {"minutes": 1.0}, [[64]]),
        ("jax gpu", {"minutes": 1.0, "batch_size": 8}, []),
        ("jax gpu", {"epochs": 1}, []),
        ("jax cpu", {"minutes": 1.0}, []),
    ],
)
def test_batch_sizes_are_tried_on_a_gpu_where_the_time_is_given_and_the_images_make_a_hundred_batches(
    two_classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, options: dict[str, Any], tried: list[list[int]]
) -> None:
    asked: list[list[int]] = []
    monkeypatch.setattr(preparation, "device", lambda: device)
    monkeypatch.setattr(preparation, "fastest_batch", lambda models, spec, sizes, *rest: asked.append(sizes) or 24)
    found = prepared(two_classes, TrainSettings(size=(32, 32), pipeline="python", **options), tmp_path)
    assert asked == tried
    assert found.memory.batch_size == (24 if tried else options.get("batch_size", 64))
