import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import numpy as np
import pytest
from PIL import Image

import imgstream as ims


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The index's cache folder of this test alone."""
    monkeypatch.setenv("IMGSTREAM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder of `n` small noisy images in classes a, b and c, by turns; the files at positions `bad` of the index are HTML."""

    def make(n: int = 40, bad: tuple[int, ...] = ()) -> Path:
        root = tmp_path / "photos"
        rng = np.random.default_rng(n)
        for i in range(n):
            path = root / "abc"[3 * i // n] / f"{i:03}.{'png' if i % 3 else 'jpg'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            if i in bad:
                path.write_text("<html>no such image</html>")
                continue
            height, width = rng.integers(20, 60, 2)
            Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(path)
        return root

    return make


@pytest.fixture
def spec() -> ims.SampleSpec:
    return ims.SampleSpec(size=(16, 12))


@pytest.fixture
def entered() -> Callable[[Callable[[], object]], list[str]]:
    """Calls a function and names the Python functions that ran meanwhile in this thread: a Ctrl-C may raise KeyboardInterrupt in any."""

    def run(function: Callable[[], object]) -> list[str]:
        names: list[str] = []

        def note(frame: FrameType, event: str, argument: object) -> None:
            if event == "call":
                names.append(frame.f_code.co_qualname)

        before = sys.getprofile()
        sys.setprofile(note)
        try:
            function()
        finally:
            sys.setprofile(before)
        return names

    return run
