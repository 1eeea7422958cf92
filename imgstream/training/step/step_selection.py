"""Selects the training step for Keras' backend."""

from __future__ import annotations

from typing import Any

import keras

from imgstream.spec import SampleSpec
from imgstream.training.step.compiled_step import CompiledStep, KerasStep
from imgstream.training.step.replicas import Replicas
from imgstream.training.step.weight_average import WeightAverage


def new_step(model: Any, average: WeightAverage, replicas: Replicas, batch_size: int, spec: SampleSpec) -> CompiledStep:
    """The step of the compiled `model` for batches of up to `batch_size` images, pixels that become samples in the scale of `spec`."""
    backend = keras.backend.backend()
    if backend == "tensorflow" and len(replicas) == 1:
        from imgstream.training.step.tensorflow_step import TensorFlowStep

        return TensorFlowStep(model, average, batch_size, spec)
    if backend == "jax":
        from imgstream.training.step.jax_step import JaxStep

        return JaxStep(model, average, replicas, batch_size, spec)
    return KerasStep(model, average, replicas, spec)
