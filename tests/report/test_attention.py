from __future__ import annotations

import base64

import cv2
import keras
import numpy as np

import imgstream as ims
from imgstream.report.attention import ClassMaps, overlay

SPEC = ims.SampleSpec(size=(4, 4))


def model(*between: keras.layers.Layer) -> keras.Model:
    """One convolution that passes the red channel on as map 0 and the blue one as map 1; class 0 is red, class 1 is blue."""
    inputs = keras.Input((4, 4, 3))
    passed = keras.layers.Conv2D(2, 1, use_bias=False, name="maps")(inputs)
    x = keras.layers.GlobalAveragePooling2D()(passed)
    for layer in between:
        x = layer(x)
    made = keras.Model(inputs, keras.layers.Dense(2, use_bias=False, name="logits")(x))
    made.get_layer("maps").set_weights([np.array([[[[1, 0], [0, 0], [0, 1]]]], np.float32)])
    made.get_layer("logits").set_weights([np.eye(2, dtype=np.float32)])
    return made


def test_a_map_is_large_where_the_class_is_and_nowhere_else() -> None:
    image = np.zeros((4, 4, 3), np.float32)
    image[0, 1, 0], image[3, 2, 2], image[2, 2, 0] = 2.0, 5.0, -3.0  # red, blue, and what speaks against red
    look = ClassMaps(model(keras.layers.Dropout(0.5)), SPEC, 2)
    assert look.available
    red, blue = look(np.stack([image, image]), np.array([0, 1]))
    assert (red[0, 1], red.sum()) == (1.0, 1.0)
    assert (blue[3, 2], blue.sum()) == (1.0, 1.0)


def test_a_model_with_more_than_pooling_before_its_head_has_no_maps() -> None:
    assert not ClassMaps(model(keras.layers.Dense(2, activation="relu")), SPEC, 2).available


def test_the_picture_over_an_image_is_as_strong_as_the_map() -> None:
    data = base64.b64decode(overlay(np.array([[0.0, 1.0], [0.5, 0.0]])).partition(",")[2])
    alpha = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)[..., 3]
    assert alpha.tolist() == [[0, 200], [100, 0]]
