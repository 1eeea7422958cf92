"""The user's own augmentation: given the sample's generator, checked for what it returns, and kept from global state."""

from __future__ import annotations

import pickle
import random
from typing import Any

import albumentations as A  # noqa: N812 - as its own documentation has it
import numpy as np
import pytest

from imgstream.augment import Policy, resolve
from imgstream.errors import AugmentError
from imgstream.order import sample_generator

IMAGE = np.random.default_rng(0).integers(0, 256, (12, 10, 3), np.uint8)


def policy(augment: Any) -> Policy:
    resolved = resolve(augment)
    assert isinstance(resolved, Policy)
    return resolved


def noisy() -> A.Compose:
    return A.Compose(
        [A.HorizontalFlip(p=0.5), A.OneOf([A.GaussNoise(p=1), A.RandomBrightnessContrast(p=1)], p=0.9), A.CoarseDropout(p=0.7)]
    )


def test_a_function_is_given_the_image_and_the_generator() -> None:
    def add(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return image ^ rng.integers(0, 256, image.shape, np.uint8)

    expected = IMAGE ^ sample_generator(1, 2, 3).integers(0, 256, IMAGE.shape, np.uint8)
    assert np.array_equal(policy(add).apply(IMAGE, sample_generator(1, 2, 3)), expected)


def test_a_function_may_write_to_what_it_is_given() -> None:
    def blacken(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        image[:] = 0
        return image

    before = IMAGE.copy()
    assert not policy(blacken).apply(IMAGE, sample_generator(0, 0, 0)).any()
    assert np.array_equal(IMAGE, before)


def test_a_grey_sample_may_come_back_without_its_channel_axis() -> None:
    result = policy(lambda image, rng: image[..., 0]).apply(IMAGE[..., :1], sample_generator(0, 0, 0))
    assert np.array_equal(result, IMAGE[..., :1])


@pytest.mark.parametrize("augment", [noisy(), A.GaussNoise(p=1), A.OneOf([A.GaussNoise(p=1), A.CoarseDropout(p=1)], p=1)])
def test_an_albumentations_policy_draws_from_the_samples_key_alone(augment: Any) -> None:
    one, other = policy(augment), policy(augment)
    forwards = [one.apply(IMAGE, sample_generator(0, 0, row)) for row in range(12)]
    backwards = [other.apply(IMAGE, sample_generator(0, 0, row)) for row in reversed(range(12))][::-1]
    assert all(map(np.array_equal, forwards, backwards))
    assert len({image.tobytes() for image in forwards}) > 6


def test_an_albumentations_policy_touches_no_global_random_state() -> None:
    before, numpy_before = random.getstate(), np.random.get_state()  # noqa: NPY002 - to see that nobody uses it
    one = policy(noisy())
    for row in range(5):
        one.apply(IMAGE, sample_generator(0, 0, row))
    after = np.random.get_state()  # noqa: NPY002
    assert random.getstate() == before
    assert np.array_equal(after[1], numpy_before[1])
    assert after[2:] == numpy_before[2:]


def test_the_policy_that_the_user_holds_is_left_as_it_was() -> None:
    compose = A.Compose([A.GaussNoise(p=1)], seed=5)
    twin = A.Compose([A.GaussNoise(p=1)], seed=5)
    policy(compose).apply(IMAGE, sample_generator(0, 0, 0))
    assert np.array_equal(compose(image=IMAGE)["image"], twin(image=IMAGE)["image"])


def test_a_failing_function_is_named_with_its_error() -> None:
    def breaks(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        raise ZeroDivisionError("of sheep")

    with pytest.raises(AugmentError, match=r"breaks failed: ZeroDivisionError: of sheep"):
        policy(breaks).apply(IMAGE, sample_generator(0, 0, 0))


@pytest.mark.parametrize(
    ("returned", "found"),
    [
        (IMAGE[:5], r"uint8 \(5, 10, 3\)"),
        (IMAGE / 255, r"float64 \(12, 10, 3\)"),
        (IMAGE[..., 0], r"uint8 \(12, 10\)"),
        (None, "NoneType"),
        ({"image": IMAGE}, "dict"),
    ],
)
def test_what_is_no_sample_is_refused_and_told(returned: Any, found: str) -> None:
    with pytest.raises(AugmentError, match=rf"<lambda> returned {found}; it was given uint8 \(12, 10, 3\) and must return the same"):
        policy(lambda image, rng: returned).apply(IMAGE, sample_generator(0, 0, 0))


class Halves(A.ImageOnlyTransform):
    def apply(self, img: np.ndarray, **_: Any) -> np.ndarray:
        return img / np.float32(2)


@pytest.mark.parametrize(
    ("guilty", "found"),
    [
        (A.Resize(6, 6), r"Resize gives uint8 \(6, 6, 3\): give it the size that the images have, or leave it out"),
        (A.Sequential([A.CenterCrop(6, 6)]), r"CenterCrop gives uint8 \(6, 6, 3\): give it the size"),
        (Halves(), r"Halves gives float32 \(12, 10, 3\): have it give uint8"),
    ],
)
def test_the_guilty_transform_of_a_policy_is_named(guilty: Any, found: str) -> None:
    with pytest.raises(AugmentError, match=found):
        policy(A.Compose([A.HorizontalFlip(p=1), guilty])).apply(IMAGE, sample_generator(0, 0, 0))


def test_a_policy_can_be_pickled() -> None:
    one = policy(noisy())
    expected = one.apply(IMAGE, sample_generator(0, 0, 4))
    assert np.array_equal(pickle.loads(pickle.dumps(one)).apply(IMAGE, sample_generator(0, 0, 4)), expected)
