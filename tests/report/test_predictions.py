from __future__ import annotations

import math

from imgstream.report.sections.prediction import Predictions


def test_every_row_is_counted_and_a_fair_sample_is_kept_in_little_memory() -> None:
    found = Predictions()
    for number in range(5_000):
        found.add(b"%d.jpg" % number, f"label {number % 3}", 0.2 + 0.7 * (number % 100) / 100, None)
    for number in range(50):
        found.add(b"bad %d.jpg" % number, None, None, "empty: 0 bytes" if number % 5 else "truncated: early")
    found.add(b"nan.jpg", "label 0", math.nan, None)
    values = found.values()
    assert (values["rows"], values["bad"], values["no_number"]) == (5_051, 50, 1)
    assert values["errors"] == [("empty", 40), ("truncated", 10)]
    assert [(label, count) for label, count, *_ in values["bars"]] == [("label 0", 1_668), ("label 1", 1_667), ("label 2", 1_666)]
    groups = {title: (count, rows) for _, title, count, rows in found.groups()}
    assert [row.score for row in groups["Least sure"][1]] == [0.2] * 24
    assert {title: len(rows) for title, (_, rows) in groups.items() if title.startswith("label")} == {
        "label 0": 8,
        "label 1": 8,
        "label 2": 8,
    }
    last = max(int(row.path.partition(b".")[0]) for row in groups["label 1"][1])
    assert last > 1_000  # not just the first ones


def test_of_very_many_labels_only_the_numbers_are_kept() -> None:
    found = Predictions()
    for number in range(10_000):
        found.add(b"a.jpg", f"label {number}", 0.5, None)
    assert found.values()["labels"] == 10_000
    assert len(found.groups()) == 1 + 24
