from __future__ import annotations

import pytest

from imgstream.cluster.training import own_arguments


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (["train", "photos", "--on", "ray", "--out", "run"], ["train", "photos", "--out", "run"]),
        (["train", "--on=ray://head:10001", "--replicas=4", "photos", "--out=run"], ["train", "photos", "--out=run"]),
        (["train", "--replicas", "4", "--out", "run", "--on", "ray", "--", "--on"], ["train", "--out", "run", "--", "--on"]),
        (["train", "on\n'\udcff", "--out", "--only"], ["train", "on\n'\udcff", "--out", "--only"]),
    ],
)
def test_each_process_is_started_with_what_does_not_concern_the_cluster(given: list[str], kept: list[str]) -> None:
    assert own_arguments(given) == kept
