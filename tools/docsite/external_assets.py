"""What an HTML page would load from another host when it is opened: the site must be readable without a network."""

from __future__ import annotations

import re
from html.parser import HTMLParser

LINKS = ("a", "area")
"""Elements that lead elsewhere only when a reader follows them."""
LOADED_RELATIONS = ("stylesheet", "icon", "preload", "prefetch", "preconnect", "dns-prefetch", "modulepreload", "manifest")
REMOTE = re.compile(r"\s*(?:https?:)?//", re.IGNORECASE)
REMOTE_IN_CODE = re.compile(
    r"""(?:url\(\s*["']?|@import\s+["']|import\s*\(?\s*["']|from\s+["']|\bsrc\s*=\s*["'])((?:https?:)?//[^"')\s]+)"""
)


def external_assets(html: str) -> list[str]:
    """Addresses on other hosts of the scripts, styles, images, fonts and frames of a page, in its order."""
    parser = _Parser()
    parser.feed(html)
    parser.close()
    return parser.found


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._code = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self._code = tag in ("script", "style")
        if tag not in LINKS:
            names = ["src", "srcset", "data", "poster", "xlink:href"]
            if tag != "link" or set(values.get("rel", "").lower().split()) & set(LOADED_RELATIONS):
                names.append("href")
            self.found += [values[name].strip() for name in names if name in values and REMOTE.match(values[name])]
        self.found += REMOTE_IN_CODE.findall(values.get("style", ""))

    def handle_endtag(self, tag: str) -> None:
        self._code = False

    def handle_data(self, data: str) -> None:
        if self._code:
            self.found += REMOTE_IN_CODE.findall(data)
