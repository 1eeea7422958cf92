"""Files of weights and of whole models: what they hold, and how they get into a network. Files are hostile: nothing in them is run."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from imgstream.errors import ModelError
from imgstream.models.features import head
from imgstream.models.recognition import network_of_layers

RUN_MODEL = "model.keras"
"""The model's file in a run folder."""

_MOST_CONFIG = 64 << 20  # bytes; that of the largest of keras.applications has 0.5 MB
_MOST_BLOWN_UP = 100  # bytes that arrays may declare for each byte of their file; compressed weights have one or two
_UNSAFE = ("Lambda", "TFSMLayer", "JaxLayer", "FlaxLayer", "TorchModuleWrapper")  # they run code, or read other files


def file_of(path: str | Path) -> Path:
    """The file that `path` means: itself, or the model.keras of a run folder."""
    path = Path(path)
    return path / RUN_MODEL if (path / RUN_MODEL).is_file() else path


def is_model_path(name: str) -> bool:
    """Whether a model's name means a file or run folder, there or not."""
    return name.lower().endswith((".keras", ".h5")) or file_of(name) != Path(name)


def infer_model(weights: str) -> str | None:
    """The model that a file of weights is for, as build_model takes it: the name of a network, told by its layers' names, or `weights`
    itself where that holds a whole model (.keras, .h5, a run folder). None where it cannot be told, or the file cannot be read.
    """
    if weights in ("none", "imagenet"):
        return None
    path = file_of(weights)
    try:
        if read_config(path) is not None:
            return weights
        with h5py.File(path, "r") as file:
            return network_of_layers(_layer_names(file))
    except (ModelError, OSError, RuntimeError, ValueError, KeyError, TypeError):
        return None


def read_config(path: Path) -> dict[str, Any] | None:
    """The Keras config of the model in `path`, {"class_name": …, "config": …}; None for a file that holds weights only.

    Raises ModelError for a file that is neither, or whose config runs code or needs classes that are not of Keras.
    """
    _check_kind(path)
    try:
        if path.suffix.lower() == ".keras":
            with zipfile.ZipFile(path) as archive:
                if archive.getinfo("config.json").file_size > _MOST_CONFIG:
                    raise ModelError(f"{path} is no model: its config.json declares more than {_MOST_CONFIG >> 20} MB")
                text: str | bytes | None = archive.read("config.json")
        else:
            with h5py.File(path, "r") as file:
                text = file.attrs.get("model_config")
        config = None if text is None else json.loads(text)
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, RecursionError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path} cannot be read: {_first_line(error)}. Was it fetched whole?") from error
    if config is None:
        return None
    if not isinstance(config, dict) or not isinstance(config.get("config"), dict):
        raise ModelError(f"{path}: its config is no Keras model's")
    if config.get("class_name") not in ("Functional", "Sequential", "Model"):
        raise ModelError(f"{path} holds a {config.get('class_name')}: only functional and Sequential models can be taken apart")
    for part in _parts(config):
        kind, module = part.get("class_name"), part.get("module")
        if kind in _UNSAFE:
            raise ModelError(f"{path} has a {kind} layer, which may run any code: it is not loaded. Save its model without")
        if isinstance(module, str) and module.split(".")[0] not in ("keras", "builtins"):
            raise ModelError(f"{path} needs {module}.{kind}, a custom object: only models of Keras' own layers can be loaded")
    return config


def load_whole(path: Path) -> Any:
    """The keras.Model in `path`, .keras or .h5, Keras 2's too, not compiled. No code of the file's is run.

    Raises ModelError when that cannot be, as read_config does; and for a file that holds weights only.
    """
    import keras

    if read_config(path) is None:
        raise ModelError(f"{path} holds weights only, and no network: name that too, such as --model SqueezeNet --weights {path}")
    try:
        if path.suffix.lower() == ".h5":
            with h5py.File(path, "r") as file:
                _arrays(file, path)
        model = keras.saving.load_model(path, compile=False)
    except ModelError:
        raise
    except Exception as error:
        wanted = re.search(r"(?:Could not locate class|Unknown layer:?|Could not find class) '?\"?([\w>]+)", str(error))
        if wanted:
            raise ModelError(f"{path} needs {wanted.group(1)}, a custom object: only models of Keras' own layers can be loaded") from error
        raise ModelError(f"the model in {path} cannot be loaded: {_first_line(error)}") from error
    if not getattr(model, "inputs", None) or not model.layers:
        raise ModelError(f"{path} was never given the shape of its input: build the model before it is saved")
    return model


def load_weights(model: Any, weights: str) -> None:
    """Give `model` the weights of a file.

    Of a .keras model, or a run, each layer whose weights have the same shapes, layers paired in order. Of an .h5 file the whole body,
    and the head where it fits; what stands in the file after the body, such as a head of other classes, is left. So a model of other
    classes gives its body. Nothing is changed when ModelError is raised: no such file, another kind of file, another network's.
    """
    path = file_of(weights)
    _check_kind(path)
    if path.suffix.lower() == ".keras":
        taken = _matching(model, load_whole(path))
    else:
        try:
            with h5py.File(path, "r") as file:
                taken = _from_h5(model, file, path)
        except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
            raise ModelError(f"the weights in {path} cannot be loaded into {model.name}: {_first_line(error)}") from error
    if not taken:
        raise ModelError(f"nothing in {path} fits {model.name}: no layer has weights of the same shapes. Is it another network's file?")
    for layer, values in taken:
        layer.set_weights(values)


def _check_kind(path: Path) -> None:
    try:
        with path.open("rb") as file:
            begins = file.read(64)
    except IsADirectoryError:
        raise ModelError(f"{path} is a folder without {RUN_MODEL}: give a run folder, or a .keras or .h5 file") from None
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot read the weights file {path}: {getattr(error, 'strerror', None) or error}") from error
    if begins.startswith(b"version https://git-lfs"):
        raise ModelError(f"{path} is a Git LFS pointer, not the weights: run git lfs pull where it came from")
    expected = {".keras": b"PK", ".h5": b"\x89HDF"}.get(path.suffix.lower())
    if expected is None:
        raise ModelError(f"{path}: weights are read from .keras, .weights.h5 and .h5 files, and run folders")
    if not begins.startswith(expected):
        found = f"it begins with {begins[:8]!r}" if begins else "it is empty"
        raise ModelError(f"{path} is no {path.suffix} file: {found}. Was it fetched whole?")


def _parts(config: Any) -> Iterator[dict[str, Any]]:
    """All dicts inside, in order, without recursion: a config may be nested without end."""
    left = [config]
    while left:
        part = left.pop()
        if isinstance(part, dict):
            yield part
            left += reversed(part.values())
        elif isinstance(part, list):
            left += reversed(part)


def _matching(model: Any, source: Any) -> list[tuple[Any, list[Any]]]:
    """The layers of `model` that fit those of `source`, paired in order, each with its weights."""
    mine, theirs = ([layer for layer in each.layers if layer.weights] for each in (model, source))
    pairs = zip(mine, theirs, strict=False)
    return [(layer, other.get_weights()) for layer, other in pairs if _shapes(layer) == [tuple(w.shape) for w in other.weights]]


def _shapes(layer: Any) -> list[tuple[int, ...]]:
    return [tuple(w.shape) for w in layer.weights]


def _arrays(file: h5py.File, path: Path) -> dict[str, h5py.Dataset]:
    """Every array in the file itself, by its path, without a slash before it. Nothing of it is read yet; links are not followed.

    Raises ModelError when an array lies in other files, is no array of numbers, or all together declare what the file cannot hold.
    """
    found: dict[str, h5py.Dataset] = {}

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item

    file.visititems(note)
    for name, item in found.items():
        if item.is_virtual or item.external:
            raise ModelError(f"{path}: {name} lies in another file: it is not read")
    if sum(_bytes(item) for item in found.values()) > _MOST_BLOWN_UP * max(path.stat().st_size, 1 << 20):
        raise ModelError(f"{path}: its arrays declare many times what the file holds. Is it damaged?")
    return found


def _bytes(item: h5py.Dataset) -> int:
    count = item.dtype.itemsize
    for n in item.shape or ():
        count *= int(n)
    return count


def _values(array: h5py.Dataset) -> np.ndarray:
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{array.name} holds {array.dtype}, no numbers")
    return array[()]


def _from_h5(model: Any, file: h5py.File, path: Path) -> list[tuple[Any, list[Any]]]:
    """The body's layers, and the head if it fits, each with its weights."""
    there = _arrays(file, path)
    layers = [layer for layer in model.layers if layer.weights]
    top = head(model)
    body = [layer for layer in layers if layer is not top]
    groups = _old_layout(file, there, layers) if _is_old(file) else _new_layout(there, model)
    wrong = next((layer for layer in body if [a.shape for a in groups.get(layer.name, [])] != _shapes(layer)), None)
    if wrong is not None:
        found = ", ".join(str(a.shape) for a in groups.get(wrong.name, [])) or "nothing"
        wanted = ", ".join(map(str, _shapes(wrong)))
        raise ModelError(
            f"the arrays in {path} have other shapes than the layers of {model.name}: it is another network's file "
            f"({wrong.name} is {wanted}; the file has {found})"
        )
    fits = top is not None and [a.shape for a in groups.get(top.name, [])] == _shapes(top)
    return [(layer, [_values(a) for a in groups[layer.name]]) for layer in (layers if fits else body)]


def _is_old(file: h5py.File) -> bool:
    """Whether the file lists its layers in attributes, as Keras 2 did, weights only or a whole model."""
    return bool(_listed(file.get("model_weights", file), "layer_names"))


def _listed(group: Any, attribute: str) -> list[str]:
    """The names in an attribute, which Keras 2 spreads over several where they are too long for one: layer_names0, layer_names1, …"""
    parts = [attribute] if attribute in group.attrs else []
    while f"{attribute}{len(parts)}" in group.attrs and parts != [attribute]:
        parts.append(f"{attribute}{len(parts)}")
    return [n.decode() if isinstance(n, bytes) else str(n) for part in parts for n in group.attrs[part]]


def _layer_names(file: h5py.File) -> list[str]:
    """As the file has them, in either layout."""
    if names := _listed(file.get("model_weights", file), "layer_names"):
        return names
    found: list[str] = []

    def note(name: str, item: Any) -> None:
        if name.endswith("/vars") and "name" in item.attrs:
            found.append(str(item.attrs["name"]))

    file.visititems(note)
    return found


def _old_layout(file: h5py.File, there: dict[str, h5py.Dataset], layers: list[Any]) -> dict[str, list[h5py.Dataset]]:
    """Arrays by layer: the file's, in its order, dealt out to `layers`. Names do not count: many are numbered anew in each program."""
    group = file.get("model_weights", file)
    prefix = group.name.strip("/")
    names = [
        "/".join(filter(None, (prefix, name, w))) for name in _listed(group, "layer_names") for w in _listed(group[name], "weight_names")
    ]
    if missing := [name for name in names if name not in there]:
        raise ValueError(f"it lists {missing[0]}, which is not in it")
    arrays = [there[name] for name in names]
    dealt: dict[str, list[h5py.Dataset]] = {}
    at = 0
    for layer in layers:
        dealt[layer.name] = arrays[at : at + len(layer.weights)]
        at += len(layer.weights)
    return dealt


def _new_layout(there: dict[str, h5py.Dataset], model: Any) -> dict[str, list[h5py.Dataset]]:
    """Arrays by layer: Keras 3 files them as layers/conv2d_1/vars/0, by the layer's class and how many of it came before."""
    groups: dict[str, dict[int, h5py.Dataset]] = {}
    for name, array in there.items():
        if match := re.fullmatch(r"(?:layers|_layer_checkpoint_dependencies)/(\w+)/vars/(\d{1,6})", name):
            groups.setdefault(match[1], {})[int(match[2])] = array
    counts: dict[str, int] = {}
    found: dict[str, list[h5py.Dataset]] = {}
    for layer in model.layers:
        kind = re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", type(layer).__name__)).lower()
        number = counts[kind] = counts.get(kind, -1) + 1
        arrays = groups.get(f"{kind}_{number}" if number else kind, {})
        found[layer.name] = [arrays[i] for i in sorted(arrays)]
    return found


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
