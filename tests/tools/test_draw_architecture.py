from __future__ import annotations

import re
from pathlib import Path

import pytest

import check_docs
import draw_architecture

ROOT = Path(__file__).parents[2]


def test_the_picture_in_the_docs_is_that_of_the_code() -> None:
    assert draw_architecture.PICTURE.read_text("utf-8") == draw_architecture.drawing(draw_architecture.imports())


def test_the_imports_are_those_of_the_package() -> None:
    imports = draw_architecture.imports()
    assert {"training", "stream"} <= imports["cli"]
    assert imports["errors"] == set()


def test_an_arrow_that_a_longer_way_replaces_is_left_out() -> None:
    assert draw_architecture.reduced({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == {"a": {"b"}, "b": {"c"}, "c": set()}


def test_a_circle_cannot_be_drawn() -> None:
    with pytest.raises(ValueError, match="circle among a, b"):
        draw_architecture.reduced({"a": {"b"}, "b": {"a"}, "c": set()})


def test_every_arrow_leads_downwards_and_what_many_import_lies_just_below_them() -> None:
    rows = draw_architecture.rows_of({"top": {"left", "leaf"}, "left": {"base"}, "base": set(), "leaf": set()})
    assert rows == [["top"], ["leaf", "left"], ["base"]]


def test_boxes_of_a_row_do_not_overlap() -> None:
    middles = draw_architecture._packed(["aaaa", "bbbb", "cccc"], [100.0, 100.0, 100.0])
    half = draw_architecture._box_width("aaaa") / 2
    assert middles[0] + half < middles[1] - half
    assert middles[1] + half < middles[2] - half


def test_the_files_and_folders_that_the_page_names_are_there() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    named = [code for code in check_docs.INLINE_CODE.findall(page) if re.fullmatch(r"[\w/]+(?:\.py|/)", code)]
    assert len(named) > 15
    beside = ["processes.py", "plan.py", "batch_loader.py"]  # named again, without their folders
    assert [name for name in named if name not in beside and not any((ROOT / above / name).exists() for above in ("imgstream", "."))] == []
