from __future__ import annotations

import io

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table

from imgstream.prediction.rows import Prediction
from imgstream.terminal.tables import Reasons, prediction_table, printable


def printed(table: Table) -> str:
    """What reaches a colour terminal 120 characters wide, without the colours. (With a height too TERM does not matter.)"""
    file = io.StringIO()
    Console(file=file, width=120, height=25, force_terminal=True, no_color=True, highlight=False, legacy_windows=False).print(table)
    return file.getvalue()


def good(path: str, label: str = "cat", score: float = 0.91234) -> Prediction:
    return Prediction(path, path.encode("utf-8", "surrogateescape"), label, score, np.array([score, 1 - score], np.float32), None)


def test_a_prediction_shows_path_label_and_score() -> None:
    text = printed(prediction_table([good("new/a.jpg")], total=1))
    assert "new/a.jpg" in text
    assert "cat" in text
    assert "0.912" in text
    assert "first" not in text


def test_a_bad_file_shows_its_error_and_no_score() -> None:
    text = printed(prediction_table([Prediction("b.jpg", b"b.jpg", None, None, None, "empty: 0 bytes")], total=1))
    assert "empty: 0 bytes" in text
    assert "None" not in text
    assert "0.0" not in text


def test_a_long_list_is_cut_and_says_so() -> None:
    text = printed(prediction_table([good(f"{i:03}.jpg") for i in range(30)], total=12_345))
    assert "019.jpg" in text
    assert "020.jpg" not in text
    assert "the first 20 of 12,345" in text


def test_reasons_are_counted_most_first_with_the_first_example() -> None:
    bad = [("a", "empty: 0 bytes"), ("b", "truncated: 3 of 9 rows"), ("c", "truncated"), ("d", "truncated: no end")]
    lines = [line.split() for line in printed(Reasons(bad).table()).splitlines()]
    cells = [[word for word in line if word.isalnum()] for line in lines if "│" in line]
    assert cells == [["truncated", "3", "b"], ["empty", "1", "a"]]


def test_names_are_never_read_as_markup() -> None:
    name = "[bold red]x[/] [link=file:///etc]y[/link] :smile:.jpg"
    assert name in printed(prediction_table([good(name)], total=1))
    assert name in printed(Reasons([(name, "missing")]).table())


def test_control_characters_are_shown_and_not_sent() -> None:
    name = "a\nb\x1b]0;title\x07\x9b31m\r\u202e\udcff.jpg"
    for text in (printed(prediction_table([good(name, label=name)], total=1)), printed(Reasons([(name, name)]).table())):
        assert r"a\nb\x1b]0;title\x07\x9b31m\r\u202e\udcff.jpg" in text
        assert not set(text) & set("\x07\x9b\r\u202e\udcff")
        assert "\x1b]" not in text


def test_a_long_name_is_folded_and_not_cut() -> None:
    text = printed(prediction_table([good("d/" * 200 + "end.jpg")], total=1))
    assert text.count("d/") == 200
    assert "end.jpg" in text
    assert "…" not in text


@given(st.text(st.characters(exclude_categories=())))
def test_what_is_printable_stays_and_the_rest_is_escaped(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert not text.isprintable() or shown == text
    shown.encode("utf-8")
