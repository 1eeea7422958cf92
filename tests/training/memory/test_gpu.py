from __future__ import annotations

from typing import Any

import pytest
import tensorflow as tf

from imgstream.errors import ModelError
from imgstream.training.memory.gpu import limit_gpu


class Calls:
    """Stands in for TensorFlow's settings of a machine with two GPUs, and notes what is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, gpus: tuple[str, ...] = ("gpu 0", "gpu 1"), error: Exception | None = None) -> None:
        self.grows: list[Any] = []
        self.limits: list[tuple[Any, Any]] = []
        self._error = error
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: list(gpus))
        monkeypatch.setattr(tf.config, "get_logical_device_configuration", lambda gpu: None)
        monkeypatch.setattr(tf.config.experimental, "set_memory_growth", self._grow)
        monkeypatch.setattr(tf.config, "set_logical_device_configuration", self._limit)

    def _grow(self, gpu: Any, on: bool) -> None:
        if self._error is not None:
            raise self._error
        self.grows.append((gpu, on))

    def _limit(self, gpu: Any, configurations: list[Any]) -> None:
        if self._error is not None:
            raise self._error
        self.limits += [(gpu, each.memory_limit) for each in configurations]


def test_without_a_limit_memory_is_taken_as_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(monkeypatch)
    limit_gpu(None)
    assert calls.grows == [("gpu 0", True), ("gpu 1", True)]
    assert calls.limits == []


def test_a_limit_in_bytes_is_given_to_each_gpu_in_mebibytes(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = Calls(monkeypatch)
    limit_gpu(4_000_000_000)
    assert calls.limits == [("gpu 0", 3814), ("gpu 1", 3814)]
    assert calls.grows == []


def test_a_limit_where_there_is_no_gpu_is_an_error_and_no_limit_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    Calls(monkeypatch, gpus=())
    limit_gpu(None)
    with pytest.raises(ModelError, match="there is no GPU here"):
        limit_gpu(10**9)


def test_a_limit_that_comes_too_late_is_an_error_and_no_limit_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    Calls(monkeypatch, error=RuntimeError("Virtual devices cannot be modified after being initialized"))
    limit_gpu(None)
    with pytest.raises(ModelError, match=r"comes too late.*after being initialized"):
        limit_gpu(10**9)
