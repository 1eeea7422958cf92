"""How values show themselves in notebooks: a small table of facts, and pictures that a layer above draws.

A list of images lies below what decodes and draws them. So `show` names the function that draws, and finds it when it is called: the one
call in the package that leads upwards (docs/decisions/0062-shown-from-above.md).
"""

from __future__ import annotations

import html
import importlib
from collections.abc import Iterable
from typing import Any

from imgstream.wording import printable

_DRAWN_IN = "imgstream.report.showing"


def table(title: str, facts: Iterable[tuple[str, str]]) -> str:
    """A table of (name, value) as HTML, under a title; all are text, whatever they hold."""
    rows = "".join(
        f'<tr><th style="text-align:left">{_text(name)}</th><td style="text-align:left">{_text(value)}</td></tr>' for name, value in facts
    )
    return f"<div><strong>{_text(title)}</strong><table>{rows}</table></div>"


def shown(value: Any, drawn_by: str, **how: Any) -> Any:
    """What the function `drawn_by` of imgstream.report.showing draws of `value`."""
    return getattr(importlib.import_module(_DRAWN_IN), drawn_by)(value, **how)


def _text(text: str) -> str:
    return html.escape(printable(text))
