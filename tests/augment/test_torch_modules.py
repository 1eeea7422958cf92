"""Transforms of torchvision and kornia as an augmentation. To be run alone, where torch is installed."""

from __future__ import annotations

import pickle
import random
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import imgstream as ims
from imgstream.augment import from_json, resolve, to_json
from imgstream.errors import AugmentError

if "tensorflow" in sys.modules:
    pytest.skip("torch with CUDA crashes where it is loaded after TensorFlow; run this file alone", allow_module_level=True)
torch = pytest.importorskip("torch", reason="torch is no dependency of imgstream")


def picture() -> np.ndarray:
    y, x = np.mgrid[:20, :24]
    waves = 127 + 100 * np.sin(np.stack([x / 5, y / 4, (x + y) / 6], -1))
    return waves.astype(np.uint8)


def draws(augment: Any, count: int = 12) -> list[np.ndarray]:
    policy = resolve(augment)
    assert policy is not None
    return [policy.apply(picture(), np.random.default_rng(seed)) for seed in range(count)]


def test_torchvision_transforms_follow_the_key_and_leave_torch_as_it_was() -> None:
    v2 = pytest.importorskip("torchvision.transforms.v2")
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    chain = v2.Compose([v2.RandomHorizontalFlip(), v2.ColorJitter(0.3, 0.3), v2.RandAugment()])
    one, other = draws(chain), draws(chain)
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert len({image.tobytes() for image in one}) > 6
    assert torch.equal(torch.random.get_rng_state(), before)
    flips = {image.tobytes() for image in draws(v2.RandomHorizontalFlip())}
    assert flips == {picture().tobytes(), np.ascontiguousarray(picture()[:, ::-1]).tobytes()}


def test_kornia_modules_work_in_a_list() -> None:
    kornia = pytest.importorskip("kornia.augmentation")
    chain = [kornia.RandomHorizontalFlip(p=1.0), kornia.RandomBrightness((0.5, 1.5), p=0.0)]
    np.testing.assert_array_equal(draws(chain, 1)[0], picture()[:, ::-1])
    assert len({image.tobytes() for image in draws(kornia.RandomRotation(30.0, p=1.0))}) == 12


def test_batches_are_the_same_for_any_number_of_workers(tmp_path: Path) -> None:
    v2 = pytest.importorskip("torchvision.transforms.v2")
    for i in range(10):
        path = tmp_path / "photos" / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.roll(picture(), i, axis=0))
    augment = v2.Compose([v2.RandomHorizontalFlip(), v2.RandomRotation(20), v2.ColorJitter(0.3)])
    stream = ims.Stream(ims.scan(tmp_path / "photos"), ims.SampleSpec(size=(16, 20)), augment=augment, batch_size=4, shuffle=True)
    expected = [images for images, _ in stream.replace(workers=1).batches()]
    for workers in (2, 5):
        found = [images for images, _ in stream.replace(workers=workers).batches()]
        assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


def test_a_run_keeps_the_name_and_asks_for_the_transform_again() -> None:
    v2 = pytest.importorskip("torchvision.transforms.v2")
    augment = resolve(v2.RandomHorizontalFlip())
    with pytest.raises(AugmentError, match=r"RandomHorizontalFlip.*give it again as augment="):
        from_json(to_json(augment))
    assert np.array_equal(draws(pickle.loads(pickle.dumps(augment)), 1)[0], draws(augment, 1)[0])


def test_what_gives_no_sample_or_draws_elsewhere_is_refused() -> None:
    v2 = pytest.importorskip("torchvision.transforms.v2")
    policy = resolve(v2.ToDtype(torch.float32, scale=True))
    with pytest.raises(AugmentError, match="returned float32"):
        policy.apply(picture(), np.random.default_rng(0))  # type: ignore[union-attr]

    class Own(torch.nn.Module):  # type: ignore[misc]
        def forward(self, image: Any) -> Any:
            return (image.float() * random.random()).to(torch.uint8)

    with pytest.raises(AugmentError, match="draws its random numbers elsewhere than from torch"):
        resolve(Own())
