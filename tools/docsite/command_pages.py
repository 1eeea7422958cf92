"""The command line as Markdown, walked from the program itself: what it says is what `--help` says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

MARKUP = re.compile(r"\[/?[a-z]+(?: [a-z]+)*\]")
"""Rich markup of help texts, such as [bold]. Metavars are upper case: [DIR]."""
EXAMPLE = re.compile(r"\s+(?:imgstream|find|python) .*")


def commands() -> dict[str, Any]:
    """Every command of imgstream that does something, by its full name: "cache ls" is one. The values are click's commands."""
    from imgstream.cli.app import command

    return dict(_leaves(command(), ""))


def commands_markdown() -> str:
    """A section for each command: its usage, what it does, examples, and its arguments and options in groups."""
    return "\n".join(_section(name, command) for name, command in commands().items())


def _leaves(group: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _leaves(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


def _section(name: str, command: Any) -> str:
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    usage = " ".join(["imgstream", name, *(_metavar(a) for a in arguments), "[OPTIONS]"])
    parts = [f"## imgstream {name}", f"```text\n{usage}\n```", *_help(command.help or "")]
    if arguments:
        parts.append(_table("Argument", [(f"`{_metavar(a)}`", _description(a)) for a in arguments]))
    groups: dict[str, list[Any]] = {}
    for option in command.params:
        if option.param_type_name == "option" and not option.hidden:
            groups.setdefault(option.rich_help_panel or "Options", []).append(option)
    for title, options in groups.items():
        parts.append(_table(title, [(f"`{_names(option)}`", _description(option)) for option in options]))
    return "\n\n".join(parts) + "\n"


def _help(text: str) -> Iterator[str]:
    """Paragraphs of a help text; indented commands become a block."""
    kind, lines = "", [""]
    for line in MARKUP.sub("", text).splitlines():
        found = "command" if EXAMPLE.match(line) else "prose" if line.strip() else ""
        if (found and found != kind) or (not found and kind == "prose"):
            yield from _part(kind, lines)
            kind, lines = found, []
        if found:
            lines.append(line.strip())
    yield from _part(kind, lines)


def _part(kind: str, lines: list[str]) -> Iterator[str]:
    if kind == "command":
        yield "```console\n" + "\n".join(lines) + "\n```"
    elif kind == "prose":
        yield "\n".join(_escaped(line) for line in lines)


def _names(option: Any) -> str:
    """`-o, --output FILE`; a flag has no value."""
    names = ", ".join(sorted(option.opts + option.secondary_opts, key=len))
    return names if option.is_flag else f"{names} {option.metavar or option.name.upper()}"


def _metavar(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def _description(parameter: Any) -> str:
    text = _escaped(MARKUP.sub("", parameter.help or ""))
    default = parameter.default
    if parameter.required and parameter.param_type_name == "option":
        text += " **Required.**"
    elif parameter.show_default and isinstance(default, str | int | float) and not isinstance(default, bool) and default != "":
        text += f" Default: `{default}`."
    return text.strip()


def _table(title: str, rows: list[tuple[str, str]]) -> str:
    lines = [f"| {title} | |", "|---|---|"]
    return "\n".join(lines + [f"| {_cell(left)} | {_cell(right)} |" for left, right in rows])


def _cell(text: str) -> str:
    """Outside code, a line ends a cell."""
    return "".join(part if part.startswith("`") else part.replace("|", "\\|") for part in re.split(r"(`[^`]*`)", text))


def _escaped(text: str) -> str:
    """As it stands, in Markdown: (?P<label>…) is no HTML, and a star no emphasis."""
    return re.sub(r"([*_`])", r"\\\1", text.replace("<", "&lt;"))
