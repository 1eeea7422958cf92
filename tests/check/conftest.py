from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

Photo = Callable[..., Image.Image]


@pytest.fixture
def photo() -> Photo:
    """Draws a picture as smooth as a photograph, another one for each number."""

    def draw(number: int, width: int = 200, height: int = 150) -> Image.Image:
        coarse = np.random.default_rng(number).integers(0, 256, (9, 12, 3), np.uint8)
        return Image.fromarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))

    return draw


@pytest.fixture
def folder(tmp_path: Path, photo: Photo) -> Path:
    """a/ and b/ with ten different pictures each."""
    root = tmp_path / "photos"
    for name, first in (("a", 0), ("b", 10)):
        (root / name).mkdir(parents=True)
        for i in range(10):
            photo(first + i).save(root / name / f"{i}.jpg", quality=90)
    return root
