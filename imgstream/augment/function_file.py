"""Loads `--augment file.py:function` from a Python file that is in no package."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from imgstream.errors import AugmentError


def load_attribute(path: Path, attribute: str, asked: str) -> Any:
    """Run the file at `path` and return the value of `attribute`; `asked` is how the user named it.

    Raises AugmentError when the file is missing, cannot be run, or has no such name.
    """
    if not path.is_file():
        raise AugmentError(f"no such file: {path} (from --augment {asked})")
    module_spec = importlib.util.spec_from_file_location(f"imgstream_augment_{path.stem}", path)
    assert module_spec is not None and module_spec.loader is not None  # a .py path always has a loader
    module = importlib.util.module_from_spec(module_spec)
    try:
        module_spec.loader.exec_module(module)
    except Exception as error:
        raise AugmentError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error
    found = getattr(module, attribute, None)
    if found is None:
        names = ", ".join(n for n, v in vars(module).items() if callable(v) and not n.startswith("_")) or "none"
        raise AugmentError(f"{path} has no function {attribute!r}; found: {names}")
    return found
