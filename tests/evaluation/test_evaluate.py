from __future__ import annotations

from pathlib import Path

import pytest

import imgstream as ims
from imgstream.errors import DatasetError, OptionError
from imgstream.evaluation.evaluate import evaluate


@pytest.mark.parametrize(
    ("rows", "found"), [("path,label\na.jpg,fox\nb.jpg,owl\n", "found the labels fox, owl"), ("path\na.jpg\n", "found no labels")]
)
def test_images_of_none_of_the_models_classes_are_told_by_their_labels(tmp_path: Path, rows: str, found: str) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "list.csv").write_text(rows)
    stream = ims.Stream(ims.scan(tmp_path / "list.csv"), ims.SampleSpec(size=(8, 8)))
    with pytest.raises(DatasetError, match=rf"has one of the model's classes as its label \(cat, dog\); {found}$"):
        evaluate(None, ["cat", "dog"], stream)


def test_a_run_of_two_classes_says_how_well_it_finds_one_of_them(trained: Path, two_classes: Path) -> None:
    run = ims.load_run(trained)
    light, dark = (run.evaluate(two_classes, positive=name).binary for name in (None, "dark"))
    assert light is not None
    assert dark is not None
    assert (light.positive, dark.positive) == ("light", "dark")
    assert light.roc_auc == pytest.approx(dark.roc_auc, abs=1e-6)
    assert light.roc_auc == 1.0, "the two are told apart by any network"
    with pytest.raises(OptionError, match="one of the model's classes, dark and light; got 'grey'"):
        run.evaluate(two_classes, positive="grey")


def test_figures_of_one_class_are_refused_where_there_are_more_than_two(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.jpg").touch()
    with pytest.raises(OptionError, match="two classes; this one has 3"):
        evaluate(None, ["a", "b", "c"], ims.Stream(ims.scan(tmp_path), ims.SampleSpec(size=(8, 8))), positive="a")
