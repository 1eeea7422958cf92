"""Augmentation by Keras layers, each sample by itself on the CPU, with the random numbers of its key.

A Keras layer draws from SeedGenerators, whose state is a variable of the layer. Before each sample every one of these variables, also those
of layers inside layers, is set to numbers of the sample's generator: then whatever the layer draws follows from (seed, epoch, row). This
holds for any layer of Keras or of the user that draws so. One that draws elsewhere is found by a trial, and refused. MixUp and CutMix mix
samples: they are done when the batch is complete, as the presets' mixing is.
"""

from __future__ import annotations

import functools
import importlib
import json
from collections.abc import Callable
from typing import Any, Protocol

import keras
import numpy as np

from imgstream.augment.aug_mix import draw_transformation
from imgstream.augment.policy import Policy
from imgstream.augment.presets import Mix
from imgstream.errors import AugmentError
from imgstream.wording import innermost

_TRIED = (16, 16, 3)
"""Shape of the image that a layer is tried on."""
_SCALING = (keras.layers.Rescaling, keras.layers.Normalization, keras.layers.BatchNormalization, keras.layers.LayerNormalization)


class KerasLayers(Policy):
    """A chain of Keras layers as an augmentation. Each thread has its own copy: a layer's random state is in the layer."""

    def __init__(self, layers: list[Any]) -> None:
        """`layers`: Keras layers, in the order in which they are applied.

        Raises AugmentError for a layer whose random numbers cannot be given, or that makes something other than 0 to 255 of it.
        """
        super().__init__(", ".join(type(layer).__name__ for layer in layers) or "no layers")
        self.layers = layers
        mixers = [layer for layer in layers if isinstance(layer, keras.layers.MixUp | keras.layers.CutMix)]
        if mixers and (len(mixers) > 1 or layers[-1] is not mixers[0]):
            raise AugmentError(
                f"augmentation {self.name}: MixUp or CutMix, and one of them, comes last: they mix samples that are finished"
            )
        self.mix = _mixing(mixers[0]) if mixers else None
        self._single = layers[:-1] if mixers else layers
        for layer in self._single:
            _check(layer)
        self._check_keyed()

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _from_configs, ([(type(layer), config_of(layer)) for layer in self.layers],)

    def to_json(self) -> dict[str, Any]:
        """What a run folder keeps: what Keras serialises of each layer."""
        return {"kind": "keras", "name": self.name, "layers": [described(layer) for layer in self.layers]}

    def _transform(self, image: np.ndarray, rng: np.random.Generator) -> Any:
        if not self._single:
            return image
        try:
            chain = self._idle.pop()
        except IndexError:
            chain = self._chain()
        try:
            result = chain(image.astype(np.float32) if image.dtype == np.uint8 else 255 * image, rng)
        finally:
            self._idle.append(chain)
        if image.dtype != np.uint8:
            return np.asarray(result, np.float32) / np.float32(255)
        return np.clip(np.rint(result), 0, 255).astype(np.uint8)

    def _chain(self) -> Chain:
        copies = [_copy(layer) for layer in self._single]
        eager = keras.backend.backend() != "tensorflow" or any(isinstance(layer, keras.layers.AugMix) for layer in copies)
        return _EagerChain(copies) if eager else _GraphChain(copies)

    def _check_keyed(self) -> None:
        """Raise AugmentError when the same key gives two images."""
        image = np.random.default_rng(0).integers(0, 256, _TRIED).astype(np.float32)
        for layer in self._single:
            try:
                chain = _EagerChain([_copy(layer)])
                one, two = (chain(image, np.random.default_rng(1)) for _ in range(2))
            except Exception:  # not made for such an image; apply says what is wrong with real ones
                continue
            if not np.array_equal(one, two):
                raise AugmentError(
                    f"the layer {type(layer).__name__} gives another image each time for the same seed: it draws its random numbers "
                    "elsewhere than from a keras.random.SeedGenerator of its own. Give it one, and pass it as seed= to all functions "
                    "of keras.random"
                )


class Chain(Protocol):
    """Applies copies of the layers to one image at a time."""

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """float32 (H, W, C), 0 to 255, in and out."""


class _EagerChain:
    """Operation by operation, on any backend."""

    def __init__(self, layers: list[Any]) -> None:
        self._layers = [(layer, keras.layers.Pipeline([layer])) for layer in layers]
        self._states = [state for _, pipeline in self._layers for state in _random_states(pipeline)]

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        with keras.device("cpu"):
            for state, numbers in zip(self._states, _numbers(rng, len(self._states)), strict=True):
                state.assign(numbers)
            result = keras.ops.convert_to_tensor(image)
            for layer, pipeline in self._layers:
                if isinstance(layer, keras.layers.AugMix):
                    result = layer.transform_single_image(result, draw_transformation(layer, result, rng), training=True)
                else:
                    result = pipeline(result, training=True)
            return np.asarray(keras.ops.convert_to_numpy(result))


class _GraphChain:
    """One graph of TensorFlow for all layers: a fraction of the time, and the interpreter lock is free meanwhile."""

    def __init__(self, layers: list[Any]) -> None:
        import tensorflow as tf

        pipeline = keras.layers.Pipeline(layers)
        states = _random_states(pipeline)
        self._count = len(states)

        def run(image: Any, numbers: Any) -> Any:
            for i, state in enumerate(states):
                state.assign(numbers[i])
            return pipeline(image, training=True)

        # Calls of a tf.function are counted, and many copies that are each traced once would make TensorFlow warn of too much tracing.
        self._trace = functools.cache(
            lambda shape: tf.function(run).get_concrete_function(
                tf.TensorSpec(shape, tf.float32), tf.TensorSpec((self._count, 2), tf.uint32)
            )
        )

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        import tensorflow as tf

        with tf.device("CPU"):
            return np.asarray(self._trace(image.shape)(tf.constant(image), tf.constant(_numbers(rng, self._count))))


class BatchLayers:
    """Applies copies of the layers to a whole batch, within a program that TensorFlow or JAX compiles: what a layer draws for each image
    it draws there, from the key of the step.
    """

    def __init__(self, given: KerasLayers, seed: int) -> None:
        """`seed`: of the training. Raises AugmentError for layers that can be applied to single images alone."""
        if given.mix is not None:
            raise AugmentError(
                f"augmentation {given.name}: {type(given.layers[-1]).__name__} mixes labels too, which is done on the CPU alone"
            )
        if any(isinstance(layer, keras.layers.AugMix) for layer in given.layers):
            raise AugmentError(
                f"augmentation {given.name}: AugMix draws its chains in Python, once for a compiled program: it can be had on the CPU alone"
            )
        self.name, self._seed = given.name, seed
        self._pipeline = keras.layers.Pipeline([_copy(layer) for layer in given.layers])
        self._states = _random_states(self._pipeline)

    def numbers(self, step: int) -> np.ndarray:
        """uint32 (n, 2): the states of the layers' n seed generators in the `step`-th step, from 0."""
        return _numbers(np.random.default_rng((self._seed % 2**64, step)), len(self._states))

    def __call__(self, images: Any, numbers: Any) -> Any:
        """Tensors: float32 (B, H, W, C), 0 to 255, in and out; `numbers` as the method of that name gives them."""
        with keras.StatelessScope([(state, numbers[i]) for i, state in enumerate(self._states)]):
            return keras.ops.clip(keras.ops.cast(self._pipeline(images, training=True), "float32"), 0.0, 255.0)

    def check(self, shape: tuple[int, int, int]) -> None:
        """Raise AugmentError when the layers cannot be compiled for images of `shape`, (H, W, C), or give images of another."""
        try:
            found = self._traced_shape(shape)
        except Exception as error:  # layers may raise anything
            raise AugmentError(f"augmentation {self.name} cannot be compiled into the training step: {innermost(error)}") from error
        if found != shape:
            raise AugmentError(
                f"augmentation {self.name} makes images of {found} out of {shape}, and must give the same. Leave resizing out"
            )

    def _traced_shape(self, shape: tuple[int, int, int]) -> tuple[int | None, ...]:
        states = (len(self._states), 2)
        if keras.backend.backend() == "jax":
            jax = importlib.import_module("jax")  # no dependency of ours
            traced = jax.eval_shape(self, jax.ShapeDtypeStruct((2, *shape), "float32"), jax.ShapeDtypeStruct(states, "uint32"))
            return tuple(traced.shape[1:])
        import tensorflow as tf

        program = tf.function(self.__call__, autograph=False).get_concrete_function(
            tf.TensorSpec((None, *shape), tf.float32), tf.TensorSpec(states, tf.uint32)
        )
        return tuple(program.structured_outputs.shape[1:])


def _numbers(rng: np.random.Generator, count: int) -> np.ndarray:
    """uint32 (count, 2): a state for each seed generator."""
    return rng.integers(2**32, size=(count, 2), dtype=np.uint32)


def _random_states(layer: Any) -> list[Any]:
    """The variables of a layer, and of the layers in it, that hold the state of a SeedGenerator."""
    return [variable for variable in layer.variables if variable.path.rpartition("/")[2].startswith("seed_generator_state")]


def _check(layer: Any) -> None:
    """Raise AugmentError for a layer that is none, or that wants or gives other values than 0 to 255."""
    name = type(layer).__name__
    if isinstance(layer, _SCALING):
        raise AugmentError(f"the layer {name} scales pixels, which is the SampleSpec's work and comes afterwards: leave it out")
    if getattr(layer, "data_format", "channels_last") == "channels_first":
        raise AugmentError(f'the layer {name} takes channels first; images are (H, W, C) here: make it with data_format="channels_last"')
    value_range = getattr(layer, "value_range", None)
    if value_range is not None and tuple(value_range) != (0, 255):
        raise AugmentError(
            f"the layer {name} is made for values from {value_range[0]} to {value_range[1]}; images are 0 to 255 here: make it with "
            "value_range=(0, 255)"
        )


def _mixing(layer: Any) -> Callable[[np.random.Generator], Mix]:
    """The distribution that MixUp or CutMix draws from."""
    if isinstance(layer, keras.layers.MixUp):
        return lambda rng: Mix("mixup", float(rng.beta(layer.alpha, layer.alpha)), 0.0, 0.0)
    low, high = layer.factor

    def cut(rng: np.random.Generator) -> Mix:
        alpha = rng.uniform(low, high) + 1e-6
        return Mix("cutmix", float(rng.beta(alpha, alpha)), float(rng.random()), float(rng.random()))

    return cut


def described(layer: Any) -> dict[str, Any]:
    """What Keras serialises of a layer, as values that JSON can hold, without its name, which counts the layers of the process: a resumed
    run compares it.
    """
    data = _plain({**keras.saving.serialize_keras_object(layer), "config": config_of(layer)})
    data["config"].pop("name", None)
    return data


def config_of(layer: Any) -> dict[str, Any]:
    """layer.get_config(), as from_config takes it: RandomShear of Keras 3.15 gives (-f, f) for its factor f, and then refuses it."""
    config: dict[str, Any] = layer.get_config()
    if isinstance(layer, keras.layers.RandomShear):
        mend_shear(config)
    return _plain(config)


def _plain(data: dict[str, Any]) -> dict[str, Any]:
    """The same in lists and dictionaries that can be pickled: Keras gives containers of its own, which belong to the layer."""
    try:
        return json.loads(json.dumps(data))
    except TypeError:  # of a layer of the user's
        return data


def mend_shear(config: dict[str, Any]) -> None:
    """Put the factors of a RandomShear's config as its constructor takes them."""
    for name in ("x_factor", "y_factor"):
        factor = config.get(name)
        if isinstance(factor, list | tuple) and len(factor) == 2 and factor[0] == -factor[1]:
            config[name] = factor[1]


def _copy(layer: Any) -> Any:
    return type(layer).from_config(config_of(layer))


def _from_configs(configs: list[tuple[Any, dict[str, Any]]]) -> KerasLayers:
    return KerasLayers([kind.from_config(config) for kind, config in configs])
