"""A page as one file that asks for nothing: no request, no script but its own, and names as text whatever they hold."""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
from typing import Any

import jinja2
from markupsafe import Markup

from imgstream.progress import duration
from imgstream.wording import amount, printable, quantity


def render(**values: Any) -> str:
    """The page with these values, as templates/page.html takes them."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("imgstream.report", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "share": lambda value, digits=1: "–" if value is None else f"{100 * value:.{digits}f} %",
        "count": lambda value: f"{value:,}",
        "number": lambda value: f"{value:,.4g}",
        "name": _name,
        "amount": amount,
        "duration": duration,
        "quantity": quantity,
    }
    script, css = _file("page.js"), _file("page.css")
    return environment.get_template("page.html").render(
        script=Markup(script),  # both are ours
        style=Markup(css),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        **values,
    )


def _file(name: str) -> str:
    return importlib.resources.files("imgstream.report").joinpath("templates", name).read_text(encoding="utf-8")


def _name(text: str | None) -> str:
    """A name of a file or class, on one line."""
    return "(none)" if text is None else printable(text) or "(empty)"
