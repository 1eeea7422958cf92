"""Loads weights from files into a model, and tells which model they are for. model_files.py opens the files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from imgstream.errors import ModelError
from imgstream.models.architecture_names import network_of_layers
from imgstream.models.features import head
from imgstream.models.model_files import arrays_in, check_kind, file_of, first_line, load_whole, read_config


def infer_model(weights: str) -> str | None:
    """The model that a file of weights is for, as build_model takes it: the name of a model, recognised by the names of its layers, or
    `weights` itself if that holds a whole model (.keras, .h5, a run folder). None if it cannot be told, or the file cannot be read.
    """
    if weights in ("none", "imagenet"):
        return None
    path = file_of(weights)
    try:
        if read_config(path) is not None:
            return weights
        with h5py.File(path, "r") as file:
            arrays_in(file, path)
            return network_of_layers(_layer_names(file))
    except Exception:  # a hostile file may raise anything; loading it will say what is wrong
        return None


def load_weights(model: Any, weights: str) -> None:
    """Give `model` the weights of a file.

    Of a .keras model or a run: each layer whose weights have the same shapes, layers paired in order. Of an .h5 file: all layers but the
    head, and the head if it fits; what follows in the file, such as a head of other classes, is ignored. Raises ModelError, and changes
    nothing, when there is no such file, or it is of another kind or of another model.
    """
    path = file_of(weights)
    check_kind(path)
    if path.suffix.lower() == ".keras":
        taken = _matching(model, load_whole(path))
    else:
        try:
            with h5py.File(path, "r") as file:
                taken = _from_h5(model, file, path)
        except ModelError:
            raise
        except Exception as error:
            raise ModelError(f"the weights in {path} cannot be loaded into {model.name}: {first_line(error)}") from error
    if not taken:
        raise ModelError(f"nothing in {path} fits {model.name}: no layer has weights of the same shapes. Is it another model's file?")
    for layer, values in taken:
        layer.set_weights(values)


def _matching(model: Any, source: Any) -> list[tuple[Any, list[Any]]]:
    """The layers of `model` that fit those of `source`, paired in order, each with its weights."""
    mine, theirs = ([layer for layer in each.layers if layer.weights] for each in (model, source))
    pairs = zip(mine, theirs, strict=False)
    return [(layer, other.get_weights()) for layer, other in pairs if _shapes(layer) == [tuple(w.shape) for w in other.weights]]


def _shapes(layer: Any) -> list[tuple[int, ...]]:
    return [tuple(w.shape) for w in layer.weights]


def _values(array: h5py.Dataset) -> np.ndarray:
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{array.name} holds {array.dtype}, no numbers")
    return array[()]


def _from_h5(model: Any, file: h5py.File, path: Path) -> list[tuple[Any, list[Any]]]:
    """All layers but the head, and the head if it fits, each with its weights."""
    there = arrays_in(file, path)
    layers = [layer for layer in model.layers if layer.weights]
    top = head(model)
    body = [layer for layer in layers if layer is not top]
    groups = _old_layout(file, there, layers) if _is_old(file) else _new_layout(there, model)
    wrong = next((layer for layer in body if [a.shape for a in groups.get(layer.name, [])] != _shapes(layer)), None)
    if wrong is not None:
        found = ", ".join(str(a.shape) for a in groups.get(wrong.name, [])) or "nothing"
        wanted = ", ".join(map(str, _shapes(wrong)))
        raise ModelError(
            f"the arrays in {path} have other shapes than the layers of {model.name}: it is another model's file "
            f"({wrong.name} is {wanted}; the file has {found})"
        )
    fits = top is not None and [a.shape for a in groups.get(top.name, [])] == _shapes(top)
    return [(layer, [_values(a) for a in groups[layer.name]]) for layer in (layers if fits else body)]


def _is_old(file: h5py.File) -> bool:
    """Whether the file lists its layers in attributes, as Keras 2 did, weights only or a whole model."""
    return bool(_listed(file.get("model_weights", file), "layer_names"))


def _listed(group: Any, attribute: str) -> list[str]:
    """The names in an attribute, which Keras 2 spreads over several if they are too long for one: layer_names0, layer_names1, …"""
    parts = [attribute] if attribute in group.attrs else []
    while f"{attribute}{len(parts)}" in group.attrs and parts != [attribute]:
        parts.append(f"{attribute}{len(parts)}")
    return [n.decode() if isinstance(n, bytes) else str(n) for part in parts for n in group.attrs[part]]


def _layer_names(file: h5py.File) -> list[str]:
    """The names of the layers in the file, in either layout."""
    if names := _listed(file.get("model_weights", file), "layer_names"):
        return names
    found: list[str] = []

    def note(name: str, item: Any) -> None:
        if name.endswith("/vars") and "name" in item.attrs:
            found.append(str(item.attrs["name"]))

    file.visititems(note)
    return found


def _old_layout(file: h5py.File, there: dict[str, h5py.Dataset], layers: list[Any]) -> dict[str, list[h5py.Dataset]]:
    """Arrays by layer: those of the file, in its order, assigned to `layers`. Names do not count: many are numbered anew in each
    program.
    """
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
    """Arrays by layer: Keras 3 stores them as layers/conv2d_1/vars/0, by the layer's class and its number within that class."""
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
