"""What mkdocs calls while it builds the site: pages that are made from the program, lists of pages, and a look at the result."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

from docsite.command_pages import commands_markdown
from docsite.external_assets import external_assets
from docsite.folder_tables import folders_markdown

MADE = {"<!-- made: commands -->": commands_markdown, "<!-- made: folders -->": folders_markdown}
"""Marks in pages, and what takes their place."""
ASSETS = {"assets/iframe-worker.js": "file_worker.js", "assets/site.css": "site.css"}
TUTORIALS = ("cats_and_dogs.ipynb", "swap_augmentations.ipynb", "sort_a_folder.ipynb")
"""In the order of reading; others follow."""


def on_config(config: Any) -> Any:
    """List the pages of the folders that the navigation names, in their order; tutorials are there when they are written."""
    docs = Path(config["docs_dir"])
    notebooks = [page for page in TUTORIALS if (docs / "tutorials" / page).exists()]
    notebooks += sorted({page.name for page in (docs / "tutorials").glob("*.ipynb")} - set(notebooks))
    pages = {
        "tutorials/": [f"tutorials/{page}" for page in notebooks],
        "decisions/": [f"decisions/{page.name}" for page in sorted((docs / "decisions").glob("*.md"))],
    }
    config["nav"] = _listed(config["nav"], pages)
    return config


def _listed(nav: list[Any], pages: dict[str, list[str]]) -> list[Any]:
    """The navigation with folders replaced by their pages; a folder without pages is left out."""
    listed: list[Any] = []
    for item in nav:
        ((title, target),) = item.items()
        if isinstance(target, list):
            listed.append({title: _listed(target, pages)})
        elif target not in pages:
            listed.append(item)
        elif pages[target]:
            listed.append({title: pages[target]})
    return listed


def on_files(files: Any, config: Any) -> Any:
    """Add the script and the style that lie beside this file."""
    for name, source in ASSETS.items():
        files.append(File.generated(config, name, content=(Path(__file__).parent / source).read_text("utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Put what is made from the program where a page has its mark, and name the files of the code that it links to: they are no pages."""
    for mark, make in MADE.items():
        if mark in markdown:
            markdown = markdown.replace(mark, make())
    up = "../" * (page.file.src_uri.count("/") + 1)  # what leads out of docs/
    return re.sub(rf"\[([^\]\n]+)\]\({re.escape(up)}([^)\s.][^)\s]*)\)", _named, markdown)


def _named(link: re.Match[str]) -> str:
    text, path = link.groups()
    return f"`{path}`" if path.endswith(text) else f"{text} (`{path}`)"


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """Take out of notebooks the scripts for diagrams and formulas, which would come from another host: ours have none."""
    if not page.file.src_uri.endswith(".ipynb"):
        return html
    return re.sub(r"<script\b.*?</script>", lambda script: "" if external_assets(script[0]) else script[0], html, flags=re.DOTALL)


def on_post_build(config: Any) -> None:
    """End the build where a page would load something from another host: the site is to be read offline."""
    site = Path(config["site_dir"])
    found = [
        f"{page.relative_to(site)} loads {asset}"
        for page in sorted(site.rglob("*.html"))
        for asset in external_assets(page.read_text("utf-8"))
    ]
    if found:
        raise PluginError("Pages must not load anything from another host:\n" + "\n".join(found))
