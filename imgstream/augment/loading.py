"""Turns what a user gives as `augment` into a Preset or Policy, and that into JSON for the run folder and back."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from imgstream.augment.checks import check_arguments, check_transforms
from imgstream.augment.function_file import load_attribute
from imgstream.augment.operation_presets import OPERATION_PRESETS, OperationPreset, from_sub_policies, is_sub_policies
from imgstream.augment.policy import Policy
from imgstream.augment.presets import PRESETS, Preset
from imgstream.augment.torch_modules import of_torch
from imgstream.errors import AugmentError

FORMAT_VERSION = 1
_NAMED: dict[str, Preset] = {**PRESETS, **OPERATION_PRESETS}
_CHOICES = (
    f"none, {', '.join(_NAMED)}, a policy.yaml or policy.json that albumentations saved or that holds sub-policies, a layers.keras or "
    "layers.json of Keras, or file.py:function"
)


def resolve(augment: Any) -> Preset | Policy | None:
    """The augmentation that `augment` names or is.

    None, a preset's name, "policy.yaml", "policy.json", "layers.keras", "file.py:function"; an albumentations transform, a Keras layer or
    Sequential, a transform of torchvision or kornia, or a list of one of these; a callable (image uint8 (H, W, C), rng numpy Generator) ->
    image; or a Preset or Policy.

    Raises AugmentError when there is no such augmentation, and says what there is.
    """
    if augment is None or isinstance(augment, Preset | Policy):
        return augment
    if isinstance(augment, str | Path):
        return _by_name(str(augment))
    if (found := _keras_layers(augment) or of_torch(augment)) is not None:
        return found
    if _is_albumentations(augment) or isinstance(augment, list | tuple):
        return _from_albumentations(augment)
    if callable(augment):
        name = getattr(augment, "__qualname__", type(augment).__qualname__)
        check_arguments(augment, name)
        return Policy(name, function=augment)
    raise AugmentError(
        f"augment must be {_CHOICES}, an albumentations transform, a Keras layer, a list of one of these, or a callable (image, rng); "
        f"got {augment!r}"
    )


def to_json(augmentation: Preset | Policy | None) -> dict[str, Any]:
    """What a run folder keeps."""
    if augmentation is None:
        return {"format": FORMAT_VERSION, "kind": "none"}
    if isinstance(augmentation, OperationPreset) and augmentation.sub_policies:
        return {"format": FORMAT_VERSION, "kind": "sub_policies", "name": augmentation.name, "sub_policies": augmentation.to_json()}
    if isinstance(augmentation, Preset):
        return {"format": FORMAT_VERSION, "kind": "preset", "name": augmentation.name}
    return {"format": FORMAT_VERSION, **augmentation.to_json()}


def from_json(data: dict[str, Any]) -> Preset | Policy | None:
    """The augmentation that to_json kept. Raises AugmentError for a function: code runs only if the user names it, and a run folder may
    come from somebody else.
    """
    if data.get("format") != FORMAT_VERSION:
        raise AugmentError(f"the run's augmentation has format {data.get('format')!r}; this imgstream reads format {FORMAT_VERSION}")
    kind = data["kind"]
    if kind == "none":
        return None
    if kind == "preset" and data["name"] in _NAMED:
        return _NAMED[data["name"]]
    if kind == "sub_policies":
        return from_sub_policies(data, data["name"], f"the run's augmentation {data['name']}")
    if kind == "albumentations":
        return Policy(data["name"], compose=_deserialised(data["policy"], data["name"]))
    if kind == "keras":
        from imgstream.augment.keras_files import from_description

        return from_description(data["layers"], f"the run's augmentation {data['name']}")
    what = "transform of torch" if kind == "torch" else "Python function"
    raise AugmentError(f"the run was trained with the {what} {data.get('source') or data['name']}: give it again as augment=")


def _by_name(name: str) -> Preset | Policy | None:
    if name == "none":
        return None
    if name in _NAMED:
        return _NAMED[name]
    path, _, function = name.rpartition(":")
    if path.endswith(".py"):
        return _from_python(Path(path), function, name)
    if Path(name).suffix.lower() == ".keras":
        from imgstream.augment.keras_files import read_layers

        return read_layers(Path(name))
    if Path(name).suffix.lower() in (".yaml", ".yml", ".json"):
        return _from_policy_file(Path(name))
    raise AugmentError(f"no augmentation named {name!r}: choose {_CHOICES}")


def _from_policy_file(path: Path) -> Preset | Policy:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise AugmentError(f"no such file: {path} (from --augment {path})") from None
    except (OSError, UnicodeDecodeError) as error:
        raise AugmentError(f"cannot read the augmentation policy {path}: {error}") from error
    import yaml  # a dependency of albumentations; YAML includes JSON

    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise AugmentError(f"{path} is no YAML or JSON: {error}") from error
    if isinstance(data, str):  # model.to_json() is a text, and json.dump makes a text within quotes of it
        data = yaml.safe_load(data)
    if is_sub_policies(data):
        return from_sub_policies(data, path.name, str(path))
    if isinstance(data, list) or (isinstance(data, dict) and "class_name" in data):
        from imgstream.augment.keras_files import from_description

        return from_description(data, str(path))
    return Policy(path.name, compose=_deserialised(data, str(path)))


def _deserialised(data: Any, name: str) -> Any:
    import albumentations

    if not isinstance(data, dict) or not isinstance(data.get("transform"), dict):
        raise AugmentError(
            f"{name} is no albumentations policy: it must be what albumentations.save() writes, with a `transform` at the top"
        )
    left: list[Any] = [data]
    while left:  # albumentations would look other modules' names up among all loaded classes
        part = left.pop()
        if isinstance(part, dict):
            left += part.values()
            kind = part.get("__class_fullname__", "")
            if not isinstance(kind, str) or ("." in kind and not kind.startswith("albumentations.")):
                raise AugmentError(f"{name} names {kind}, which is no transform of albumentations. Give it as file.py:function")
        elif isinstance(part, list):
            left += part
    try:
        transform = albumentations.from_dict(data)
    except Exception as error:
        raise AugmentError(f"albumentations cannot load the policy {name}: {type(error).__name__}: {error}") from error
    return _composed(transform, name)


def _from_python(path: Path, function: str, name: str) -> Policy:
    found = load_attribute(path, function, name)
    if (policy := _keras_layers(found) or of_torch(found)) is not None:
        return policy
    if _is_albumentations(found) or isinstance(found, list | tuple):
        return _from_albumentations(found)
    if not callable(found):
        raise AugmentError(f"{function} in {path} is a {type(found).__name__}, not a function (image, rng) -> image")
    check_arguments(found, function)
    return Policy(function, function=found, source=f"{path.resolve()}:{function}")


def _keras_layers(value: Any) -> Policy | None:
    """The policy of a Keras layer, or of a list with one; None for anything else."""
    keras = sys.modules.get("keras")  # if it is not imported, the value cannot be one of its objects
    if keras is None or not hasattr(keras, "layers"):
        return None
    if not any(isinstance(part, keras.layers.Layer) for part in (value if isinstance(value, list | tuple) else [value])):
        return None
    from imgstream.augment.keras_files import of_layers

    return of_layers(value)


def _is_albumentations(value: Any) -> bool:
    albumentations = sys.modules.get("albumentations")  # if it is not imported, the value cannot be one of its objects
    return albumentations is not None and isinstance(value, albumentations.BasicTransform | albumentations.BaseCompose)


def _from_albumentations(given: Any) -> Policy:
    """A policy of a transform, or of a list of transforms, which is composed."""
    if not isinstance(given, list | tuple):
        name = type(given).__name__
        return Policy(name, compose=_composed(given, name))
    if other := [item for item in given if not _is_albumentations(item)]:
        raise AugmentError(
            "a list as augment must be of albumentations transforms, of Keras layers or of torch transforms alone; of other things write "
            f"one function, def augment(image, rng), that does all of it; got {other[0]!r}"
        )
    import albumentations

    return Policy("Compose", compose=_composed(albumentations.Compose(list(given)), "Compose"))


def _composed(transform: Any, name: str) -> Any:
    import albumentations

    compose = transform if isinstance(transform, albumentations.BaseCompose) else albumentations.Compose([transform])
    check_transforms(compose, name)
    return compose
