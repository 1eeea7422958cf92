"""What a user may give as augment, what a run folder keeps of it, and what they read when it cannot be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import albumentations as A  # noqa: N812 - as its own documentation has it
import numpy as np
import pytest

from imgstream.augment import PRESETS, Policy, from_json, resolve, to_json
from imgstream.errors import AugmentError
from imgstream.order import sample_generator

IMAGE = np.random.default_rng(0).integers(0, 256, (12, 10, 3), np.uint8)
COMPOSE = A.Compose([A.HorizontalFlip(p=0.5), A.Rotate(limit=(-30, 30), p=0.9), A.GaussNoise(p=0.8)])

CODE = """
import albumentations as A

def invert(image, rng):
    return 255 - image

policy = A.Compose([A.VerticalFlip(p=1)])
number = 3
"""


def pixels(augmentation: Any) -> list[np.ndarray]:
    assert isinstance(augmentation, Policy)
    return [augmentation.apply(IMAGE, sample_generator(0, 1, row)) for row in range(8)]


def same(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return all(map(np.array_equal, one, other))


def kept(augmentation: Any) -> Any:
    """As it comes back from a run folder."""
    return from_json(json.loads(json.dumps(to_json(augmentation))))


@pytest.fixture
def code(tmp_path: Path) -> Path:
    path = tmp_path / "my augment.py"
    path.write_text(CODE)
    return path


# ---- what can be given


@pytest.mark.parametrize("given", [None, "none"])
def test_nothing_and_none_are_no_augmentation(given: str | None) -> None:
    assert resolve(given) is None
    assert kept(resolve(given)) is None


@pytest.mark.parametrize("name", ["light", "standard", "strong"])
def test_a_preset_is_known_by_its_name(name: str) -> None:
    preset = resolve(name)
    assert preset is PRESETS[name]
    assert resolve(preset) is preset
    assert kept(preset) is preset


@pytest.mark.parametrize("suffix", [".yaml", ".yml", ".json", ".JSON"])
def test_a_policy_file_gives_the_pixels_of_the_policy_that_was_saved(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"policy{suffix}"
    A.save(COMPOSE, path, data_format="json" if suffix.lower() == ".json" else "yaml")
    assert same(pixels(resolve(str(path))), pixels(resolve(COMPOSE)))
    assert same(pixels(resolve(path)), pixels(resolve(COMPOSE)))


def test_a_policy_file_may_hold_a_single_transform(tmp_path: Path) -> None:
    A.save(A.VerticalFlip(p=1), tmp_path / "flip.json")
    assert np.array_equal(pixels(resolve(tmp_path / "flip.json"))[0], IMAGE[::-1])


@pytest.mark.parametrize("augment", [COMPOSE, A.GaussNoise(p=1), A.OneOf([A.VerticalFlip(p=1), A.HorizontalFlip(p=1)], p=1)])
def test_an_albumentations_policy_comes_back_whole_from_a_run(augment: Any) -> None:
    policy = resolve(augment)
    assert same(pixels(kept(policy)), pixels(policy))


def test_a_function_of_a_file_is_known_by_its_source(code: Path) -> None:
    policy = resolve(f"{code}:invert")
    assert isinstance(policy, Policy)
    assert np.array_equal(pixels(policy)[0], 255 - IMAGE)
    assert policy.source == f"{code}:invert"


def test_a_relative_source_is_kept_absolute(code: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(code.parent)
    assert to_json(resolve("my augment.py:invert"))["source"] == f"{code}:invert"


def test_an_albumentations_policy_of_a_python_file_is_taken_as_one(code: Path) -> None:
    policy = resolve(f"{code}:policy")
    assert np.array_equal(pixels(policy)[0], IMAGE[::-1])
    code.unlink()
    assert same(pixels(kept(policy)), pixels(policy))


def test_a_callable_object_is_known_by_its_class() -> None:
    class Shift:
        def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
            return np.roll(image, 1, axis=0)

    policy = resolve(Shift())
    assert isinstance(policy, Policy)
    assert policy.name.endswith("Shift")
    assert np.array_equal(pixels(policy)[0], np.roll(IMAGE, 1, axis=0))


# ---- what cannot


def test_an_unknown_name_lists_the_choices() -> None:
    with pytest.raises(
        AugmentError,
        match=r"no augmentation named 'stronk': choose none, light, standard, strong, randaugment, trivialaugment, a policy\.yaml",
    ):
        resolve("stronk")


def test_a_list_of_albumentations_transforms_is_composed(tmp_path: Path) -> None:
    for given in (COMPOSE.transforms, tuple(COMPOSE.transforms)):
        policy = resolve(given)
        assert same(pixels(policy), pixels(resolve(COMPOSE)))
        assert same(pixels(kept(policy)), pixels(policy))
    code = tmp_path / "mine.py"
    code.write_text("import albumentations as A\npolicy = [A.VerticalFlip(p=1)]\n")
    assert np.array_equal(pixels(resolve(f"{code}:policy"))[0], IMAGE[::-1])


@pytest.mark.parametrize("other", ["light", np.flipud])
def test_a_list_of_other_things_says_to_write_a_function(other: Any) -> None:
    with pytest.raises(AugmentError, match=r"a list as augment must be .*write one function, def augment\(image, rng\).* got"):
        resolve([A.HorizontalFlip(), other])


def test_a_function_of_one_argument_is_told_what_to_write(tmp_path: Path) -> None:
    class Old:
        def __call__(self, image: np.ndarray) -> np.ndarray:
            return image

    code = tmp_path / "mine.py"
    code.write_text("def flip(image):\n    return image\n")
    given: tuple[Any, ...] = (lambda image: image, lambda image, *, rng: image, np.flipud, Old(), f"{code}:flip")
    for augment in given:
        with pytest.raises(AugmentError, match=r"cannot be called with an image and a random generator: write def augment\(image, rng\)"):
            resolve(augment)
    assert isinstance(resolve(lambda image, rng, strength=1: image), Policy)
    with pytest.raises(AugmentError, match=r"HorizontalFlip is a class: give an object of it, such as HorizontalFlip\(\)"):
        resolve(A.HorizontalFlip)


class ToTensorV2(A.ImageOnlyTransform):
    """As albumentations.pytorch has it, without torch."""

    def apply(self, img: np.ndarray, **_: Any) -> np.ndarray:
        return img.transpose(2, 0, 1)


@pytest.mark.parametrize(
    ("transforms", "told"),
    [
        ([A.HorizontalFlip(), A.Normalize()], "has Normalize: write it without, for pixels are scaled afterwards"),
        ([A.OneOf([A.Blur(), A.ToFloat()])], "has ToFloat: write it without, for pixels are scaled afterwards"),
        ([ToTensorV2()], "has ToTensorV2: write it without, for batches are NumPy arrays"),
        (
            [A.Resize(224, 224), A.Normalize(), ToTensorV2()],
            "has Normalize, ToTensorV2, Resize: write it without, for pixels .* and batches .* images come in their size",
        ),
    ],
)
def test_a_pipeline_that_scales_or_makes_tensors_is_told_to_do_without(transforms: list[Any], told: str) -> None:
    for given in (transforms, A.Compose(transforms)):
        with pytest.raises(AugmentError, match=told):
            resolve(given)


def test_a_policy_may_compute_in_floats_that_it_takes_back() -> None:
    assert pixels(resolve([A.ToFloat(), A.GaussNoise(p=1), A.FromFloat(dtype="uint8")]))[0].dtype == np.uint8


@pytest.mark.parametrize("given", [3, {"light": 1}, object()])
def test_what_cannot_be_an_augmentation_is_shown(given: Any) -> None:
    with pytest.raises(AugmentError, match=r"augment must be .* got"):
        resolve(given)


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"a: [1", "is no YAML or JSON"),
        (b"\xff\xfe\x00", "cannot read the augmentation policy"),
        (b"just words", "is no albumentations policy: it must be what albumentations.save"),
        (b"", "is no albumentations policy"),
        (b'{"transform": 3}', "is no albumentations policy"),
        (b'{"transform": {"__class_fullname__": "os.system"}}', r"names os\.system, which is no transform of albumentations"),
        (b'{"transform": {"__class_fullname__": "Lambda", "__name__": "f"}}', "albumentations cannot load the policy"),
        (b"!!python/object/apply:os.system ['exit 1']", "is no YAML or JSON"),
        (b'{"transform": {"__class_fullname__": "NoSuchTransform"}}', "albumentations cannot load the policy .*NoSuchTransform"),
    ],
)
def test_a_bad_policy_file_is_refused_with_its_reason(tmp_path: Path, contents: bytes, message: str) -> None:
    path = tmp_path / "policy.yaml"
    path.write_bytes(contents)
    with pytest.raises(AugmentError, match=message) as caught:
        resolve(str(path))
    assert str(path) in str(caught.value)


def test_a_missing_policy_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(AugmentError, match=r"^no such file: .*gone\.json"):
        resolve(tmp_path / "gone.json")


def test_errors_of_a_python_file(code: Path) -> None:
    with pytest.raises(AugmentError, match=r"no such file: nowhere\.py \(from --augment nowhere\.py:f\)"):
        resolve("nowhere.py:f")
    with pytest.raises(AugmentError, match=r"has no function 'convert'; found: invert"):
        resolve(f"{code}:convert")
    with pytest.raises(AugmentError, match=r"number in .* is a int, not a function"):
        resolve(f"{code}:number")
    code.write_text("1 / 0")
    with pytest.raises(AugmentError, match="cannot be imported: ZeroDivisionError: division by zero"):
        resolve(f"{code}:invert")


def test_a_python_function_of_a_run_must_be_given_again() -> None:
    def mine(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return image

    data = to_json(resolve(mine))
    with pytest.raises(AugmentError, match=r"trained with the Python function .*mine: give it again as augment="):
        from_json(data)


@pytest.mark.parametrize("kind", ["function", "preset", "else"])
def test_code_that_a_run_folder_names_is_not_run(code: Path, kind: str) -> None:
    ran = code.with_name("ran")
    code.write_text(f"open({str(ran)!r}, 'w').close()\ninvert = max\n")
    with pytest.raises(AugmentError, match="give it again as augment="):
        from_json({"format": 1, "kind": kind, "name": f"{code}:invert", "source": f"{code}:invert"})
    assert not ran.exists()
    resolve(f"{code}:invert")
    assert ran.exists()


def test_a_policy_that_cannot_be_saved_says_what_to_do() -> None:
    def mine(image: np.ndarray, **_: Any) -> np.ndarray:
        return image

    with pytest.raises(AugmentError, match=r"cannot be saved with the run: .*Give it as file\.py:function"):
        to_json(resolve(A.Compose([A.Lambda(image=mine, p=1)])))


def test_an_augmentation_of_another_format_is_refused() -> None:
    with pytest.raises(AugmentError, match=r"format 9; this imgstream reads format 1"):
        from_json({"format": 9, "kind": "none"})


def test_albumentations_never_asks_the_network_for_updates() -> None:
    environment = {k: v for k, v in os.environ.items() if k != "NO_ALBUMENTATIONS_UPDATE"}
    code = "import os, imgstream; print(os.environ['NO_ALBUMENTATIONS_UPDATE'])"
    printed = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "1"
