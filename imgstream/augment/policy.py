"""Augmentation that is not built in: an albumentations policy, or a function (image, rng) -> image."""

from __future__ import annotations

import collections
import copy
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from imgstream.augment.checks import transforms_of
from imgstream.augment.function_file import load_attribute
from imgstream.augment.presets import Mix
from imgstream.errors import AugmentError

Function = Callable[[np.ndarray, np.random.Generator], np.ndarray]


class Policy:
    """A user's transform of one sample: uint8 (H, W, C) in and out, after crop and resize, with the sample's own random generator. Samples
    of 16-bit pixels it gets and gives as float32 from 0 to 1, which the libraries of augmentations take too.

    Exactly one of `compose` (an albumentations Compose) and `function` is given. Each thread has its own copy of a compose, because
    albumentations keeps its random state in the object.
    """

    def __init__(self, name: str, *, compose: Any = None, function: Function | None = None, source: str | None = None) -> None:
        self.name, self.compose, self.function = name, compose, function
        self.source = source
        """"file.py:function" if it came from there: a resumed run finds it again by this."""
        self.mix: Callable[[np.random.Generator], Mix] | None = None
        """Draws how a sample is mixed with the next one of its batch; None for what mixes nothing."""
        self._idle: collections.deque[Any] = collections.deque()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_idle": collections.deque()}

    def __reduce_ex__(self, protocol: Any) -> Any:
        if self.function is not None and self.source is not None:  # other processes lack its module, and load it from its file
            return _from_source, (self.source,)
        return super().__reduce_ex__(protocol)

    def mixing(self, rng: np.random.Generator) -> Mix | None:
        """How the sample is mixed with the next one of its batch. To be drawn before `apply`, from the same generator."""
        return self.mix(rng) if self.mix is not None else None

    def to_json(self) -> dict[str, Any]:
        """What a run folder keeps. An albumentations policy is kept whole, in its own serialised form; a function by where it came from."""
        if self.compose is None:
            return {"kind": "function", "name": self.name, "source": self.source}
        try:
            policy = self.compose.to_dict()
        except Exception as error:
            raise AugmentError(f"augmentation {self.name} cannot be saved with the run: {error}. Give it as file.py:function") from error
        return {"kind": "albumentations", "name": self.name, "policy": policy}

    def apply(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The transformed image, of the shape and dtype of `image`, uint8 or uint16. Raises AugmentError when the transform fails, or
        returns another shape or dtype.
        """
        deep = image.dtype == np.uint16
        # The transform may keep what it is given, and may write to it.
        given = np.multiply(image, np.float32(1 / 65_535), dtype=np.float32) if deep else image.copy()
        told = f"{given.dtype} {given.shape}"
        try:
            result = self._transform(given, rng)
        except Exception as error:
            raise AugmentError(f"augmentation {self.name} failed: {type(error).__name__}: {error}") from error
        found = f"{getattr(result, 'dtype', type(result).__name__)} {getattr(result, 'shape', '')}".strip()
        if isinstance(result, np.ndarray) and result.ndim == 2 and image.shape[2] == 1:
            result = result[..., None]
        if not isinstance(result, np.ndarray) or result.shape != image.shape or result.dtype != given.dtype:
            raise AugmentError(
                f"augmentation {self.name} returned {found}; it was given {told} and must return the same. "
                + (self._culprit(given) or "Scaling to float is the SampleSpec's work; resizing too")
            )
        return np.rint(65_535 * np.clip(result, 0, 1)).astype(np.uint16) if deep else result

    def _transform(self, image: np.ndarray, rng: np.random.Generator) -> Any:
        if self.function is not None:
            return self.function(image, rng)
        try:
            compose = self._idle.pop()
        except IndexError:
            compose = copy.deepcopy(self.compose)
        try:
            # One generator for all transforms, not set_random_seed: that gives every transform of the policy the same seed.
            compose.set_random_state(rng, random.Random(int(rng.integers(2**63))))
            return compose(image=image)["image"]
        finally:
            self._idle.append(compose)

    def _culprit(self, image: np.ndarray) -> str:
        """Which transform of an albumentations policy changes the shape or dtype first when it runs alone, and what to do; "" if none
        does.
        """
        for transform in transforms_of(self.compose):
            alone = copy.deepcopy(transform)
            alone.p = 1.0
            try:
                result = alone(image=image.copy())["image"]
            except Exception:  # it cannot run alone, so it cannot be blamed
                continue
            if result.shape != image.shape or result.dtype != image.dtype:
                advice = "give it the size that the images have" if result.dtype == image.dtype else f"have it give {image.dtype}"
                return f"{type(transform).__name__} gives {result.dtype} {result.shape}: {advice}, or leave it out"
        return ""


def _from_source(source: str) -> Policy:
    path, _, function = source.rpartition(":")
    return Policy(function, function=load_attribute(Path(path), function, source), source=source)
