"""Imports packages that are installed with an extra only."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from typing import Any

from imgstream.errors import ModelError


def is_installed(modules: Sequence[str]) -> bool:
    """Whether all of these modules can be imported; none of them is."""
    return all(importlib.util.find_spec(module) is not None for module in modules)


def need(module: str, extra: str) -> Any:
    """The module, imported. Raises ModelError, which names the extra that it comes with, when it is not installed or broken."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ModelError(f"this needs {package}, which cannot be imported ({error}): pip install 'imgstream[{extra}]'") from error
