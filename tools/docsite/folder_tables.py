"""What each folder of the package holds, as Markdown, from the docstring of its __init__.py: there a line stands for each file."""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "imgstream"


def folders_markdown() -> str:
    """A section for each folder of the package, the deeper ones after those that they lie in."""
    files = sorted(PACKAGE.rglob("__init__.py"), key=lambda file: file.parent.parts)
    sections = []
    for file in files:
        summary, _, listing = (ast.get_docstring(ast.parse(file.read_text("utf-8"))) or "").partition("\n\n")
        name = file.parent.relative_to(PACKAGE.parent).as_posix()
        sections.append(f"### {name}/\n\n{' '.join(summary.split())}\n" + (f"\n```text\n{listing}\n```\n" if listing else ""))
    return "\n".join(sections)
