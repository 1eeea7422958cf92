from __future__ import annotations

from pathlib import Path

import pytest

import imgstream as ims
from imgstream.errors import DatasetError
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
