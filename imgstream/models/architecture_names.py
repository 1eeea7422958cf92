"""Recognises a model by the names that keras.applications (and SqueezeNet's authors) give to models and layers."""

from __future__ import annotations

import re
from collections.abc import Iterable

_MARKS = {
    # A layer that the model has, and one that only its larger variants have. EfficientNetB1 and B2 have the same names.
    "ConvNeXtTiny": ("convnext_tiny_stem", None),
    "ConvNeXtSmall": ("convnext_small_stem", None),
    "ConvNeXtBase": ("convnext_base_stem", None),
    "DenseNet121": ("conv5_block16_0_bn", "conv5_block17_0_bn"),
    "DenseNet169": ("conv5_block32_0_bn", "conv4_block48_0_bn"),
    "DenseNet201": ("conv4_block48_0_bn", None),
    "EfficientNetB0": ("block7a_dwconv", "block7b_dwconv"),
    "EfficientNetB3": ("block6f_dwconv", "block6h_dwconv"),
    "EfficientNetB4": ("block6h_dwconv", "block6i_dwconv"),
    "EfficientNetV2B0": ("block6h_dwconv2", "block6i_dwconv2"),
    "EfficientNetV2B1": ("block6i_dwconv2", "block6j_dwconv2"),
    "EfficientNetV2B2": ("block6j_dwconv2", "block6k_dwconv2"),
    "EfficientNetV2B3": ("block6l_dwconv2", "block6m_dwconv2"),
    "EfficientNetV2S": ("block6o_dwconv2", "block7a_dwconv2"),
    "EfficientNetV2M": ("block7e_dwconv2", "block7f_dwconv2"),
    "InceptionResNetV2": ("conv_7b", None),
    "InceptionV3": ("mixed10", None),
    "MobileNet": ("conv_pw_13", None),
    "MobileNetV2": ("block_16_project", None),
    "MobileNetV3Large": ("expanded_conv_14_project", None),
    "MobileNetV3Small": ("expanded_conv_10_project", "expanded_conv_11_project"),
    "NASNetMobile": ("separable_conv_2_bn_normal_left5_12", "separable_conv_2_bn_normal_left5_13"),
    "ResNet50": ("conv5_block3_3_bn", "conv4_block7_3_bn"),
    "ResNet101": ("conv4_block23_3_bn", "conv4_block24_3_bn"),
    "ResNet152": ("conv4_block36_3_bn", None),
    "ResNet50V2": ("conv5_block3_preact_bn", "conv4_block7_preact_bn"),
    "ResNet101V2": ("conv4_block23_preact_bn", "conv4_block24_preact_bn"),
    "ResNet152V2": ("conv4_block36_preact_bn", None),
    "SqueezeNet": ("fire9_expand3x3", None),
    "VGG16": ("block5_conv3", "block5_conv4"),
    "VGG19": ("block5_conv4", None),
    "Xception": ("block14_sepconv2", None),
}


def network_of_layers(names: Iterable[str]) -> str | None:
    """The model whose layers have these names ("fire2/squeeze1x1" is "fire2_squeeze1x1"); None if none or more than one matches.

    >>> network_of_layers(["block5_conv2", "block5_conv3", "predictions"])
    'VGG16'
    """
    there = {name.replace("/", "_") for name in names}
    found = [network for network, (has, lacks) in _MARKS.items() if has in there and lacks not in there]
    return found[0] if len(found) == 1 else None


def network_of_name(name: str, networks: Iterable[str]) -> str | None:
    """Which of `networks` a model called `name` is; the longest match counts.

    >>> network_of_name("mobilenetv2_1.00_224", ["MobileNet", "MobileNetV2"])
    'MobileNetV2'
    """
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    found = [network for network in networks if plain.startswith(network.lower())]
    return max(found, key=len, default=None)
