"""Backbones of KerasHub, by the name of a preset or the folder that one was saved in.

A preset has a backbone (config.json, model.weights.h5) and an image converter, which says the size and how pixels are scaled: by any factor
and offset, for each channel. The scaling becomes the first layer of the model, so that samples are raw, and the run's model is whole.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import h5py

from imgstream.errors import ModelError
from imgstream.models.allowed_layers import BY_FIRST_TOKEN, HUB_BACKBONES, HUB_TOWERS, check_config
from imgstream.models.model_files import arrays_in, first_line

_PREFIX = "hub:"
_CONFIG, _CONVERTER, _PREPROCESSOR, _WEIGHTS = "config.json", "image_converter.json", "preprocessor.json", "model.weights.h5"
_MOST_TEXT = 64 << 20


class HubInput(NamedTuple):
    """The images that a preset wants."""

    size: tuple[int, int]
    """(height, width) in pixels."""
    scale: list[float]
    """For each of R, G and B: value = pixel * scale + offset, pixel 0 to 255."""
    offset: list[float]


def is_preset(name: str) -> bool:
    """Whether a model's name means a preset: hub:NAME, or a folder that one was saved in."""
    return name.startswith(_PREFIX) or ((Path(name) / _CONFIG).is_file() and (Path(name) / _WEIGHTS).is_file())


def preset_input(name: str) -> HubInput:
    """What the preset's own image converter says. Raises ModelError."""
    if (folder := _folder(name)) is None:
        converter = _fetched("layers", "ImageConverter", name, {})
        return _input(name, converter.image_size, converter.scale, converter.offset)
    found = _read(folder / _CONVERTER if (folder / _CONVERTER).exists() else folder / _PREPROCESSOR)
    left: list[Any] = [found]
    while left:
        part = left.pop()
        if isinstance(part, dict):
            if str(part.get("class_name", "")).endswith("ImageConverter") and isinstance(part.get("config"), dict):
                config = part["config"]
                return _input(name, config.get("image_size"), config.get("scale"), config.get("offset"))
            left += part.values()
        elif isinstance(part, list):
            left += part
    raise ModelError(f"{folder} has no image converter, which says how pixels are scaled. {_advice(name)}")


def build_preset(name: str, shape: tuple[int | None, int | None, int]) -> Any:
    """A keras.Model: float32 (B, *shape), RGB, 0 to 255 → float32 (B, D), the backbone's features, its weights those of the preset.

    Maps are averaged over height and width, and tokens over all of them, or the class token is taken where there is one. Raises
    ModelError for a preset that is no image backbone or cannot be read or fetched, and for images of another size than it takes.
    """
    import keras

    wants = preset_input(name)
    backbone = _backbone(name, {})
    if type(backbone).__name__ not in HUB_TOWERS and tuple(_images(backbone).shape[1:3]) == (None, None):
        open_shape = "input_shape" if isinstance(backbone, import_keras_hub(name).models.EfficientNetBackbone) else "image_shape"
        backbone = _backbone(name, {open_shape: shape})
    if type(backbone).__name__ in HUB_TOWERS:
        backbone = backbone.vision_encoder
    if shape[2] != 3:
        raise ModelError(f"{name} takes RGB images: train with --channels 3")
    takes = tuple(_images(backbone).shape[1:3])
    if takes != tuple(shape[:2]):
        raise ModelError(f"{name} takes images of {takes[0]}x{takes[1]} only, not {shape[0]}x{shape[1]}: train with that --size")
    images = keras.Input(shape, name="images")
    scaled = keras.layers.Rescaling(wants.scale, wants.offset, dtype="float32", name="converter")(images)
    found = backbone(dict.fromkeys(backbone.input, scaled) if isinstance(backbone.input, dict) else scaled)
    if isinstance(found, dict):
        raise ModelError(f"{name}: {type(backbone).__name__} gives {', '.join(found)}, and not one tensor: it is no backbone for classes")
    if len(found.shape) == 4:
        found = keras.layers.GlobalAveragePooling2D(name="pooled")(found)
    elif len(found.shape) == 3:
        first = type(backbone).__name__ in BY_FIRST_TOKEN and getattr(backbone, "use_class_token", True)
        found = found[:, 0] if first else keras.layers.GlobalAveragePooling1D(name="pooled")(found)
    return keras.Model(images, found, name=backbone.name)


def import_keras_hub(what: object) -> Any:
    """The package keras_hub, which `what` needs. Raises ModelError, which names the extra, where it is not installed."""
    try:
        import keras_hub
    except ImportError as error:
        raise ModelError(f"{what} needs KerasHub ({error}): pip install 'imgstream[hub]'") from None
    return keras_hub


def _images(backbone: Any) -> Any:
    """Its input, as a symbolic tensor."""
    import keras

    return keras.tree.flatten(backbone.input)[0]


def _backbone(name: str, changes: dict[str, Any]) -> Any:
    """The backbone, with some arguments of its constructor changed."""
    folder = _folder(name)
    if folder is None:
        backbone = _fetched("models", "Backbone", name, changes)
    else:
        config = _read(folder / _CONFIG)
        check_config(config, folder / _CONFIG)
        hub = import_keras_hub(name)
        try:
            with h5py.File(folder / _WEIGHTS, "r") as file:
                arrays_in(file, folder / _WEIGHTS)
            backbone = hub.models.Backbone.from_preset(str(folder.absolute()), **changes)
        except ModelError:
            raise
        except Exception as error:
            raise ModelError(f"the preset in {folder} cannot be loaded: {first_line(error)}") from error
    kind = type(backbone).__name__
    if kind not in HUB_BACKBONES:
        raise ModelError(f"{name} is a {kind}, which is no backbone of images; there are: {', '.join(sorted(HUB_BACKBONES))}")
    return backbone


def _fetched(module: str, kind: str, name: str, changes: dict[str, Any]) -> Any:
    preset = name.removeprefix(_PREFIX)
    hub = import_keras_hub(name)
    try:
        return getattr(getattr(hub, module), kind).from_preset(preset, **changes)
    except Exception as error:
        raise ModelError(f"the preset {preset} could not be fetched ({first_line(error)[:300]}). {_advice(name)}") from error


def _advice(name: str) -> str:
    preset = name.removeprefix(_PREFIX) if name.startswith(_PREFIX) else "NAME"
    return (
        f"Where it can be fetched, save it as a folder: keras_hub.models.Backbone.from_preset({preset!r}).save_to_preset('DIR') and "
        f"keras_hub.layers.ImageConverter.from_preset({preset!r}).save_to_preset('DIR'); carry DIR, and give --model DIR"
    )


def _folder(name: str) -> Path | None:
    """The folder of a preset; None for a name that has to be fetched."""
    path = Path(name.removeprefix(_PREFIX))
    return path if (path / _CONFIG).is_file() else None


def _read(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            return json.loads(file.read(_MOST_TEXT))
    except FileNotFoundError:
        raise ModelError(f"{path.parent} has no {path.name}: it is no whole preset. {_advice(str(path.parent))}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read: {first_line(error)}") from None


def _input(name: str, size: Any, scale: Any, offset: Any) -> HubInput:
    try:
        height, width = (size, size) if isinstance(size, int) else size or (224, 224)
        scales, offsets = (
            [float(n) for n in (value if isinstance(value, list | tuple) else [value] * 3)]
            for value in (1.0 if scale is None else scale, 0.0 if offset is None else offset)
        )
        if len(scales) != 3 or len(offsets) != 3:
            raise ValueError(f"{len(scales)} scales and {len(offsets)} offsets")
        return HubInput((int(height), int(width)), scales, offsets)
    except (TypeError, ValueError) as error:
        raise ModelError(f"the image converter of {name} cannot be used: {first_line(error)}") from None
