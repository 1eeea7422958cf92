"""What `imgstream COMMAND --help` prints."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from imgstream.cli.app import command
from imgstream.cli.help import GROUPS, HelpText

SYNONYMS = {"picture": "image", "photo": "image", "photograph": "image", "directory": "folder", "network": "model", "category": "class"}
"""Words that help texts do not use, because another one is used for the same thing everywhere."""


def commands(group: Any = None, name: str = "") -> Iterator[tuple[str, Any]]:
    """The command line itself, "", and every command of it, such as "train" and "cache ls"."""
    group = group or command()
    yield name, group
    for child, each in getattr(group, "commands", {}).items():
        yield from commands(each, f"{name} {child}".strip())


COMMANDS = dict(commands())
every_command = pytest.mark.parametrize("name", COMMANDS)


def help_of(name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int = 80) -> str:
    """What --help prints on a terminal of so many columns, or into a pipe."""
    monkeypatch.setenv("COLUMNS", str(columns))
    assert not COMMANDS[""].main([*name.split(), "--help"], prog_name="imgstream", standalone_mode=False)
    return capsys.readouterr().out


def groups_of(text: str) -> dict[str, set[str]]:
    """Every heading of a help text, in order, and the options below it."""
    found: dict[str, set[str]] = {}
    heading = ""
    for line in text.splitlines():
        if re.fullmatch(r"[A-Z][a-z ]+:", line):
            heading = line.removesuffix(":")
            found[heading] = set()
        elif heading in GROUPS and re.match(r"  -", line):
            found[heading] |= set(re.findall(r"(?<!\S)--?[a-z][\w-]*", line.split("  ")[1]))
    return found


def run_to_the_arguments(line: str) -> Any:
    """The command of a line that a shell would run, with its arguments checked as `imgstream` checks them; nothing is run."""
    words = shlex.split(line.split("|")[-1] if "|" in line and "imgstream" in line.split("|")[-1] else line.split(" | ")[0])
    words = words[: words.index(">")] if ">" in words else words
    assert words[0] == "imgstream"
    group, arguments = COMMANDS[""], words[1:]
    while hasattr(group, "commands"):
        group, arguments = group.commands[arguments[0]], arguments[1:]
    return group.make_context("imgstream", arguments)


@every_command
def test_every_command_has_one_sentence_and_examples_of_itself(name: str) -> None:
    text = HelpText.parse(COMMANDS[name].help)
    assert text.summary.endswith(".")
    assert any(f"imgstream {name}".strip() in example for example in text.examples)


@every_command
def test_examples_come_before_the_usage_and_the_options(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    headings = re.findall(r"^(Examples|Usage|Arguments|Data|Output|Help):", help_of(name, capsys, monkeypatch), re.MULTILINE)
    assert headings[:2] == ["Examples", "Usage"]


@every_command
def test_every_example_is_accepted_by_its_command(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "pets").mkdir(parents=True)
    (tmp_path / "runs" / "pets" / "train.yaml").write_text("directory: photos/\n")  # --config reads it with the arguments
    for example in HelpText.parse(COMMANDS[name].help).examples:
        context = run_to_the_arguments(example)
        assert context.params


def test_an_example_that_its_command_would_refuse_is_found() -> None:
    for line in ("imgstream train photos/", "imgstream index photos/ --colour red", "imgstream cache ls --json --size 3"):
        with pytest.raises(Exception, match=r"Missing parameter: out|No such option"):
            run_to_the_arguments(line)
    with pytest.raises(typer.BadParameter):
        run_to_the_arguments("imgstream train photos/ --out run --size big")


@every_command
@pytest.mark.parametrize("columns", [40, 80, 200])
def test_examples_and_names_of_options_are_whole_at_every_width(
    name: str, columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = help_of(name, capsys, monkeypatch, columns)
    lines = text.splitlines()
    for example in HelpText.parse(COMMANDS[name].help).examples:
        assert f"  {example}" in lines
    for option in (spelling for param in COMMANDS[name].params for spelling in param.opts if spelling.startswith("-")):
        assert re.search(rf"^  (?:-\S+, )*{option}\b", text, re.MULTILINE)
    examples = {f"  {example}" for example in HelpText.parse(COMMANDS[name].help).examples}
    wrapped = [line for line in lines if line not in examples and not re.match(r"  -|Usage", line)]
    assert max(map(len, wrapped)) <= min(columns, 100)


@every_command
def test_every_option_is_in_a_group_and_groups_have_one_order(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for param in COMMANDS[name].params:
        if any(spelling.startswith("-") for spelling in param.opts):
            assert param.rich_help_panel in GROUPS, param.opts
    groups = groups_of(help_of(name, capsys, monkeypatch))
    shown = [heading for heading in groups if heading in GROUPS]
    options = [heading for heading in shown if groups[heading]]
    assert options == sorted(options, key=GROUPS.index)
    spelled = {spelling for param in COMMANDS[name].params for spelling in param.opts if spelling.startswith("-")}
    assert set().union(*groups.values()) == spelled | {"--help"}


def test_commands_are_in_groups(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    text = help_of("", capsys, monkeypatch)
    headings = [line.removesuffix(":") for line in text.splitlines() if re.fullmatch(r"[A-Z][a-z ]+:", line)]
    assert headings == ["Examples", "Data", "Training", "Prediction", "Help"]
    for name in command().commands:
        assert re.search(rf"^  {name}\b", text, re.MULTILINE)


def test_what_a_command_writes_has_the_same_spellings_everywhere() -> None:
    for name in ("train", "lr", "index", "show", "predict", "embed", "merge"):
        assert [param.opts for param in COMMANDS[name].params if "-o" in param.opts] == [["--out", "--output", "-o"]]


def test_the_folder_that_paths_are_relative_to_is_root_everywhere() -> None:
    for name in ("index", "check", "train", "lr", "predict", "evaluate", "embed", "sort"):
        assert any("--root" in param.opts for param in COMMANDS[name].params), name


def test_ranges_of_numbers_are_in_words(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    text = help_of("lr", capsys, monkeypatch, 200)
    assert "[default: 120; 20 to 10000]" in text
    assert "[1 or more]" in text
    assert "x>" not in text


@every_command
def test_the_same_thing_has_the_same_word(name: str) -> None:
    text = HelpText.parse(COMMANDS[name].help)
    prose = " ".join([text.summary, text.details, *(param.help or "" for param in COMMANDS[name].params)]).lower()
    used = {word: instead for word, instead in SYNONYMS.items() if re.search(rf"\b{word}s?\b|\b{word[:-1]}ies\b", prose)}
    assert not used
