from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import imgstream as ims
from imgstream.embedding import FeaturesInfo, FeatureTable, embed, head_data, open_writer
from imgstream.errors import DatasetError, OutputError
from imgstream.index.manifest.read import read_manifest
from imgstream.models.forward import Program
from imgstream.stream import Stream

ORDER = [10, 20, 30, 110, 120, 210]
"""The levels of the images of `photos` in index order; between 110 and 120 lies a bad file."""


def kept(path: Path, model: Any, spec: ims.SampleSpec, index: ims.ImageIndex) -> Path:
    with open_writer(path, FeaturesInfo.of(model, spec, "means")) as writer:
        for row in embed(Program(model, spec), spec, index):
            writer.write(row)
    return path


@pytest.fixture(params=["computed", "from a file"])
def source(request: pytest.FixtureRequest, tmp_path: Path, model: Any, spec: ims.SampleSpec, photos: Path) -> Path | None:
    return kept(tmp_path / "f.parquet", model, spec, ims.scan(photos)) if request.param == "from a file" else None


def check(table: FeatureTable, levels: list[int], labels: list[int]) -> None:
    assert table.features.dtype == np.float32
    assert table.features.tolist() == [[level] * 4 for level in levels]
    assert (table.labels.dtype, table.labels.tolist()) == (np.int32, labels)


def test_rows_are_those_of_good_files_with_their_labels(source: Path | None, model: Any, spec: ims.SampleSpec, photos: Path) -> None:
    stream = Stream(ims.scan(photos), spec, batch_size=2, shuffle=True, augment="strong")
    done: list[int] = []
    table = head_data(model, stream, source, progress=done.append)
    check(table, ORDER, [0, 0, 0, 1, 1, 2])
    assert table.weights is None
    assert stream.skipped == [(str(photos / "dogs" / "bad.png"), "empty")]
    assert done[-1] == 7
    assert not table.features.flags.writeable


def test_a_part_of_the_images_is_found_and_nothing_else(source: Path | None, model: Any, spec: ims.SampleSpec, photos: Path) -> None:
    part = ims.scan(photos).take([0, 1, 5, 6])
    check(head_data(model, Stream(part, spec), source), [10, 20, 120, 210], [0, 0, 1, 2])


def test_labels_count_the_classes_that_are_named_and_images_of_others_are_left_out(
    source: Path | None, model: Any, spec: ims.SampleSpec, photos: Path
) -> None:
    table = head_data(model, Stream(ims.scan(photos), spec, batch_size=2), source, class_names=["eels", "ants", "cats"])
    check(table, [10, 20, 30, 210], [2, 2, 2, 0])


def test_a_file_that_is_listed_twice_is_there_twice_and_weights_come_along(
    source: Path | None, model: Any, spec: ims.SampleSpec, photos: Path
) -> None:
    (photos / "list.csv").write_text("path,label,weight\ncats/d.png,c,2\neels/f.png,e,0.5\ncats/d.png,c,3\n")
    index, _ = read_manifest(photos / "list.csv")
    table = head_data(model, Stream(index, spec), source)
    assert table.weights is not None
    rows = zip(table.features[:, 0].tolist(), table.labels.tolist(), table.weights.tolist(), strict=True)
    assert sorted(rows) == [(30, 0, 2), (30, 0, 3), (210, 1, 0.5)]


def test_rows_of_another_order_are_matched_by_path(tmp_path: Path, model: Any, spec: ims.SampleSpec, photos: Path) -> None:
    index = ims.scan(photos)
    file = kept(tmp_path / "f.parquet", model, spec, index.take([6, 3, 0, 5, 1, 2, 4]))
    table = head_data(model, Stream(index, spec), file)
    assert sorted(zip(table.features[:, 0].tolist(), table.labels.tolist(), strict=True)) == list(
        zip(ORDER, [0, 0, 0, 1, 1, 2], strict=True)
    )


def test_features_of_another_model_or_size_are_refused(tmp_path: Path, model: Any, spec: ims.SampleSpec, photos: Path) -> None:
    index = ims.scan(photos)
    file = kept(tmp_path / "f.parquet", model, spec, index)
    with pytest.raises(DatasetError, match=r"f\.parquet' was made with another model or another size: means at 4x6x3, with other weights"):
        head_data(type(model)(2.0), Stream(index, spec), file)
    with pytest.raises(DatasetError, match="with another sample specification than here"):
        head_data(model, Stream(index, ims.SampleSpec(size=(6, 4), fit="stretch", scale="raw")), file)


def test_images_that_the_file_lacks_are_counted_and_one_is_named(tmp_path: Path, model: Any, spec: ims.SampleSpec, photos: Path) -> None:
    index = ims.scan(photos)
    file = kept(tmp_path / "f.parquet", model, spec, index.take([0, 2, 3, 4, 6]))
    with pytest.raises(DatasetError, match=r"has no row for 2 of the 7 images under .*, such as 'cats/c\\udcff\.png'"):
        head_data(model, Stream(index, spec), file)


def test_images_without_any_label_are_nothing_to_learn_from(source: Path | None, model: Any, spec: ims.SampleSpec, photos: Path) -> None:
    with pytest.raises(DatasetError, match="none of the 7 images"):
        head_data(model, Stream(ims.scan(photos), spec), source, class_names=["ants"])


def test_features_lie_in_the_folder_that_is_named_and_leave_nothing_there(
    tmp_path: Path, model: Any, spec: ims.SampleSpec, photos: Path
) -> None:
    folder = tmp_path / "scratch"
    with pytest.raises(OutputError, match="scratch"):
        head_data(model, Stream(ims.scan(photos), spec), folder=folder)
    folder.mkdir()
    table = head_data(model, Stream(ims.scan(photos), spec), folder=folder)
    assert os.listdir(folder) == []
    check(table, ORDER, [0, 0, 0, 1, 1, 2])
