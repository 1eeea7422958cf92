"""The Keras model that is exported: the run's own, with its scaling before it and its temperature and softmax or sigmoid behind it."""

from __future__ import annotations

from typing import Any

from imgstream.errors import ModelError
from imgstream.spec import SampleSpec

IMAGE, PROBABILITIES, LOGITS = "image", "probabilities", "logits"
"""Names of the input and of the output."""


def serving_model(model: Any, spec: SampleSpec, temperature: float, *, multi_label: bool = False) -> Any:
    """A keras.Model: uint8 (B, *spec.shape), RGB or grey → probabilities float32 (B, K), softmax(logits / `temperature`), or the
    sigmoid with `multi_label`, where an image may have several labels.

    `model`: float32 (B, *spec.shape), by the spec's scale → logits (B, K).
    """
    import keras

    image, x = _pixels(spec)
    x = in_float32(model)(x)
    if temperature != 1:
        x = keras.layers.Rescaling(1 / temperature, dtype="float32", name="temperature")(x)
    if multi_label:
        last = keras.layers.Activation("sigmoid", dtype="float32", name=PROBABILITIES)
    else:
        last = keras.layers.Softmax(dtype="float32", name=PROBABILITIES)
    return keras.Model(image, last(x), name="classifier")


def raw_model(model: Any, spec: SampleSpec) -> Any:
    """A keras.Model: float32 (B, *spec.shape) by the spec's scale, as `model` takes it → logits float32 (B, K)."""
    import keras

    image = keras.Input(spec.shape, dtype="float32", name=IMAGE)
    logits = keras.layers.Activation("linear", dtype="float32", name=LOGITS)(in_float32(model)(image))
    return keras.Model(image, logits, name="classifier")


def pixel_model(model: Any, spec: SampleSpec) -> Any:
    """A keras.Model: uint8 (B, *spec.shape), RGB or grey → float32 (B, D), what `model` gives for their samples."""
    import keras

    image, samples = _pixels(spec)
    return keras.Model(
        image, keras.layers.Activation("linear", dtype="float32", name=LOGITS)(in_float32(model)(samples)), name="classifier"
    )


def _pixels(spec: SampleSpec) -> tuple[Any, Any]:
    """An input of pixels, and the samples that are made of them."""
    import keras

    image = keras.Input(spec.shape, dtype="uint8", name=IMAGE)
    gain, bias = spec.affine()
    x = keras.ops.take(image, [2, 1, 0], axis=-1) if spec.bgr else image
    return image, keras.layers.Rescaling(gain.tolist(), bias.tolist(), dtype="float32", name="scale")(x)


def in_float32(model: Any) -> Any:
    """`model`, or where layers of it compute in mixed precision, a copy of it that computes in float32."""
    import keras

    if all(layer.dtype_policy.compute_dtype == "float32" for layer in model.layers):
        return model

    def copied(layer: Any) -> Any:
        return layer.__class__.from_config({**layer.get_config(), "dtype": "float32"})

    copy = keras.models.clone_model(model, clone_function=copied, recursive=True)
    copy.set_weights(model.get_weights())
    return copy


def check_backend() -> None:
    """Raise ModelError unless Keras computes with TensorFlow, whose converters all formats are made by."""
    import keras

    if (backend := keras.backend.backend()) != "tensorflow":
        raise ModelError(
            f"exporting needs TensorFlow, and Keras computes with {backend} here: set KERAS_BACKEND=tensorflow; runs are the same"
        )
