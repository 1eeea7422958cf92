"""Refuses what is often given as an augmentation and cannot be one, and says what to write instead."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

from imgstream.errors import AugmentError

_SCALED = "pixels are scaled afterwards, as the SampleSpec's scale says (scale='imagenet' is Normalize())"
_ARRAYS = "batches are NumPy arrays (B, H, W, C), as Keras takes them"
_ELSEWHERE = {"Normalize": _SCALED, "ToFloat": _SCALED, "ToTensorV2": _ARRAYS, "ToTensor3D": _ARRAYS}
"""Transforms that pipelines without a SampleSpec need, and what replaces them here."""


def check_arguments(function: Callable[..., Any], name: str) -> None:
    """Raise AugmentError when `function` plainly does not take an image and a generator."""
    if isinstance(function, type):
        raise AugmentError(f"augmentation {name} is a class: give an object of it, such as {name}()")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # compiled code has no signature
        return
    try:
        signature.bind(None, None)
    except TypeError:
        raise AugmentError(
            f"augmentation {name}{signature} cannot be called with an image and a random generator: write def augment(image, rng), which "
            "takes uint8 (H, W, C) and a numpy.random.Generator, and returns an image of the same shape"
        ) from None


def check_transforms(compose: Any, name: str) -> None:
    """Raise AugmentError when a policy makes something other than a uint8 image. A change of size is noticed with the first image."""
    names = [type(transform).__name__ for transform in transforms_of(compose)]
    unwanted = [n for n in dict.fromkeys(names) if n in _ELSEWHERE and not (n == "ToFloat" and "FromFloat" in names)]
    if unwanted:
        why = ", and ".join(dict.fromkeys(_ELSEWHERE[n] for n in unwanted))
        if "Resize" in names:
            unwanted.append("Resize")
            why += "; images come in their size"
        raise AugmentError(f"augmentation {name} has {', '.join(unwanted)}: write it without, for {why}")


def transforms_of(compose: Any) -> Iterator[Any]:
    """The transforms of a policy, including those of policies in it."""
    for transform in getattr(compose, "transforms", ()):
        if hasattr(transform, "transforms"):
            yield from transforms_of(transform)
        else:
            yield transform
