from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import check_docs
import imgstream as ims
from docsite import hooks
from docsite.command_pages import commands, commands_markdown
from docsite.external_assets import external_assets
from docsite.folder_tables import folders_markdown

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole site, with warnings as errors."""
    folder = tmp_path_factory.mktemp("site")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tools")]), "NO_MKDOCS_2_WARNING": "1"}
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "-f", "tools/docsite/mkdocs.yml", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_every_page_becomes_html_and_search_needs_no_server(site: Path) -> None:
    pages = [page.relative_to(ROOT / "docs") for page in sorted((ROOT / "docs").rglob("*")) if page.suffix in (".md", ".ipynb")]
    assert [page for page in pages if not (site / page.with_suffix(".html")).exists()] == []
    assert (site / "search" / "search_index.js").exists()
    assert "assets/iframe-worker.js" in (site / "index.html").read_text("utf-8")


@pytest.mark.slow
def test_the_api_page_has_every_public_name(site: Path) -> None:
    page = (site / "api.html").read_text("utf-8")
    names = [name for name in ims.__all__ if name != "__version__"]
    for kind in (ims.ImageIndex, ims.Stream, ims.Run, ims.SampleSpec):  # what they inherit from classes of ours, too
        names += [f"{kind.__name__}.{name}" for name in dir(kind) if not name.startswith("_")]
    assert [name for name in names if f'id="imgstream.{name}"' not in page] == []


@pytest.mark.slow
def test_a_link_to_the_code_becomes_the_name_of_its_file(site: Path) -> None:
    page = (site / "decisions" / "0018-muon.html").read_text("utf-8")
    assert "<code>imgstream/training/step/optimizers.py</code>" in page


def test_the_command_line_page_has_every_command_and_option() -> None:
    page = commands_markdown()
    for name, command in commands().items():
        assert f"## imgstream {name}\n" in page
        section = page.partition(f"## imgstream {name}\n")[2].partition("\n## ")[0]
        shown = [option for parameter in command.params for option in parameter.opts if option.startswith("-")]
        assert [
            option for option in shown if f"{option}`" not in section and f"{option} " not in section and f"{option}, " not in section
        ] == []


def test_the_examples_in_the_help_of_a_command_are_commands_that_it_takes() -> None:
    page = commands_markdown()
    assert sum(1 for block in check_docs.blocks(page) for _ in check_docs.commands_of(block.body) if block.info == ["console"]) > 20
    assert list(check_docs.broken_blocks("command-line.md", page, ROOT, commands())) == []


def test_tutorials_are_listed_in_the_order_of_reading_and_left_out_where_there_are_none(tmp_path: Path) -> None:
    (tmp_path / "tutorials").mkdir()
    (tmp_path / "decisions").mkdir()
    for name in (
        "tutorials/another.ipynb",
        "tutorials/sort_a_folder.ipynb",
        "tutorials/cats_and_dogs.ipynb",
        "decisions/0002-b.md",
        "decisions/0001-a.md",
    ):
        (tmp_path / name).touch()
    nav = [{"Start": "index.md"}, {"Tutorials": "tutorials/"}, {"How": [{"Decisions": "decisions/"}]}]
    decisions = {"How": [{"Decisions": ["decisions/0001-a.md", "decisions/0002-b.md"]}]}
    tutorials = ["tutorials/cats_and_dogs.ipynb", "tutorials/sort_a_folder.ipynb", "tutorials/another.ipynb"]
    assert hooks.on_config({"docs_dir": str(tmp_path), "nav": nav})["nav"] == [{"Start": "index.md"}, {"Tutorials": tutorials}, decisions]
    for notebook in tmp_path.glob("tutorials/*"):
        notebook.unlink()
    assert hooks.on_config({"docs_dir": str(tmp_path), "nav": nav})["nav"] == [{"Start": "index.md"}, decisions]


def test_scripts_that_a_notebook_would_take_from_another_host_are_taken_out_of_it() -> None:
    own, other = "<script>copy()</script>", '<script type="module">import m from "https://example.org/m.mjs"</script>'
    page = SimpleNamespace(file=SimpleNamespace(src_uri="tutorials/a.ipynb"))
    assert hooks.on_page_content(f"<p>1</p>{own}{other}<p>2</p>", page) == f"<p>1</p>{own}<p>2</p>"


def test_the_folders_of_the_package_are_described_by_their_own_docstrings() -> None:
    page = folders_markdown()
    assert "### imgstream/stream/workers/\n\nThe Python pipeline" in page
    assert page.count("### ") == sum(1 for _ in (ROOT / "imgstream").rglob("__init__.py"))


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://cdn.example.org/x.js"></script>',
        '<link rel="stylesheet" href="//fonts.example.org/css">',
        '<img alt="" src="http://example.org/a.png">',
        '<img srcset="https://example.org/a.png 2x">',
        '<div style="background: url(https://example.org/a.png)"></div>',
        '<style>@import "https://example.org/x.css";</style>',
        '<script type="module">import x from "https://example.org/x.js"</script>',
        '<iframe src="https://example.org"></iframe>',
    ],
)
def test_what_a_page_would_load_from_another_host_is_found(html: str) -> None:
    (found,) = external_assets(f"<p>before</p>{html}<p>after</p>")
    assert "example.org" in found


def test_links_that_a_reader_follows_and_files_of_the_site_are_none() -> None:
    html = (
        '<a href="https://example.org">x</a><img src="images/a.png"><script src="assets/x.js"></script><link rel="next" href="https://x.y">'
    )
    assert external_assets(f'{html}<svg xmlns="http://www.w3.org/2000/svg"></svg><script>const u = "https://example.org"</script>') == []
