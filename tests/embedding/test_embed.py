from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import imgstream as ims
from imgstream.embedding import embed
from imgstream.models.forward import Program

LEVELS = {
    b"cats/a\nb.png": 10,
    b"cats/c\xff.png": 20,
    b"cats/d.png": 30,
    b'dogs/=1,".png': 110,
    b"dogs/\xc3\xa9.png": 120,
    b"eels/f.png": 210,
}


@pytest.mark.parametrize("batch_size", [2, 3, None])
def test_every_file_has_one_row_in_index_order_and_a_bad_one_its_reason(
    model: Any, spec: ims.SampleSpec, photos: Path, batch_size: int | None
) -> None:
    index = ims.scan(photos)
    rows = list(embed(Program(model, spec), spec, index, batch_size=batch_size))
    assert [row.path_bytes for row in rows] == [index.relative_bytes(i) for i in range(7)] == sorted([*LEVELS, b"dogs/bad.png"])
    assert [row.path for row in rows] == [row.path_bytes.decode("utf-8", "replace") for row in rows]
    assert [row.label for row in rows] == [row.path.partition("/")[0] for row in rows]
    for row in rows:
        if row.path == "dogs/bad.png":
            assert (row.error, row.features) == ("empty: 0 bytes", None)
        else:
            assert row.error is None
            assert row.features is not None
            assert row.features.dtype == np.float32
            assert row.features.tolist() == [LEVELS[row.path_bytes]] * 4


def test_images_of_no_class_have_no_label(model: Any, spec: ims.SampleSpec, photos: Path) -> None:
    paths = [os.fsencode(photos) + b"/cats/c\xff.png", b"gone.png"]
    first, second = embed(Program(model, spec), spec, ims.ImageIndex.from_paths(paths))
    assert (first.path_bytes, first.label, first.error) == (paths[0], None, None)
    assert (second.label, second.features) == (None, None)
    assert second.error is not None
    assert second.error.startswith("missing: ")


def test_nothing_is_decoded_before_it_is_asked_for(model: Any, spec: ims.SampleSpec, photos: Path) -> None:
    rows = embed(Program(model, spec), spec, ims.scan(photos), batch_size=1)
    (photos / "cats" / "a\nb.png").write_bytes(b"")
    assert next(rows).error == "empty: 0 bytes"
