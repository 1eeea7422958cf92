"""A model without its head: it gives the input of its last Dense layer."""

from __future__ import annotations

from typing import Any

from imgstream.errors import ModelError
from imgstream.wording import innermost


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
        raise ModelError(f"{model.name} cannot be taken apart: {innermost(error)}") from error


def with_features(model: Any) -> Any:
    """A keras.Model: `model`'s input → float32 (B, K + D), its output and then its features. Raises ModelError as `features` does."""
    import keras

    joined = keras.layers.Concatenate(dtype="float32")([model.outputs[0], features(model).outputs[0]])
    return keras.Model(model.inputs[0], joined, name=model.name)


def maps(model: Any) -> Any | None:
    """A keras.Model: `model`'s input → float32 (B, h, w, D), the maps whose means over height and width are what its head takes.

    None for a model that does not end in global average pooling and a Dense layer, with nothing but Dropout between.
    """
    import keras

    last = head(model)
    made_by = None if last is None else _maker(model, last.input)
    while isinstance(made_by, keras.layers.Dropout):
        made_by = _maker(model, made_by.input)
    if not isinstance(made_by, keras.layers.GlobalAveragePooling2D) or made_by.data_format != "channels_last":
        return None
    found = keras.layers.Activation("linear", dtype="float32", name="maps_float32")(made_by.input)
    return keras.Model(model.inputs[0], found, name=model.name)


def _maker(model: Any, tensor: Any) -> Any | None:
    return next((layer for layer in model.layers if layer.output is tensor), None)


def _last_with_weights(model: Any) -> Any | None:
    return next((layer for layer in reversed(model.layers) if layer.weights), None)
