"""Selects the training step for Keras' backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from imgstream.augment import Augmentation
from imgstream.augment.keras_layers import BatchLayers, KerasLayers
from imgstream.errors import OptionError
from imgstream.spec import SampleSpec
from imgstream.training.step.compiled_step import CompiledStep, KerasStep
from imgstream.training.step.replicas import Replicas
from imgstream.training.step.weight_average import WeightAverage


def new_step(
    model: Any,
    average: WeightAverage,
    replicas: Replicas,
    batch_size: int,
    spec: SampleSpec,
    augmentation: BatchLayers | None = None,
) -> CompiledStep:
    """The step of the compiled `model` for batches of up to `batch_size` images, pixels that become samples in the scale of `spec`, and are
    changed before by the `augmentation`.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow" and len(replicas) == 1:
        from imgstream.training.step.tensorflow_step import TensorFlowStep

        return TensorFlowStep(model, average, batch_size, spec, augmentation)
    if backend == "jax":
        from imgstream.training.step.jax_step import JaxStep

        return JaxStep(model, average, replicas, batch_size, spec, augmentation)
    assert augmentation is None
    return KerasStep(model, average, replicas, spec)


def augmentation_of_steps(
    augmentation: Augmentation | None, seed: int, shapes: Sequence[tuple[int, int, int]], replicas: Replicas
) -> BatchLayers:
    """The augmentation as new_step takes it, for images of `shapes`, (H, W, C). Raises OptionError where no step can augment, and
    AugmentError for an augmentation that cannot be had in one.
    """
    if not isinstance(augmentation, KerasLayers):
        name = "none" if augmentation is None else augmentation.name
        raise OptionError(
            f"augment_on device is for layers of Keras, such as --augment layers.keras: {name} is computed on the CPU, so leave "
            "augment_on out",
            "augment_on",
        )
    backend = keras.backend.backend()
    if backend not in ("tensorflow", "jax"):
        raise OptionError(f"augment_on device needs TensorFlow or JAX, and Keras computes with {backend}: leave it out", "augment_on")
    if replicas.processes > 1 or (backend == "tensorflow" and len(replicas) > 1):
        several = "several processes" if replicas.processes > 1 else "several GPUs with TensorFlow"
        raise OptionError(f"augment_on device is not to be had in {several}: leave it out", "augment_on")
    layers = BatchLayers(augmentation, seed)
    for shape in shapes:
        layers.check(shape)
    return layers
