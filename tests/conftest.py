from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).parents[1]

os.environ["COLUMNS"] = "120"  # of the help, which is laid out for the terminal that the suite is started from
for name in ("FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS", "TTY_COMPATIBLE", "TERMINAL_WIDTH"):  # some are read when typer is imported
    os.environ.pop(name, None)
# Nothing of earlier runs, which also need not be writable; and no example is too slow, as on a busy machine many are.
settings.register_profile("suite", database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell in the background has its children ignore Ctrl-C: the tests send it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nor does a fixture that several tests share: it is made before a test's own_cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IMGSTREAM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or leaves tables in the user's own cache folder."""
    monkeypatch.setenv("IMGSTREAM_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def two_classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 small JPEGs of dark/ and light/: told apart by any network in a few steps."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for name, level in (("dark", 40), ("light", 200)):
        (folder / name).mkdir()
        for i in range(20):
            image = np.clip(rng.normal(level, 25, (40, 48, 3)), 0, 255).astype(np.uint8)
            assert cv2.imwrite(str(folder / name / f"{i:02}.jpg"), image)
    return folder
