from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import imgstream as ims
from imgstream.stream import Batch
from imgstream.stream.parity import Changed, ParityResult, Skip, compare
from imgstream.stream.tf.dataset import TfPipeline

Folder = Callable[..., Path]


def stream(root: Path, spec: ims.SampleSpec, **options: object) -> ims.Stream:
    return ims.Stream(ims.scan(root), spec, batch_size=8, **options)


@pytest.mark.parametrize("augment", [None, "standard"])
@pytest.mark.parametrize("scale", ["unit", "imagenet", "caffe"])
def test_the_two_pipelines_agree_in_levels_whatever_the_scale(folder: Folder, augment: str | None, scale: str) -> None:
    root = folder(30, bad=(4, 11))
    progress: list[int] = []
    found = compare(stream(root, ims.SampleSpec(size=(16, 12), scale=scale), augment=augment), progress=progress.append)
    assert found.agrees
    assert found.largest <= (3 if augment else 1) + 1e-3
    assert found.images == 28
    assert found.skipped == 2
    assert found.values == found.at_levels.sum() == 28 * 16 * 12 * 3
    assert found.by_tensorflow == 10  # the JPEGs; the PNGs are the reference decoder's
    assert progress[-1] == 30
    assert found.to_json()["agrees"] is True


def broken(monkeypatch: pytest.MonkeyPatch, change: Callable[[Batch], Batch]) -> None:
    """The tf pipeline as if something were wrong with it."""
    right = TfPipeline.traced_batches

    def wrong(self: TfPipeline, epoch: int = 0, start: int = 0) -> Iterator[Batch]:
        for batch in right(self, epoch, start):
            yield change(batch)

    monkeypatch.setattr(TfPipeline, "traced_batches", wrong)


def replaced(batch: Batch, **changes: object) -> Batch:
    fields = ("number", "images", "labels", "positions", "bad")
    return Batch(**{name: changes.get(name, getattr(batch, name)) for name in fields})


def test_an_image_that_differs_by_more_is_found_and_named(folder: Folder, spec: ims.SampleSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    def brighter(batch: Batch) -> Batch:
        images = batch.images.copy()
        images[batch.positions == 9, 3, 3, 0] += np.float32(7 / 255)
        return replaced(batch, images=images)

    broken(monkeypatch, brighter)
    found = compare(stream(folder(20), spec))
    assert not found.agrees
    assert found.over == 1
    assert found.worst[0][1].endswith("009.jpg")
    assert 5.9 < found.worst[0][0] < 8.1
    assert found.at_levels[4] == 1


def test_a_file_that_only_one_of_them_skips_is_found(folder: Folder, spec: ims.SampleSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(batch: Batch) -> Batch:
        kept = batch.positions != 2
        return replaced(batch, images=batch.images[kept], labels=batch.labels[kept], positions=batch.positions[kept])

    root = folder(12)
    broken(monkeypatch, forgetful)
    found = compare(stream(root, spec))
    assert not found.agrees
    assert found.images == 11
    assert found.skips == []  # nobody gave a reason, and yet it is not there
    assert found.lost == [str(root / "a" / "002.png")]


def test_other_reasons_for_a_skip_are_found(folder: Folder, spec: ims.SampleSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder(12, bad=(5,))
    broken(monkeypatch, lambda batch: replaced(batch, bad=[(p, ims.BadImage("corrupt", "so it says")) for p, _ in batch.bad]))
    found = compare(stream(root, spec))
    assert not found.agrees
    (skip,) = found.skips
    assert skip == Skip(str(root / "b" / "005.png"), skip.python, "corrupt: so it says")
    assert skip.python.startswith("wrong kind: ")


def test_labels_that_differ_are_counted(folder: Folder, spec: ims.SampleSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch, lambda batch: replaced(batch, labels=np.where(batch.positions == 3, 2, batch.labels)))
    found = compare(stream(folder(12), spec))
    assert not found.agrees
    assert found.labels == 1


def test_predictions_that_change_are_listed_with_both_answers(
    folder: Folder, spec: ims.SampleSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = folder(12)
    broken(monkeypatch, lambda batch: replaced(batch, images=np.where(batch.positions[:, None, None, None] == 7, 0, batch.images)))

    def predict(images: np.ndarray) -> np.ndarray:
        lit = images.mean(axis=(1, 2, 3)) > 0.2
        return np.stack([lit, ~lit], axis=1).astype(np.float32)

    found = compare(stream(root, spec), predict)
    assert found.changed == [Changed(str(root / "b" / "007.png"), 0, 1, 1.0, 1.0)]
    assert found.score == 1.0


def test_the_users_own_function_has_no_bound(folder: Folder, spec: ims.SampleSpec) -> None:
    found = compare(stream(folder(12), spec, augment=lambda image, rng: np.where(image > 128, 255, 0).astype(np.uint8)))
    assert (found.most, found.most_on_average) == (None, None)
    assert found.agrees
    assert isinstance(found, ParityResult)
