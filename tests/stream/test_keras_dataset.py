"""A stream as Keras takes it: each batch trained on once, each pass the next epoch, nothing computed twice."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import imgstream as ims
from imgstream.decode.sample import SampleReader
from imgstream.errors import DatasetError

keras = pytest.importorskip("keras")

Folder = Callable[..., Path]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The path of every file read, as they are read."""
    paths: list[bytes] = []
    read = SampleReader.read

    def counted(self: SampleReader, path: bytes, *rest: Any) -> None:
        paths.append(path)
        read(self, path, *rest)

    monkeypatch.setattr(SampleReader, "read", counted)
    return paths


@pytest.fixture(scope="module")
def model() -> Any:
    """Its prediction is the sum of each image: it tells which images it was given. Training moves it by nothing."""
    inputs = keras.Input((16, 12, 3))
    total = keras.layers.Lambda(lambda x: keras.ops.sum(x, axis=(1, 2, 3))[:, None], output_shape=(1,))(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1, kernel_initializer="ones")(total))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    return model


def sums(batches: Any) -> list[float]:
    return [float(image.sum()) for images, _ in batches for image in images]


@pytest.mark.parametrize("shuffle", [True, False])  # True is what fit does when it is not told: the stream's own order stands
def test_fit_trains_on_each_batch_once_and_each_epoch_is_the_next(
    folder: Folder, spec: ims.SampleSpec, model: Any, reads: list[bytes], shuffle: bool
) -> None:
    stream = ims.Stream(ims.scan(folder(26)), spec, augment="standard", batch_size=4, shuffle=True, seed=1, workers=2)
    expected = [[images.sum(dtype=np.float64) for images, _ in stream.batches(epoch)] for epoch in range(3)]
    del reads[:]
    seen: list[list[float]] = []
    threads: set[int] = set()
    others = {thread.ident for thread in threading.enumerate()}  # of streams that other tests have just let go

    class Watched(keras.Model):
        """Counts what train_step gets, by value."""

        def train_step(self, data: Any) -> dict[str, Any]:
            images, labels = data
            seen[-1].append(float(keras.ops.sum(images)))
            return {"loss": keras.ops.sum(labels) * 0}

    class Epochs(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            seen.append([])
            threads.update(t.ident or 0 for t in threading.enumerate() if t.name.startswith("imgstream"))

    watched = Watched(model.inputs, model.outputs)
    watched.compile("sgd", "mse", run_eagerly=True)
    watched.fit(stream.to_keras(), epochs=3, shuffle=shuffle, verbose=0, callbacks=[Epochs()])
    assert [len(epoch) for epoch in seen] == [7, 7, 7]
    for epoch, values in zip(seen, expected, strict=True):
        np.testing.assert_allclose(epoch, values, rtol=1e-5)
    # Keras may begin the epoch after the last before it stops: what is ahead then is a few batches, not a second computation.
    assert 3 * 26 <= len(reads) < 4 * 26 + 1
    assert all(reads.count(path) <= 4 for path in reads)
    assert len(threads - others) <= 2


def test_evaluate_and_predict_see_every_image_once_in_the_indexs_order(
    folder: Folder, spec: ims.SampleSpec, model: Any, reads: list[bytes]
) -> None:
    stream = ims.Stream(ims.scan(folder(26, bad=(3, 25))), spec, batch_size=4)
    expected = sums(stream.batches())
    del reads[:]
    predicted = model.predict(stream.to_keras(), verbose=0)
    assert predicted.shape == (24, 1)
    np.testing.assert_allclose(predicted[:, 0], expected, rtol=1e-5)
    assert len(reads) == 26
    del reads[:]
    labels = np.concatenate([labels for _, labels in stream.batches()])
    del reads[:]
    loss = model.evaluate(stream.to_keras(), verbose=0)
    assert loss == pytest.approx(float(np.mean((np.array(expected) - labels) ** 2)), rel=1e-4)
    assert len(reads) == 26


def test_a_second_pass_of_evaluate_is_the_next_epoch(folder: Folder, spec: ims.SampleSpec, model: Any) -> None:
    stream = ims.Stream(ims.scan(folder(9)), spec, augment="light", batch_size=4)
    seq = stream.to_keras()
    for epoch in range(3):
        np.testing.assert_allclose(model.predict(seq, verbose=0)[:, 0], sums(stream.batches(epoch)), rtol=1e-5)


@pytest.mark.parametrize("size", [1, 2, 4, 9, 20])  # nine, five, three, one and one batch of nine images
def test_loops_by_hand_give_one_epoch_after_another(folder: Folder, spec: ims.SampleSpec, reads: list[bytes], size: int) -> None:
    stream = ims.Stream(ims.scan(folder(9)), spec, augment="light", batch_size=size, shuffle=True)
    expected = [sums(stream.batches(epoch)) for epoch in range(3)]
    del reads[:]
    seq = stream.to_keras()
    assert len(seq) == len(stream)
    assert [sums(seq[i] for i in range(len(seq))) for _ in range(3)] == expected
    assert len(reads) == 27


def test_any_batch_can_be_asked_for(folder: Folder, spec: ims.SampleSpec) -> None:
    stream = ims.Stream(ims.scan(folder(20)), spec, batch_size=4, shuffle=True)
    batches, seq = list(stream.batches()), stream.to_keras()
    for i in (3, 0, 2, 1, 1):
        assert np.array_equal(seq[i][0], batches[i][0])
        assert np.array_equal(seq[i][1], batches[i][1])
    with pytest.raises(IndexError):
        seq[5]
    with pytest.raises(IndexError):
        seq[-6]


def test_where_a_whole_batch_is_bad_training_goes_on_and_prediction_keeps_its_places(folder: Folder, spec: ims.SampleSpec) -> None:
    index = ims.scan(folder(12, bad=(4, 5, 6, 7)))
    in_order = ims.Stream(index, spec, batch_size=4).to_keras()
    assert [len(in_order[i][0]) for i in range(3)] == [4, 0, 4]
    # batches of one: four of them are bad, and the next epoch's first four take their places at the end
    stream = ims.Stream(index, spec, batch_size=1, shuffle=True)
    shuffled = stream.to_keras()
    expected = (sums(stream.batches(0)) + sums(stream.batches(1)))[:12]
    assert sums(shuffled[i] for i in range(12)) == expected


def test_training_on_bad_files_alone_is_an_error_and_no_endless_search(folder: Folder, spec: ims.SampleSpec) -> None:
    seq = ims.Stream(ims.scan(folder(6, bad=tuple(range(6)))), spec, batch_size=2, shuffle=True).to_keras()
    with pytest.raises(DatasetError, match=r"all 6 images under .* are bad"):
        seq[0]
