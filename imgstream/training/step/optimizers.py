"""The optimizers: Muon for new weights; for fine-tuning, SGD with a lower learning rate for the backbone.

Why these, and the rates: docs/recipe.md.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras

from imgstream.training.settings import DEFAULT_BATCH_SIZE

MUON_RATE, SGD_RATE = 0.01, 0.05
"""The schedule's peak at DEFAULT_BATCH_SIZE, for new and for given weights."""
_MUON_DECAY, _SGD_DECAY = 0.05, 5e-4
"""Weight decay, times the learning rate, outside the momentum, as in Keras."""
_ITERATIONS = 3
"""Newton-Schulz iterations: as many as Jordan's own convolutional network takes."""


def peak_learning_rate(batch_size: int, *, is_transfer: bool) -> float:
    """The schedule's peak for a batch size: SGD's grows with it (Goyal et al., 2017), Muon's, like Adam's, with its square root (Malladi et
    al., 2022).
    """
    times = batch_size / DEFAULT_BATCH_SIZE
    return SGD_RATE * times if is_transfer else MUON_RATE * math.sqrt(times)


def new_optimizer(policy: str, shares: Sequence[float] | None = None) -> keras.optimizers.Optimizer:
    """An unbuilt optimizer for a model that computes in the dtype `policy`; its learning rate is to be set before each step.

    `shares`: for fine-tuning, the share of the learning rate for each trainable variable; None for new weights.
    """
    optimizer: Any
    if shares is None:
        optimizer = ConvolutionalMuon(
            weight_decay=_MUON_DECAY, adam_weight_decay=_MUON_DECAY, ns_steps=_ITERATIONS, exclude_layers=["logits"]
        )
        optimizer.matrix_dtype = "bfloat16" if policy == "mixed_bfloat16" else "float32"
    else:
        optimizer = LayerwiseSGD(momentum=0.9, nesterov=True, weight_decay=_SGD_DECAY)
        optimizer.shares = shares
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    return keras.optimizers.LossScaleOptimizer(optimizer) if policy == "mixed_float16" else optimizer


class _SumOverReplicas:
    """Gradients summed over the replicas, on TensorFlow, and left alone where there is but one.

    Keras sums them even then, and TensorFlow registers the gradient of that sum for good, and with it the graph of the whole step: a
    process would grow by some 20 MB with each training.
    """

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> Any:
        if self._distribution_strategy.num_replicas_in_sync == 1:  # type: ignore[attr-defined]
            return grads_and_vars
        return super()._all_reduce_sum_gradients(grads_and_vars)  # type: ignore[misc]


@keras.saving.register_keras_serializable("imgstream")
class ConvolutionalMuon(_SumOverReplicas, keras.optimizers.Muon):
    """Muon (Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024) for convolutions, too: their kernels are
    matrices of (height times width times input channels, output channels). Keras' Muon leaves them to Adam, together with vectors, kernels
    of depthwise convolutions and, here, the head.
    """

    matrix_dtype: str = "float32"
    """The dtype in which updates are orthogonalized; bfloat16 suffices."""

    def _should_use_adamw(self, variable: Any) -> bool:
        if len(variable.shape) == 4 and variable.shape[-1] > 1:
            return any(name in variable.path for name in self.exclude_layers)
        return bool(super()._should_use_adamw(variable))

    def zeropower_via_newtonschulz5(self, x: Any, steps: int) -> Any:
        """An orthogonal matrix near `x`, in the shape of `x`, by `steps` iterations."""
        matrix = keras.ops.cast(keras.ops.reshape(x, (-1, x.shape[-1])), self.matrix_dtype)
        return keras.ops.reshape(keras.ops.cast(super().zeropower_via_newtonschulz5(matrix, steps), x.dtype), x.shape)

    def lr_adjust(self, x: Any) -> Any:
        """Scale `x` to the size of a step of Adam."""
        longer = max(math.prod(x.shape[:-1]), x.shape[-1])
        return x * (self.rms_rate * math.sqrt(longer))


@keras.saving.register_keras_serializable("imgstream")
class LayerwiseSGD(_SumOverReplicas, keras.optimizers.SGD):
    """SGD with a learning rate of its own for each variable, as a share of the common one: lower for the backbone while it is
    fine-tuned.
    """

    shares: Sequence[float] = ()
    """Share of the learning rate for each trained variable, in the model's order."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """See keras.optimizers.SGD.update_step; uses the variable's own rate."""
        super().update_step(gradient, variable, learning_rate * self.shares[self._get_variable_index(variable)])
