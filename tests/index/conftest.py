import os
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder of this test alone."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("IMGSTREAM_CACHE", str(folder))
    return folder


@pytest.fixture
def tree(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder `photos` with empty files at the given relative paths, in UTF-8; a path that ends in "/" is an empty folder."""

    def make(*paths: str) -> Path:
        root = tmp_path / "photos"
        root.mkdir(exist_ok=True)
        for path in paths:
            target = root / os.fsdecode(path.encode("utf-8", "surrogateescape"))
            if path.endswith("/"):
                target.mkdir(parents=True)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.touch()
        return root

    return make
