"""The training step as one JAX program."""

from __future__ import annotations

import importlib
from typing import Any

import keras
import numpy as np

from imgstream.augment.keras_layers import BatchLayers
from imgstream.models.scaling import scaled
from imgstream.spec import SampleSpec
from imgstream.training.step.compiled_step import StepResult
from imgstream.training.step.losses import right_share
from imgstream.training.step.replicas import Replicas, filled, filled_part
from imgstream.training.step.weight_average import WeightAverage


class JaxStep:
    """Runs a program that is a pure function of the weights, the optimizer's state and the average, which stay on the device between steps.

    Batches of fewer images are filled up, so that there is one shape to compile. With several replicas each computes its part of the batch;
    XLA adds up their gradients, and the means of BatchNormalization are those of the whole batch. Each of several processes gives its part.
    """

    ahead = 2
    compiles_for_each_size = True

    def __init__(
        self,
        model: Any,
        average: WeightAverage,
        replicas: Replicas,
        batch_size: int,
        spec: SampleSpec,
        augmentation: BatchLayers | None = None,
    ) -> None:
        self._model, self._average, self._replicas, self._spec = model, average, replicas, spec
        self._augmentation = augmentation
        self._batch_size = -(-batch_size // len(replicas)) * len(replicas) // replicas.processes
        self._state: Any = None
        self._program = importlib.import_module("jax").jit(self._step, donate_argnums=0)  # no dependency of ours

    def __call__(
        self, images: np.ndarray, labels: np.ndarray, weights: np.ndarray | None, *, rate: float, share: float, number: int = 0
    ) -> StepResult:
        """See CompiledStep."""
        if self._state is None:
            self._state = tuple([v.value for v in group] for group in self._variables())
        fill = filled if self._replicas.processes == 1 else filled_part
        batch: tuple[np.ndarray, ...] = fill(images, labels, weights, self._batch_size)
        numbers = np.array([rate, share, len(images)], np.float32)
        drawn = None if self._augmentation is None else self._augmentation.numbers(number)
        self._state, result = self._program(self._state, numbers, drawn, *self._replicas.on_devices(*batch))
        return StepResult(result, batch[0])

    def sync(self) -> None:
        """See CompiledStep."""
        if self._state is None:
            return
        for group, values in zip(self._variables(), self._state, strict=True):
            for variable, value in zip(group, values, strict=True):
                variable.assign(value)
        self._state = None

    def _variables(self) -> tuple[list[Any], list[Any], list[Any], list[Any]]:
        model = self._model
        return model.trainable_variables, model.non_trainable_variables, model.optimizer.variables, self._average.averages

    def _step(self, state: Any, numbers: Any, drawn: Any, images: Any, labels: Any, weights: Any, present: Any = None) -> Any:
        jax = importlib.import_module("jax")
        model, optimizer = self._model, self._model.optimizer
        trained, others, optimizer_state, averages = state
        rate, share, count = numbers[0], numbers[1], numbers[2]
        if present is None:
            present = keras.ops.arange(len(labels)) < count
        else:  # a part of each process: the mean is over the images that are there in all of them
            count = keras.ops.maximum(present.sum(), 1.0)
            weights, present = weights * (len(labels) / count), present > 0
        augmentation = self._augmentation
        samples = scaled(images, self._spec, None if augmentation is None else lambda pixels: augmentation(pixels, drawn))

        def loss_of(trained: Any) -> Any:
            logits, changed, losses = model.stateless_call(trained, others, samples, training=True, return_losses=True)
            return model.loss(labels, logits, sample_weight=weights) + sum(losses), (logits, changed)

        (loss, (logits, others)), gradients = jax.value_and_grad(loss_of, has_aux=True)(trained)
        optimizer_state = [
            rate.astype(value.dtype) if variable is optimizer.learning_rate else value
            for variable, value in zip(optimizer.variables, optimizer_state, strict=True)
        ]
        trained, optimizer_state = optimizer.stateless_apply(optimizer_state, gradients, trained)
        variables = (*model.trainable_variables, *model.non_trainable_variables)
        of_variable = {id(v): value for v, value in zip(variables, (*trained, *others), strict=True)}
        averages = [
            value + share * (of_variable[id(weight)].astype(value.dtype) - value)
            for value, weight in zip(averages, self._average.weights, strict=True)
        ]
        right = right_share(model, logits, labels) * present
        result = keras.ops.stack([loss.astype("float32"), right.sum() / count])
        return (list(trained), list(others), list(optimizer_state), averages), result
