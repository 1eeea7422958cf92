"""Keras layers as an augmentation: from objects and files to KerasLayers, and into JSON for the run folder and back."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from imgstream.augment.keras_layers import KerasLayers, mend_shear
from imgstream.errors import AugmentError
from imgstream.wording import innermost

_MOST = 16 << 20
"""Bytes of a description of layers."""
_OTHERS = ("Dropout", "GaussianDropout", "GaussianNoise", "InputLayer", "Pipeline", "SpatialDropout2D")
"""Layers that a file may name besides those of image preprocessing. None of them carries code."""
_PARTS = ("DTypePolicy", "FloatDTypePolicy")


def of_layers(given: Any) -> KerasLayers:
    """The augmentation of a layer, a Sequential, a Pipeline, or a list of such. Raises AugmentError."""
    return KerasLayers(list(_flat(given)))


def _flat(given: Any) -> Iterator[Any]:
    if isinstance(given, list | tuple):
        for part in given:
            yield from _flat(part)
    elif isinstance(given, keras.Sequential | keras.layers.Pipeline):
        yield from _flat(list(given.layers))
    elif isinstance(given, keras.Model):
        raise AugmentError(
            f"augmentation {given.name} is a model with a graph of its own: give a Sequential, or a list of its layers, which are applied "
            "one after another"
        )
    elif isinstance(given, keras.layers.Layer):
        if not isinstance(given, keras.layers.InputLayer):
            yield given
    else:
        raise AugmentError(f"a list with Keras layers must have nothing else; got {given!r}")


def read_layers(path: Path) -> KerasLayers:
    """The layers in a .keras file, which Sequential(...).save() writes. Raises AugmentError for what is none, or names other code."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open("config.json") as file:
            text = file.read(_MOST + 1)
    except FileNotFoundError:
        raise AugmentError(f"no such file: {path} (from --augment {path})") from None
    except (OSError, KeyError, NotImplementedError, zipfile.BadZipFile, EOFError, RuntimeError) as error:
        raise AugmentError(f"{path} is no model that Keras saved: {error}. Sequential([...]).save({path.name!r}) writes one") from None
    if len(text) > _MOST:
        raise AugmentError(f"{path} describes its layers in more than {_MOST:,} bytes: it is no augmentation")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise AugmentError(f"{path} is no model that Keras saved: {error}") from None
    return from_description(data, str(path))


def describes_layers(data: Any) -> bool:
    """Whether `data`, from JSON, is what Keras writes of a layer or model, or a list of such."""
    parts = data if isinstance(data, list) else [data]
    return bool(parts) and all(isinstance(part, dict) and "class_name" in part for part in parts)


def from_description(data: Any, name: str) -> KerasLayers:
    """The layers that `data`, as Keras serialises them, describes; `name` is where it came from. Raises AugmentError."""
    if not describes_layers(data):
        raise AugmentError(f"{name} describes no Keras layers: it must be what keras.Sequential([...]).to_json() gives")
    try:
        _check(data, name)
        parts = data if isinstance(data, list) else [data]
        return of_layers([keras.saving.deserialize_keras_object(part, safe_mode=True) for part in parts])
    except AugmentError:
        raise
    except Exception as error:  # Keras raises nearly everything on a damaged description
        raise AugmentError(f"Keras cannot make the layers that {name} describes: {innermost(error)}") from None


def _check(data: Any, name: str) -> None:
    """Raise AugmentError when a description names a class that is no image layer of Keras, at any depth: Keras would import and call it."""
    left: list[Any] = [data]
    while left:
        part = left.pop()
        if isinstance(part, list):
            left += part
        elif isinstance(part, dict):
            left += part.values()
            if "class_name" in part or "registered_name" in part or "module" in part:
                kind = part.get("class_name")
                if not _is_known(part.get("module"), kind) or part.get("registered_name") not in (None, kind):
                    raise AugmentError(
                        f"{name} names {part.get('registered_name') or kind}, which is no image layer of Keras. Layers of your own are "
                        "given in Python, as augment="
                    )
                if kind == "RandomShear" and isinstance(part.get("config"), dict):
                    mend_shear(part["config"])


def _is_known(module: Any, kind: Any) -> bool:
    if not isinstance(kind, str):
        return False
    if kind in _PARTS or kind == "Sequential":
        return module in ("keras", "keras.models", "keras.dtype_policies")
    found = getattr(keras.layers, kind, None)
    image_layer = str(getattr(found, "__module__", "")).startswith("keras.src.layers.preprocessing.image_preprocessing.")
    return module == "keras.layers" and (image_layer or kind in _OTHERS)
