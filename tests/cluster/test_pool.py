from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imgstream.cluster.blocks import Block
from imgstream.cluster.connection import Cluster
from imgstream.cluster.pool import Pool
from imgstream.cluster.worker import Machine
from imgstream.errors import ClusterError, RunError
from imgstream.index import ImageIndex

pytestmark = pytest.mark.slow

SIZE = 4


def blocks(batches_each: int = 2, images: int = 16) -> Iterator[Block]:
    """Blocks of some batches of four images."""
    for first in range(0, images // SIZE, batches_each):
        positions = np.arange(first * SIZE, (first + batches_each) * SIZE)
        yield Block(tuple(range(first, first + batches_each)), positions, SIZE)


def reading(killers: tuple[int, ...] = (), *, first_dies: Path | None = None, error: Exception | None = None) -> Any:
    """A job that gives the numbers in the files. It dies of `killers`; one worker dies before there is a file `first_dies`."""

    class Reading:  # here, as Ray sends what a function defines by value: workers cannot import a test
        def open(self, threads: int) -> Any:
            import os
            import pathlib

            if error is not None:
                raise error

            def compute(images: Any) -> list[int]:
                if first_dies is not None and not first_dies.exists():
                    first_dies.touch()
                    os.kill(os.getpid(), 9)
                found = [int(pathlib.Path(images.path(i)).read_text()) for i in range(len(images))]
                if set(found) & set(killers):
                    os.kill(os.getpid(), 9)
                return found

            return compute

    return Reading()


def computed(results: Iterator[tuple[Block, Any | None]]) -> dict[int, int | None]:
    """The number that was read for each position; each is there once."""
    found: dict[int, int | None] = {}
    for block, numbers in results:
        for position, number in zip(block.positions.tolist(), numbers or [None], strict=True):
            assert position not in found
            found[position] = number
    return found


def test_every_image_is_computed_once(cluster: Cluster, numbered: ImageIndex) -> None:
    with Pool(cluster, reading(), numbered) as pool:
        assert computed(pool.results(blocks())) == {i: i for i in range(16)}


def test_a_block_whose_worker_is_killed_is_computed_by_another(cluster: Cluster, numbered: ImageIndex, tmp_path: Path) -> None:
    with Pool(cluster, reading(first_dies=tmp_path / "somebody-died"), numbered) as pool:
        assert computed(pool.results(blocks())) == {i: i for i in range(16)}
    assert (tmp_path / "somebody-died").exists()


def test_of_a_block_that_kills_its_workers_only_the_image_that_does_it_has_no_result(cluster: Cluster, numbered: ImageIndex) -> None:
    with Pool(cluster, reading(killers=(9,)), numbered) as pool:
        found = computed(pool.results(blocks()))
    assert found == {i: i for i in range(16)} | {9: None}


def test_an_error_of_the_work_names_the_machine(cluster: Cluster, numbered: ImageIndex) -> None:
    with pytest.raises(ClusterError, match=r"the machine .* cannot do this work: there is no run folder"):
        Pool(cluster, reading(error=RunError("there is no run folder")), numbered)


def test_a_machine_with_another_imgstream_is_told_of(cluster: Cluster, numbered: ImageIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    here = Machine.here(numbered)
    other = here._replace(versions=here.versions | {"imgstream": "0.0.1"})
    monkeypatch.setattr(Machine, "here", classmethod(lambda cls, images: other))
    with pytest.raises(ClusterError, match=r"it has imgstream \S+, where the command has 0\.0\.1"):
        Pool(cluster, reading(), numbered)


def test_a_machine_that_does_not_see_the_images_is_told_of(cluster: Cluster, numbered: ImageIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    there = Machine.here(numbered)
    elsewhere = ImageIndex.from_paths([f"{i:02}.jpg" for i in range(16)], root="/nowhere")
    monkeypatch.setattr(Machine, "here", classmethod(lambda cls, images: there._replace(images=elsewhere)))
    with pytest.raises(ClusterError, match=r"it finds no file at /nowhere/00\.jpg, where the command finds 1"):
        Pool(cluster, reading(), numbered)
