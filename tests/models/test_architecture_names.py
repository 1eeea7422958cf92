from __future__ import annotations

import keras
import pytest

from imgstream.models import MODEL_NAMES
from imgstream.models.architecture_names import network_of_layers, network_of_name


@pytest.mark.quick("MobileNet", "VGG16", "ResNet50")
@pytest.mark.parametrize("name", ["MobileNet", "MobileNetV2", "MobileNetV3Small", "ResNet50", "ResNet50V2", "VGG16", "VGG19", "Xception"])
def test_a_network_is_known_by_its_layers_and_by_its_own_name(name: str) -> None:
    model = getattr(keras.applications, name)(weights=None, include_top=False, input_shape=(96, 96, 3))
    assert network_of_layers(layer.name for layer in model.layers) == name
    assert network_of_name(model.name, MODEL_NAMES) == name


def test_names_that_several_networks_have_or_none_tell_nothing() -> None:
    efficient_b1 = [f"block7{letter}_dwconv" for letter in "ab"]
    assert network_of_layers(efficient_b1) is None
    assert network_of_layers(["conv2d", "dense"]) is None
    assert network_of_layers(["fire9/expand3x3", "block5_conv4"]) is None
    assert network_of_name("my_model", MODEL_NAMES) is None


@pytest.mark.parametrize(
    ("name", "network"),
    [("efficientnetv2-b0", "EfficientNetV2B0"), ("resnet101v2", "ResNet101V2"), ("inception_resnet_v2", "InceptionResNetV2")],
)
def test_the_longest_name_that_fits_is_taken(name: str, network: str) -> None:
    assert network_of_name(name, MODEL_NAMES) == network
