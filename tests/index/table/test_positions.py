import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgstream.errors import DatasetError
from imgstream.index import ImageIndex, scan, selection
from imgstream.index.table import positions as positions_module
from imgstream.index.table.columns import Names
from imgstream.index.table.table import TableInfo
from imgstream.index.table.table_writer import TableWriter

Tree = Callable[..., Path]
CLASSES = ["apes", "bees", "cats", "dogs"]


def made(labels: list[int], part: list[int] | None = None) -> ImageIndex:
    """An image of each label in a table without a name: 0.jpg, 1.jpg, …"""
    with TableWriter(None, ["part"] if part else []) as writer:
        writer.add_folder(b"f/")
        names = Names.of([b"%d.jpg" % i for i in range(len(labels))])
        columns = {"part": np.array(part)} if part else {}
        writer.add_rows(names, np.zeros(len(labels)), np.array(labels, np.int32), **columns)
        return ImageIndex(writer.finish(TableInfo(root="", class_names=CLASSES), None))


def rows_and_labels(index: ImageIndex) -> list[tuple[int, int]]:
    """Each row twice over: all that can be asked of an index must agree."""
    n = len(index)
    at = np.arange(n)[::-1]
    rows, labels = index.rows.tolist(), index.labels.tolist()
    assert index.rows_at(at).tolist() == rows[::-1] == [index.row(i) for i in at.tolist()]
    assert index.labels_at(at).tolist() == labels[::-1]
    assert (index.labels.dtype, index.rows.dtype, index.labels_at(at).dtype, index.rows_at(at).dtype) == (np.int32, np.uint32) * 2
    assert index.class_counts().tolist() == [labels.count(label) for label in range(len(index.class_names))]
    assert [index.relative_bytes(i) for i in range(n)] == [b"f/%d.jpg" % row for row in rows]
    return list(zip(rows, labels, strict=True))


labels_of = st.lists(st.integers(-1, 3), min_size=1, max_size=40)


@pytest.fixture(params=[False, True])
def spilled(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """With small and with large selections: where positions are in memory, and where they are in a file."""
    if request.param:
        monkeypatch.setattr(positions_module, "_IN_MEMORY", 3)
        monkeypatch.setattr(selection, "_SELECT_ROWS", 4)
    return request.param


@pytest.mark.parametrize(("in_memory", "together"), [(1 << 18, 1 << 16), (3, 4), (0, 1)])
@settings(max_examples=25)
@given(labels=labels_of, data=st.data())
def test_every_selection_keeps_the_rows_that_it_says(in_memory: int, together: int, labels: list[int], data: st.DataObject) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(positions_module, "_IN_MEMORY", in_memory)
        patch.setattr(selection, "_SELECT_ROWS", together)
        index = made(labels)
        expected = rows_and_labels(index)
        assert expected == list(enumerate(labels))
        for _ in range(3):
            n = len(index)
            how = data.draw(st.sampled_from(("take", "mask", "function", "labelled", "without", "shard")))
            if how == "take":
                wanted = data.draw(st.lists(st.integers(0, n - 1), max_size=30)) if n else []
                index, expected = index.take(wanted), [expected[i] for i in wanted]
            elif how == "mask":
                keep = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)), bool)
                index, expected = index.filter(keep), [one for one, kept in zip(expected, keep, strict=True) if kept]
            elif how == "function":
                index = index.filter(lambda path, label: path != "f/3.jpg" and label != 2)
                expected = [one for one in expected if one[0] != 3 and one[1] != 2]
            elif how == "labelled":
                index, expected = index.with_labels(), [one for one in expected if one[1] >= 0]
            elif how == "without":
                rows = data.draw(st.sets(st.integers(0, 45)))
                index = index.without([b"f/%d.jpg" % row for row in rows])
                expected = [one for one in expected if one[0] not in rows]
            else:
                k, shards = sorted(data.draw(st.sets(st.integers(0, 50), min_size=2, max_size=2)))
                index, expected = index.shard(k, shards), expected[k::shards]
            assert rows_and_labels(index) == expected
            assert rows_and_labels(pickle.loads(pickle.dumps(index))) == expected


@settings(max_examples=40)
@given(labels=labels_of, shards=st.integers(1, 50), together=st.integers(1, 50))
def test_shards_are_disjoint_and_complete(labels: list[int], shards: int, together: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, "_SELECT_ROWS", together)
        index = made(labels).take(range(len(labels))[::-1])
        parts = [index.shard(k, shards).rows.tolist() for k in range(shards)]
    interleaved = [parts[i % shards][i // shards] for i in range(len(index))]
    assert interleaved == index.rows.tolist()
    assert sum(map(len, parts)) == len(index)


@pytest.mark.parametrize(("k", "n"), [(-1, 3), (3, 3), (0, 0)])
def test_a_shard_that_cannot_be_says_so(k: int, n: int) -> None:
    with pytest.raises(DatasetError, match=f"k={k}, n={n}"):
        made([0]).shard(k, n)


def test_selections_share_the_table_and_its_file(tree: Tree, spilled: bool) -> None:
    index = scan(tree(*(f"{name}/{i}.jpg" for name in CLASSES for i in range(5)), "loose.jpg"))
    for part in (
        index.take([7, 3, 3, 20, 0, 1]),
        index.filter(index.labels == 2),
        index.with_labels(),
        index.without(["apes/1.jpg", b"bees/2.jpg", Path("cats/3.jpg"), "not/there.jpg"]),
        index.with_classes(["cats", "dogs"]),
        index.shard(1, 3),
        index.split()[0],
        index.folds(3)[0][1],
    ):
        assert part.table is index.table
        assert part.root == index.root
        again = pickle.loads(pickle.dumps(part))
        assert again.table.path == index.table.path
        assert (again.rows.tolist(), again.labels.tolist(), again.class_names) == (
            part.rows.tolist(),
            part.labels.tolist(),
            part.class_names,
        )
        assert again.fingerprint == part.fingerprint
        assert [index.path(row) for row in part.rows.tolist()] == [part.path(i) for i in range(len(part))]


def test_without_takes_paths_in_every_form(tree: Tree) -> None:
    index = scan(tree(*(f"{name}/{i}.jpg" for name in ("a", "b") for i in range(3))))
    rest = index.without(iter(["a/1.jpg", b"b/2.jpg", Path("b/0.jpg"), "1.jpg", "a/", ""]))
    assert rest.rows.tolist() == [0, 2, 4]
    assert len(index.without([])) == 6
    assert index.take([4, 0, 4]).without(["a/0.jpg"]).rows.tolist() == [4, 4]


def test_with_classes_numbers_labels_anew_in_their_old_order(spilled: bool) -> None:
    index = made([3, 0, -1, 2, 0, 1, 3])
    part = index.with_classes(["dogs", "apes", "dogs"])
    assert part.class_names == ["apes", "dogs"]
    assert rows_and_labels(part) == [(0, 1), (1, 0), (4, 0), (6, 1)]
    assert rows_and_labels(part.take([3, 1])) == [(6, 1), (1, 0)]
    one = part.with_classes(iter(["dogs"]))
    assert (one.class_names, rows_and_labels(one)) == (["dogs"], [(0, 0), (6, 0)])
    none = index.with_classes([])
    assert (none.class_names, len(none), none.class_counts().tolist()) == ([], 0, [])
    assert index.class_names == CLASSES


def test_a_class_without_an_image_can_be_chosen() -> None:
    part = made([0, 0, 3]).with_classes(["bees", "dogs"])
    assert (part.class_names, part.class_counts().tolist(), rows_and_labels(part)) == (["bees", "dogs"], [0, 1], [(2, 1)])


def test_classes_that_are_not_there_are_named() -> None:
    index = made([0, 1])
    with pytest.raises(DatasetError, match="there is no class 'cows', 'gnus' in ''; there are apes, bees, cats, dogs"):
        index.with_classes(["gnus", "apes", "cows"])
    with pytest.raises(DatasetError, match="no class 'cats' in ''; there are apes"):
        index.with_classes(["apes"]).with_classes(["cats"])


def test_chosen_classes_are_saved_and_loaded_with_their_numbers(tmp_path: Path, spilled: bool) -> None:
    part = made([3, 0, -1, 2, 0, 1, 3], part=[1, 1, 1, 1, 2, 2, 3]).with_classes(["dogs", "apes"])
    part.save(tmp_path / "part.arrow")
    again = ImageIndex.load(tmp_path / "part.arrow")
    assert (again.class_names, rows_and_labels(again)) == (part.class_names, rows_and_labels(part))
    for index in (part, again):
        assert index.explicit_split is not None
        assert {name: at.tolist() for name, at in index.explicit_split.items()} == {"train": [0, 1], "val": [2], "test": [3]}
        train, val = index.split()
        assert (rows_and_labels(train), rows_and_labels(val)) == ([(0, 1), (1, 0)], [(4, 0)])


def test_fingerprints_tell_selections_apart(spilled: bool) -> None:
    index = made([0, 1, 2, 3, 0, 1, 2, 3])
    parts = [
        index,
        index.take([0, 1]),
        index.take([1, 0]),
        index.take([0]),
        index.with_classes(CLASSES),
        index.with_classes(["apes", "bees"]),
    ]
    assert len({part.fingerprint for part in parts}) == len(parts)
    assert index.take(range(2)).fingerprint == parts[1].fingerprint == pickle.loads(pickle.dumps(parts[1])).fingerprint


def test_a_large_selection_equals_a_small_one(monkeypatch: pytest.MonkeyPatch) -> None:
    index = made([i % 5 - 1 for i in range(3000)])
    keep = np.random.default_rng(0).random(3000) < 0.7

    def choices() -> list[list[tuple[int, int]]]:
        parts = [
            index.filter(keep),
            index.with_labels(),
            index.take(np.arange(3000)[::-3]),
            index.shard(2, 7),
            index.with_classes(["cats", "bees"]),
        ]
        parts += [*index.split(0.3, 1), *index.folds(2)[0]]
        return [rows_and_labels(part) for part in parts]

    small = choices()
    monkeypatch.setattr(positions_module, "_IN_MEMORY", 100)
    monkeypatch.setattr(selection, "_SELECT_ROWS", 64)
    assert choices() == small


def test_positions_of_a_large_selection_are_in_a_file_that_is_read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    chunks = [np.arange(i, i + 10) for i in range(0, 50, 10)]
    for limit in (50, 49, 0):
        monkeypatch.setattr(positions_module, "_IN_MEMORY", limit)
        positions = positions_module.gather(iter(chunks))
        assert (positions.dtype, positions.tolist()) == (np.uint32, list(range(50)))
        assert not positions.flags.writeable
        assert positions.flags.owndata == (limit == 50)


def test_a_function_is_given_the_path_and_the_label(tree: Tree) -> None:
    root = tree("cats/1.jpg", "dogs/2.jpg", "loose.jpg")
    (root / os.fsdecode(b"dogs/\xff.jpg")).touch()
    seen: list[tuple[str, int]] = []
    scan(root).with_classes(["dogs"]).filter(lambda path, label: bool(seen.append((path, label))))
    assert seen == [("dogs/2.jpg", 0), ("dogs/\udcff.jpg", 0)]


@pytest.mark.parametrize("keep", [np.ones(3, bool), np.ones(2), [[True, True]], [0, 1]])
def test_filter_refuses_another_kind_or_length(keep: object) -> None:
    with pytest.raises(TypeError, match=r"bool \(2,\)"):
        made([0, 1]).filter(keep)  # type: ignore[arg-type]


def test_an_empty_selection_can_be_asked_everything(spilled: bool) -> None:
    empty = made([0, 1]).take([])
    for part in (
        empty,
        empty.with_labels(),
        empty.without(["x"]),
        empty.shard(0, 2),
        empty.with_classes(["apes"]),
        *empty.split(),
        *empty.folds(2)[0],
    ):
        assert (len(part), part.class_counts().sum(), rows_and_labels(part)) == (0, 0, [])
