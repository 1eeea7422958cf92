"""Classes whose names look alike, and the command that joins them."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import imgstream as ims
from imgstream.errors import DatasetWarning
from imgstream.index import read_manifest
from imgstream.index.look_alikes import joined, look_alikes, quoted
from imgstream.index.manifest.write import write_manifest

Tree = Callable[..., Path]
COMPOSED, DECOMPOSED = "caf\xe9", "cafe\u0301"


@pytest.mark.parametrize(
    ("names", "groups"),
    [
        (["cats", "dogs"], []),
        (["Cats", "cats", "dogs"], [["Cats", "cats"]]),
        ([DECOMPOSED, COMPOSED], [[DECOMPOSED, COMPOSED]]),
        (["a  b", "a b", "a b ", "a\u00a0b"], [["a  b", "a b", "a b ", "a\u00a0b"]]),
        (["straße", "STRASSE", "x", "\uff58"], [["straße", "STRASSE"], ["x", "\uff58"]]),
        (["cafe", COMPOSED, "cat", "cats"], []),
        ([r"\xff", r"\xfe"], []),
    ],
)
def test_names_that_differ_by_case_white_space_or_composition_alone_look_alike(names: list[str], groups: list[list[str]]) -> None:
    assert look_alikes(names) == groups


def test_the_name_of_most_images_is_kept_composed_and_without_needless_space() -> None:
    names = ["Cats", "cats", DECOMPOSED, COMPOSED.upper(), "dogs ", "fish"]
    assert joined(names, np.array([3, 2, 9, 1, 5, 4])) == {"Cats": "Cats", "cats": "Cats", DECOMPOSED: COMPOSED, COMPOSED.upper(): COMPOSED}


def test_a_reader_can_tell_them_apart() -> None:
    assert quoted(["dogs", "dogs "]) == ["'dogs'", "'dogs '"]
    assert quoted(["Größe", "größe"]) == ["'Größe'", "'größe'"]
    assert quoted([COMPOSED, DECOMPOSED]) == [r"'caf\xe9'", r"'cafe\u0301'"]


def test_scan_warns_with_a_command_that_joins_them(tree: Tree) -> None:
    root = tree(f"{DECOMPOSED}/1.jpg", f"{COMPOSED}/2.jpg", f"{COMPOSED}/3.jpg", "dogs/4.jpg")
    with pytest.warns(DatasetWarning) as caught:
        index = ims.scan(root)
    assert index.class_names == [DECOMPOSED, COMPOSED, "dogs"]
    assert [str(warning.message) for warning in caught] == [
        r"These classes look alike and are not one, with so many images: 'cafe\u0301' (1) and 'caf\xe9' (2). To join them: imgstream index "
        f"{root} --join-classes -o photos-joined.csv ; then give photos-joined.csv --root {root} in place of {root}"
    ]
    assert caught[0].filename == __file__


def test_the_command_for_a_manifest_or_a_pattern_holds_their_options(tree: Tree) -> None:
    root = tree("a/1.jpg", "a/2.jpg")
    (root / "my list.csv").write_text("img,species\na/1.jpg,Cat\na/2.jpg,cat\n")
    columns = {"path": "img", "label": "species"}
    with pytest.warns(DatasetWarning) as caught:
        ims.scan(root / "my list.csv", root=root, columns=columns)
    command = str(caught[0].message).partition("To join them: ")[2].partition(" ; ")[0]
    join = ["--join-classes", "-o", "my list-joined.csv"]
    assert shlex.split(command)[1:] == ["index", f"{root}/my list.csv", "--root", str(root), "--columns", "path=img,label=species", *join]
    (root / "Ab.jpg").touch()
    (root / "aB.jpg").touch()
    with pytest.warns(DatasetWarning, match=r"imgstream index \S+ --label-pattern '\(\?P<label>\[aAbB\]\{2\}\)' --join-classes"):
        ims.scan(root, r"(?P<label>[aAbB]{2})")


def test_a_manifest_reads_back_as_the_index_that_it_was_written_of(tree: Tree, tmp_path: Path) -> None:
    hostile = [' "quoted", and more .jpg', "line\nbreak.jpg", "tab\t.jpg", os.fsdecode(b"n\xff.jpg"), " space.jpg", "cr\r.jpg", "#.jpg"]
    root = tree("a/0.jpg", *(f"a/{name}" for name in hostile), "b/1.jpg", "loose.jpg")
    index = ims.scan(root)
    write_manifest(index, tmp_path / "list.csv")
    again, report = read_manifest(tmp_path / "list.csv", root=root)
    assert report.bad_counts == {}
    assert [again.path_bytes(i) for i in range(len(again))] == [index.path_bytes(i) for i in range(len(index))]
    assert (again.class_names, again.labels.tolist()) == (index.class_names, index.labels.tolist())
    assert again.explicit_split is None


def test_split_groups_and_weights_are_kept(tree: Tree, tmp_path: Path) -> None:
    root = tree("1.jpg", "2.jpg", "3.jpg", "4.jpg")
    (root / "first.csv").write_text(
        "path,label,split,group,weight\n1.jpg,Cat,train,p1,2\n2.jpg,cat,train,p1,0.1\n3.jpg,cat,val,,1\n4.jpg,dog,,p2,0\n"
    )
    index, _ = read_manifest(root / "first.csv")
    write_manifest(index, tmp_path / "second.csv", joined(index.class_names, index.class_counts()))
    again, report = read_manifest(tmp_path / "second.csv", root=root)
    assert report.bad_counts == {}
    assert (again.class_names, again.labels.tolist()) == (["cat", "dog"], [0, 0, 0, 1])
    everything = np.arange(4)
    assert np.array_equal(again.weights_at(everything), index.weights_at(everything))  # type: ignore[arg-type]
    assert {name: at.tolist() for name, at in (again.explicit_split or {}).items()} == {"train": [0, 1], "val": [2]}
    groups = again.table.columns["group"]
    assert groups[0] == groups[1] != groups[3]
    assert groups[2] == 0
