"""The command line as Markdown, walked from the program itself: what it says is what `--help` says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from imgstream.cli.help import GROUPS, HelpText


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
    text = HelpText.parse(command.help or "")
    examples = "```console\n" + "\n".join(text.examples) + "\n```"
    parts = [f"## imgstream {name}", f"```text\n{usage}\n```", _escaped(text.summary), examples, _escaped(text.details)]
    if arguments:
        parts.append(_table("Argument", [(f"`{_metavar(a)}`", _description(a)) for a in arguments]))
    for heading in GROUPS:
        options = [p for p in command.params if p.param_type_name == "option" and not p.hidden and p.rich_help_panel == heading]
        if options:
            parts.append(_table(heading, [(f"`{_names(option)}`", _description(option)) for option in options]))
    return "\n\n".join(parts) + "\n"


def _names(option: Any) -> str:
    """`-o, --output FILE`; a flag has no value."""
    names = ", ".join(sorted(option.opts + option.secondary_opts, key=len))
    return names if option.is_flag else f"{names} {option.metavar or option.name.upper()}"


def _metavar(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def _description(parameter: Any) -> str:
    text = _escaped(parameter.help or "")
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
