"""Checks what the documentation promises; prints every broken promise and exits 1 when there is one.

    python tools/check_docs.py [ROOT]        (default: the current folder)

Relative links lead somewhere; ```python blocks of README.md compile; the `imgstream` commands and options and the `make` targets
that README.md names exist.
Blocks that open with ```python runnable are also run, by tests/tools/test_readme.py.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

FENCE = re.compile(r"^(?P<fence>`{3,})(?P<info>[^\n`]*)\n(?P<body>.*?)^(?P=fence)\s*$", re.MULTILINE | re.DOTALL)
INLINE_CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)|<(?:img|a)\b[^>]*?\b(?:src|href)=\"([^\"]+)\"")
COMMAND = re.compile(r"^(?:\$ )?(?:imgstream (?P<name>[a-z]\S*)|python (?P<train>train)\.py)(?P<rest>(?:\\\n|[^\n#|])*)", re.MULTILINE)
OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")
TARGET = re.compile(r"^(?:\$ )?make ([a-z-]+)", re.MULTILINE)


class Block(NamedTuple):
    """A fenced block: the words after its fence, its text, and the line of the file that its text starts on."""

    info: list[str]
    body: str
    line: int


def blocks(text: str) -> list[Block]:
    """Every fenced block of a Markdown text."""
    return [Block(match["info"].split(), match["body"], text.count("\n", 0, match.start("body")) + 1) for match in FENCE.finditer(text)]


def broken_links(root: Path) -> Iterator[str]:
    """Links of every *.md under `root` to files that are not there. Code is not looked into; the web is not asked."""
    for page in _pages(root):
        prose = INLINE_CODE.sub("", FENCE.sub("", page.read_text("utf-8")))
        for match in LINK.finditer(prose):
            target = (match[1] or match[2]).partition("#")[0]
            if target and not re.match(r"[a-z][a-z+.-]*:", target) and not (page.parent / target).exists():
                yield f"{page.relative_to(root)}: link to {target}, which is not there"


def broken_python(name: str, text: str) -> Iterator[str]:
    """```python blocks that do not compile."""
    for block in blocks(text):
        if block.info[:1] == ["python"]:
            try:
                compile(block.body, name, "exec")
            except SyntaxError as error:
                yield f"{name}:{block.line + (error.lineno or 1) - 1}: Python that does not compile: {error.msg}"


def broken_commands(name: str, text: str, help_of: Callable[[str], str | None]) -> Iterator[str]:
    """`imgstream` commands, and options of them, that do not exist; `help_of(command)` is its help text, None when there is none."""
    for code in _code(text):
        for match in COMMAND.finditer(code):
            command = match["name"] or match["train"]
            text_of = help_of(command)
            if text_of is None:
                yield f"{name}: names `imgstream {command}`, which does not exist"
                continue
            for option in OPTION.findall(match["rest"]):
                if option not in OPTION.findall(text_of):
                    yield f"{name}: gives `imgstream {command}` the option {option}, which it does not have"


def broken_targets(name: str, text: str, makefile: str) -> Iterator[str]:
    """`make` targets that the Makefile lacks."""
    for code in _code(text):
        for target in TARGET.findall(code):
            if not re.search(rf"^{target}:", makefile, re.MULTILINE):
                yield f"{name}: names `make {target}`, which does not exist"


def help_of(command: str) -> str | None:
    """What `imgstream COMMAND --help` prints, None when it fails."""
    from imgstream.cli import main

    os.environ["COLUMNS"] = "200"  # long options must not be cut
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
        try:
            status: object = main([command, "--help"])
        except SystemExit as stop:
            status = stop.code
    return None if status else printed.getvalue()


def main(root: str = ".") -> int:
    """Print what is broken under `root`; 1 when anything is."""
    found = list(broken_links(Path(root)))
    readme = Path(root, "README.md").read_text("utf-8")
    found += broken_python("README.md", readme)
    found += broken_commands("README.md", readme, help_of)
    found += broken_targets("README.md", readme, Path(root, "Makefile").read_text("utf-8"))
    for line in found:
        print(line)
    print(f"Documentation: {len(found)} broken" if found else "Documentation: all links, examples and commands are good")
    return 1 if found else 0


def _pages(root: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(root):
        names[:] = sorted(name for name in names if not name.startswith(".") and name not in ("build", "dist", "runs"))
        yield from (Path(folder, file) for file in sorted(files) if file.endswith(".md"))


def _code(text: str) -> Iterator[str]:
    """Fenced blocks that a reader would type into a terminal, and inline code."""
    yield from (block.body for block in blocks(text) if block.info[:1] != ["python"])
    yield from INLINE_CODE.findall(FENCE.sub("", text))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
