"""How values show themselves in notebooks: a small table of facts, and pictures.

A list of images lies below what decodes and draws them. So `show` draws with what it was given by `draw_with`; the package's own __init__,
which names the modules of all layers, gives it (docs/decisions/0063-shown-by-what-was-given.md).
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from imgstream.wording import printable


class Drawing(Protocol):
    """What draws, as Matplotlib figures."""

    def index(self, value: Any, *, n: int, seed: int) -> Any:
        """Some images of an ImageIndex."""

    def stream(self, value: Any, *, n: int, epoch: int) -> Any:
        """Some samples of a Stream."""


_found: list[Callable[[], Drawing]] = []


def draw_with(find: Callable[[], Drawing]) -> None:
    """Let `drawing` give what `find` gives: it is called when something is drawn, as drawing needs much that is not imported before."""
    _found[:] = [find]


def drawing() -> Drawing:
    """What draws, as the package has named it."""
    return _found[0]()


def table(title: str, facts: Iterable[tuple[str, str]]) -> str:
    """A table of (name, value) as HTML, under a title; all are text, whatever they hold."""
    rows = "".join(
        f'<tr><th style="text-align:left">{_text(name)}</th><td style="text-align:left">{_text(value)}</td></tr>' for name, value in facts
    )
    return f"<div><strong>{_text(title)}</strong><table>{rows}</table></div>"


def _text(text: str) -> str:
    return html.escape(printable(text))
