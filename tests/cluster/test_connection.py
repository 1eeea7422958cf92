from __future__ import annotations

import sys

import pytest

from imgstream.cluster.connection import connected, share_out
from imgstream.errors import ModelError, OptionError


@pytest.mark.parametrize(
    ("cores", "parts", "workers", "cores_each"),
    [
        ([8, 8], None, 2, 8),
        ([8, 4, 0], None, 3, 4),  # a head without cores, as KubeRay has it
        ([2], 2, 2, 1),
        ([8, 8, 8, 8], 6, 6, 4),  # five cores would fit once on each machine, and six workers need a place
    ],
)
def test_workers_have_as_many_cores_as_let_all_of_them_find_a_machine(
    cores: list[int], parts: int | None, workers: int, cores_each: int
) -> None:
    assert share_out([{"CPU": n} for n in cores], parts) == (workers, cores_each, 0)


def test_with_gpus_each_worker_has_one_and_its_share_of_the_cores() -> None:
    machines = [{"CPU": 16.0, "GPU": 2.0}, {"CPU": 12.0, "GPU": 1.0}, {"CPU": 64.0}]
    assert share_out(machines, None) == (3, 8, 1)
    assert share_out(machines, 2) == (2, 8, 1)


def test_more_workers_than_cores_are_an_impossible_option() -> None:
    with pytest.raises(OptionError, match="parts 3: the cluster has 2 cores, and a worker needs one"):
        share_out([{"CPU": 2}], 3)


def test_without_ray_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ModelError, match=r"pip install 'imgstream\[ray\]'"), connected("ray"):
        pass
