"""Checks what the documentation promises; prints every broken promise and exits 1 when there is one.

    python tools/check_docs.py [ROOT]        (default: the current folder)

In README.md, CONTRIBUTING.md and every page under docs/: relative links lead somewhere; ```python blocks compile; `imgstream` commands in
```console blocks are parsed by the program itself, and those in running text have the options that they name; `make` targets, scripts
and their options, and extras to install exist. tests/tools/test_documents.py runs the blocks too.

A comment in the line before a block says what is special about it:

    <!-- not trained: REASON -->  the arguments of `imgstream train` are parsed; the block's other commands are run
    <!-- parsed only: REASON -->  the arguments of all commands are parsed, or Python compiled, and nothing is run
    <!-- file: NAME -->           the block is a file of this name, which later blocks use
    <!-- before                   Python that is run before the block, and that a reader does not see
    ... -->
"""

from __future__ import annotations

import os
import re
import shlex
import sys
import textwrap
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

FENCE = re.compile(
    r"(?:^<!-- (?P<mark>not trained|parsed only|file|before):?\s*(?P<said>.*?)\s*-->\n)?"
    r"^(?P<indent> *)(?P<fence>`{3,})(?P<info>[^\n`]*)\n(?P<body>.*?)^(?P=indent)(?P=fence)[ ]*$",
    re.MULTILINE | re.DOTALL,
)
INLINE_CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)|<(?:img|a)\b[^>]*?\b(?:src|href)=\"([^\"]+)\"")
OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")
SCRIPT = re.compile(r"(?:bench|tools)/\w+\.py")
EXTRA = re.compile(r"\[([a-z]+)\]'?$")


class Block(NamedTuple):
    """A fenced block."""

    info: list[str]
    """The words after its fence."""
    body: str
    line: int
    """Of the file, on which the body starts."""
    mark: str = ""
    """`not trained`, `parsed only`, `file`, `before`, or nothing."""
    said: str = ""
    """The mark's reason, name or code."""


def blocks(text: str) -> list[Block]:
    """Every fenced block of a Markdown text, also in lists."""
    return [
        Block(
            match["info"].split(),
            textwrap.dedent(match["body"]),
            text.count("\n", 0, match.start("body")) + 1,
            match["mark"] or "",
            match["said"] or "",
        )
        for match in FENCE.finditer(text)
    ]


def commands_of(block: str) -> Iterator[list[str]]:
    """The commands of a console block as words: without prompt, comment and redirection; a pipe ends one. Lines may be continued."""
    for line in block.replace("\\\n", " ").splitlines():
        words = shlex.split(line.strip().removeprefix("$ "), comments=True)
        while words:
            end = next((i for i, word in enumerate(words) if word in ("|", ">", "&&")), len(words))
            if end:
                yield words[:end]
            words = words[end + (2 if words[end : end + 1] == [">"] else 1) :]


def as_imgstream(words: Sequence[str]) -> list[str] | None:
    """The arguments of imgstream in a command, as of `imgstream …` and `python train.py …`; None where it is another program."""
    if words[0] == "imgstream":
        return list(words[1:])
    return ["train", *words[2:]] if list(words[:2]) == ["python", "train.py"] else None


def documents(root: Path) -> list[Path]:
    """The pages that readers follow."""
    return [page for page in (root / "README.md", root / "CONTRIBUTING.md") if page.exists()] + sorted((root / "docs").rglob("*.md"))


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


def broken_blocks(name: str, text: str, root: Path, commands: Mapping[str, Any]) -> Iterator[str]:
    """Lines of ```console blocks that would not work; `commands` are click's, by their full names."""
    for block in blocks(text):
        if block.info[:1] == ["console"]:
            for words in commands_of(block.body):
                for fault in _faults(words, root, commands):
                    yield f"{name}:{block.line}: {fault}"


def broken_words(name: str, text: str, root: Path, commands: Mapping[str, Any]) -> Iterator[str]:
    """Inline code that names a command, script or make target that is not there, or an option that it does not have."""
    known = {option for command in commands.values() for option in _options(command)} | _options_of_scripts(root)
    for code in INLINE_CODE.findall(FENCE.sub("", text)):
        words = code.removeprefix("$ ").split()
        if not words:
            continue
        if words[0].startswith("--"):
            for option in OPTION.findall(code):
                if option not in known:
                    yield f"{name}: names the option {option}, which no command has"
        elif (arguments := as_imgstream(words)) is not None and arguments and re.fullmatch(r"[a-z]+", arguments[0]):
            command, _ = _command(arguments, commands)
            if command is None:
                if not any(full.startswith(f"{arguments[0]} ") for full in commands):  # `imgstream cache` alone
                    yield f"{name}: names `imgstream {arguments[0]}`, which does not exist"
                continue
            for option in OPTION.findall(code):
                if option not in _options(command):
                    yield f"{name}: gives `imgstream {command.name}` the option {option}, which it does not have"
        elif words[0] == "make" or SCRIPT.search(code):
            yield from (f"{name}: {fault}" for fault in _faults(words, root, commands))


def main(root: str = ".") -> int:
    """Print what is broken under `root`; 1 when anything is."""
    from docsite.command_pages import commands

    there, known = Path(root), commands()
    found = list(broken_links(there))
    for page in documents(there):
        name, text = page.relative_to(there).as_posix(), page.read_text("utf-8")
        found += broken_python(name, text)
        found += broken_blocks(name, text, there, known)
        found += broken_words(name, text, there, known)
    for line in found:
        print(line)
    print(f"Documentation: {len(found)} broken" if found else "Documentation: all links, examples and commands are good")
    return 1 if found else 0


def _faults(words: Sequence[str], root: Path, commands: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a command; a program that nothing here knows is wrong too: it would go unchecked."""
    arguments = as_imgstream(words)
    if arguments is not None:
        yield from _faults_of_imgstream(arguments, commands)
    elif words[0] == "make":
        makefile = (root / "Makefile").read_text("utf-8")
        for target in words[1:]:
            if re.fullmatch(r"[a-z-]+", target) and not re.search(rf"^{target}:", makefile, re.MULTILINE):
                yield f"names `make {target}`, which does not exist"
    elif list(words[:2]) == ["pip", "install"] or list(words[1:4]) == ["-m", "pip", "install"]:
        extras = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
        for word in words:
            if (extra := EXTRA.search(word)) and extra[1] not in extras:
                yield f"installs the extra {extra[1]}, which does not exist"
    elif script := next((word for word in words if SCRIPT.fullmatch(word)), None):
        if not (root / script).exists():
            yield f"runs {script}, which is not there"
        else:
            source = (root / script).read_text("utf-8")
            for word in words:
                if OPTION.fullmatch(word) and f'"{word}"' not in source:
                    yield f"gives {script} the option {word}, which it does not have"
    elif words[0] not in ("find", "jq", "cd", ".venv/bin/pytest") and not set(words) & {"pytest", "mkdocs"}:
        yield f"runs {words[0]}, which nothing here checks"


def _faults_of_imgstream(arguments: Sequence[str], commands: Mapping[str, Any]) -> Iterator[str]:
    command, rest = _command(arguments, commands)
    if command is None:
        yield f"names `imgstream {arguments[0] if arguments else ''}`, which does not exist"
        return
    try:
        command.make_context(command.name, list(rest), resilient_parsing="--config" in rest)  # which would read its file
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        yield f"`imgstream {' '.join(arguments)}`: {error.format_message()}"


def _command(arguments: Sequence[str], commands: Mapping[str, Any]) -> tuple[Any | None, Sequence[str]]:
    """The command that the first one or two words name, and the rest."""
    for words in (2, 1):
        if (name := " ".join(arguments[:words])) in commands:
            return commands[name], arguments[words:]
    return None, arguments


def _options(command: Any) -> set[str]:
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}


def _options_of_scripts(root: Path) -> set[str]:
    """Options of the measuring and checking scripts, and of the program itself."""
    scripts = [*root.glob("bench/*.py"), *root.glob("tools/*.py")]
    return {option for script in scripts for option in re.findall(r'"(--[a-z][\w-]*)"', script.read_text("utf-8"))} | {
        "--help",
        "--version",
    }


def _pages(root: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(root):
        names[:] = sorted(name for name in names if not name.startswith(".") and name not in ("build", "dist", "runs"))
        yield from (Path(folder, file) for file in sorted(files) if file.endswith(".md"))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
