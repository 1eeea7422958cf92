"""From a model's name to a Keras model: which networks there are, what input scale each wants, and where its weights come from."""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path
from typing import Any

from imgstream.errors import ModelError
from imgstream.spec import Scale

MODEL_NAMES = (
    "cnn",
    *("ConvNeXtTiny", "ConvNeXtSmall", "ConvNeXtBase", "DenseNet121", "DenseNet169", "DenseNet201"),
    *("EfficientNetB0", "EfficientNetB1", "EfficientNetB2", "EfficientNetB3", "EfficientNetB4"),
    *("EfficientNetV2B0", "EfficientNetV2B1", "EfficientNetV2B2", "EfficientNetV2B3", "EfficientNetV2S", "EfficientNetV2M"),
    *("InceptionResNetV2", "InceptionV3", "MobileNet", "MobileNetV2", "MobileNetV3Large", "MobileNetV3Small", "NASNetMobile"),
    *("ResNet50V2", "ResNet101V2", "ResNet152V2", "Xception"),
)
"""Those of keras.applications whose input scale a SampleSpec can express. (VGG and ResNet v1 want BGR minus a mean.)"""

_SCALES: tuple[tuple[str, Scale], ...] = (
    # Each network's own preprocess_input in keras.applications; the "raw" ones have the scaling inside the model.
    ("ConvNeXt", "raw"),
    ("EfficientNet", "raw"),
    ("MobileNetV3", "raw"),
    ("DenseNet", "imagenet"),
)


@dataclasses.dataclass(frozen=True)
class ModelInfo:
    """What a network wants of its samples."""

    name: str
    scale: Scale
    size: tuple[int, int]
    """(height, width) it is best fed with; any size from 32 works."""
    any_size: bool
    """Whether one set of weights takes samples of any size: then training may begin with smaller ones."""


def model_info(name: str) -> ModelInfo:
    """The network called `name`, in any case. Raises ModelError with the names there are."""
    for known in MODEL_NAMES:
        if known.lower() == name.lower():
            if known == "cnn":
                return ModelInfo(known, "signed", (96, 96), any_size=True)
            scale: Scale = next((scale for prefix, scale in _SCALES if known.startswith(prefix)), "signed")
            return ModelInfo(known, scale, (224, 224), any_size=False)
    raise ModelError(f"no model named {name!r}; there are: {', '.join(MODEL_NAMES)}")


def build_model(name: str, shape: tuple[int | None, int | None, int], class_count: int, weights: str = "none") -> Any:
    """A keras.Model: float32 (B, *shape) in the scale of model_info(name) → logits float32 (B, class_count). Height and width
    of `shape` may be None where model_info says any_size.

    `weights`: "none" (random), "imagenet" (keras.applications' own, fetched once by Keras), or a file: a .keras model or .h5 weights.
    Of a file, all that fits is taken: the layers whose weights have the same shapes, so that a model of other classes gives its body.
    Raises ModelError when weights cannot be had, saying where to put them.
    """
    info = model_info(name)
    if info.name == "cnn":
        from imgstream.models.cnn import build_cnn

        if weights == "imagenet":
            raise ModelError("there are no ImageNet weights for cnn; take --weights none, a file, or another --model such as MobileNetV2")
        model = build_cnn(shape, class_count)
    else:
        model = _application(info.name, shape, class_count, weights)
    if weights not in ("none", "imagenet"):
        _load_file(model, Path(weights))
    return model


def _application(name: str, shape: tuple[int | None, int | None, int], class_count: int, weights: str) -> Any:
    import keras

    if weights == "imagenet" and shape[2] != 3:
        raise ModelError(f"the ImageNet weights of {name} are for RGB; train it with --channels 3, or with --weights none")
    if min(shape[0] or 32, shape[1] or 32) < 32:
        raise ModelError(f"{name} needs images of 32 pixels a side or more; got {shape[0]}x{shape[1]}")
    try:
        body = getattr(keras.applications, name)(
            include_top=False, weights="imagenet" if weights == "imagenet" else None, input_shape=shape, pooling="avg"
        )
    except Exception as error:
        if weights != "imagenet":
            raise ModelError(f"{name} cannot be built for images of {shape[0]}x{shape[1]}: {error}") from error
        raise ModelError(_not_fetched(name, str(error))) from error
    outputs = keras.layers.Dense(class_count, dtype="float32", name="logits")(body.output)
    return keras.Model(body.input, outputs, name=name)


def _not_fetched(name: str, error: str) -> str:
    url = re.search(r"https?://\S+", error)
    file = url.group().rstrip(":.,").rsplit("/", 1)[-1] if url else f"{name}'s weights"
    folder = os.path.join(os.environ.get("KERAS_HOME", os.path.join("~", ".keras")), "models")
    address = f" from {url.group().rstrip(':.,')}" if url else f" ({error})"
    return f"the ImageNet weights of {name} could not be fetched{address}. Put the file at {folder}/{file}, or use --weights none or a file"


def _load_file(model: Any, path: Path) -> None:
    import keras

    _check_weights_file(path)
    try:
        if path.suffix == ".keras":
            taken = _take_matching(model, keras.saving.load_model(path, compile=False))
        else:
            taken = _load_h5(model, path)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(f"the weights in {path} cannot be loaded into {model.name}: {str(error).splitlines()[0]}") from error
    if not taken:
        raise ModelError(f"nothing in {path} fits {model.name}: no layer has weights of the same shapes. Is it another network's file?")


def _check_weights_file(path: Path) -> None:
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise ModelError(f"cannot read the weights file {path}: {error.strerror}") from error
    if head.startswith(b"version https://git-lfs"):
        raise ModelError(f"{path} is a Git LFS pointer, not the weights: run git lfs pull where it came from")
    expected = {".keras": b"PK", ".h5": b"\x89HDF"}.get(path.suffix)
    if expected is None:
        raise ModelError(f"{path}: weights are read from .keras, .weights.h5 and .h5 files")
    if not head.startswith(expected):
        raise ModelError(f"{path} is no {path.suffix} file: it begins with {head[:8]!r}. Was it fetched whole?")


def _take_matching(model: Any, source: Any) -> int:
    """Copy the weights of the layers that fit, paired in order; returns how many layers."""
    mine = [layer for layer in model.layers if layer.weights]
    theirs = [layer for layer in source.layers if layer.weights]
    taken = 0
    for layer, other in zip(mine, theirs, strict=False):
        if [tuple(w.shape) for w in layer.weights] == [tuple(w.shape) for w in other.weights]:
            layer.set_weights(other.get_weights())
            taken += 1
    return taken


def _load_h5(model: Any, path: Path) -> int:
    """Copy an .h5 file's weights: Keras' .weights.h5 and the older layout alike, by order and shape; returns how many arrays."""
    import h5py

    arrays: list[Any] = []
    with h5py.File(path, "r") as file:
        names = [n.decode() if isinstance(n, bytes) else n for n in file.attrs.get("layer_names", [])]
        if names:  # the older layout lists its layers and each layer's weights, in order
            for name in names:
                group = file[name]
                arrays += [group[w][()] for w in group.attrs["weight_names"]]
        else:
            before = [w.numpy() if hasattr(w, "numpy") else w for w in model.get_weights()]
            model.load_weights(path)
            return sum(bool((a != b).any()) for a, b in zip(before, model.get_weights(), strict=True))
    weights = model.weights[: len(arrays)]
    if any(tuple(w.shape) != a.shape for w, a in zip(weights, arrays, strict=False)) or len(weights) < len(arrays):
        raise ModelError(
            f"the {len(arrays)} arrays in {path} have other shapes than the layers of {model.name}: it is another network's file"
        )
    for weight, array in zip(weights, arrays, strict=True):
        weight.assign(array)
    return len(arrays)
