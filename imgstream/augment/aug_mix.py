"""The random numbers of keras.layers.AugMix, which itself draws its chains of layers from Python's global generator."""

from __future__ import annotations

from typing import Any

import numpy as np

_GEOMETRY = ("random_shear", "random_translation", "random_rotation")
_LEVELS = ("solarization", "random_posterization", "auto_contrast", "equalization")
_COLOURS = ("random_brightness", "random_color_degeneration", "random_contrast", "random_sharpness")


def draw_transformation(layer: Any, image: Any, rng: np.random.Generator) -> dict[str, Any]:
    """What layer.transform_images takes, for one image (H, W, C): `num_chains` chains of `chain_depth` layers or fewer, each link one of
    its layers or, as likely as each of them, none; the chains' weights are of a Dirichlet, that of the image of a beta distribution.

    As AugMix.get_random_transformation of Keras 3.15 (Hendrycks et al., "AugMix", 2020).
    """
    names = (*_GEOMETRY, *_LEVELS, *(_COLOURS if layer.all_ops else ()))
    chains = []
    for _ in range(layer.num_chains):
        links = (int(link) for link in rng.integers(len(names) + 1, size=layer.chain_depth))
        chains.append([_link(layer, names[link], image) for link in links if link < len(names)])
    return {
        "chain_mixing_weights": rng.dirichlet([layer.alpha] * layer.num_chains).astype(np.float32),
        "weight_sample": np.float32(rng.beta(layer.alpha, layer.alpha)),
        "chain_transforms": chains,
    }


def _link(layer: Any, name: str, image: Any) -> dict[str, Any]:
    return {"layer_name": name, "transformation": getattr(layer, name).get_random_transformation(image, seed=layer.generator)}
