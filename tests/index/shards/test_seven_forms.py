"""One set of images in seven forms: the same rows, labels, pixels and predictions in all of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from shard_files import Members, write_parquet, write_tar, write_tfrecord, write_webdataset, write_zip

import imgstream as ims

FORMS: dict[str, Callable[[Path, Members], Path]] = {
    "photos.zip": write_zip,
    "photos.tar": write_tar,
    "webdataset.tar": write_webdataset,
    "photos.tfrecord": write_tfrecord,
    "photos.parquet": write_parquet,
}


@pytest.fixture(scope="module")
def forms(two_classes: Path, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, ims.ImageIndex]:
    """An index of the folder, and of each other form; the array holds the pixels that the run's samples have."""
    folder = tmp_path_factory.mktemp("forms")
    members = {path.relative_to(two_classes).as_posix(): path.read_bytes() for path in sorted(two_classes.rglob("*.jpg"))}
    found = {"folder": ims.scan(two_classes)}
    for name, write in FORMS.items():
        found[name] = ims.scan(write(folder / name, members))
    pixels = ims.Stream(found["folder"], ims.load_run(trained).spec, dtype="uint8").batches()
    np.save(folder / "X.npy", np.concatenate([images for images, _ in pixels]))
    np.save(folder / "y.npy", np.array([name.partition("/")[0] for name in members]))
    return {**found, "array": ims.scan(folder / "X.npy")}


@pytest.mark.slow
@pytest.mark.parametrize("pipeline", ["python", "tf"])
def test_rows_labels_pixels_and_predictions_are_the_same_in_all_seven_forms(
    forms: dict[str, ims.ImageIndex], trained: Path, pipeline: str
) -> None:
    run = ims.load_run(trained)
    assert len(forms) == 7
    folder = forms["folder"]
    of_folder = ims.Stream(folder, run.spec, shuffle=True, seed=4, batch_size=9)
    expected = list(of_folder.batches(epoch=1))
    scores = np.array([p.scores for p in run.predict(folder)])
    for name, index in forms.items():
        assert index.class_names == ["dark", "light"]
        np.testing.assert_array_equal(index.labels, folder.labels)
        if name != "array":  # whose images have numbers for names
            assert [index.relative_bytes(row) for row in range(40)] == [folder.relative_bytes(row) for row in range(40)]
        stream = of_folder.replace(index=index, pipeline=pipeline)
        for (images, labels), (others, numbers) in zip(stream.batches(epoch=1), expected, strict=True):
            np.testing.assert_array_equal(labels, numbers)
            if pipeline == "python" or name != "folder":  # TensorFlow decodes the files of a folder, to within a level
                np.testing.assert_array_equal(images, others)
        assert stream.skipped == []
        np.testing.assert_array_equal([p.scores for p in run.predict(index)], scores)
