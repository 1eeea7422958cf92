"""What `--help` prints: the command in one sentence, examples, usage, arguments, and the options in groups.

It is plain text at the width of the terminal (100 columns at most), the same in a pipe. Examples are never wrapped, so that they can be
copied. On a narrow terminal an option's text goes below its name.
"""

from __future__ import annotations

import inspect
import re
import shutil
from typing import Any, NamedTuple

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup

GROUPS = (DATA, PREPROCESSING, MODEL, TRAINING, PREDICTION, CHECKS, SORTING, SPEED, OUTPUT, HELP) = (
    "Data",
    "Preprocessing",
    "Model",
    "Training",
    "Prediction",
    "Checks",
    "Sorting",
    "Speed and memory",
    "Output",
    "Help",
)
"""The groups of options, the same in all commands, in the order in which they are printed. Commands are grouped under some of them."""

_WIDEST = 100
_NARROW = 60
_INDENT = 4
_NAME_COLUMN = 30


class HelpText(NamedTuple):
    """The parts of a command's docstring."""

    summary: str
    """One sentence."""
    examples: tuple[str, ...]
    """Command lines, one each."""
    details: str
    """Paragraphs; empty where the summary says all."""

    @classmethod
    def parse(cls, docstring: str) -> HelpText:
        """Split a docstring: its first paragraph, the lines below "Examples:", and all other paragraphs."""
        summary, *others = inspect.cleandoc(docstring).split("\n\n")
        heading = "Examples:\n"
        examples = [line.strip() for text in others if text.startswith(heading) for line in text.removeprefix(heading).splitlines()]
        details = [text for text in others if not text.startswith(heading)]
        return cls(" ".join(summary.split()), tuple(examples), "\n\n".join(details))


class Command(TyperCommand):
    """A command whose help has examples first and options in groups."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the whole help text into `formatter`."""
        _write_help(self, ctx, formatter)


class Group(TyperGroup):
    """A command that has commands of its own, with the same help."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the whole help text into `formatter`."""
        _write_help(self, ctx, formatter)


def _write_help(command: TyperCommand | TyperGroup, ctx: Any, formatter: Any) -> None:
    formatter.width = min(shutil.get_terminal_size().columns, _WIDEST)
    text = HelpText.parse(command.help or "")
    formatter.write_text(text.summary)
    with formatter.section(_bold("Examples")):
        for example in text.examples:
            formatter.write(f"{'':{formatter.current_indent}}{example}\n")
    formatter.write_paragraph()
    command.format_usage(ctx, formatter)
    if text.details:
        formatter.write_paragraph()
        formatter.write_text(text.details)

    arguments, options = [], []
    for parameter in command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        if record is None:
            continue
        name, meaning = record[0], _in_words(record[1])
        if isinstance(parameter, TyperArgument):
            arguments.append((parameter.metavar or name, meaning))  # without typer's <str>
        else:
            options.append((getattr(parameter, "rich_help_panel", None) or HELP, (name, meaning)))  # typer's own --help has no group
    _write_section(formatter, "Arguments", arguments)
    if isinstance(command, TyperGroup):
        commands = [command.commands[name] for name in command.list_commands(ctx)]
        for heading in dict.fromkeys(getattr(each, "rich_help_panel", None) or "Commands" for each in commands):
            members = [each for each in commands if (getattr(each, "rich_help_panel", None) or "Commands") == heading]
            _write_section(formatter, heading, [(str(each.name), HelpText.parse(each.help or "").summary) for each in members])
    for heading in GROUPS:
        _write_section(formatter, heading, [record for group, record in options if group == heading])


def _write_section(formatter: Any, heading: str, rows: list[tuple[str, str]]) -> None:
    if rows:
        with formatter.section(_bold(heading)):
            formatter.write_dl(rows, col_max=_NAME_COLUMN if formatter.width >= _NARROW else _INDENT)


def _in_words(text: str) -> str:
    """An option's text with typer's ranges in words: x>=1 as "1 or more", 1<=x<=50 as "1 to 50"."""
    text = re.sub(r"([\d.]+)<=x<=([\d.]+)", r"\1 to \2", text)
    return re.sub(r"x>=([\d.]+)", r"\1 or more", text)


def _bold(heading: str) -> str:
    """Bold on a terminal; typer takes the escape codes out of what goes into a pipe."""
    return typer.style(heading, bold=True)
