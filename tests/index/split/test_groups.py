import os
import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgstream.errors import DatasetError
from imgstream.index import ImageIndex, scan, selection
from imgstream.index.split.groups import ColumnGroups, FolderGroups, Groups, ListedGroups, PatternGroups, groups
from imgstream.index.split.path_hash import keys_of
from imgstream.index.table.columns import Names
from imgstream.index.table.table import TableInfo
from imgstream.index.table.table_writer import TableWriter

Tree = Callable[..., Path]
WORD = (1 << 64) - 1


def made(labels: list[int], group: list[int], classes: int = 6) -> ImageIndex:
    """An image of each label: 0.jpg, 1.jpg, …; `group`: 0 = none."""
    with TableWriter(None, ["group"]) as writer:
        writer.add_folder(b"")
        names = Names.of([b"%d.jpg" % i for i in range(len(labels))])
        keys = np.array([int(keys_of([b"g%d" % g])[0]) if g else 0 for g in group], np.uint64)
        writer.add_rows(names, np.zeros(len(labels)), np.array(labels, np.int32), group=keys)
        return ImageIndex(writer.finish(TableInfo(root="", class_names=[str(i) for i in range(classes)]), None))


def mix(state: int) -> int:
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        state = (state ^ state >> 33) * factor & WORD
    return state ^ state >> 33


def fnv(state: int, data: bytes) -> int:
    for byte in data:
        state = (state ^ byte) * 0x100000001B3 & WORD
    return state


def seed_state(seed: int) -> int:
    return mix(fnv(0xCBF29CE484222325, str(seed).encode()))


def plain_hash(seed: int, path: bytes, group: bytes | None) -> int:
    if group is None:
        return mix(fnv(seed_state(seed), path))
    return mix(seed_state(seed) ^ mix(fnv(seed_state(0), group)))


def together(index: ImageIndex, how: Groups) -> list[list[str]]:
    """The groups, each with its files, and the files without a group one by one."""
    found: dict[tuple[int, str], list[str]] = defaultdict(list)
    keys = how.keys(index, np.arange(len(index)))
    assert keys.dtype == np.uint64
    for i, key in enumerate(keys.tolist()):
        path = os.fsdecode(index.relative_bytes(i))
        found[key, "" if key else path].append(path)
    return sorted(found.values())


images = st.lists(st.tuples(st.integers(-1, 5), st.integers(0, 6)), min_size=1, max_size=40)
fractions, seeds = st.floats(0.001, 0.999), st.integers(-3, 1000)


@settings(max_examples=settings.default.max_examples * 3 // 2)
@given(images=images, fraction=fractions, seed=seeds, rows=st.integers(1, 50))
def test_no_group_crosses_and_every_class_keeps_a_training_file(
    images: list[tuple[int, int]], fraction: float, seed: int, rows: int
) -> None:
    labels, group = map(list, zip(*images, strict=True))
    index = made(labels, group)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, "_SELECT_ROWS", rows)
        train, val = index.split(fraction, seed, group=ColumnGroups())
    sides = [sorted(side.rows.tolist()) for side in (train, val)]
    assert sorted([*sides[0], *sides[1]]) == list(range(len(images)))
    assert [train.rows.tolist(), val.rows.tolist()] == sides
    in_groups = [{group[row] for row in side} - {0} for side in sides]
    assert not in_groups[0] & in_groups[1]
    in_train, in_val = ({labels[row] for row in side} for side in sides)
    assert in_train >= set(labels) - {-1}
    trained: dict[int, set[int]] = defaultdict(set)  # class → its groups in training; files without a group are groups of their own
    classes: dict[int, set[int]] = defaultdict(set)  # group → the classes in it
    for row, label in enumerate(labels):
        if label >= 0:
            classes[group[row] or -1 - row].add(label)
            if row in sides[0]:
                trained[label].add(group[row] or -1 - row)
    for label in set(labels) - {-1} - in_val:  # left without validation, for any of its groups is the last of some class in training
        assert all(any(len(trained[other]) == 1 for other in classes[own]) for own in trained[label])


@given(images=images, fraction=fractions, seed=seeds)
def test_where_each_class_has_both_sides_the_hash_decides_alone(images: list[tuple[int, int]], fraction: float, seed: int) -> None:
    labels, group = map(list, zip(*images, strict=True))
    names = [b"g%d" % g if g else None for g in group]
    by_hash = [plain_hash(seed, b"%d.jpg" % i, name) < fraction * 2**64 for i, name in enumerate(names)]
    _, val = made(labels, group).split(fraction, seed, group=ColumnGroups())
    if all({by_hash[i] for i, label in enumerate(labels) if label == wanted} == {True, False} for wanted in set(labels) - {-1}):
        assert val.rows.tolist() == np.flatnonzero(by_hash).tolist()


def test_a_split_in_groups_is_pinned() -> None:
    # As in test_split: other numbers would put images into validation that a model was trained on.
    index = made([0] * 60, [i // 3 + 1 for i in range(57)] + [0] * 3)
    _, val = index.split(0.25, 7, group=ColumnGroups())
    expected = [i for i in range(60) if plain_hash(7, b"%d.jpg" % i, b"g%d" % (i // 3 + 1) if i < 57 else None) < 2**62]
    assert val.rows.tolist() == expected
    assert sorted({i // 3 + 1 for i in expected if i < 57}) == [1, 2, 5, 6, 11, 13, 14, 17, 18]


@pytest.mark.parametrize("seed", range(5))
def test_groups_of_one_name_are_on_the_same_side_wherever_they_come_from(seed: int, tree: Tree) -> None:
    index = scan(tree(*(f"c/p{i // 4}_{i}.jpg" for i in range(80))))
    listed = ListedGroups((b"c/p%d_%d.jpg" % (i // 4, i), b"p%d" % (i // 4)) for i in range(80))
    pattern = PatternGroups(re.compile(r"(?P<group>p\d+)_"))
    assert len(together(index, pattern)) == 20
    for first, second in zip(index.split(0.3, seed, group=listed), index.split(0.3, seed, group=pattern), strict=True):
        assert first.rows.tolist() == second.rows.tolist()


def test_images_without_a_group_are_split_as_ever(tree: Tree) -> None:
    index = scan(tree(*(f"{c}/{i}.jpg" for c in "ab" for i in range(100))))
    alone = index.split(0.2, 3)[1].rows.tolist()
    assert index.split(0.2, 3, group=ListedGroups([]))[1].rows.tolist() == alone
    assert index.split(0.2, 3, group=PatternGroups(re.compile("(?P<group>z+)")))[1].rows.tolist() == alone
    some = index.split(0.2, 3, group=PatternGroups(re.compile("^a/(?P<group>1)")))[1].rows.tolist()
    assert [row for row in some if row >= 100] == [row for row in alone if row >= 100]


@settings(max_examples=settings.default.max_examples * 3 // 5)
@given(images=images, more=images, fraction=fractions, seed=seeds)
def test_more_files_of_a_group_move_no_other_group(
    images: list[tuple[int, int]], more: list[tuple[int, int]], fraction: float, seed: int
) -> None:
    # A class of eight groups has both sides by itself, so that nothing is moved after the hash has spoken: as in test_split.
    many = [(label, 100 + i) for label in range(6) for i in range(8)]
    before, after = [*many, *images], [*many, *images, *more]
    sides = []
    for rows in (before, after):
        labels, group = map(list, zip(*rows, strict=True))
        _, val = made(labels, group).split(fraction, seed, group=ColumnGroups())
        sides.append(set(val.rows.tolist()))
        complete = all(0 < sum(row in sides[-1] for row in range(8 * c, 8 * c + 8)) < 8 for c in range(6))
        hashed = {i for i, (_, g) in enumerate(rows) if plain_hash(seed, b"%d.jpg" % i, b"g%d" % g if g else None) < fraction * 2**64}
        if not complete or hashed != sides[-1]:
            return
    assert sides[0] == {row for row in sides[1] if row < len(before)}


def test_a_group_is_moved_whole_and_a_class_in_one_group_stays_for_training() -> None:
    for seed in range(20):
        train, val = made([0, 0, 0, 1, 1, 1, 1], [1, 1, 1, 2, 2, 3, 3]).split(0.5, seed, group=ColumnGroups())
        assert {0, 1, 2} <= set(train.rows.tolist())
        assert val.rows.tolist() in ([3, 4], [5, 6])


def test_a_group_of_several_classes_stays_where_one_of_them_needs_it() -> None:
    for seed in range(20):
        train, val = made([0, 1, 1, 1], [1, 1, 2, 3]).split(0.5, seed, group=ColumnGroups())
        assert {0, 1} <= set(train.rows.tolist())
        assert 1 <= len(val) <= 2


def test_folder_groups_are_the_folders(tree: Tree) -> None:
    index = scan(tree("a/x/1.jpg", "a/x/2.jpg", "a/3.jpg", "b/x/4.jpg", "b/x/5.jpg", "6.jpg", "7.jpg"))
    expected = [["6.jpg", "7.jpg"], ["a/3.jpg"], ["a/x/1.jpg", "a/x/2.jpg"], ["b/x/4.jpg", "b/x/5.jpg"]]
    assert together(index, FolderGroups()) == expected
    assert together(index.take([6, 4, 2, 3, 1]), FolderGroups()) == [["7.jpg"], ["a/3.jpg"], ["a/x/2.jpg", "a/x/1.jpg"], ["b/x/5.jpg"]]


def test_pattern_groups_are_what_the_group_matches(tree: Tree) -> None:
    root = tree("a/p1_x.jpg", "b/p1_y.jpg", "b/p2_x.jpg", "c/none.jpg", "c/other.jpg", "c/p_x.jpg")
    (root / "c" / os.fsdecode(b"p\xff_x.jpg")).touch()
    (root / "a" / os.fsdecode(b"p\xff_y.jpg")).touch()
    found = together(scan(root), PatternGroups(re.compile("p(?P<group>[^_]*)_")))
    assert found == [
        ["a/p1_x.jpg", "b/p1_y.jpg"],
        ["a/p\udcff_y.jpg", "c/p\udcff_x.jpg"],
        ["b/p2_x.jpg"],
        ["c/none.jpg"],
        ["c/other.jpg"],
        ["c/p_x.jpg"],  # matched, with a group of no character
    ]
    optional = PatternGroups(re.compile("(p(?P<group>1))?"))
    assert optional.keys(scan(root), np.array([0, 2])).tolist() == [0, 0]


def test_listed_groups_are_the_list_and_an_empty_name_is_none(tree: Tree) -> None:
    index = scan(tree("a/1.jpg", "a/2.jpg", "b/3.jpg", "b/4.jpg", "b/5.jpg", "b/6.jpg"))
    pairs = [
        (b"b/4.jpg", b"two"),
        (b"a/1.jpg", b"one"),
        (b"b/3.jpg", b"one"),
        (b"no/file.jpg", b"one"),
        (b"b/5.jpg", b""),
        (b"b/6.jpg", b""),
    ]
    found = together(index, ListedGroups(iter(pairs)))
    assert found == [["a/1.jpg", "b/3.jpg"], ["a/2.jpg"], ["b/4.jpg"], ["b/5.jpg"], ["b/6.jpg"]]


def test_column_groups_are_the_column_also_of_a_selection_that_was_saved(tmp_path: Path) -> None:
    index = made([0, 0, 1, 1, 1], [1, 2, 1, 0, 0])
    expected = [["0.jpg", "2.jpg"], ["1.jpg"], ["3.jpg"], ["4.jpg"]]
    assert together(index, ColumnGroups()) == expected
    index.take([4, 3, 2, 1, 0]).save(tmp_path / "part.arrow")
    assert together(ImageIndex.load(tmp_path / "part.arrow"), ColumnGroups()) == [["1.jpg"], ["2.jpg", "0.jpg"], ["3.jpg"], ["4.jpg"]]


def test_column_groups_need_the_column(tree: Tree) -> None:
    with pytest.raises(DatasetError, match="have no group column"):
        scan(tree("a/1.jpg")).split(group=groups("column"))


def test_what_groups_take_says_which_are_meant(tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = scan(tree("a/1.jpg", "a/2.jpg", "b/1.jpg"))
    (tmp_path / "groups.csv").write_text("path,group\na/2.jpg,x\nb/1.jpg,x\n")
    monkeypatch.chdir(tmp_path)
    for how, expected in (
        ("folder", [["a/1.jpg", "a/2.jpg"], ["b/1.jpg"]]),
        (r"(?P<group>\d)\.jpg", [["a/1.jpg", "b/1.jpg"], ["a/2.jpg"]]),
        ("groups.csv", [["a/1.jpg"], ["a/2.jpg", "b/1.jpg"]]),
        (tmp_path / "groups.csv", [["a/1.jpg"], ["a/2.jpg", "b/1.jpg"]]),
    ):
        assert together(index, groups(how)) == expected
    assert isinstance(groups("column"), ColumnGroups)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("(", "neither folder, column, a file that is there, nor a regular expression"),
        ("patients.csv", r"neither folder, column nor a file that is there; as a pattern it needs a group named group"),
        ("([a-z]+)_", r"such as \(\?P<group>patient\[0-9\]\+\)"),
        ("groups.csv", r"groups\.csv has no columns path and group"),
    ],
)
def test_what_is_no_way_to_group_says_what_is(how: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("groups.csv").write_text("file,patient\na,b\n")
    with pytest.raises(DatasetError, match=words):
        groups(how)


@settings(max_examples=settings.default.max_examples * 4 // 5)
@given(images=images, k=st.integers(2, 12), seed=seeds, rows=st.integers(1, 50))
def test_each_image_is_for_validation_in_one_fold_with_its_group(images: list[tuple[int, int]], k: int, seed: int, rows: int) -> None:
    labels, group = map(list, zip(*images, strict=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, "_SELECT_ROWS", rows)
        pairs = made(labels, group).folds(k, seed, group=ColumnGroups())
    assert len(pairs) == k
    place = {}
    for number, (train, val) in enumerate(pairs):
        assert sorted([*train.rows.tolist(), *val.rows.tolist()]) == list(range(len(images)))
        for row in val.rows.tolist():
            assert place.setdefault(row, number) == number
    assert [place[i] for i in range(len(images))] == [
        k * plain_hash(seed, b"%d.jpg" % i, b"g%d" % g if g else None) >> 64 for i, g in enumerate(group)
    ]


def test_folds_are_about_equal_and_stay_when_files_are_added(tree: Tree) -> None:
    root = tree(*(f"{c}/{i}.jpg" for c in "ab" for i in range(300)))
    before = [{val.relative_bytes(i) for i in range(len(val))} for _, val in scan(root).folds(5, seed=2)]
    assert sum(map(len, before)) == 600
    assert all(abs(len(fold) - 120) < 50 for fold in before)  # five sigma
    tree(*(f"{c}/new_{i}.jpg" for c in "a0" for i in range(50)))
    after = [{val.relative_bytes(i) for i in range(len(val))} for _, val in scan(root).folds(5, seed=2)]
    assert all(old < new for old, new in zip(before, after, strict=True))
    assert before != [{val.relative_bytes(i) for i in range(len(val))} for _, val in scan(root).folds(5, seed=3)]


@pytest.mark.parametrize("k", [0, 1, 101, -5])
def test_folds_need_two_to_a_hundred(k: int) -> None:
    with pytest.raises(DatasetError, match=f"2 to 100 folds; got {k}"):
        made([0, 0], [0, 0]).folds(k)
    with pytest.raises(TypeError):
        made([0, 0], [0, 0]).folds(2.5)  # type: ignore[arg-type]


def test_of_a_split_that_is_given_only_train_takes_part_in_folds(tree: Tree) -> None:
    index = scan(tree(*(f"train/a/{i}.jpg" for i in range(10)), "val/a/v.jpg", "test/a/t.jpg"))
    for train, val in index.folds(3):
        assert sorted(os.fsdecode(part.relative_bytes(i)) for part in (train, val) for i in range(len(part))) == [
            f"train/a/{i}.jpg" for i in range(10)
        ]
    assert index.explicit_split is not None
    with pytest.raises(DatasetError, match="none is for training"):
        index.take(index.explicit_split["test"]).folds(3)


def test_a_split_that_is_given_wins_over_groups(tree: Tree) -> None:
    index = scan(tree("train/a/p1.jpg", "train/b/p2.jpg", "val/a/p1.jpg", "val/b/p2.jpg"))
    train, val = index.split(0.9, 5, group=PatternGroups(re.compile(r"(?P<group>p\d)")))
    assert (train.rows.tolist(), val.rows.tolist()) == ([0, 1], [2, 3])


def test_train_alone_is_split_by_hash_in_groups(tree: Tree) -> None:
    index = scan(tree(*(f"train/{c}/{i // 5}_{i}.jpg" for c in "ab" for i in range(50)), "test/a/t.jpg"))
    how = PatternGroups(re.compile(r"(?P<group>[ab]/\d+)_"))
    train, val = index.split(0.4, 1, group=how)
    assert len(train) + len(val) == 100
    assert len(val) % 5 == 0 < len(val)
    assert not {key for (key,) in zip(how.keys(train, np.arange(len(train))).tolist())} & set(how.keys(val, np.arange(len(val))).tolist())
