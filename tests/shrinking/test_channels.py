from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from imgstream.errors import ModelError
from imgstream.models import build_model
from imgstream.shrinking.channels import pruned

SHAPE = (32, 32, 3)


def images(count: int = 2) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, *SHAPE)).astype(np.float32)


def test_channels_that_do_nothing_are_those_that_go() -> None:
    keras.utils.set_random_seed(0)
    inputs = keras.Input(SHAPE)
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(16, 3, padding="same")(inputs)))
    x = layers.ReLU()(layers.BatchNormalization()(layers.DepthwiseConv2D(3)(x)))
    x = layers.Concatenate()([layers.Conv2D(16, 1)(x), layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(32, 3, padding="same")(x)))])
    x = layers.GlobalAveragePooling2D()(layers.MaxPooling2D()(x))
    model = keras.Model(inputs, layers.Dense(3, name="logits")(layers.Dense(16, activation="relu")(x)))
    for layer in model.layers:
        if isinstance(layer, layers.Conv2D) and not isinstance(layer, layers.DepthwiseConv2D):
            kernel, bias = layer.get_weights()
            kernel[..., 1::2] = 0
            layer.set_weights([kernel, bias])
        if isinstance(layer, layers.Dense) and layer.name != "logits":
            kernel, bias = layer.get_weights()
            kernel[:, ::2] = 0
            layer.set_weights([kernel, bias])
    smaller = pruned(model, 0.5)
    assert sorted(layer.filters for layer in smaller.layers if type(layer) is layers.Conv2D) == [8, 8, 16]
    np.testing.assert_allclose(smaller(images()), model(images()), atol=1e-6)


def test_channels_that_are_added_are_cut_alike() -> None:
    model = build_model("cnn", SHAPE, 3)
    smaller = pruned(model, 0.5)
    assert tuple(smaller(images()).shape) == (2, 3)
    assert smaller.get_layer("logits").get_weights()[0].shape == (128, 3)
    assert smaller.count_params() == build_model("cnn-small", SHAPE, 3).count_params()


@pytest.mark.parametrize("name", ["MobileNetV2", "SqueezeNet", "ResNet50", "MobileNet", "VGG16", "DenseNet121"])
@pytest.mark.quick("SqueezeNet")
def test_known_networks_get_smaller_and_still_compute(name: str) -> None:
    model = build_model(name, SHAPE, 3)
    smaller = pruned(model, 0.5)
    assert smaller.count_params() < 0.4 * model.count_params()
    assert np.isfinite(np.asarray(smaller(images(), training=False))).all()
    assert [layer.name for layer in smaller.layers[1:]] == [layer.name for layer in model.layers[1:]]  # Keras renames the input


def test_the_strength_of_a_filter_is_what_its_normalization_makes_of_it() -> None:
    inputs = keras.Input(SHAPE)
    x = layers.BatchNormalization()(layers.Conv2D(4, 1, use_bias=False)(inputs))
    model = keras.Model(inputs, layers.Dense(2, name="logits")(layers.GlobalAveragePooling2D()(x)))
    conv, norm = model.layers[1:3]
    conv.set_weights([np.ones((1, 1, 3, 4), np.float32) * [1, 2, 3, 4]])
    norm.set_weights([np.float32([9, 1, 1, 1]), np.float32([0, 1, 2, 3]), np.zeros(4), np.float32([1, 1, 1, 100])])
    assert pruned(model, 0.5).layers[2].get_weights()[1].tolist() == [0, 2]


def test_a_network_whose_channels_are_not_understood_is_refused_by_the_name_of_the_layer() -> None:
    inputs = keras.Input(SHAPE)
    flat = layers.Flatten(name="flat")(layers.Conv2D(4, 3)(inputs))
    with pytest.raises(ModelError, match="its layer 'flat' is a Flatten, and it is not known which of its channels belong together"):
        pruned(keras.Model(inputs, layers.Dense(2)(flat)), 0.5)
    grouped = layers.Conv2D(4, 3, groups=2, name="grouped")(layers.Conv2D(4, 3)(inputs))
    with pytest.raises(ModelError, match="'grouped' is a Conv2D, and its filters are in groups"):
        pruned(keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(grouped))), 0.5)
    shared = layers.Conv2D(3, 3, padding="same", name="shared")
    with pytest.raises(ModelError, match="it or what it follows stands in several places"):
        pruned(keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(shared(shared(inputs))))), 0.5)
