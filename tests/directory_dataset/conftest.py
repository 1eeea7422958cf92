from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve PNGs and JPEGs of a few pixels in cats, dogs and the folders below them, whose names Keras and a walk sort differently."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(1)
    places = ["cats/old/deep", "cats/old", "cats/old-2", "cats", "dogs/b", "dogs"]
    for i in range(12):
        folder = root / places[i % 6]
        folder.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(rng.integers(0, 256, (9 + i, 14, 3), np.uint8))
        picture.save(folder / (f"{i:02}.png" if i % 2 else f"{i:02}.JPG"))
    return root


@pytest.fixture
def picture() -> Callable[..., None]:
    """Writes an image of noise."""

    def write(path: Path, height: int = 12, width: int = 17, channels: int = 3, **options: object) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        y, x = np.mgrid[:height, :width]
        waves = 127 + 100 * np.sin(np.stack([x / 5, y / 4, (x + y) / 6, (x - y) / 3], -1)[..., :channels])
        Image.fromarray(waves.astype(np.uint8).squeeze()).save(path, **options)

    return write
