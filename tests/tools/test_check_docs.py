from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import pytest
import typer

import check_docs


@pytest.fixture
def commands() -> dict[str, Any]:
    """Of a small program: predict RUN DIR [--top-k K] [--fresh], and cache ls."""
    app, cache = typer.Typer(), typer.Typer()

    @app.command("predict")
    def predict(
        run: str,
        folder: str,
        top_k: Annotated[int, typer.Option("--top-k", min=1)] = 1,
        fresh: Annotated[bool, typer.Option("--fresh")] = False,
    ) -> None: ...

    @cache.command("ls")
    def ls() -> None: ...

    @cache.command("clear")
    def clear() -> None: ...

    app.add_typer(cache, name="cache")
    group: Any = typer.main.get_command(app)
    return {"predict": group.commands["predict"], "cache ls": group.commands["cache"].commands["ls"]}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "Makefile").write_text("demo: x\n\tdo\n")
    (tmp_path / "pyproject.toml").write_text("[project]\noptional-dependencies = {heic = []}\n")
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "loaders.py").write_text('parser.add_argument("--cold")\n')
    return tmp_path


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


def test_a_block_in_a_list_is_read_without_its_indent_and_a_mark_belongs_to_the_block_below_it() -> None:
    text = "- item\n\n    ```python\n    if x:\n        y\n    ```\n\n<!-- not trained: it takes an hour -->\n```console\n$ a\n```\n\n"
    text += "```console\nb\n```\n"
    assert check_docs.blocks(text) == [
        check_docs.Block(["python"], "if x:\n    y\n", 4),
        check_docs.Block(["console"], "$ a\n", 10, "not trained", "it takes an hour"),
        check_docs.Block(["console"], "b\n", 14),
    ]


def test_a_console_block_is_taken_apart_into_commands_without_comments_prompts_pipes_and_redirections() -> None:
    block = "$ a 'b c'  # no d\nfind . -name '*.jpg' | e - \\\n  --f > g && h\n"
    assert list(check_docs.commands_of(block)) == [["a", "b c"], ["find", ".", "-name", "*.jpg"], ["e", "-", "--f"], ["h"]]


def test_a_command_that_does_not_exist_is_found_in_blocks_and_in_prose(project: Path, commands: dict[str, Any]) -> None:
    text = "Run `imgstream guess RUN`; `imgstream cache` is one.\n\n"
    text += "```console\n$ imgstream predict RUN DIR\n$ imgstream dream\nimgstream cache ls\n```\n"
    assert list(check_docs.broken_blocks("page.md", text, project, commands)) == [
        "page.md:4: names `imgstream dream`, which does not exist"
    ]
    assert list(check_docs.broken_words("page.md", text, project, commands)) == ["page.md: names `imgstream guess`, which does not exist"]


def test_a_command_of_a_block_is_parsed_by_the_program_itself(project: Path, commands: dict[str, Any]) -> None:
    text = "```console\nimgstream predict RUN DIR \\\n  --fast  # --x, a comment\n"
    text += "imgstream predict RUN\nimgstream predict RUN DIR --top-k few\n```\n"
    found = list(check_docs.broken_blocks("page.md", text, project, commands))
    assert [line.partition("`: ")[0] for line in found] == [
        "page.md:2: `imgstream predict RUN DIR --fast",
        "page.md:2: `imgstream predict RUN",
        "page.md:2: `imgstream predict RUN DIR --top-k few",
    ]
    assert "No such option: --fast" in found[0]


def test_an_option_that_a_command_lacks_is_found_in_prose_even_where_it_stands_alone(project: Path, commands: dict[str, Any]) -> None:
    text = "`imgstream predict RUN … --fresh --fast`, `--fresh`, `--cold`, `--quick 3` and `imgstream cache ls --all`\n"
    assert list(check_docs.broken_words("page.md", text, project, commands)) == [
        "page.md: gives `imgstream predict` the option --fast, which it does not have",
        "page.md: names the option --quick, which no command has",
        "page.md: gives `imgstream ls` the option --all, which it does not have",
    ]


def test_python_code_that_says_import_imgstream_is_no_command(project: Path, commands: dict[str, Any]) -> None:
    text = "```python\nimgstream spec = 1\n```\n`import imgstream as ims`\n"
    assert [
        *check_docs.broken_blocks("page.md", text, project, commands),
        *check_docs.broken_words("page.md", text, project, commands),
    ] == []


def test_targets_scripts_and_extras_that_do_not_exist_are_found(project: Path, commands: dict[str, Any]) -> None:
    text = "```console\nmake demo\nmake tea\npip install '.[heic]'\npip install '.[tea]'\n"
    text += "python bench/loaders.py x --cold\npython bench/loaders.py --hot\npython bench/tea.py\nrm -rf photos\n```\n"
    assert [line.partition(": ")[2] for line in check_docs.broken_blocks("page.md", text, project, commands)] == [
        "names `make tea`, which does not exist",
        "installs the extra tea, which does not exist",
        "gives bench/loaders.py the option --hot, which it does not have",
        "runs bench/tea.py, which is not there",
        "runs rm, which nothing here checks",
    ]


def test_the_documents_of_this_project_keep_their_promises(capsys: pytest.CaptureFixture[str]) -> None:
    assert check_docs.main(str(Path(__file__).parents[2])) == 0, capsys.readouterr().out


def test_every_page_of_the_docs_is_looked_at(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "README.md").write_text("")
    (project / "docs" / "guide").mkdir(parents=True)
    (project / "docs" / "guide" / "train.md").write_text("```console\nimgstream train photos/ --out RUN --fortnight\n```\n")
    assert check_docs.main(str(project)) == 1
    assert "docs/guide/train.md:2: `imgstream train photos/ --out RUN --fortnight`: No such option: --fortnight" in capsys.readouterr().out
