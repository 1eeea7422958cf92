"""The two models of a training, its optimizer and its loss.

The *served* model is validated, saved and used for prediction: float32, of Keras' own layers only, holding averaged weights. The *trained*
model is its clone, made for speed: mixed precision where that pays, fused normalization on TensorFlow, where its step is one program for
batches of every size. Both have the same weights in the same order (docs/decisions/0015-two-models.md).
"""

from __future__ import annotations

import dataclasses
import importlib
import random
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from imgstream.augment.keras_layers import BatchLayers
from imgstream.errors import ModelError
from imgstream.models import ModelInfo, build_model
from imgstream.runs.run import device
from imgstream.spec import SampleSpec
from imgstream.training.schedule import Sizes
from imgstream.training.settings import TrainSettings
from imgstream.training.step.distillation import DistillationLoss, LabelAccuracy, Teacher, target_width
from imgstream.training.step.losses import LabelsCrossentropy
from imgstream.training.step.optimizers import new_optimizer
from imgstream.training.step.precision import choose_precision
from imgstream.training.step.replicas import Replicas
from imgstream.training.step.weight_average import WeightAverage
from imgstream.wording import innermost

BACKBONE_SHARE = 0.1
"""Learning rate of the backbone, as a share of the head's, when training starts from given weights."""


@dataclasses.dataclass(frozen=True)
class Models:
    """The model that is trained, its twin that is saved, and how they are computed."""

    trained: Any
    served: Any
    policy: str
    """The dtype policy that `trained` computes in."""
    policy_why: str
    replicas: Replicas
    is_transfer: bool
    """Whether training starts from pretrained weights."""
    teacher: Teacher | None = None
    """What `trained` learns from beside the labels."""
    augmentation: BatchLayers | None = None
    """What the step does to its images; None where the loader augments them."""

    @classmethod
    def make(
        cls,
        settings: TrainSettings,
        info: ModelInfo,
        spec: SampleSpec,
        sizes: Sizes,
        class_names: Sequence[str],
        state: dict[str, Any],
        positive_weights: np.ndarray | None = None,
    ) -> Models:
        """Build both models of a run, and open its teachers. `state` is its run.json, from which a resumed run takes its precision;
        `positive_weights`: see LabelsCrossentropy. Raises ModelError, and RunError for a teacher that cannot be loaded.
        """
        replicas = Replicas()
        shape = spec.shape if sizes.small is None else (None, None, spec.channels)
        teacher = None
        if settings.teacher_runs:
            teacher = Teacher(settings.teacher_runs, class_names, spec, settings.teacher_temperature)
        served = served_model(settings, info.name, shape, len(class_names))
        policy, why = (state["precision"], "as before") if "precision" in state else _precision(settings, spec)
        transfer = is_transfer(settings, info)
        trained = trained_model(served, policy, settings, replicas, is_transfer=transfer, positive_weights=positive_weights)
        return cls(trained, served, policy, why, replicas, transfer, teacher)

    def targets(self, images: np.ndarray, labels: np.ndarray, batch_size: int) -> np.ndarray:
        """What `trained` learns from: `labels`, float32 (B, K), and beside them what the teacher says of `images`, pixels (B, H, W, C)."""
        return labels if self.teacher is None else np.concatenate([labels, self.teacher(images, batch_size)], axis=1)

    def new_average(self) -> WeightAverage:
        """A moving average of the weights of `trained`, beside them."""
        with self.replicas.scope():
            return WeightAverage(self.trained)


def _precision(settings: TrainSettings, spec: SampleSpec) -> tuple[str, str]:
    return choose_precision(settings.precision, deep=spec.levels is not None)


def is_transfer(settings: TrainSettings, info: ModelInfo) -> bool:
    """Whether training starts from pretrained weights."""
    return settings.weights != "none" or info.is_saved


def served_model(settings: TrainSettings, name: str, shape: tuple[int | None, int | None, int], class_count: int) -> Any:
    """A new float32 keras.Model for images of `shape`, (height, width, channels), None where any size will do. Seeds Keras."""
    _seed(settings.seed % 2**32)
    if settings.minutes is None and keras.backend.backend() == "tensorflow" and device().endswith("cpu"):
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()  # with --epochs, a resumed run equals an uninterrupted one to the bit on CPU
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_global_policy("float32")
    try:
        return build_model(name, shape, class_count, settings.weights)
    finally:
        keras.mixed_precision.set_global_policy(before)


def trained_model(
    served: Any,
    policy: str,
    settings: TrainSettings,
    replicas: Replicas,
    *,
    is_transfer: bool = False,
    positive_weights: np.ndarray | None = None,
) -> Any:
    """The compiled clone of `served`, with its weights, that computes in the dtype `policy` on all `replicas`. The training loop sets its
    learning rate.

    With `is_transfer`, all but the head learns at BACKBONE_SHARE of the rate. `positive_weights`: see LabelsCrossentropy.
    Raises ModelError when the model cannot be cloned.
    """
    with replicas.scope():
        try:
            whole = any(type(layer).__module__.startswith("keras_hub.") for layer in served.layers)  # its backbones are cloned as one layer
            model = keras.models.clone_model(served, clone_function=lambda layer: _clone(layer, policy), recursive=not whole)
            model.set_weights(served.get_weights())
        except Exception as error:  # layers of others may raise anything
            raise ModelError(f"{served.name} cannot be trained: it cannot be cloned ({innermost(error)})") from error
        shares = None
        if is_transfer:
            head = {v.path for v in model.get_layer("logits").trainable_variables}
            shares = [1.0 if v.path in head else BACKBONE_SHARE for v in model.trainable_variables]
        compiles = keras.backend.backend() == "jax" or device().endswith("gpu")
        model.compile(
            new_optimizer(policy, shares),
            _loss(settings, positive_weights),
            metrics=[_accuracy(settings)],
            jit_compile="auto" if compiles else False,  # TensorFlow on a CPU: XLA trains these models at two thirds of the speed
            auto_scale_loss=False,
        )
        model.optimizer.build(model.trainable_variables)
        if (
            len(replicas) > 1 and keras.backend.backend() == "tensorflow"
        ):  # Keras builds metrics from the first batch, and cannot do so from one that is distributed
            images = np.zeros((1, *(n or 32 for n in model.input_shape[1:])), np.float32)
            model.test_on_batch(images, np.zeros((1, target_width(model)), np.float32))
    return model


def _accuracy(settings: TrainSettings) -> Any:
    if settings.multi_label:
        return keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0)  # of logits
    return (LabelAccuracy if settings.teacher_runs else keras.metrics.CategoricalAccuracy)(name="accuracy")


def _loss(settings: TrainSettings, positive_weights: np.ndarray | None) -> Any:
    if settings.multi_label:
        return LabelsCrossentropy(settings.label_smoothing, positive_weights)
    if settings.teacher_runs:
        return DistillationLoss(settings.label_smoothing, settings.teacher_weight, settings.teacher_temperature)
    return keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=settings.label_smoothing)


def _seed(seed: int) -> None:
    """Do what keras.utils.set_random_seed does, which on other backends also imports TensorFlow if it is installed."""
    if keras.backend.backend() == "tensorflow":
        keras.utils.set_random_seed(seed)
        return
    random.seed(seed)  # Keras draws the seeds of initializers and of Dropout from it
    if keras.backend.backend() == "torch":
        importlib.import_module("torch").manual_seed(seed)  # no dependency of ours


def _clone(layer: Any, policy: str) -> Any:
    config = layer.get_config()
    kind = type(layer)
    if keras.backend.backend() == "tensorflow":
        from imgstream.training.step.normalization import FusedBatchNormalization, can_be_fused

        if can_be_fused(layer):
            kind = FusedBatchNormalization
    if layer.name != "logits" and "dtype" in config and layer.dtype_policy.name == "float32":
        config["dtype"] = policy
    return kind.from_config(config)
