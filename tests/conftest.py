from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from bucket_server import BucketServer

ROOT = Path(__file__).parents[1]
SMALL_CNN = (8,)
"""Channels of each residual block of the network `cnn`, for tests that need a training and no good one."""

os.environ["COLUMNS"] = "120"  # of the help, which is laid out for the terminal that the suite is started from
for name in ("FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS", "TTY_COMPATIBLE", "TERMINAL_WIDTH"):  # some are read when typer is imported
    os.environ.pop(name, None)
# Nothing of earlier runs, which also need not be writable; and no example is too slow, as on a busy machine many are.
settings.register_profile("all", database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", parent=settings.get_profile("all"), max_examples=25)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell in the background has its children ignore Ctrl-C: the tests send it
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    """Before any test module is read: without the slow tests, a property is tried on 25 examples in place of 100."""
    settings.load_profile("quick" if config.option.markexpr == "not slow" else "all")


@pytest.hookimpl(tryfirst=True)  # before -m is heeded
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What the mark `quick` does not name among the cases of its test is slow."""
    for item in items:
        mark = item.get_closest_marker("quick")
        if mark is not None and item.callspec.id not in mark.args:  # type: ignore[attr-defined]
            item.add_marker("slow")


def pytest_collection_finish() -> None:
    """What was imported stays: the collector, which looks through all of TensorFlow's objects otherwise, need not see it again."""
    gc.collect()
    gc.freeze()


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


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test cuts the power: to wait until the disk has what was written, some 10 ms each time, would guard nothing."""

    def fsync(file: Any) -> None:
        os.fstat(file if isinstance(file, int) else file.fileno())  # a wrong one is an error as ever

    monkeypatch.setattr(os, "fsync", fsync)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[BucketServer]:
    """A server with the empty bucket s3://photos, which this test's environment has the key for."""
    pytest.importorskip("obstore", reason="buckets are read with obstore: pip install 'imgstream[cloud]'")
    with BucketServer({"photos": {}}, key_id="the-key") as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


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


@pytest.fixture(scope="module")
def small_cnn() -> Iterator[None]:
    """In this process `cnn` has one residual block in place of four, of the same layers: to compile a training of the whole network takes
    12 s of a core, of this one 4 s.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("imgstream.models.cnn.WIDTHS", SMALL_CNN)
        yield


@pytest.fixture(scope="session")
def trained(two_classes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two_classes, which tells them apart. It is everybody's: copy it before you write to it."""
    import imgstream as ims

    out = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("imgstream.models.cnn.WIDTHS", SMALL_CNN)
        ims.train(two_classes, out=out, size=(32, 32), batch_size=8, epochs=8)
    return out
