"""Logits of exported models: of those that give probabilities, their logarithms, which have the same softmax."""

from __future__ import annotations

import numpy as np

from imgstream.models.forward import Engine
from imgstream.runtimes import Runtime

LEAST_PROBABILITY = float(np.finfo(np.float32).tiny)
"""Smaller ones are taken for this, of which there is a logarithm."""


class ExportedLogits(Engine):
    """An exported model as logits of float32 images: by the spec's scale if it is a raw one, else 0 to 255."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """float32 (B, H, W, C) → logits float32 (B, K)."""
        found = self._runtime(images.astype(self._runtime.dtype))
        return found if self._runtime.dtype == np.float32 else np.log(np.maximum(found, LEAST_PROBABILITY))


def difference_of(probabilities: np.ndarray, logits: np.ndarray, temperature: float) -> float:
    """The largest difference between the logarithms of probabilities, (B, K), and the softmax of logits / temperature, as a share of the
    largest logit.
    """
    scaled = logits.astype(np.float64) / temperature
    expected = scaled - scaled.max(axis=1, keepdims=True)
    expected -= np.log(np.exp(expected).sum(axis=1, keepdims=True))
    found = np.log(np.maximum(probabilities.astype(np.float64), LEAST_PROBABILITY))
    return float(np.abs(found - np.maximum(expected, np.log(LEAST_PROBABILITY))).max() / max(1e-6, float(np.abs(scaled).max())))
