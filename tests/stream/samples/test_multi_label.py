from __future__ import annotations

from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pytest

import imgstream as ims
from imgstream.augment.presets import Preset

LABELS = {"a.jpg": "cat|dog", "b.jpg": "cat", "bad.jpg": "dog", "c.jpg": "|", "d.jpg": "", "e.jpg": "bird|dog"}
TARGETS = {"a.jpg": [0, 1, 1], "b.jpg": [0, 1, 0], "c.jpg": [0, 0, 0], "d.jpg": [-1, -1, -1], "e.jpg": [1, 0, 1]}
SPEC = ims.SampleSpec(size=(8, 8))


@pytest.fixture
def index(tmp_path: Path) -> ims.ImageIndex:
    for number, name in enumerate(LABELS):
        assert cv2.imwrite(str(tmp_path / name), np.full((8, 8, 3), 40 * number, np.uint8))
    (tmp_path / "bad.jpg").write_bytes(b"")
    (tmp_path / "list.csv").write_text("path,label\n" + "".join(f"{path},{label}\n" for path, label in LABELS.items()))
    return ims.scan(tmp_path / "list.csv", multi_label=True)


@pytest.mark.parametrize("pipeline", ["python", "tf"])
def test_labels_are_rows_of_0_and_1_and_stay_with_their_images(index: ims.ImageIndex, pipeline: Literal["python", "tf"]) -> None:
    stream = ims.Stream(index, SPEC, batch_size=4, shuffle=True, seed=3, pipeline=pipeline)
    found = {}
    for batch in stream.traced_batches(epoch=2):
        assert batch.labels.dtype == np.float32
        for position, row in zip(batch.positions.tolist(), batch.labels.tolist(), strict=True):
            found[Path(index.path(position)).name] = row
    assert found == TARGETS
    assert [reason for _, reason in stream.skipped] == ["empty"]


def test_a_mixed_sample_has_a_share_of_both_images_labels(index: ims.ImageIndex) -> None:
    always = Preset(name="always", area=(1, 1), aspect=(1, 1), mix=1.0)
    stream = ims.Stream(index.take([0, 5]), SPEC, augment=always, batch_size=2, dtype="uint8")
    ((_, labels),) = stream.batches()
    ((_, same),) = stream.to_tf(epoch=0).as_numpy_iterator()
    np.testing.assert_allclose(labels, same, atol=1e-6)
    assert (labels[:, 2] == 1).all()  # both images are dogs
    np.testing.assert_allclose(labels[:, 0] + labels[:, 1], 1, atol=1e-6)
    assert ((labels[:, 0] > 0) & (labels[:, 0] < 1)).any()


def test_keras_gets_the_same_rows(index: ims.ImageIndex) -> None:
    stream = ims.Stream(index, SPEC, batch_size=6)
    np.testing.assert_array_equal(stream.to_keras()[0][1], np.array(list(TARGETS.values()), np.float32))
