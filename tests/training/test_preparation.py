from __future__ import annotations

from pathlib import Path

import pytest

from imgstream.runs.folder import RunFolder
from imgstream.stream.plan import cpu_count
from imgstream.training.memory.plan import Footprint
from imgstream.training.preparation import prepare
from imgstream.training.settings import TrainSettings


def test_memory_is_planned_for_training_the_one_model_and_validating_with_the_other(
    two_classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgstream.training.memory.plan.anonymous_bytes", lambda: 10**8)
    settings = TrainSettings(size=(32, 32), batch_size=8, epochs=1, precision="mixed", pipeline="python")
    found = prepare(two_classes, settings, RunFolder(tmp_path / "run"), resume=False, scanned=lambda files: None, tell=lambda text: None)
    assert found is not None
    where = {"shape": (32, 32, 3), "small": found.sizes.small, "workers": cpu_count(), "baseline": 10**8}
    right, swapped = (
        Footprint.of(trained, served, **where).expected(8, found.memory.validation_batch)
        for trained, served in ((found.models.trained, found.models.served), (found.models.served, found.models.trained))
    )
    assert right != swapped  # the one computes in bfloat16, the other in float32
    assert found.memory.expected_bytes == right
