from __future__ import annotations

from pathlib import Path

import check_docs

HELP = {"predict": "--top-k K\n--fresh start anew"}


def test_a_link_to_a_missing_file_is_found_and_a_good_one_is_not(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "formats.md").write_text("[up](../README.md#use) [gone](lost.md) `[code](not-a-link.md)`\n")
    (tmp_path / "README.md").write_text(
        '[formats](docs/formats.md) [web](https://example.org/x) <img src="sheet.png">\n```\n[no](link.md)\n```\n'
    )
    assert list(check_docs.broken_links(tmp_path)) == [
        "README.md: link to sheet.png, which is not there",
        "docs/formats.md: link to lost.md, which is not there",
    ]


def test_python_that_does_not_compile_is_found_with_its_line() -> None:
    text = "# Title\n\n```python\nx = 1\n```\n\n```python\nx = 1\ny = = 2\n```\n\n```console\n$ not python\n```\n"
    (found,) = check_docs.broken_python("README.md", text)
    assert found.startswith("README.md:9: ")


def test_a_command_that_does_not_exist_is_found_in_blocks_and_in_prose() -> None:
    text = "Run `imgstream guess RUN`.\n\n```console\n$ imgstream predict RUN DIR --top-k 3\n$ imgstream dream\n```\n"
    assert sorted(check_docs.broken_commands("README.md", text, HELP.get)) == [
        "README.md: names `imgstream dream`, which does not exist",
        "README.md: names `imgstream guess`, which does not exist",
    ]


def test_an_option_that_a_command_lacks_is_found_across_a_broken_line() -> None:
    text = "```console\n$ imgstream predict RUN DIR \\\n    --fresh --fast   # --not-an-option, a comment\n```\n"
    assert list(check_docs.broken_commands("README.md", text, HELP.get)) == [
        "README.md: gives `imgstream predict` the option --fast, which it does not have"
    ]


def test_python_code_that_says_import_imgstream_is_no_command() -> None:
    assert list(check_docs.broken_commands("README.md", "```python\nimgstream spec = 1\n```\n`import imgstream as ims`\n", HELP.get)) == []


def test_a_make_target_that_does_not_exist_is_found() -> None:
    text = "`make demo` and `make tea`\n"
    assert list(check_docs.broken_targets("README.md", text, "demo: x\n\tdo\n")) == ["README.md: names `make tea`, which does not exist"]
