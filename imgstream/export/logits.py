"""Logits of exported models: of those that give probabilities, what has the same softmax or sigmoid."""

from __future__ import annotations

import numpy as np

from imgstream.models.forward import Engine
from imgstream.runtimes import Runtime
from imgstream.spec import SampleSpec

LEAST_PROBABILITY = float(np.finfo(np.float32).tiny)
"""Smaller ones are taken for this, of which there is a logarithm."""
_LEAST_DOUBT = 1e-8
"""How far from 1 a probability is taken to be at least."""


class ExportedLogits(Engine):
    """An exported model as logits of pixels, which are scaled by `spec` if it is a raw one."""

    def __init__(self, runtime: Runtime, spec: SampleSpec, *, multi_label: bool = False) -> None:
        """`multi_label`: its probabilities are each by themselves, and do not sum to 1."""
        self._runtime, self._spec, self._multi_label = runtime, spec, multi_label

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """uint8 (B, H, W, C) pixels → logits float32 (B, K)."""
        if self._runtime.dtype == np.float32:
            samples = np.empty(images.shape, np.float32)
            self._spec.to_float(images, samples)
            return self._runtime(samples)
        found = np.maximum(self._runtime(images), LEAST_PROBABILITY)
        if not self._multi_label:
            return np.log(found)
        precise = np.minimum(found.astype(np.float64), 1 - _LEAST_DOUBT)
        return np.asarray(np.log(precise) - np.log1p(-precise), np.float32)


def difference_of(probabilities: np.ndarray, logits: np.ndarray, temperature: float, *, multi_label: bool = False) -> float:
    """The largest difference between the logarithms of probabilities, (B, K), and the softmax of logits / temperature (with
    `multi_label`, the sigmoid), as a share of the largest logit.
    """
    scaled = logits.astype(np.float64) / temperature
    if multi_label:
        expected = -np.logaddexp(0, -scaled)
    else:
        expected = scaled - scaled.max(axis=1, keepdims=True)
        expected -= np.log(np.exp(expected).sum(axis=1, keepdims=True))
    found = np.log(np.maximum(probabilities.astype(np.float64), LEAST_PROBABILITY))
    return float(np.abs(found - np.maximum(expected, np.log(LEAST_PROBABILITY))).max() / max(1e-6, float(np.abs(scaled).max())))
