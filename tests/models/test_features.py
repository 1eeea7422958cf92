from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from imgstream.errors import ModelError
from imgstream.models import build_model, features, head

IMAGES = np.random.default_rng(0).random((3, 16, 16, 3), np.float32)


def test_features_are_what_the_head_takes_and_share_the_models_weights() -> None:
    model = build_model("cnn", (16, 16, 3), 4)
    body, last = features(model), head(model)
    assert last is model.get_layer("logits")
    found = np.asarray(body(IMAGES))
    assert found.shape == (3, 256)
    assert found.dtype == np.float32
    kernel, bias = last.get_weights()
    np.testing.assert_allclose(found @ kernel + bias, model(IMAGES, training=False), atol=1e-5)
    model.layers[1].set_weights([w * 2 for w in model.layers[1].get_weights()])
    assert not np.array_equal(body(IMAGES), found)


def test_a_softmax_after_the_head_is_no_head_of_its_own() -> None:
    model = keras.Sequential([keras.Input((16, 16, 3)), layers.Flatten(), layers.Dense(5), layers.Dense(2), layers.Softmax()])
    assert head(model) is model.layers[2]
    assert features(model).output_shape == (None, 5)


def test_maps_are_averaged_where_no_dense_layer_ends_the_model() -> None:
    inputs = keras.Input((16, 16, 3))
    maps = layers.Conv2D(7, 3)(inputs)
    model = keras.Model(inputs, layers.ReLU()(maps))
    assert head(model) is None
    np.testing.assert_allclose(features(model)(IMAGES), np.mean(keras.Model(inputs, maps)(IMAGES), axis=(1, 2)), atol=1e-6)


def test_features_of_a_model_in_mixed_precision_are_float32() -> None:
    policy = "mixed_bfloat16"
    inputs = keras.Input((16, 16, 3))
    x = layers.GlobalAveragePooling2D(dtype=policy)(layers.Conv2D(4, 3, dtype=policy)(inputs))
    model = keras.Model(inputs, layers.Dense(2, dtype="float32")(x))
    assert features(model).output.dtype == "float32"


def test_what_has_no_features_says_so() -> None:
    inputs, other = keras.Input((4, 4, 3)), keras.Input((4, 4, 3))
    nothing = keras.Model(inputs, layers.Flatten()(inputs))
    two = keras.Model([inputs, other], layers.Dense(2)(layers.Flatten()(layers.Add()([inputs, other]))))
    rows = keras.Model(inputs, layers.Reshape((16, 2))(layers.Conv2D(2, 1)(inputs)))
    lines = keras.Model(inputs, layers.Dense(2)(layers.Reshape((16, 3))(inputs)))
    assert features(rows).output_shape == (None, 2)
    for model, words in ((nothing, "no layer with weights"), (two, "2 inputs"), (lines, r"\(None, 16, 3\)")):
        with pytest.raises(ModelError, match=words):
            features(model)
