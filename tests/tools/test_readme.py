from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import check_docs

ROOT = Path(__file__).parents[2]


def runnable_examples() -> list[check_docs.Block]:
    return [block for block in check_docs.blocks((ROOT / "README.md").read_text("utf-8")) if block.info == ["python", "runnable"]]


def test_the_readme_has_examples_that_are_run() -> None:
    assert runnable_examples()


def test_examples_marked_runnable_run_in_a_folder_that_holds_sample_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "sample_data", tmp_path / "sample_data")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}  # one for all: a later example may go on from an earlier one, as a reader would
    for example in runnable_examples():
        code = compile("\n" * (example.line - 1) + example.body, "README.md", "exec")
        exec(code, names)
