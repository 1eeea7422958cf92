"""Estimates how much memory a training will take from the shapes of its layers, and picks the batch sizes that fit.

Measured on two cores with TensorFlow (bench/training/memory.py): the estimate is too high, by up to a third.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from imgstream.errors import ModelError
from imgstream.memory import anonymous_bytes, machine_limit

BATCH_SIZES = (64, 48, 32, 24, 16, 8, 4, 2, 1)
VALIDATION_BATCHES = (128, 64, 32, 16, 8, 4, 2, 1)
_VALIDATION_VALUES = 10 << 20
"""The most values of a validation batch: larger ones make no model on a CPU faster."""
FREE_SHARE = 0.1
"""Share of the machine's memory that is left to other processes when no limit is given."""

_MB = 10**6
_MARGIN = 1.05
"""A margin on the whole estimate: measured runs took up to 5 % more than the sum of what follows."""
_BASELINE = 400 * _MB
"""Bytes that Python, TensorFlow and Keras take before the first step, where the system does not tell."""
_ACTIVATIONS = 0.82
"""Share of all layers' outputs that a training step holds at its peak. Measured: 0.70 (MobileNetV2) to 0.82 (cnn)."""
_TRAINED_GRAPH, _SERVED_GRAPH, _RUNTIME = 1.2 * _MB, 0.1 * _MB, 65 * _MB
"""Bytes of TensorFlow's graphs and compiled kernels for each layer, and of its threads."""
_WEIGHT_COPIES = 6
"""Gradients, average, best average, and the copy that is written as a checkpoint: weights, momentum and average."""
_WASTE = 1.06
"""Fragmentation of freed memory: everything but what was there before the first step grows by it."""
_KEPT = {"ReLU": 0.5, "LayerNormalization": 10.0, "Activation:gelu": 10.0}
"""What a layer keeps for the backward pass, in multiples of its output: more for those of many operations; ReLU6 overwrites its input."""
_LOADED = {"python": 1, "tf": 4}
"""Bytes of a value in the loader: pixels, of 8 bits; TensorFlow's augmentation works on floats."""
_DENSE_COPIES = 3
"""Copies of a dense layer's weights, in the layout that its kernels want."""


@dataclasses.dataclass(frozen=True)
class MemoryPlan:
    """The batch sizes that fit into memory, and what they need."""

    batch_size: int
    validation_batch: int
    expected_bytes: int
    """The most anonymous memory that this process will take: an estimate, rather too high than too low."""
    limit_bytes: int | None
    """What it has to fit into; None if that is unknown."""

    def __str__(self) -> str:
        limit = "" if self.limit_bytes is None else f" of {_mb(self.limit_bytes)}"
        return f"batches of {self.batch_size}, validation of {self.validation_batch}, about {_mb(self.expected_bytes)}{limit}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Footprint:
    """The bytes that a training takes, by what they grow with."""

    fixed: float
    """Bytes that do not depend on the batches."""
    sample: int
    """A sample in the loader, and one of the small size if training starts with that."""
    activations: float
    """For each sample of a training step."""
    forward: float
    """For each full-size sample of a validation step."""
    full_sample: int
    """A full-size sample in the loader."""
    values: int
    """Of a full-size sample."""
    workers: int
    ahead: int
    """Batches beyond those that the threads are working on."""

    @classmethod
    def of(
        cls,
        trained: Any,
        served: Any,
        shape: tuple[int, int, int],
        *,
        small: tuple[int, int] | None = None,
        workers: int = 1,
        pipeline: str = "python",
        on_gpu: bool = False,
        pixel_bytes: int = 1,
        baseline: int | None = None,
        teachers: Sequence[tuple[Any, tuple[int, int, int]]] = (),
    ) -> Footprint:
        """The footprint of the compiled model `trained` and its float32 twin `served`, for samples of `shape` (height, width, channels).

        `small`: (height, width) that training starts with. `baseline`: bytes that the process takes now, with both models built; None asks
        the system. `pixel_bytes`: of a channel. `on_gpu`: activations are in the GPU's memory, and are not counted. `teachers`: models
        that compute each training batch too, with the shapes of their samples.
        """
        if baseline is None:
            baseline = anonymous_bytes() or _BASELINE
        graphs = _TRAINED_GRAPH * len(trained.layers) + _SERVED_GRAPH * len(served.layers) + _RUNTIME
        weights = 4 * sum(math.prod(v.shape) for v in trained.weights)
        dense = 4 * sum(math.prod(v.shape) for layer in trained.layers if type(layer).__name__ == "Dense" for v in layer.weights)
        item = max(pixel_bytes, _LOADED[pipeline])
        pixels = item * math.prod(shape)
        small_pixels = 0 if small is None else item * math.prod((*small, shape[2]))
        taught = max((forward_bytes(model, of_teacher) for model, of_teacher in teachers), default=0)
        return cls(
            fixed=baseline + _WASTE * graphs + _WEIGHT_COPIES * weights + _DENSE_COPIES * dense,
            sample=pixels + small_pixels,
            full_sample=pixels,
            values=math.prod(shape),
            activations=0.0 if on_gpu else _ACTIVATIONS * training_bytes(trained, shape) + taught,
            forward=0.0 if on_gpu else forward_bytes(served, shape),
            workers=workers,
            ahead=4 if pipeline == "python" else 6,
        )

    def expected(self, batch_size: int, validation_batch: int) -> int:
        """The peak in bytes."""
        loaders = self.sample * self._in_flight(batch_size) + self.full_sample * self._in_flight(validation_batch)
        computing = self.activations * batch_size + self.forward * validation_batch  # memory freed by one does not always fit the other
        return round(_MARGIN * (self.fixed + _WASTE * (loaders + computing)))

    def _in_flight(self, batch_size: int) -> int:
        return batch_size * (self.ahead + -(-2 * self.workers // batch_size))


def plan(
    footprint: Footprint,
    *,
    ceiling: int | None = None,
    batch_size: int | None = None,
    validation_batch: int | None = None,
    machine: int | None = None,
) -> MemoryPlan:
    """Choose the largest of BATCH_SIZES, or `batch_size` if given, that fits under `ceiling` bytes, together with `validation_batch`, or
    the largest one that still fits. Without a ceiling it has to fit into the machine, `machine` bytes (None asks the system), with
    FREE_SHARE kept free.

    Raises ModelError, which says what would fit, when nothing does or `batch_size` does not.
    """
    if ceiling is None:
        machine = machine_limit() if machine is None else machine
        limit = None if machine is None else int((1 - FREE_SHARE) * machine)
    else:
        limit = ceiling
    for batch in BATCH_SIZES if batch_size is None else (batch_size,):
        found = _fitting(footprint, batch, limit, validation_batch)
        if found is not None:
            return found
    assert limit is not None
    given = f"--memory gives {_mb(ceiling)}" if ceiling is not None else f"this machine, or its container, has room for {_mb(limit)}"
    asked = batch_size or BATCH_SIZES[0]
    needed = footprint.expected(asked, min(asked, VALIDATION_BATCHES[0]))
    fitting = next((batch for batch in BATCH_SIZES if batch < asked and _fitting(footprint, batch, limit)), None)
    least = f"the least that would do is {_mb(footprint.expected(1, 1))}, with batches of 1"
    advice = f"--batch-size {fitting} fits, and {least}" if fitting is not None else least
    raise ModelError(
        f"this training needs about {_mb(needed)} with batches of {asked}, and {given}: {advice}. Or take a smaller --size or --model"
    )


def _fitting(footprint: Footprint, batch_size: int, limit: int | None, preferred: int | None = None) -> MemoryPlan | None:
    most = max(VALIDATION_BATCHES[-1], _VALIDATION_VALUES // max(1, footprint.values))
    sizes = [size for size in VALIDATION_BATCHES if size <= most]
    for validation in sizes if preferred is None else [preferred, *sizes]:
        expected = footprint.expected(batch_size, validation)
        if limit is None or expected <= limit:
            return MemoryPlan(batch_size, validation, expected, limit)
    return None


def training_bytes(model: Any, shape: tuple[int, int, int]) -> int:
    """Bytes of the outputs of all layers for one sample of `shape`, (height, width, channels), each in its layer's own precision."""
    return sum(_bytes(out.layer, out.shapes, _kept(out.layer)) + _inside(out.layer, training_bytes) for out in _outputs(model, shape))


def forward_bytes(model: Any, shape: tuple[int, int, int]) -> int:
    """The most bytes alive at once while the layers are computed in order for one sample of `shape`.

    An output is alive until the last layer that takes it is done. A normalization holds one more of its own size.
    """
    outputs = _outputs(model, shape)
    last_use = {tensor: place for place, out in enumerate(outputs) for tensor in out.inputs}
    alive: dict[int, int] = {}
    most = 0
    for place, out in enumerate(outputs):
        each = _bytes(out.layer, out.shapes, 1.0)
        extra = each if "Normalization" in type(out.layer).__name__ else 0
        most = max(most, sum(alive.values()) + each + max(extra, _inside(out.layer, forward_bytes)))
        alive |= {tensor: _bytes(out.layer, [one], 1.0) for tensor, one in zip(out.tensors, out.shapes, strict=True)}
        alive = {tensor: size for tensor, size in alive.items() if last_use.get(tensor, -1) > place}
    return most


@dataclasses.dataclass(frozen=True)
class _Output:
    layer: Any
    inputs: list[int]
    """Ids of Keras' tensors; `tensors` are those that the layer gives."""
    tensors: list[int]
    shapes: list[tuple[int, ...]]
    """Without the batch."""


def _outputs(model: Any, shape: tuple[int, int, int]) -> list[_Output]:
    """The outputs of the layers for one sample, in an order in which they can be computed. Layers that are used twice are left out."""
    import keras

    known: dict[int, tuple[int, ...]] = {}
    outputs = []
    for layer in model.layers:
        try:
            taken, given = layer.input, layer.output
        except (AttributeError, ValueError):  # not of a graph, or in several places of it
            continue
        inputs, tensors = ([id(tensor) for tensor in keras.tree.flatten(each)] for each in (taken, given))
        shapes = [tuple(tensor.shape) for tensor in keras.tree.flatten(given)]
        if isinstance(layer, keras.layers.InputLayer):
            shapes = [(None, *shape)] if len(shapes) == 1 and len(shapes[0]) == 4 else shapes
        elif any(None in one[1:] for one in shapes):
            concrete = [known[tensor] for tensor in inputs]
            found = layer.compute_output_shape(concrete if isinstance(taken, list | tuple) else concrete[0])
            shapes = [tuple(found)] if len(tensors) == 1 else [tuple(one) for one in found]
        known |= dict(zip(tensors, shapes, strict=True))
        outputs.append(_Output(layer, inputs, tensors, [one[1:] for one in shapes]))
    return outputs


def _bytes(layer: Any, shapes: list[tuple[int, ...]], times: float) -> int:
    import keras

    item = 2 if str(keras.backend.standardize_dtype(layer.compute_dtype or "float32")) in ("float16", "bfloat16") else 4
    return round(times * item * sum(math.prod(one) for one in shapes))


def _kept(layer: Any) -> float:
    name = type(layer).__name__
    activation = getattr(getattr(layer, "activation", None), "__name__", "")
    return _KEPT.get(f"{name}:{activation}", _KEPT.get(name, 1.0))


def _inside(layer: Any, measure: Any) -> int:
    """What a model that is a layer of another takes beside its output."""
    if not getattr(layer, "layers", None):
        return 0
    import keras

    shape = tuple(keras.tree.flatten(layer.input)[0].shape[1:])
    return int(measure(layer, shape)) if None not in shape and len(shape) == 3 else 0


def _mb(count: float) -> str:
    return f"{math.ceil(count / _MB):,} MB"
