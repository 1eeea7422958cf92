"""train.yaml: the options of a training in a file, as `--config` takes them and every run writes them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from imgstream.errors import OptionError
from imgstream.files.addresses import absolute
from imgstream.files.atomic import write_json, write_text
from imgstream.index import Source
from imgstream.runs.folder import RunFolder

NAME = "train.yaml"
_POLICY = "augment.json"
_IN_A_FILE = {"albumentations": "policy", "keras": "layers", "sub_policies": "sub_policies"}
"""Kinds of augmentation that are written to a file, and what of them."""
_HEAD = """\
# The options of this run. To repeat it: imgstream train --config {path} --out ANOTHER_RUN
# What the command line says wins over what stands here.
"""
_PATHS = ("val", "exclude", "corrections", "root", "features", "cache")
_PATHS_OR_NAMES = ("model", "weights", "group")
"""Of these, a name without a folder is a path only where a file of that name lies."""


def read_config(file: Path) -> dict[str, Any]:
    """The options in `file`, by their names with underscores. Raises OptionError when it is no mapping of names to values."""
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise OptionError(f"config cannot read {str(file)!r}: {error.strerror}", "config") from None
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise OptionError(f"config: {str(file)!r} is no YAML: {' '.join(str(error).split())}", "config") from None
    if not isinstance(data, dict) or not all(isinstance(name, str) for name in data):
        raise OptionError(f"config: {str(file)!r} must have an option on each line, such as epochs: 40", "config")
    return {name.removeprefix("--").replace("-", "_"): value for name, value in data.items()}


def write_config(folder: RunFolder, source: Source, recorded: dict[str, Any]) -> None:
    """Write train.yaml into a new run, and the augmentation beside it where it has a form of its own.

    `recorded`: the contents of settings.json. Paths are absolute; where images were given as an index or a list, it names the run's table.
    """
    left_out = {"format", *(["cache_limit"] if recorded["cache"] == "off" else [])}
    if recorded["teacher"] is None:
        left_out |= {"teacher_weight", "teacher_temperature"}
    options = {
        name: _value(name, value)
        for name, value in recorded.items()
        if name not in left_out and value is not None and value is not False  # 0, a seed, equals False
    }
    options["augment"] = _augmentation(folder, recorded["augment"])
    is_path = isinstance(source, str | bytes | os.PathLike)
    directory = os.fsdecode(absolute(source)) if is_path else str(folder.index.absolute())  # type: ignore[arg-type]
    text = yaml.safe_dump({"directory": _shown(directory), **options}, sort_keys=False, allow_unicode=True)
    write_text(folder.path / NAME, _HEAD.format(path=_shown(str(folder.path / NAME))) + text)


def _value(name: str, value: Any) -> Any:
    if name == "size":
        return value if isinstance(value, int) else "x".join(map(str, value))
    if name == "columns":
        return ",".join(f"{field}={column}" for field, column in value.items())
    if name == "teacher":
        paths = [value] if os.path.exists(value) else os.fsdecode(value).split(",")
        return _shown(",".join(os.path.abspath(os.fsdecode(path)) for path in paths))
    text = os.fsdecode(value) if isinstance(value, os.PathLike) else value
    if isinstance(text, str) and (
        (name in _PATHS and os.path.exists(text))
        or (name in _PATHS_OR_NAMES and (os.path.isfile(text) or (os.path.dirname(text) and os.path.exists(text))))
    ):
        return _shown(os.path.abspath(text))
    return _shown(text) if isinstance(text, str) else text


def _augmentation(folder: RunFolder, saved: dict[str, Any]) -> str:
    """What --augment takes for the augmentation of settings.json."""
    kind = saved["kind"]
    if kind == "none":
        return "none"
    if kind == "preset":
        return str(saved["name"])
    if kind in _IN_A_FILE:
        write_json(folder.path / _POLICY, saved[_IN_A_FILE[kind]])
        return _shown(str((folder.path / _POLICY).absolute()))
    return str(saved.get("source") or f"({saved['name']}, to be given again)")


def _shown(text: str) -> str:
    """Without what no text file can hold: bytes of a name that are no UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
