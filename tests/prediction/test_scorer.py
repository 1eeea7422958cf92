from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import imgstream as ims
from imgstream.errors import RunError
from imgstream.prediction.scorer import Member, Scored, Scorer

SPEC = ims.SampleSpec(size=(8, 12), fit="stretch")


class Model:
    """A program without Keras: logits of each image by a function of its sample, float32 (H, W, C)."""

    def __init__(self, logits: Callable[[np.ndarray], list[float]], spec: ims.SampleSpec = SPEC, ahead: int = 0) -> None:
        self._logits, self._spec, self.ahead, self.shapes = logits, spec, ahead, list[tuple[int, ...]]()

    def __call__(self, images: np.ndarray) -> np.ndarray:
        assert images.dtype == np.uint8
        assert images.flags.c_contiguous
        self.shapes.append(images.shape)
        samples = np.empty(images.shape, np.float32)
        self._spec.to_float(images, samples)
        return np.array([self._logits(sample) for sample in samples], np.float32)


def left_and_right(image: np.ndarray) -> list[float]:
    """Logits that change when the image is mirrored."""
    middle = image.shape[1] // 2
    return [float(image[:, :middle].mean()) * 3, float(image[:, middle:].mean()) * 3, 0.5]


def softmax(logits: list[float]) -> np.ndarray:
    powers = np.exp(np.array(logits, np.float64))
    return powers / powers.sum()


@pytest.fixture
def index(tmp_path: Path) -> ims.ImageIndex:
    """Seven images, dark on the left, as PNGs; the second is bad."""
    rng = np.random.default_rng(5)
    for i in range(7):
        pixels = rng.integers(0, 256, (20, 30, 3), np.uint8)
        pixels[:, :15] //= 2 + i
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    (tmp_path / "1.png").write_bytes(b"")
    return ims.scan(tmp_path)


def scored(members: list[Member], index: ims.ImageIndex, **options: Any) -> list[Scored]:
    scorer = Scorer(members, 3, **options)
    return list(scorer.batches(index, None, "python"))


def joined(batches: list[Scored]) -> np.ndarray:
    return np.concatenate([batch.scores for batch in batches])


def images_of(index: ims.ImageIndex, spec: ims.SampleSpec) -> list[np.ndarray]:
    return [image.copy() for images, _ in ims.Stream(index, spec, batch_size=1).batches() for image in images]


def test_scores_are_the_softmax_of_the_logits_batch_by_batch(index: ims.ImageIndex) -> None:
    model = Model(left_and_right)
    batches = scored([Member(model, ["a", "b", "c"], SPEC, 1.0)], index)
    assert [batch.positions.tolist() for batch in batches] == [[0, 2], [3, 4, 5], [6]]
    assert [[(position, error.reason) for position, error in batch.bad] for batch in batches] == [[(1, "empty")], [], []]
    images = images_of(index, SPEC)
    found = joined(batches)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [softmax(left_and_right(image)) for image in images], atol=1e-6)
    pixels = np.concatenate([batch.images for batch in batches])
    assert pixels.dtype == np.uint8
    np.testing.assert_allclose(pixels / 255, images, atol=1e-6)
    assert set(model.shapes) == {(3, 8, 12, 3)}  # always a full batch: one compiled graph


def test_a_device_that_works_on_its_own_has_the_next_batch_before_the_scores_of_one_are_read(index: ims.ImageIndex) -> None:
    at_once, alone = Model(left_and_right), Model(left_and_right, ahead=1)
    batches = Scorer([Member(alone, ["a", "b", "c"], SPEC, 1.0)], 3).batches(index, None, "python")
    started = [(batch.positions.tolist(), len(alone.shapes)) for batch in batches]
    assert started == [([0, 2], 2), ([3, 4, 5], 3), ([6], 3)]
    names = ["a", "b", "c"]
    np.testing.assert_array_equal(
        joined(scored([Member(alone, names, SPEC, 1.0)], index)), joined(scored([Member(at_once, names, SPEC, 1.0)], index))
    )


def test_logits_are_divided_by_the_temperature(index: ims.ImageIndex) -> None:
    found = joined(scored([Member(Model(left_and_right), ["a", "b", "c"], SPEC, 2.5)], index))
    np.testing.assert_allclose(
        found, [softmax([logit / 2.5 for logit in left_and_right(image)]) for image in images_of(index, SPEC)], atol=1e-6
    )


def test_flip_is_the_mean_with_the_mirror_image(index: ims.ImageIndex) -> None:
    found = joined(scored([Member(Model(left_and_right), ["a", "b", "c"], SPEC, 1.0)], index, tta=True))
    images = images_of(index, SPEC)
    both = [(softmax(left_and_right(image)) + softmax(left_and_right(image[:, ::-1]))) / 2 for image in images]
    np.testing.assert_allclose(found, both, atol=1e-6)
    assert np.abs(found - [softmax(left_and_right(image)) for image in images]).max() > 0.05


def test_together_they_score_the_mean_each_with_its_own_spec_temperature_and_order_of_classes(index: ims.ImageIndex) -> None:
    other = ims.SampleSpec(size=(5, 5), fit="crop", scale="signed", channels=1)

    def tall(image: np.ndarray) -> list[float]:  # of classes c, a, b
        assert image.shape == (5, 5, 1)
        return [float(image.mean()), float(image[0].mean()), -float(image[-1].mean())]

    members = [Member(Model(left_and_right), ["a", "b", "c"], SPEC, 1.0), Member(Model(tall, other), ["c", "a", "b"], other, 0.5)]
    batches = scored(members, index)
    second = [softmax([logit / 0.5 for logit in tall(image)])[[1, 2, 0]] for image in images_of(index, other)]
    first = [softmax(left_and_right(image)) for image in images_of(index, SPEC)]
    np.testing.assert_allclose(joined(batches), (np.array(first) + second) / 2, atol=1e-6)
    assert batches[0].images.shape == (2, 8, 12, 3)  # as the first has them
    assert Scorer(members, 3).class_names == ["a", "b", "c"]
    np.testing.assert_allclose(joined(scored(members, index, tta=True)).sum(axis=1), 1, atol=1e-6)


def test_members_that_differ_in_scale_alone_share_the_images(index: ims.ImageIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    from imgstream.prediction import scorer as module

    made = []
    original = module.Stream
    monkeypatch.setattr(module, "Stream", lambda *a, **k: made.append(a) or original(*a, **k))
    member = Member(Model(left_and_right), ["a", "b", "c"], SPEC, 1.0)
    signed = ims.SampleSpec(size=(8, 12), fit="stretch", scale="signed")
    other = Member(Model(left_and_right, signed), ["a", "b", "c"], signed, 1.0)
    one, two, both = (joined(scored(members, index)) for members in ([member], [other], [member, other]))
    assert len(made) == 3
    np.testing.assert_allclose(both, (one + two) / 2, atol=1e-6)


def test_a_file_that_is_bad_for_one_member_is_bad(index: ims.ImageIndex) -> None:
    small = ims.SampleSpec(size=(8, 12), fit="stretch", max_pixels=599)  # all have 600
    ones = Member(Model(left_and_right), ["a", "b", "c"], SPEC, 1.0)
    batches = scored([ones, Member(Model(left_and_right, small), ["a", "b", "c"], small, 1.0)], index)
    assert [batch.positions.tolist() for batch in batches] == [[], [], []]
    assert [batch.scores.shape for batch in batches] == [(0, 3)] * 3
    reasons = [error.reason for batch in batches for _, error in sorted(batch.bad, key=lambda found: found[0])]
    assert reasons == ["too large", "empty", *["too large"] * 5]


def test_runs_of_other_classes_cannot_predict_together() -> None:
    model = Model(left_and_right)
    with pytest.raises(RunError, match=r"different classes .*only runs of the same classes can predict together") as told:
        Scorer([Member(model, ["a", "b", "c"], SPEC, 1.0), Member(model, ["a", "b", "d"], SPEC, 1.0)], 3)
    assert "\n" not in str(told.value)
