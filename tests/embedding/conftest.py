from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

import imgstream as ims


class Means:
    """A network without layers: an image's features are `gain` × the mean of each channel, and its first pixel's red."""

    output_shape = (None, 4)
    jit_compile = False

    def __init__(self, gain: float = 1.0) -> None:
        self._gain = gain

    def get_weights(self) -> list[np.ndarray]:
        return [np.array([self._gain], np.float32)]

    def __call__(self, images: Any, training: bool) -> Any:
        return self._gain * keras.ops.concatenate([keras.ops.mean(images, axis=(1, 2)), images[:, 0, 0, :1]], axis=1)


@pytest.fixture
def model() -> Means:
    return Means()


@pytest.fixture
def spec() -> ims.SampleSpec:
    return ims.SampleSpec(size=(4, 6), fit="stretch", scale="raw")


LEVELS = {
    b"cats/a\nb.png": 10,
    b"cats/c\xff.png": 20,
    b"cats/d.png": 30,
    b'dogs/=1,".png': 110,
    b"dogs/\xc3\xa9.png": 120,
    b"eels/f.png": 210,
}
"""Hostile names, and how light their images are."""


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """The images of LEVELS, each of one level, and dogs/bad.png, which is empty."""
    folder = tmp_path / "photos"
    for name, level in LEVELS.items():
        path = os.fsencode(folder) + b"/" + name
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            Image.fromarray(np.full((8, 12, 3), level, np.uint8)).save(file, "PNG")
    (folder / "dogs" / "bad.png").write_bytes(b"")
    return folder
