from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import imgstream as ims
from imgstream.training.processes.group import Processes
from imgstream.training.processes.part_stream import PartStream


def parts(folder: Path, count: int, batch_size: int) -> tuple[ims.Stream, list[ims.Stream]]:
    """The stream of a folder, and the parts that `count` processes read."""
    whole = ims.Stream(ims.scan(folder), ims.SampleSpec(size=(8, 8)), batch_size=batch_size, shuffle=True, seed=3, augment="light")
    return whole, [PartStream.of(whole, Processes(rank, count)) for rank in range(count)]


@pytest.mark.parametrize(("count", "batch_size"), [(2, 8), (3, 8), (3, 13)])
def test_the_parts_of_a_batch_are_the_batch(two_classes: Path, count: int, batch_size: int) -> None:
    whole, of_processes = parts(two_classes, count, batch_size)
    for batch, *pieces in zip(whole.traced_batches(2, 1), *(part.traced_batches(2, 1) for part in of_processes), strict=True):
        assert [piece.number for piece in pieces] == [batch.number] * count
        for rank, piece in enumerate(pieces):
            assert piece.positions.tolist() == batch.positions[rank::count].tolist()
            np.testing.assert_array_equal(piece.images, batch.images[rank::count])


def test_where_processes_divide_the_batch_a_part_is_the_shard_of_the_stream(two_classes: Path) -> None:
    whole, (_, part) = parts(two_classes, 2, 8)
    shard = whole.shard(1, 2).replace(batch_size=4)
    for ours, its in zip(part.batches(1), shard.batches(1), strict=True):
        np.testing.assert_array_equal(ours[0], its[0])
        np.testing.assert_array_equal(ours[1], its[1])


def test_a_process_without_a_sample_in_the_last_batch_takes_the_step_with_none(two_classes: Path) -> None:
    _, of_processes = parts(two_classes, 4, 38)
    last = [list(part.traced_batches())[-1] for part in of_processes]
    assert [(batch.number, len(batch.positions), batch.images.shape[0]) for batch in last] == [(1, 1, 1), (1, 1, 1), (1, 0, 0), (1, 0, 0)]


def test_a_bad_file_of_one_process_shifts_nothing_on_the_others(two_classes: Path, tmp_path: Path) -> None:
    for image in two_classes.rglob("*.jpg"):
        (tmp_path / image.parent.name).mkdir(exist_ok=True)
        (tmp_path / image.parent.name / image.name).write_bytes(image.read_bytes())
    _, (good, other) = parts(tmp_path, 2, 8)
    before = [batch.positions.tolist() for batch in other.traced_batches()]
    victim = next(iter(good.traced_batches())).positions[1]
    Path(good.index.path(int(victim))).write_bytes(b"<html>")
    _, (bad, other) = parts(tmp_path, 2, 8)
    assert [batch.positions.tolist() for batch in other.traced_batches()] == before
    assert [len(batch.bad) for batch in bad.traced_batches()] == [1, 0, 0, 0, 0]


def test_another_spec_gives_the_same_part(two_classes: Path) -> None:
    _, (_, part) = parts(two_classes, 2, 8)
    small = part.replace(spec=ims.SampleSpec(size=(4, 4)))
    assert [b.positions.tolist() for b in small.traced_batches()] == [b.positions.tolist() for b in part.traced_batches()]
