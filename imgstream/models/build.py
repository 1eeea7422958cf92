"""Builds a Keras model by name: which models there are, the samples that each wants, and where its weights come from."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from pathlib import Path
from typing import Any

from imgstream.errors import ModelError, RunError, SpecError
from imgstream.files.compiled_programs import keep_programs
from imgstream.files.digests import FILES, check_files
from imgstream.models import hub
from imgstream.models.architecture_names import network_of_layers, network_of_name
from imgstream.models.model_files import file_of, is_model_path, load_whole, read_config
from imgstream.models.weights import load_weights
from imgstream.spec import SampleSpec, Scale
from imgstream.wording import innermost

_CNNS = {"cnn": 1.0, "cnn-small": 0.5, "cnn-tiny": 0.25}
"""Our own, by the share of its channels: the weights of 2 classes are 4.9, 1.2 and 0.3 MB."""

MODEL_NAMES = (
    *_CNNS,
    "SqueezeNet",
    *("ConvNeXtTiny", "ConvNeXtSmall", "ConvNeXtBase", "DenseNet121", "DenseNet169", "DenseNet201"),
    *("EfficientNetB0", "EfficientNetB1", "EfficientNetB2", "EfficientNetB3", "EfficientNetB4"),
    *("EfficientNetV2B0", "EfficientNetV2B1", "EfficientNetV2B2", "EfficientNetV2B3", "EfficientNetV2S", "EfficientNetV2M"),
    *("InceptionResNetV2", "InceptionV3", "MobileNet", "MobileNetV2", "MobileNetV3Large", "MobileNetV3Small", "NASNetMobile"),
    *("ResNet50", "ResNet101", "ResNet152", "ResNet50V2", "ResNet101V2", "ResNet152V2", "VGG16", "VGG19", "Xception"),
)
"""imgstream's own models, SqueezeNet, and those of keras.applications that fit the memory of a usual machine."""

_SCALES: tuple[tuple[str, Scale], ...] = (
    # Each model's own preprocess_input in keras.applications; the "raw" ones have the scaling inside the model.
    ("ConvNeXt", "raw"),
    ("EfficientNet", "raw"),
    ("MobileNetV3", "raw"),
    ("DenseNet", "imagenet"),
    ("SqueezeNet", "caffe"),
    ("VGG", "caffe"),
    *((name, "caffe") for name in ("ResNet50", "ResNet101", "ResNet152")),
)
_V2 = ("ResNet50V2", "ResNet101V2", "ResNet152V2")  # these, unlike the first ones, are "signed"

_ONE_SIZE = ("InceptionResNetV2", "InceptionV3", "NASNetMobile", "Xception")
"""The first two and Xception need 71 or 75 pixels a side; NASNet is another graph for each size, and wrong for an open one."""

_INSIDE = ("Rescaling", "Normalization")
_ARITHMETIC = ("TrueDivide", "Divide", "Multiply", "Subtract", "Add", "GetItem", "Flip")  # Keras' preprocess_input inside a model
_PASSING = ("InputLayer", "Resizing", "CenterCrop", "Dropout", "ZeroPadding2D")  # and Random…: none of them changes the scale


@dataclasses.dataclass(frozen=True)
class ModelInfo:
    """The samples that a model wants."""

    name: str
    """As in MODEL_NAMES, or the path that was given."""
    scale: Scale
    size: tuple[int, int]
    """(height, width) in pixels that it works best with. Most models take any size from 32; one from a file may take only this one."""
    any_size: bool
    """Whether one set of weights takes samples of any size, so that training may start with smaller ones. False for one from a file."""
    channels: int | None = None
    """3 = RGB, 1 = grey: what a model from a file takes. None: either."""
    scale_guessed: bool = False
    """Whether nothing told the scale of a model from a file: `scale` may then differ from the one it was trained with."""
    is_saved: bool = False
    """Whether it comes from a file, with its weights."""


def model_info(name: str) -> ModelInfo:
    """The model called `name`, in any case; or the one in the .keras or .h5 file, or run folder, at that path; or a preset of KerasHub.

    The scale of a file's model is that of the spec.json beside a .keras; or "raw" if the model begins with its own scaling; or that of the
    model that its names are known from; or else "unit", a guess. Raises ModelError, with the names there are or with what is wrong with the
    file.
    """
    for known in MODEL_NAMES:
        if known.lower() == name.lower():
            size = (96, 96) if known in _CNNS else (224, 224)
            return ModelInfo(known, _scale(known), size, any_size=known not in _ONE_SIZE)
    if is_model_path(name):
        return _file_info(name)
    if hub.is_preset(name):
        return ModelInfo(name, "raw", hub.preset_input(name).size, any_size=False, channels=3, is_saved=True)
    raise ModelError(
        f"no model named {name!r}; there are: {', '.join(MODEL_NAMES)}, any .keras or .h5 model or run folder by its path, and "
        "hub:PRESET or the folder of a preset of KerasHub"
    )


def build_model(name: str, shape: tuple[int | None, int | None, int], class_count: int, weights: str = "none") -> Any:
    """Build a keras.Model: float32 (B, *shape) in the scale of model_info(name) → logits float32 (B, class_count). Height and width of
    `shape` may be None where model_info says any_size. Its last layer is a new Dense one, "logits".

    `name`: one of MODEL_NAMES, or the path of a .keras or .h5 file or a run folder that holds a whole model, or a preset of KerasHub, which
    gets a new head and keeps its other weights, all trainable.

    `weights`: "none" (random, or those in the model's file), "imagenet" (keras.applications' own, downloaded once by Keras), or a file: a
    .keras model, a run folder or .h5 weights. Everything in a file that fits is taken, so that a model of other classes gives all but its
    head. Raises ModelError when weights cannot be had, saying where to put them, and for a file that cannot be used, saying why.
    """
    info = model_info(name)
    if weights == "imagenet" and (info.is_saved or info.name in (*_CNNS, "SqueezeNet")):
        raise ModelError(
            f"there are no ImageNet weights for {info.name} in Keras; take --weights none, a file, or another --model such as MobileNetV2"
        )
    keep_programs()
    if hub.is_preset(name):
        model = _with_head(body := hub.build_preset(name, shape), class_count, body.name)
    elif info.is_saved:
        model = _from_file(name, shape, class_count)
    elif info.name in _CNNS:
        from imgstream.models.cnn import build_cnn

        model = build_cnn(shape, class_count, _CNNS[info.name], info.name)
    else:
        _check_size(info.name, shape)
        if info.name == "SqueezeNet":
            from imgstream.models.squeezenet import build_squeezenet

            model = build_squeezenet(shape, class_count)
        else:
            model = _application(info.name, shape, class_count, weights)
    if weights not in ("none", "imagenet") and not (info.is_saved and file_of(weights) == file_of(name)):
        load_weights(model, weights)
    return model


def _scale(known: str) -> Scale:
    return "signed" if known in _V2 else next((scale for prefix, scale in _SCALES if known.startswith(prefix)), "signed")


def _check_size(name: str, shape: tuple[int | None, int | None, int]) -> None:
    if min(shape[0] or 32, shape[1] or 32) < 32:
        raise ModelError(f"{name} needs images of 32 pixels a side or more; got {shape[0]}x{shape[1]}")


def _application(name: str, shape: tuple[int | None, int | None, int], class_count: int, weights: str) -> Any:
    import keras

    if weights == "imagenet" and shape[2] != 3:
        raise ModelError(f"the ImageNet weights of {name} are for RGB; train it with --channels 3, or with --weights none")
    try:
        body = getattr(keras.applications, name)(
            include_top=False, weights="imagenet" if weights == "imagenet" else None, input_shape=shape, pooling="avg"
        )
    except Exception as error:
        if weights != "imagenet":
            raise ModelError(f"{name} cannot be built for images of {shape[0]}x{shape[1]}: {innermost(error)}") from error
        raise ModelError(_not_fetched(name, str(error))) from error
    return _with_head(body, class_count, name)


def _with_head(body: Any, class_count: int, name: str) -> Any:
    import keras

    outputs = keras.layers.Dense(class_count, dtype="float32", name="logits")(body.output)
    return keras.Model(body.input, outputs, name=name)


def _not_fetched(name: str, error: str) -> str:
    url = re.search(r"https?://\S+", error)
    file = url.group().rstrip(":.,").rsplit("/", 1)[-1] if url else f"{name}'s weights"
    folder = os.path.join(os.environ.get("KERAS_HOME", os.path.join("~", ".keras")), "models")
    address = f" from {url.group().rstrip(':.,')}" if url else f" ({error})"
    return f"the ImageNet weights of {name} could not be fetched{address}. Put the file at {folder}/{file}, or use --weights none or a file"


def _from_file(name: str, shape: tuple[int | None, int | None, int], class_count: int) -> Any:
    import keras

    from imgstream.models.features import features

    path = file_of(name)
    body = features(load_whole(path))
    _unfreeze(body)
    takes = tuple(body.inputs[0].shape[1:])
    if len(takes) != 3:
        raise ModelError(f"{path} takes {takes}, and no images (height, width, channels)")
    if takes[2] not in (None, shape[2]):
        raise ModelError(f"{path} takes images of {takes[2]} channels, not {shape[2]}: train with --channels {takes[2]}")
    try:
        if takes != tuple(shape):
            resized = keras.models.clone_model(body, input_tensors=keras.Input(shape, name=body.inputs[0].name))
            resized.set_weights(body.get_weights())
            body = resized
        return _with_head(body, class_count, body.name)
    except Exception as error:
        if takes[:2] == tuple(shape[:2]):
            raise ModelError(f"the head of the model in {path} cannot be replaced: {innermost(error)}") from error
        raise ModelError(f"{path} takes images of {takes[0]}x{takes[1]} only, not {shape[0]}x{shape[1]}: train with that --size") from error


def _unfreeze(model: Any) -> None:
    for layer in model.layers:  # one by one: Keras 3.15's model.trainable = True leaves them as they were
        if hasattr(layer, "layers"):
            _unfreeze(layer)
        layer.trainable = True


def _file_info(name: str) -> ModelInfo:
    path = file_of(name)
    config = read_config(path)
    if config is None:
        raise ModelError(f"{path} holds weights only: name the model too, such as --model SqueezeNet --weights {path}")
    layers = list(_flat(config))
    takes = _input_shape(config, layers)
    size = (takes[0], takes[1]) if takes[0] and takes[1] else (224, 224)
    spec = path.with_name("spec.json")
    if path.suffix.lower() == ".keras" and spec.exists():
        of_run = _spec_of_run(spec)
        return ModelInfo(name, of_run.scale, of_run.size, any_size=False, channels=of_run.channels, is_saved=True)
    scale, guessed = _file_scale(layers)
    channels = takes[2] if takes[2] in (1, 3) else None
    if scale in ("imagenet", "caffe") and channels == 1:
        scale, guessed = "unit", True  # a known model, changed to grey images
    return ModelInfo(name, scale, size, any_size=False, channels=channels, scale_guessed=guessed, is_saved=True)


def _spec_of_run(path: Path) -> SampleSpec:
    try:
        if (run := path.with_name("run.json")).exists():
            check_files(path.parent, dict(json.loads(run.read_text(encoding="utf-8"))).get(FILES), [path.name])
        return SampleSpec.from_json(dict(json.loads(path.read_text(encoding="utf-8"))))
    except (OSError, ValueError, TypeError, SpecError, RunError) as error:
        raise ModelError(f"{path} stands beside the model and cannot be used: {error}") from error


def _flat(config: dict[str, Any]) -> list[dict[str, Any]]:
    """The config of the model and those of its layers, in order, with models inside models opened up."""
    found, left = [], [config]
    while left:
        part = left.pop()
        inside = part.get("config")
        if not isinstance(inside, dict):
            continue
        found.append({"class_name": str(part.get("class_name")), **inside})
        layers = inside.get("layers")
        left += reversed([layer for layer in layers if isinstance(layer, dict)] if isinstance(layers, list) else [])
    return found


def _input_shape(config: dict[str, Any], layers: list[dict[str, Any]]) -> tuple[Any, Any, Any]:
    """(height, width, channels), each None where it is open."""
    shapes = [layer.get("batch_shape") or layer.get("batch_input_shape") for layer in layers]
    shapes.append(layers[0].get("build_input_shape") if layers else None)
    shape = next((shape for shape in shapes if isinstance(shape, list)), None)
    if shape is None:
        return (None, None, None)
    if len(shape) != 4 or not all(n is None or (isinstance(n, int) and 0 < n <= 8192) for n in shape[1:]):
        raise ModelError(f"{config.get('class_name')} model of input {shape}: samples are (batch, height, width, channels)")
    return (shape[1], shape[2], shape[3])


def _file_scale(layers: list[dict[str, Any]]) -> tuple[Scale, bool]:
    """The scale, and whether it is a guess."""
    models = [layer for layer in layers if "layers" in layer]
    for layer in layers:
        kind = layer["class_name"]
        if "layers" in layer or kind in _PASSING or kind.startswith("Random"):
            continue
        if kind in _INSIDE or kind in _ARITHMETIC:
            return "raw", kind in _ARITHMETIC
        break
    for model in models:
        if known := network_of_name(str(model.get("name")), [n for n in MODEL_NAMES if n not in _CNNS]):
            return _scale(known), False
    names = [str(layer.get("name")) for layer in layers]
    if known := network_of_layers(names):
        return _scale(known), False
    if names[0] in _CNNS and names[-1] == "logits":  # imgstream's own
        return "signed", False
    return "unit", True
