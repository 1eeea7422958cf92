"""Keras layers as an augmentation: whatever they draw follows from the key of the sample."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import imgstream as ims
from imgstream.augment import from_json, resolve, to_json
from imgstream.errors import AugmentError

keras = pytest.importorskip("keras")
layers = keras.layers


def picture(height: int = 20, width: int = 24) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    waves = 127 + 100 * np.sin(np.stack([x / 5, y / 4, (x + y) / 6], -1))
    return waves.astype(np.uint8)


def draws(augment: Any, count: int = 12) -> list[np.ndarray]:
    policy = resolve(augment)
    assert policy is not None
    return [policy.apply(picture(), np.random.default_rng(seed)) for seed in range(count)]


@pytest.fixture
def index(tmp_path: Path) -> ims.ImageIndex:
    import cv2

    for i in range(9):
        path = tmp_path / "photos" / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.roll(picture(), i, axis=0))
    return ims.scan(tmp_path / "photos")


MADE: dict[str, Callable[[], Any]] = {
    "RandomFlip": lambda: layers.RandomFlip("horizontal"),
    "RandomRotation": lambda: layers.RandomRotation(0.2),
    "RandomTranslation": lambda: layers.RandomTranslation(0.3, 0.3),
    "RandomShear": lambda: layers.RandomShear(0.3, 0.3),
    "RandomErasing": lambda: layers.RandomErasing(),
    "RandomColorJitter": lambda: layers.RandomColorJitter(brightness_factor=0.4, contrast_factor=0.4),
    "RandAugment": lambda: layers.RandAugment(),
    "AugMix": lambda: layers.AugMix(),
    "Sequential": lambda: keras.Sequential([layers.RandomFlip("horizontal"), layers.RandomBrightness(0.3)]),
    "Pipeline": lambda: layers.Pipeline([layers.RandomContrast(0.3), layers.RandomZoom(0.2)]),
}


@pytest.mark.quick("RandomFlip")
@pytest.mark.parametrize("make", MADE.values(), ids=MADE.keys())
def test_a_layer_gives_the_same_for_the_same_key_and_varies_with_it(make: Callable[[], Any]) -> None:
    one, other = draws(make()), draws(make())
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert len({image.tobytes() for image in one}) > 1
    assert all(image.shape == (20, 24, 3) and image.dtype == np.uint8 for image in one)


def test_a_flip_by_a_layer_is_a_flip() -> None:
    found = {image.tobytes() for image in draws(layers.RandomFlip("horizontal"), 20)}
    assert found == {picture().tobytes(), np.ascontiguousarray(picture()[:, ::-1]).tobytes()}


@pytest.mark.slow
def test_height_and_width_are_moved_independently() -> None:
    """A whole number as seed would give both draws the same number."""
    moved = np.zeros((31, 31, 3), np.uint8)
    moved[15, 15] = 255
    policy = resolve(layers.RandomTranslation(0.4, 0.4, fill_mode="constant", interpolation="nearest"))
    places = [np.argwhere(policy.apply(moved, np.random.default_rng(seed))[..., 0])[0] - 15 for seed in range(40)]  # type: ignore[union-attr]
    down, across = np.array(places).T
    assert abs(np.corrcoef(down, across)[0, 1]) < 0.5


@pytest.mark.slow
@pytest.mark.parametrize("pipeline", ["python", "tf"])
def test_batches_are_the_same_for_any_number_of_workers_and_in_both_pipelines(index: ims.ImageIndex, pipeline: Any) -> None:
    augment = [layers.RandomFlip("horizontal"), layers.RandomRotation(0.1), layers.MixUp(0.4)]
    stream = ims.Stream(index, ims.SampleSpec(size=(16, 20)), augment=augment, batch_size=4, shuffle=True, seed=3)
    expected = list(stream.replace(workers=1).batches(epoch=1))
    for workers in (1, 2):
        found = list(stream.replace(workers=workers, pipeline=pipeline).batches(epoch=1))
        for (images, labels), (others, other_labels) in zip(found, expected, strict=True):
            np.testing.assert_allclose(images, others, rtol=0, atol=1e-6)
            np.testing.assert_allclose(labels, other_labels, rtol=0, atol=1e-6)


@pytest.mark.quick("CutMix")
@pytest.mark.parametrize("layer", ["MixUp", "CutMix"])
def test_mixing_layers_mix_samples_and_labels_by_the_same_share(index: ims.ImageIndex, layer: str) -> None:
    mixer = layers.MixUp(0.8) if layer == "MixUp" else layers.CutMix()
    stream = ims.Stream(index, ims.SampleSpec(size=(20, 24), fit="stretch", scale="raw"), batch_size=9, workers=1)
    ((plain, classes),) = stream.batches()
    ((mixed, labels),) = stream.replace(augment=mixer).batches()
    assert labels.dtype == np.float32
    np.testing.assert_allclose(labels.sum(axis=1), 1, atol=1e-5)
    changed = 0
    for i in range(9):
        own, partner = plain[i], plain[(i + 1) % 9]
        if layer == "MixUp":
            at = np.abs(own - partner) > 20
            share = float(np.median(((mixed[i] - partner) / np.where(at, own - partner, 1))[at]))
        else:
            assert (np.isclose(mixed[i], own, atol=1e-3) | np.isclose(mixed[i], partner, atol=1e-3)).all()
            share = float(np.isclose(mixed[i], own, atol=1e-3).all(axis=-1).mean())
        changed += share < 0.99
        if classes[i] != classes[(i + 1) % 9]:
            assert labels[i, classes[i]] == pytest.approx(share, abs=0.02 if layer == "MixUp" else 0.15)
    assert changed > 3


# ---- files, runs and other processes


@pytest.mark.quick("keras")
@pytest.mark.parametrize("suffix", ["keras", "json"])
def test_layers_in_a_file_are_those_that_were_saved(tmp_path: Path, suffix: str) -> None:
    model = keras.Sequential([keras.Input((None, None, 3)), layers.RandomFlip("horizontal"), layers.RandomShear(0.3, 0.3)])
    file = tmp_path / f"layers.{suffix}"
    if suffix == "keras":
        model.save(file)
    else:
        file.write_text(model.to_json())
    assert resolve(str(file)).name == "RandomFlip, RandomShear"  # type: ignore[union-attr]
    assert all(np.array_equal(a, b) for a, b in zip(draws(str(file), 4), draws(list(model.layers), 4), strict=True))


def test_a_run_keeps_layers_whole_and_another_process_gets_them() -> None:
    augment = resolve([layers.RandomFlip(), layers.RandomShear(0.2), layers.CutMix(0.7)])
    kept = json.loads(json.dumps(to_json(augment)))
    assert (kept["kind"], kept["name"]) == ("keras", "RandomFlip, RandomShear, CutMix")
    assert to_json(resolve([layers.RandomFlip(), layers.RandomShear(0.2), layers.CutMix(0.7)])) == kept, "as a resumed run compares it"
    for other in (from_json(kept), pickle.loads(pickle.dumps(augment))):
        assert all(np.array_equal(a, b) for a, b in zip(draws(other, 4), draws(augment, 4), strict=True))
        assert other.mixing(np.random.default_rng(5)) == augment.mixing(np.random.default_rng(5))  # type: ignore[union-attr]


class Own(layers.Layer):  # type: ignore[misc]
    """A layer as users write them; `keyed` draws from a generator of its own."""

    def __init__(self, keyed: bool = True, **options: Any) -> None:
        super().__init__(**options)
        self.keyed = keyed
        self.generator = keras.random.SeedGenerator(1)

    def call(self, image: Any, training: bool = True) -> Any:
        return image + keras.random.uniform((1, 1, 1), -50, 50, seed=self.generator if self.keyed else None)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "keyed": self.keyed}


def test_a_layer_of_ones_own_works_where_it_draws_from_its_own_generator() -> None:
    assert len({image.tobytes() for image in draws(Own())}) > 8
    assert all(np.array_equal(a, b) for a, b in zip(draws(Own(), 3), draws(Own(), 3), strict=True))
    with pytest.raises(AugmentError, match=r"no image layer of Keras\. Layers of your own are given in Python"):
        from_json(json.loads(json.dumps(to_json(resolve(Own())))))


# ---- what it refuses


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Own(keyed=False), "gives another image each time for the same seed.*SeedGenerator"),
        (lambda: layers.Rescaling(1 / 255), "scales pixels, which is the SampleSpec's work"),
        (lambda: layers.RandomBrightness(0.2, value_range=(0, 1)), r"value_range=\(0, 255\)"),
        (lambda: layers.RandomFlip(data_format="channels_first"), "channels first"),
        (lambda: [layers.MixUp(), layers.RandomFlip()], "comes last"),
        (lambda: [layers.CutMix(), layers.MixUp()], "one of them"),
        (lambda: [layers.RandomFlip(), print], "must have nothing else"),
        (lambda: keras.Model(inputs := keras.Input((4, 4, 3)), layers.RandomFlip()(inputs)), "a graph of its own"),
    ],
    ids=["draws elsewhere", "scales", "another range", "channels first", "mixes first", "mixes twice", "mixed list", "functional"],
)
def test_what_cannot_be_an_augmentation_is_refused_with_what_to_do(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(AugmentError, match=message):
        resolve(make())


def test_a_layer_that_changes_the_size_is_an_error_that_names_it() -> None:
    policy = resolve(layers.Resizing(8, 8))
    with pytest.raises(AugmentError, match=r"augmentation Resizing returned uint8 \(8, 8, 3\)"):
        policy.apply(picture(), np.random.default_rng(0))  # type: ignore[union-attr]


@pytest.mark.parametrize("named", ["Lambda", "TFSMLayer", "os>system"])
def test_a_file_cannot_name_code(tmp_path: Path, named: str) -> None:
    part = {"module": "keras.layers", "class_name": named, "config": {}, "registered_name": None}
    if ">" in named:
        part |= {"class_name": "RandomFlip", "registered_name": named}
    nested = {"module": "keras", "class_name": "Sequential", "config": {"layers": [part]}, "registered_name": None}
    (tmp_path / "layers.json").write_text(json.dumps(nested))
    with pytest.raises(AugmentError, match="no image layer of Keras"):
        resolve(str(tmp_path / "layers.json"))


def test_what_is_no_file_of_layers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AugmentError, match="no such file"):
        resolve(str(tmp_path / "none.keras"))
    (tmp_path / "text.keras").write_text("layers")
    with pytest.raises(AugmentError, match="no model that Keras saved"):
        resolve(str(tmp_path / "text.keras"))
    with zipfile.ZipFile(tmp_path / "bomb.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", b" " * (17 << 20))
    with pytest.raises(AugmentError, match="more than"):
        resolve(str(tmp_path / "bomb.keras"))
    (tmp_path / "other.json").write_text('[{"class_name": 3}]')
    with pytest.raises(AugmentError, match="no image layer"):
        resolve(str(tmp_path / "other.json"))
