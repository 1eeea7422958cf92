"""Logits of exported models: of those that give probabilities, their logarithms, which have the same softmax."""

from __future__ import annotations

import numpy as np

from imgstream.models.forward import Engine
from imgstream.runtimes import Runtime
from imgstream.spec import SampleSpec

LEAST_PROBABILITY = float(np.finfo(np.float32).tiny)
"""Smaller ones are taken for this, of which there is a logarithm."""


class ExportedLogits(Engine):
    """An exported model as logits of pixels, which are scaled by `spec` if it is a raw one."""

    def __init__(self, runtime: Runtime, spec: SampleSpec) -> None:
        self._runtime, self._spec = runtime, spec

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """uint8 (B, H, W, C) pixels → logits float32 (B, K)."""
        if self._runtime.dtype == np.float32:
            samples = np.empty(images.shape, np.float32)
            self._spec.to_float(images, samples)
            return self._runtime(samples)
        return np.log(np.maximum(self._runtime(images), LEAST_PROBABILITY))


def difference_of(probabilities: np.ndarray, logits: np.ndarray, temperature: float) -> float:
    """The largest difference between the logarithms of probabilities, (B, K), and the softmax of logits / temperature, as a share of the
    largest logit.
    """
    scaled = logits.astype(np.float64) / temperature
    expected = scaled - scaled.max(axis=1, keepdims=True)
    expected -= np.log(np.exp(expected).sum(axis=1, keepdims=True))
    found = np.log(np.maximum(probabilities.astype(np.float64), LEAST_PROBABILITY))
    return float(np.abs(found - np.maximum(expected, np.log(LEAST_PROBABILITY))).max() / max(1e-6, float(np.abs(scaled).max())))
