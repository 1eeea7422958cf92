"""A figure as SVG inside a page: its text is text, and its colours are the page's, so that it follows light and dark."""

from __future__ import annotations

import io
import re

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.figure import Figure

from imgstream.report.charts import figure as colours

_VARIABLES = {
    colours.INK: "var(--ink)",
    colours.MUTED: "var(--muted)",
    colours.LINE: "var(--line)",
    colours.ACCENT: "var(--accent)",
    colours.WARM: "var(--warm)",
    colours.WASH: "var(--wash)",
}


def inline_svg(drawn: Figure, name: str, alt: str) -> Markup:
    """`drawn` as an <svg> element that scales with the page. `name` keeps its ids apart from those of other figures; `alt` says what it
    shows, for who does not see it.
    """
    file = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        drawn.savefig(file, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    text = re.sub(r'xlink:href="#', f'xlink:href="#{name}-', text)
    text = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, variable)
    box = re.search(r'viewBox="[^"]*"', text)
    assert box is not None, "Matplotlib writes one"
    opened = Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {} role="img" aria-label="{}">'
    ).format(Markup(box.group()), alt)
    return opened + Markup(text[text.index(">") + 1 :].strip())  # Matplotlib escapes the text that it draws
