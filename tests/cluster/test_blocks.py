from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgstream.cluster.blocks import Block, blocks_of, portable
from imgstream.index import ImageIndex


def planned(sizes: list[int]) -> list[tuple[int, np.ndarray]]:
    """Batches of these sizes, one after another."""
    ends = np.cumsum([0, *sizes])
    return [(number, np.arange(ends[number], ends[number + 1])) for number in range(len(sizes))]


@given(st.lists(st.integers(1, 4), max_size=40), st.integers(1, 5))
def test_blocks_hold_every_planned_batch_once_and_only_their_last_may_be_short(sizes: list[int], workers: int) -> None:
    batches = planned(sizes)
    seen = []
    for block in blocks_of(batches, 4, rows=sum(sizes), workers=workers):
        cut = [block.positions[start : start + 4] for start in range(0, len(block.positions), 4)]
        seen += list(zip(block.batches, cut, strict=True))
    assert [(number, at.tolist()) for number, at in seen] == [(number, at.tolist()) for number, at in batches]


def test_a_block_is_halved_between_batches_and_one_batch_between_images() -> None:
    first, second = Block((3, 4, 5), np.arange(10), 4).halves()
    assert (first.batches, first.positions.tolist(), second.batches) == ((3,), [0, 1, 2, 3], (4, 5))
    assert (first.whole, second.whole) == (None, None)
    left, right = first.halves()
    assert (left.batches, left.positions.tolist(), right.positions.tolist()) == ((3,), [0, 1], [2, 3])
    assert (left.whole, left.halves()[0].whole, left.is_suspect) == (4, 4, True)


def test_a_portable_index_has_the_same_files_in_any_folder(two_classes: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(two_classes)
    (tmp_path / "name \udce9\n.jpg").write_bytes(b"x")
    index = ImageIndex.from_paths(["light/03.jpg", os.fsencode(tmp_path) + b"/name \xe9\n.jpg", "dark/00.jpg"])
    carried = pickle.dumps(portable(index, np.array([1, 2])))
    monkeypatch.chdir("/")
    opened = pickle.loads(carried)
    assert [opened.path_bytes(i) for i in range(2)] == [index.path_bytes(1), os.fsencode(two_classes / "dark/00.jpg")]
    assert opened.rows.tolist() == [1, 2]


def test_a_portable_index_keeps_labels_and_leaves_out_the_other_folders(two_classes: Path) -> None:
    import imgstream as ims

    index = ims.scan(two_classes)
    part = portable(index, np.array([25, 39]))
    assert (part.labels.tolist(), part.class_names, part.table.folders().__next__()) == ([1, 1], ["dark", "light"], b"light/")
    assert [part.path(i) for i in range(2)] == [index.path(25), index.path(39)]
