from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import imgstream as ims
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


def test_every_page_becomes_html_and_search_needs_no_server(site: Path) -> None:
    pages = [page.relative_to(ROOT / "docs") for page in sorted((ROOT / "docs").rglob("*")) if page.suffix in (".md", ".ipynb")]
    assert [page for page in pages if not (site / page.with_suffix(".html")).exists()] == []
    assert (site / "search" / "search_index.js").exists()
    assert "assets/iframe-worker.js" in (site / "index.html").read_text("utf-8")


def test_the_api_page_has_every_public_name(site: Path) -> None:
    page = (site / "api.html").read_text("utf-8")
    assert [name for name in ims.__all__ if name != "__version__" and f'id="imgstream.{name}"' not in page] == []


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
