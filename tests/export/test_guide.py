"""The programs of docs/guide/export.md that tests/tools/test_documents.py leaves out, as they need an extra."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import check_docs

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize(("module", "name"), [("onnxruntime", "onnx"), ("openvino", "openvino")])
def test_the_program_of_the_guide_names_an_image(
    module: str,
    name: str,
    exported: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for file in exported(name).parent.iterdir():
        shutil.copy(file, tmp_path / file.name.replace("model", "pets"))
    (tmp_path / "new_photos").mkdir()
    shutil.copy(ROOT / "sample_data" / "new" / "holiday-01.jpg", tmp_path / "new_photos")
    monkeypatch.chdir(tmp_path)
    page = check_docs.blocks((ROOT / "docs" / "guide" / "export.md").read_text("utf-8"))
    (program,) = (block.body for block in page if block.info == ["python"] and f"import {module}\n" in block.body)
    exec(compile(program, "export.md", "exec"), {})
    label, score = capsys.readouterr().out.split()
    assert label in ("dark", "light")
    assert 0.5 <= float(score) <= 1
