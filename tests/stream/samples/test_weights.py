"""Sample weights: what a manifest says of a row goes with its image, in every pipeline, to Keras."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import imgstream as ims
from imgstream.index import ImageIndex, scan
from imgstream.index.manifest.read import read_manifest
from imgstream.profiling.stages import ready_batch

keras = pytest.importorskip("keras")

Folder = Callable[..., Path]
Elements = list[tuple[np.ndarray, ...]]
WEIGHTS = [0.0, 0.25, 1.0, 2.5, 7.0, 1e-3, 1e6]


def weighted(root: Path, labels: list[int] | None = None) -> ImageIndex:
    """The folder's images in its order, the i-th with weight WEIGHTS[i % 7]; every sixth has an empty one, which is 1."""
    index = scan(root)
    with (root / "list.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "label", "weight"))
        for i, label in enumerate(index.labels.tolist() if labels is None else labels):
            writer.writerow((os.fsdecode(index.relative_bytes(i)), label, "" if i % 6 == 5 else WEIGHTS[i % 7]))
    found, report = read_manifest(root / "list.csv")
    assert report.bad_counts == {}
    return found


def weight(i: int) -> np.float32:
    return np.float32(1 if i % 6 == 5 else WEIGHTS[i % 7])


def ways(stream: ims.Stream, epoch: int) -> Iterator[tuple[str, Elements]]:
    """The epoch's batches, by everything that makes them."""
    for pipeline in ("python", "tf"):
        chosen = stream.replace(pipeline=pipeline)
        yield f"{pipeline} batches", list(chosen.batches(epoch))
        seq = chosen.to_keras()
        seq.epoch = epoch
        yield f"{pipeline} keras", [seq[i] for i in range(len(seq))]
    yield "tf dataset", [tuple(part.numpy() for part in batch) for batch in stream.to_tf(epoch)]


@pytest.mark.parametrize("shuffle", [False, True])
def test_each_image_comes_with_its_own_weight_and_bad_files_take_theirs_along(folder: Folder, spec: ims.SampleSpec, shuffle: bool) -> None:
    bad = {3, 9, 10, 25}
    index = weighted(folder(26, bad=tuple(bad)))
    stream = ims.Stream(index, spec, batch_size=4, shuffle=shuffle, seed=5, workers=2)
    order = stream.ordered(2, 0, 26).tolist()
    assert (order == list(range(26))) is not shuffle
    rows = [[i for i in order[first : first + 4] if i not in bad] for first in range(0, 26, 4)]
    reference = list(stream.batches(2))
    for name, batches in ways(stream, 2):
        assert [len(batch) for batch in batches] == [3] * 7, name
        for (images, labels, weights), (expected_images, _, _), batch in zip(batches, reference, rows, strict=True):
            np.testing.assert_allclose(images, expected_images, atol=1.01 / 255)
            assert (labels.dtype, weights.dtype) == (np.int32, np.float32)
            assert labels.tolist() == index.labels[batch].tolist()
            assert weights.tolist() == [weight(i) for i in batch], name


def test_a_batch_without_a_good_file_leaves_the_weights_of_the_next_ones_in_place(folder: Folder, spec: ims.SampleSpec) -> None:
    index = weighted(folder(12, bad=(4, 5, 6, 7)))
    stream = ims.Stream(index, spec, batch_size=4)
    expected = [[weight(i) for i in range(start, start + 4)] for start in (0, 8)]
    for name, batches in ways(stream, 0):
        assert [weights.tolist() for _, _, weights in batches if len(weights)] == expected, name


def test_weights_stay_with_their_rows_in_selections_shards_and_saved_tables(folder: Folder, spec: ims.SampleSpec, tmp_path: Path) -> None:
    index = weighted(folder(20)).take([17, 3, 8, 0, 12])
    index.save(tmp_path / "part.arrow")
    for part in (index, ImageIndex.load(tmp_path / "part.arrow")):
        stream = ims.Stream(part, spec, batch_size=2).shard(1, 2)
        for name, batches in ways(stream, 0):
            assert [weights.tolist() for _, _, weights in batches] == [[weight(3), weight(0)]], name


@pytest.mark.slow
def test_labels_that_are_mixed_keep_the_weights_of_their_images(folder: Folder, spec: ims.SampleSpec) -> None:
    stream = ims.Stream(weighted(folder(12)), spec, augment="strong", batch_size=5)
    for name, batches in ways(stream, 1):
        assert [labels.shape for _, labels, _ in batches] == [(5, 3), (5, 3), (2, 3)], name
        assert [weights.tolist() for _, _, weights in batches] == [
            [weight(i) for i in range(start, min(start + 5, 12))] for start in (0, 5, 10)
        ], name


def test_an_index_without_weights_gives_pairs(folder: Folder, spec: ims.SampleSpec) -> None:
    for name, batches in ways(ims.Stream(scan(folder(6)), spec, batch_size=4), 0):
        assert [len(batch) for batch in batches] == [2, 2], name


def test_the_batch_that_bench_times_is_had_with_weights_too(folder: Folder, spec: ims.SampleSpec) -> None:
    images, labels = ready_batch(ims.Stream(weighted(folder(6)), spec, batch_size=4))
    assert (images.shape, labels.tolist()) == ((4, 16, 12, 3), [0, 0, 1, 1])


@pytest.mark.quick("python")
@pytest.mark.parametrize("pipeline", ["python", "tf"])
def test_fit_gives_the_weights_to_the_loss(folder: Folder, spec: ims.SampleSpec, pipeline: Any) -> None:
    root, seen = folder(10, bad=(2,)), list[list[float]]()
    stream = ims.Stream(weighted(root), spec, batch_size=4, pipeline=pipeline)

    class Watched(keras.Model):
        def train_step(self, data: Any) -> dict[str, Any]:
            images, labels, weights = data
            seen.append(np.asarray(weights).tolist())
            return super().train_step((images, labels, weights))

    def trained(labels: list[int]) -> list[np.ndarray]:
        keras.utils.set_random_seed(0)
        inputs = keras.Input((16, 12, 3))
        outputs = keras.layers.Dense(3, activation="softmax")(keras.layers.Flatten()(inputs))
        model = Watched(inputs, outputs)
        model.compile(keras.optimizers.SGD(1e-3), "sparse_categorical_crossentropy", run_eagerly=True)
        model.fit(stream.replace(index=weighted(root, labels)).to_keras(), epochs=2, verbose=0)
        return model.get_weights()

    labels = [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]
    first = trained(labels)
    assert seen == 2 * [[weight(0), weight(1), weight(3)], [weight(i) for i in range(4, 8)], [weight(8), weight(9)]]
    for same, other in zip(first, trained([2, 1, 2, 0, 1, 2, 0, 2, 2, 0]), strict=True):  # rows 0 and 7 weigh nothing
        np.testing.assert_array_equal(same, other)
    assert not np.array_equal(first[0], trained([0, 1, 2, 1, 1, 2, 0, 1, 2, 0])[0])  # row 3 weighs 2.5
