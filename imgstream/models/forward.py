"""Runs a model's forward pass, batch by batch, as one compiled program that takes pixels and scales them itself."""

from __future__ import annotations

import abc
import collections
import functools
import importlib
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import numpy as np

from imgstream.memory import trim
from imgstream.models.scaling import scaled
from imgstream.spec import SampleSpec

T = TypeVar("T")

_TRIM_EVERY = 20.0
"""Seconds. A model's intermediate results come and go on several threads, and malloc keeps the fragments that they leave: of 420 MB in its
arenas 160 were free. Giving them back costs the next batch some hundredths of a second.
"""


class Engine(abc.ABC):
    """Computes a model's output for batches of images."""

    ahead = 0
    """How many batches to give the device before the result of the first is read, so that it never waits for Python."""

    @abc.abstractmethod
    def __call__(self, images: np.ndarray) -> Any:
        """(B, H, W, C) pixels → float32 (B, K), as an array or what np.asarray takes, and waits for."""


class Program(Engine):
    """A Keras model as an engine. Each shape of a batch is compiled once, when it first comes; weights are those of the call."""

    def __init__(self, model: Any, spec: SampleSpec) -> None:
        """`model`: float32 (B, *spec.shape) → float32 (B, K)."""
        import keras

        self._compute, works_alone = _BACKENDS.get(keras.backend.backend(), _keras)(model, spec)
        self.ahead = 1 if works_alone else 0

    def __call__(self, images: np.ndarray) -> Any:
        """(B, H, W, C) pixels, or float32 in the spec's scale → (B, K), an array of Keras' backend, which a device that works on its
        own may still be computing.
        """
        return self._compute(images)


class Forward:
    """Computes the logits of batches up to `batch_size`. Short batches are filled up with zeros, so that the model is compiled for one
    shape only, and an image's logits do not depend on how full its batch was.
    """

    def __init__(self, engine: Engine, batch_size: int) -> None:
        self._engine, self._batch_size = engine, batch_size
        self.ahead = engine.ahead
        self._next_trim = time.monotonic() + _TRIM_EVERY

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """(B, H, W, C), as the engine takes them → logits float32 (B, K), B at most batch_size."""
        return self.start(images)()

    def start(self, images: np.ndarray) -> Callable[[], np.ndarray]:
        """As calling it, but without waiting for the device: the function that is returned waits, and gives the logits."""
        count = len(images)
        if count < self._batch_size:
            filled = np.zeros((self._batch_size, *images.shape[1:]), images.dtype)
            filled[:count] = images
            images = filled
        computed = self._engine(images)

        def logits(held: np.ndarray = images) -> np.ndarray:  # `held`: the device may still read the batch from its place
            return np.asarray(computed, np.float32)[:count]

        if time.monotonic() >= self._next_trim:
            trim()
            self._next_trim = time.monotonic() + _TRIM_EVERY
        return logits


def late(items: Iterable[T], by: int) -> Iterator[T]:
    """The same items, each once the next `by` are made: a device has batches to work on while the results of those before are used."""
    waiting: collections.deque[T] = collections.deque()
    for item in items:
        waiting.append(item)
        if len(waiting) > by:
            yield waiting.popleft()
    yield from waiting


_Compute = Callable[[np.ndarray], Any]


def _tensorflow(model: Any, spec: SampleSpec) -> tuple[_Compute, bool]:
    import tensorflow as tf

    def forward(images: Any) -> Any:
        return model(scaled(images, spec), training=False)

    function = tf.function(forward, jit_compile=model.jit_compile, autograph=False)

    @functools.cache
    def program(shape: tuple[int, ...], dtype: Any) -> Any:  # calling `function` would warn of the programs that other models have had
        return function.get_concrete_function(tf.TensorSpec(shape, dtype))

    def compute(images: np.ndarray) -> Any:
        return program(images.shape, images.dtype)(tf.convert_to_tensor(images))

    return compute, bool(tf.config.list_logical_devices("GPU"))


def _jax(model: Any, spec: SampleSpec) -> tuple[_Compute, bool]:
    def forward(trained: Any, others: Any, images: Any) -> Any:
        return model.stateless_call(trained, others, scaled(images, spec), training=False)[0]

    compiled = importlib.import_module("jax").jit(forward)  # no dependency of ours

    def compute(images: np.ndarray) -> Any:
        return compiled([v.value for v in model.trainable_variables], [v.value for v in model.non_trainable_variables], images)

    return compute, True


def _keras(model: Any, spec: SampleSpec) -> tuple[_Compute, bool]:
    import keras

    def compute(images: np.ndarray) -> Any:
        return model.predict_on_batch(scaled(keras.ops.convert_to_tensor(images), spec))

    return compute, False


_BACKENDS = {"tensorflow": _tensorflow, "jax": _jax}
