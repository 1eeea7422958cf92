"""The notebooks in docs/tutorials run from top to bottom, and still give what they show. After a change: python tools/run_tutorials.py"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import run_tutorials

TUTORIALS = sorted(run_tutorials.TUTORIALS.glob("*.ipynb"))
LARGEST = 1_000_000  # bytes of a notebook with its pictures: all of it goes into the repository with every change


def read(file: Path) -> Any:
    return pytest.importorskip("nbformat", reason="needs nbformat: pip install -e .[dev]").read(file, as_version=4)


def varies(cell: Any) -> bool:
    """Whether what a cell prints depends on the machine: times, and what a network has learnt."""
    return "varies" in cell.metadata.get("tags", [])


def printed(cell: Any) -> str:
    return "".join(output.text for output in cell.outputs if output.get("name") == "stdout")


def pictures(cell: Any) -> list[set[str]]:
    """The kinds of picture that a cell shows."""
    return [{kind for kind in output.data if kind.startswith("image/")} for output in cell.outputs if "data" in output]


def code_cells(book: Any) -> list[Any]:
    return [cell for cell in book.cells if cell.cell_type == "code"]


def test_there_are_three() -> None:
    assert [file.stem for file in TUTORIALS] == ["cats_and_dogs", "sort_a_folder", "swap_augmentations"]


@pytest.mark.parametrize("file", TUTORIALS, ids=lambda file: file.stem)
def test_a_tutorial_is_kept_with_what_it_shows_and_is_small(file: Path) -> None:
    cells = code_cells(read(file))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), "run all cells of a new kernel, from the top"
    assert not [output for cell in cells for output in cell.outputs if output.output_type == "error" or output.get("name") == "stderr"]
    assert any(pictures(cell) for cell in cells)
    assert file.stat().st_size < LARGEST


@pytest.mark.slow
@pytest.mark.parametrize("file", TUTORIALS, ids=lambda file: file.stem)
def test_a_tutorial_runs_from_top_to_bottom_and_shows_what_its_page_shows(file: Path, tmp_path: Path) -> None:
    pytest.importorskip("nbclient", reason="needs nbclient: pip install -e .[dev]")
    pytest.importorskip("ipykernel", reason="needs ipykernel: pip install -e .[dev]")
    page, book = read(file), run_tutorials.run(file, tmp_path)
    for shown, found in zip(code_cells(page), code_cells(book), strict=True):
        assert pictures(found) == pictures(shown), shown.source
        assert not [output.text for output in found.outputs if output.get("name") == "stderr"], shown.source
        if not varies(shown):
            assert printed(found) == printed(shown), shown.source
