"""Whole channels are cut out of a network: what is left is a smaller network of the same layers, that any runtime computes faster.

Li et al., "Pruning filters for efficient convnets", 2017: the filters with the smallest weights go, here as BatchNormalization scales them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from imgstream.errors import ModelError

_PASSING = (
    *("Activation", "ReLU", "LeakyReLU", "Dropout", "SpatialDropout2D", "Rescaling", "ZeroPadding2D", "Cropping2D", "UpSampling2D"),
    *("MaxPooling2D", "AveragePooling2D", "GlobalMaxPooling2D", "GlobalAveragePooling2D", "BatchNormalization", "DepthwiseConv2D"),
)
"""Layers that give as many channels as they take, each made from one."""
_MULTIPLE = 8
"""Numbers of channels are multiples of it where there were twice as many: what the vector instructions of processors compute at a time."""


class _Group:
    """Channels of one number that are cut alike: those of layers whose outputs are added."""

    def __init__(self, size: int) -> None:
        self.size, self.is_whole = size, False
        self.made_by: list[str] = []
        """The layers whose filters they are."""
        self._other: _Group | None = None

    @property
    def root(self) -> _Group:
        return self if self._other is None else self._other.root

    def join(self, other: _Group) -> None:
        one, two = self.root, other.root
        if one is not two:
            one.made_by += two.made_by
            two._other = one


def pruned(model: Any, keep: float) -> Any:
    """A keras.Model of the same layers with about `keep` of the channels of each, 0 to 1, and the weights of those that count most. Inputs
    and outputs are the same.

    Raises ModelError, which names the layer, for a network with layers of which it is not known how their channels belong together.
    """
    return _Channels(model).cut(keep)


class _Channels:
    """The channels of all tensors of a model."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._of: dict[int, list[_Group]] = {}
        """By the id of a tensor: the groups that it has one after the other."""
        self._strength: dict[str, np.ndarray] = {}
        """By the name of a layer: of each of its filters the sum of the absolute weights, as the normalization after it scales them."""
        makers: dict[int, str] = {}
        for layer in model.layers:
            kind, inputs = type(layer).__name__, self._inputs(layer)
            if kind != "InputLayer" and any(id(each) not in self._of for each in inputs):
                raise _unknown(model, layer, "it or what it follows stands in several places")
            if kind == "InputLayer":
                found = [_Group(layer.output.shape[-1])]
                found[0].is_whole = True
            elif kind in ("Conv2D", "Dense"):
                kernel = np.asarray(layer.get_weights()[0])
                if getattr(layer, "groups", 1) != 1:
                    raise _unknown(model, layer, "its filters are in groups")
                found = [_Group(kernel.shape[-1])]
                found[0].made_by.append(layer.name)
                self._strength[layer.name] = np.abs(kernel.astype(np.float64)).sum(axis=tuple(range(kernel.ndim - 1)))
                makers[id(layer.output)] = layer.name
            elif kind == "Add":
                found = self._added(layer, inputs)
            elif kind == "Concatenate" and layer.axis in (-1, len(layer.output.shape) - 1):
                found = [group for each in inputs for group in self._of[id(each)]]
            elif kind in _PASSING and layer.output.shape[-1] == inputs[0].shape[-1]:
                found = self._of[id(inputs[0])]
                if kind == "BatchNormalization" and (name := makers.get(id(inputs[0]))) is not None:
                    self._strength[name] *= _gain(layer)
            else:
                raise _unknown(model, layer, "it is not known which of its channels belong together")
            self._of[id(layer.output)] = found
        for output in model.outputs:
            for group in self._of[id(output)]:
                group.root.is_whole = True

    def cut(self, keep: float) -> Any:
        """See pruned."""
        kept = {id(group): self._strongest(group, keep) for groups in self._of.values() for group in map(_root, groups)}

        def places(tensor: Any) -> np.ndarray:
            """Which channels of a tensor of the model are kept."""
            groups = [group.root for group in self._of[id(tensor)]]
            starts = np.cumsum([0, *(group.size for group in groups)])
            return np.concatenate([start + kept[id(group)] for start, group in zip(starts, groups, strict=False)])

        def narrowed(layer: Any) -> Any:
            config = layer.get_config()
            for name in ("filters", "units"):
                if name in config:
                    config[name] = len(places(layer.output))
            return type(layer).from_config(config)

        smaller = keras.models.clone_model(self._model, clone_function=narrowed)
        for old, new in zip(self._model.layers, smaller.layers, strict=True):
            if old.weights:
                new.set_weights(_cut(old, places(self._inputs(old)[0]), places(old.output)))
        return smaller

    def _strongest(self, group: _Group, keep: float) -> np.ndarray:
        if group.is_whole or not group.made_by:
            return np.arange(group.size)
        strengths = [self._strength[name] / max(1e-12, float(self._strength[name].mean())) for name in group.made_by]
        step = _MULTIPLE if group.size >= 2 * _MULTIPLE else 1
        count = min(group.size, max(step, step * round(keep * group.size / step)))
        return np.sort(np.argsort(-np.sum(strengths, axis=0), kind="stable")[:count])

    def _added(self, layer: Any, inputs: Sequence[Any]) -> list[_Group]:
        first, *others = ([group.root for group in self._of[id(each)]] for each in inputs)
        for other in others:
            if [group.size for group in other] != [group.size for group in first]:
                raise _unknown(self._model, layer, "what it adds has its channels in other parts")
            for one, two in zip(first, other, strict=True):
                one.join(two)
                one.root.is_whole |= two.is_whole
        return first

    def _inputs(self, layer: Any) -> list[Any]:
        try:
            return list(keras.tree.flatten(layer.input))
        except (AttributeError, ValueError) as error:
            raise _unknown(self._model, layer, "it or what it follows stands in several places") from error


def _root(group: _Group) -> _Group:
    return group.root


def _gain(layer: Any) -> np.ndarray:
    """What a BatchNormalization multiplies each channel by, without its sign."""
    gamma = np.asarray(layer.gamma) if layer.scale else 1.0
    return np.abs(gamma) / np.sqrt(np.asarray(layer.moving_variance, np.float64) + layer.epsilon)


def _cut(layer: Any, taken: np.ndarray, given: np.ndarray) -> list[np.ndarray]:
    """The weights of `layer` that join the channels `taken` to the channels `given`."""
    kind, weights = type(layer).__name__, layer.get_weights()
    if kind in ("Conv2D", "Dense"):
        return [weights[0][..., taken, :][..., given], *(bias[given] for bias in weights[1:])]
    if kind == "DepthwiseConv2D":
        return [weights[0][:, :, taken], *(bias[given] for bias in weights[1:])]
    return [each[given] for each in weights]


def _unknown(model: Any, layer: Any, why: str) -> ModelError:
    return ModelError(
        f"{model.name} cannot be shrunk: its layer {layer.name!r} is a {type(layer).__name__}, and {why}. Networks of convolutions, "
        "depthwise ones too, normalization, pooling, sums and dense layers can: cnn, SqueezeNet, ResNet, MobileNet, MobileNetV2, VGG, "
        "DenseNet. Or train a smaller --model with --teacher"
    )
