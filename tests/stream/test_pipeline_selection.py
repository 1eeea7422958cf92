from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import imgstream as ims
from imgstream.errors import SpecError
from imgstream.stream import choose_pipeline, pipeline_selection

Folder = Callable[..., Path]


@pytest.fixture
def many(folder: Folder, spec: ims.SampleSpec) -> ims.Stream:
    """2,400 rows over the same 24 files."""
    index = ims.scan(folder(24))
    return ims.Stream(index.take(np.tile(np.arange(24), 100)), spec)


def rates(monkeypatch: pytest.MonkeyPatch, python: float, tf: float) -> None:
    """What the measurement would find."""
    monkeypatch.setattr(pipeline_selection, "_rate", lambda stream: {"python": python, "tf": tf}[stream.pipeline])


def test_a_pipeline_that_is_asked_for_is_taken(many: ims.Stream) -> None:
    assert choose_pipeline(many, "tf") == ("tf", "as asked")
    assert choose_pipeline(many, "python") == ("python", "as asked")
    with pytest.raises(SpecError, match="auto, python, tf; got 'fast'"):
        choose_pipeline(many, "fast")


def test_few_files_are_not_measured(folder: Folder, spec: ims.SampleSpec) -> None:
    chosen = choose_pipeline(ims.Stream(ims.scan(folder(24)), spec))
    assert chosen.pipeline == "python"
    assert "2,000" in chosen.why


@pytest.mark.parametrize(("python", "tf", "taken"), [(100, 90, "python"), (100, 109, "python"), (100, 111, "tf")])
def test_tf_is_taken_where_it_is_clearly_faster(
    many: ims.Stream, monkeypatch: pytest.MonkeyPatch, python: float, tf: float, taken: str
) -> None:
    rates(monkeypatch, python, tf)
    chosen = choose_pipeline(many)
    assert chosen.pipeline == taken
    assert f"python reads {python} images/s of these files, tf {tf}" in chosen.why


@pytest.mark.slow
def test_both_are_measured_on_files_spread_over_the_index(many: ims.Stream) -> None:
    chosen = choose_pipeline(many)
    assert chosen.pipeline in ("python", "tf")
    assert "images/s" in chosen.why
    assert many.skipped == []
