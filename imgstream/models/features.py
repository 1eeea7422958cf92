"""A model without its head: it gives the input of its last Dense layer."""

from __future__ import annotations

from typing import Any

from imgstream.errors import ModelError


def head(model: Any) -> Any | None:
    """The Dense layer that ends `model`: its last layer with weights, if that is a Dense one; else None. A softmax after it has no
    weights.
    """
    import keras

    last = _last_with_weights(model)
    return last if isinstance(last, keras.layers.Dense) else None


def features(model: Any) -> Any:
    """A keras.Model: `model`'s input → float32 (B, D), the input of its head. It shares layers and weights with `model`.

    If the last layer with weights is no Dense layer, it gives that layer's output. Maps, (B, H, W, D), are averaged over height and width.
    Raises ModelError for a model without weights, with several inputs, or whose features are no vector of a known length.
    """
    import keras

    last = _last_with_weights(model)
    if last is None:
        raise ModelError(f"{model.name} has no layer with weights: there is nothing to take features from")
    if len(model.inputs) != 1:
        raise ModelError(f"{model.name} has {len(model.inputs)} inputs; a model of images has one")
    found = last.input if isinstance(last, keras.layers.Dense) else last.output
    if isinstance(found, list | tuple | dict):
        raise ModelError(f"{model.name}: its last layer with weights, {last.name}, has several tensors; features are one vector an image")
    if len(found.shape) == 4:
        found = keras.layers.GlobalAveragePooling2D()(found)
    if len(found.shape) != 2 or found.shape[-1] is None:
        raise ModelError(f"{model.name}: what {last.name} takes or gives has the shape {found.shape}; features are (B, D)")
    if found.dtype != "float32":
        found = keras.layers.Activation("linear", dtype="float32", name="features_float32")(found)
    try:
        return keras.Model(model.inputs[0], found, name=model.name)
    except ValueError as error:
        raise ModelError(f"{model.name} cannot be taken apart: {str(error).splitlines()[0]}") from error


def _last_with_weights(model: Any) -> Any | None:
    return next((layer for layer in reversed(model.layers) if layer.weights), None)
