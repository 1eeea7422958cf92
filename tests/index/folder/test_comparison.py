import errno
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from itertools import chain, count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from imgstream.errors import DatasetError, NoImagesError, OutputError
from imgstream.index import ImageIndex
from imgstream.index import scan_folder as scan
from imgstream.index.changes import Changes, changes_between
from imgstream.index.table import table

Tree = Callable[..., Path]
as_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="permissions do not bind root")
posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX file names and links")
YEAR_2000 = 946_684_800 * 10**9
ticks = count(YEAR_2000, 10**6)


def contents(index: ImageIndex) -> dict[str, Any]:
    """All that a scan says."""
    parts = index.explicit_split
    return {
        "paths": [index.path_bytes(i) for i in range(len(index))],
        "rows": index.rows.tolist(),
        "labels": index.labels.tolist(),
        "class_names": index.class_names,
        "split": None if parts is None else {name: at.tolist() for name, at in parts.items()},
        "skipped": index.skipped_extensions,
        "unreadable": (index.unreadable_count, index.unreadable_folders),
        "fingerprint": index.fingerprint,
    }


def relative(index: ImageIndex) -> list[str]:
    return [os.fsdecode(index.relative_bytes(i)) for i in range(len(index))]


def full(root: str | Path, label_pattern: str | None = None) -> ImageIndex:
    """A scan that begins from nothing, and leaves what other scans keep alone."""
    with tempfile.TemporaryDirectory() as elsewhere, pytest.MonkeyPatch.context() as patch:
        patch.setenv("IMGSTREAM_CACHE", elsewhere)
        return scan(root, label_pattern)


def settle(*folders: str | Path) -> None:
    """Let it be long ago that these folders, and those in them, were changed; each at a time of its own."""
    for start in folders:
        for folder, _, _ in os.walk(start):
            tick = next(ticks)
            os.utime(folder, ns=(tick, tick))


def known(index: ImageIndex) -> Changes:
    assert index.changes is not None
    return index.changes


@pytest.fixture
def scandirs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders that are listed, as they are listed; a scan that lists at all first sees that its root can be listed."""
    listed: list[str] = []
    original = os.scandir

    def counted(path: bytes | int) -> object:
        if isinstance(path, bytes):  # shutil.rmtree gives numbers of open files
            listed.append(os.fsdecode(path))
        return original(path)

    monkeypatch.setattr(os, "scandir", counted)
    return listed


def test_a_folder_that_did_not_change_is_not_listed(tree: Tree, scandirs: list[str]) -> None:
    root = tree("cats/1.jpg", "cats/deep/2.jpg", "dogs/3.jpg", "empty/")
    settle(root)
    assert scan(root, index="auto").changes is None
    scandirs.clear()
    again = scan(root, index="auto")
    assert (known(again), scandirs) == (Changes(), [])
    assert contents(again) == contents(full(root))
    tree("cats/0.jpg")
    scandirs.clear()
    third = scan(root, index="auto")
    assert scandirs == [str(root), f"{root}/cats/"]
    assert known(third) == Changes(added=1, folders_listed=1, added_examples=("cats/0.jpg",))
    assert contents(third) == contents(full(root))


def test_a_full_scan_lists_every_folder_and_still_says_what_changed(tree: Tree, scandirs: list[str]) -> None:
    root = tree("a/1.jpg", "b/2.jpg")
    settle(root)
    scan(root, index="auto")
    tree("a/3.jpg")
    scandirs.clear()
    index = scan(root, index="auto", full=True)
    assert set(scandirs) == {str(root), f"{root}/", f"{root}/a/", f"{root}/b/"}
    assert known(index) == Changes(added=1, folders_listed=3, added_examples=("a/3.jpg",))
    assert contents(index) == contents(full(root))


def test_an_index_that_cannot_be_written_says_so(tree: Tree, tmp_path: Path) -> None:
    root = tree("a/1.jpg")
    with pytest.raises(OutputError, match="nowhere"):
        scan(root, index=tmp_path / "nowhere" / "x.arrow")


def test_without_a_cache_folder_the_table_of_the_users_is_still_written(tree: Tree, cache: Path, tmp_path: Path) -> None:
    root, file = tree("a/1.jpg"), tmp_path / "photos.arrow"
    settle(root)
    cache.write_text("a file stands where the folder should be")
    for _ in range(2):
        with pytest.warns(UserWarning, match="IMGSTREAM_CACHE"):
            index = scan(root, index=file)
        assert contents(ImageIndex.load(file)) == contents(index) == contents(full(root))


def test_what_was_added_and_removed_is_counted_with_a_few_examples(tree: Tree) -> None:
    root = tree(*(f"a/{i}.jpg" for i in range(10)), "b/1.jpg", "c/note.txt")
    settle(root)
    scan(root, index="auto")
    for i in range(8):
        (root / "a" / f"{i}.jpg").unlink()
    shutil.rmtree(root / "b")
    tree(*(f"c/{i}.jpg" for i in range(7)), "c/other.txt")
    changes = known(scan(root, index="auto"))
    assert changes == Changes(
        added=7,
        removed=9,
        folders_listed=3,
        added_examples=tuple(f"c/{i}.jpg" for i in range(5)),
        removed_examples=tuple(f"a/{i}.jpg" for i in range(5)),
    )
    assert changes
    assert not Changes(folders_listed=3)


def test_a_large_folder_that_is_gone_counts_every_image_of_it(tree: Tree) -> None:
    root = tree("a/1.jpg", *(f"b/{i:02}.jpg" for i in range(20)))
    settle(root)
    scan(root, index="auto")
    shutil.rmtree(root / "b")
    changes = known(scan(root, index="auto"))
    assert (changes.removed, changes.removed_examples) == (20, tuple(f"b/{i:02}.jpg" for i in range(5)))


def test_a_young_folder_is_listed_again_because_its_time_may_not_show_the_next_change(tree: Tree) -> None:
    root = tree("a/1.jpg", "b/2.jpg")
    settle(root)
    tree("a/2.jpg")
    scan(root, index="auto")
    stamp = (root / "a").stat()
    tree("a/3.jpg")
    os.utime(root / "a", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))  # as if both had come within one tick of the clock
    again = scan(root, index="auto")
    assert (known(again).added, known(again).folders_listed) == (1, 1)
    assert contents(again) == contents(full(root))


def test_a_folder_from_1970_is_no_folder_that_is_known(tree: Tree) -> None:
    root = tree("a/1.jpg", "b/2.jpg")
    scan(root, index="auto")
    tree("a/3.jpg")
    for folder in (root, root / "a", root / "b"):
        os.utime(folder, ns=(0, 0))  # as archives and images of containers have it; 0 also stands for "list it again"
    assert contents(scan(root, index="auto")) == contents(full(root))
    tree("b/4.jpg")
    os.utime(root / "b", ns=(0, 0))
    assert contents(scan(root, index="auto")) == contents(full(root))


@pytest.mark.parametrize("new_name", ["apes", "zebras"])
def test_a_renamed_folder_is_another_class(new_name: str, tree: Tree) -> None:
    root = tree("cats/1.jpg", "dogs/2.jpg", "dogs/deep/3.jpg")
    settle(root)
    scan(root, index="auto")
    (root / "dogs").rename(root / new_name)
    index = scan(root, index="auto")
    assert index.class_names == sorted(["cats", new_name])
    assert (known(index).added, known(index).removed) == (2, 2)
    assert contents(index) == contents(full(root))


def test_folders_that_change_names_change_labels(tree: Tree) -> None:
    root = tree("cats/1.jpg", "dogs/2.jpg")
    settle(root)
    scan(root, index="auto")
    (root / "cats").rename(root / "x")
    (root / "dogs").rename(root / "cats")
    (root / "x").rename(root / "dogs")
    index = scan(root, index="auto")
    assert relative(index) == ["cats/2.jpg", "dogs/1.jpg"]
    assert contents(index) == contents(full(root))


def test_an_archive_that_is_unpacked_into_a_folder_and_sets_its_time_back_is_noticed(tree: Tree) -> None:
    root = tree("cats/1.jpg")
    settle(root)
    scan(root, index="auto")
    before = (root / "cats").stat()
    tree("cats/2.jpg")
    os.utime(root / "cats", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert relative(scan(root, index="auto")) == ["cats/1.jpg", "cats/2.jpg"]


def test_what_was_listed_before_a_disk_failed_is_kept(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    root, original = tree(*(f"a/{i:02}.jpg" for i in range(50))), os.scandir

    class Failing:
        def __init__(self, path: bytes) -> None:
            self.entries = original(path)

        def __enter__(self) -> Iterator[os.DirEntry[bytes]]:
            yield_all = iter(self.entries)
            return (next(yield_all) if i < 30 else self.fail() for i in range(50))

        def __exit__(self, *_: object) -> None:
            self.entries.close()

        def fail(self) -> os.DirEntry[bytes]:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "scandir", lambda path: Failing(path) if os.fsencode(path).endswith(b"a/") else original(path))
    index = scan(root)
    assert (len(index), index.unreadable_count) == (30, 1)


def test_folders_that_change_places_and_are_of_one_age_are_told_apart(tree: Tree) -> None:
    root = tree("cats/1.jpg", "dogs/2.jpg")
    for folder in (root, root / "cats", root / "dogs"):
        os.utime(folder, ns=(YEAR_2000, YEAR_2000))  # as archives that keep whole seconds leave them
    scan(root, index="auto")
    (root / "cats").rename(root / "x")
    (root / "dogs").rename(root / "cats")
    (root / "x").rename(root / "dogs")
    index = scan(root, index="auto")
    assert relative(index) == ["cats/2.jpg", "dogs/1.jpg"]
    assert contents(index) == contents(full(root))


@posix
def test_a_folder_that_is_a_link_may_lead_to_another_of_the_same_age(tree: Tree, tmp_path: Path) -> None:
    root, link = tree("one/cats/1.jpg", "two/cats/2.jpg"), tmp_path / "link"
    for folder in ("one", "two", "one/cats", "two/cats"):
        os.utime(root / folder, ns=(YEAR_2000, YEAR_2000))
    for target in ("one", "two", "one"):
        link.unlink(missing_ok=True)
        link.symlink_to(root / target)
        index = scan(link, index="auto")
        assert contents(index) == contents(full(link))


def test_a_folder_replaced_by_a_file_and_back(tree: Tree) -> None:
    root = tree("a/1.jpg", "b/x.jpg/2.jpg", "b/y.png")
    settle(root)
    scan(root, index="auto")
    shutil.rmtree(root / "b" / "x.jpg")
    (root / "b" / "y.png").unlink()
    tree("b/x.jpg", "b/y.png/3.jpg")
    settle(root)
    index = scan(root, index="auto")
    assert relative(index) == ["a/1.jpg", "b/x.jpg", "b/y.png/3.jpg"]
    assert contents(index) == contents(full(root))


def test_a_class_that_disappears_renumbers_the_others(tree: Tree) -> None:
    root = tree("a/1.jpg", "b/2.jpg", "c/3.jpg")
    settle(root)
    scan(root, index="auto")
    shutil.rmtree(root / "b")
    index = scan(root, index="auto")
    assert (index.class_names, index.labels.tolist(), known(index).folders_listed) == (["a", "c"], [0, 1], 1)
    assert contents(index) == contents(full(root))


def test_another_top_folder_turns_the_split_into_classes_and_back(tree: Tree) -> None:
    root = tree("train/a/1.jpg", "train/b/2.jpg", "val/a/3.jpg")
    settle(root)
    assert scan(root, index="auto").class_names == ["a", "b"]
    tree("more/")
    for classes in (["more", "train", "val"], ["a", "b"]):
        index = scan(root, index="auto")
        assert (index.class_names, known(index).folders_listed) == (classes, len(classes) - 1)  # the root, and the new folder
        assert contents(index) == contents(full(root))
        settle(root / "more")
        if (root / "more").exists():
            (root / "more").rmdir()


def test_labels_of_a_pattern_are_refreshed_and_each_pattern_has_its_own_table(tree: Tree) -> None:
    root = tree("x/cat_1.jpg", "y/dog_2.jpg")
    settle(root)
    pattern = r"(?P<label>[a-z]+)_\d"
    scan(root, pattern, index="auto")
    assert scan(root, index="auto").changes is None
    tree("x/ape_3.jpg")
    for given in (pattern, None):
        index = scan(root, given, index="auto")
        assert (known(index).added, known(index).folders_listed) == (1, 1)
        assert contents(index) == contents(full(root, given))
    other = r"(?P<label>\d)"
    assert contents(scan(root, other, index="auto")) == contents(full(root, other))


def test_when_all_images_are_gone_it_says_so_and_the_next_scan_finds_new_ones(tree: Tree) -> None:
    root = tree("a/1.jpg")
    settle(root)
    scan(root, index="auto")
    (root / "a" / "1.jpg").unlink()
    with pytest.raises(NoImagesError):
        scan(root, index="auto")
    tree("a/2.jpg")
    index = scan(root, index="auto")
    assert (relative(index), known(index).removed_examples) == (["a/2.jpg"], ("a/1.jpg",))


def test_another_spelling_of_the_folder_is_the_same_folder(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree("a/1.jpg")
    settle(root)
    monkeypatch.chdir(root.parent)
    scan(root, index="auto")
    index = scan("photos", index="auto")
    assert (known(index), index.path(0), index.root) == (Changes(), "photos/a/1.jpg", "photos")


def test_a_table_in_a_file_of_the_users_is_refreshed_there(tree: Tree, tmp_path: Path) -> None:
    root, file = tree("a/1.jpg", "b/2.jpg"), tmp_path / "photos.arrow"
    settle(root)
    assert scan(root, index=file).changes is None
    tree("b/3.jpg")
    index = scan(root, index=str(file))
    assert (known(index).added, known(index).folders_listed) == (1, 1)
    assert contents(ImageIndex.load(file)) == contents(index) == contents(full(root))


def test_a_table_of_another_folder_is_made_anew(tree: Tree, tmp_path: Path) -> None:
    root, file = tree("a/1.jpg", "b/2.jpg"), tmp_path / "photos.arrow"
    other = tmp_path / "other"
    (other / "a").mkdir(parents=True)
    (other / "a" / "9.jpg").touch()
    settle(root, other)
    for folder in (root, other, root, other):
        index = scan(folder, index=file)
        assert index.changes is None
        assert contents(index) == contents(full(folder))


def test_a_table_of_another_folder_with_the_same_images_does_not_lend_its_counts(tree: Tree, tmp_path: Path) -> None:
    root, file = tree("a/1.jpg", "a/x.txt"), tmp_path / "photos.arrow"
    other = tmp_path / "other"
    (other / "a").mkdir(parents=True)
    (other / "a" / "1.jpg").touch()
    settle(root, other)
    scan(root)
    scan(other, index=file)
    assert contents(scan(root, index=file)) == contents(full(root))


def test_an_older_table_of_the_same_images_does_not_bring_its_counts_back(tree: Tree, tmp_path: Path) -> None:
    root, file = tree("a/1.jpg"), tmp_path / "photos.arrow"
    settle(root)
    scan(root, index=file)
    tree("a/note.txt")
    settle(root)
    scan(root)
    assert contents(scan(root, index=file)) == contents(full(root))


def test_a_selection_in_the_place_of_the_table_is_no_table_to_begin_from(tree: Tree, tmp_path: Path) -> None:
    root, file = tree("a/1.jpg", "b/2.jpg"), tmp_path / "photos.arrow"
    settle(root)
    scan(root, index=file).take([1]).save(file)
    index = scan(root, index=file)
    assert index.changes is None
    assert contents(index) == contents(full(root))


def test_a_table_of_an_older_format_is_made_anew(tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, file = tree("a/1.jpg"), tmp_path / "photos.arrow"
    settle(root)
    with monkeypatch.context() as patch:
        patch.setattr(table, "FORMAT_VERSION", 1)
        scan(root, index=file)
    with pytest.raises(DatasetError, match="format 1"):
        ImageIndex.load(file)
    index = scan(root, index=file)
    assert (index.changes, known(scan(root, index=file))) == (None, Changes())
    assert contents(index) == contents(full(root))


def test_a_listing_of_another_format_is_not_read(tree: Tree, cache: Path) -> None:
    root = tree("a/1.jpg")
    settle(root)
    scan(root, index="auto")
    (file,) = (cache / "index").glob("*.folders")
    with pa.memory_map(str(file)) as mapped:
        listing = pa.ipc.open_file(mapped).read_all()
    metadata = listing.schema.metadata[b"imgstream"]
    for other, is_read in ((metadata, True), (metadata.replace(b'"format": 1', b'"format": 0'), False), (b"{}", False)):
        changed = listing.replace_schema_metadata({"imgstream": other})
        file.unlink()
        with pa.ipc.new_file(str(file), changed.schema) as writer:
            writer.write_table(changed)
        index = scan(root, index="auto")
        assert (index.changes is not None) == is_read


@pytest.mark.parametrize("suffix", [".arrow", ".folders"])
@pytest.mark.parametrize("content", [None, b"", b"nothing of the kind"])
def test_without_table_or_listing_all_folders_are_listed(suffix: str, content: bytes | None, tree: Tree, cache: Path) -> None:
    root = tree("a/1.jpg", "b/2.jpg")
    settle(root)
    scan(root, index="auto")
    (file,) = (cache / "index").glob(f"*{suffix}")
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    index = scan(root, index="auto")
    assert index.changes is None
    assert contents(index) == contents(full(root))
    assert known(scan(root, index="auto")) == Changes()


@pytest.mark.parametrize("suffix", [".arrow", ".folders"])
def test_a_damaged_table_or_listing_is_never_half_read(suffix: str, tree: Tree, cache: Path) -> None:
    root = tree("train/a/1.jpg", "train/b/2.jpg", "train/b/deep/n.txt", "val/a/3.jpg")
    settle(root)
    expected = contents(scan(root, index="auto"))
    (file,) = (cache / "index").glob(f"*{suffix}")
    sound = {path: path.read_bytes() for path in (cache / "index").iterdir() if path.suffix in (".arrow", ".folders")}
    content = sound[file]
    outcomes = set()
    for at in range(0, len(content), 13):  # as many places as there is time for, in every part of the file
        damaged = bytearray(content)
        damaged[at] ^= 0xFF
        for path, data in sound.items():
            path.unlink()  # new files: the old ones are mapped
            path.write_bytes(bytes(damaged) if path == file else data)
        index = scan(root, index="auto")
        outcomes.add(index.changes is None)
        assert contents(index) == expected
    assert outcomes == {True, False}  # False: padding


def test_a_listing_whose_types_or_nulls_were_damaged_is_refused(tree: Tree, cache: Path) -> None:
    root = tree("train/a/1.jpg", "train/b/2.jpg", "val/a/3.txt")
    settle(root)
    scan(root, index="auto")
    (file,) = (cache / "index").glob("*.folders")
    content = file.read_bytes()
    with pa.memory_map(str(file)) as mapped:
        sound = pa.ipc.open_file(mapped).read_all()
    metadata = sound.schema.metadata
    others = [
        pa.table({**dict(zip(sound.column_names, sound.columns, strict=True)), name: changed}).replace_schema_metadata(metadata)
        for name, changed in {
            "mtime": sound["mtime"].cast(pa.uint64()),
            "rows": sound["rows"].cast(pa.duration("ns")),
            "folder": sound["folder"].cast(pa.large_string()),
            "others": pa.chunked_array([pa.array([None, *sound["others"].to_pylist()[1:]], pa.large_binary())]),
        }.items()
    ]
    for other in [*others, sound.drop_columns("rows")]:
        file.unlink()
        with pa.ipc.new_file(str(file), other.schema) as writer:
            writer.write_table(other)
        index = scan(root, index="auto")
        assert index.changes is None
        assert contents(index) == contents(full(root))
    assert file.read_bytes() == content


@as_root
def test_an_unreadable_folder_is_found_once_it_can_be_read(tree: Tree) -> None:
    root = tree("a/1.jpg", "b/2.jpg")
    settle(root)
    (root / "b").chmod(0)
    try:
        assert scan(root, index="auto").unreadable_count == 1
    finally:
        (root / "b").chmod(0o700)
    index = scan(root, index="auto")
    assert known(index).added_examples == ("b/2.jpg",)
    assert contents(index) == contents(full(root))


@pytest.mark.parametrize("call", ["stat", "scandir"])
@pytest.mark.parametrize("mtime", [0, YEAR_2000])
def test_a_folder_that_could_not_be_read_is_found_once_it_can_be(
    call: str, mtime: int, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tree("a/1.jpg", "a/deep/2.jpg")
    for folder in (root, root / "a", root / "a" / "deep"):
        os.utime(folder, ns=(mtime, mtime))
    original = getattr(os, call)

    def refused(path: Any, *args: Any, **kwargs: Any) -> object:
        if path == os.fsencode(root / "a/deep") + b"/":
            raise PermissionError(13, "Permission denied")
        return original(path, *args, **kwargs)

    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(os, call, refused)
            index = scan(root, index="auto")
        assert (relative(index), index.unreadable_count) == (["a/1.jpg"], 1)
    index = scan(root, index="auto")
    assert known(index).added_examples == ("a/deep/2.jpg",)
    assert contents(index) == contents(full(root))


def test_a_folder_that_becomes_unreadable_is_reported_and_its_images_are_gone(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree("a/1.jpg", "b/2.jpg")
    settle(root)
    scan(root, index="auto")
    tree("b/3.jpg")
    original = os.scandir

    def refused(path: Any) -> object:
        if path == os.fsencode(root / "b") + b"/":
            raise PermissionError(13, "Permission denied")
        return original(path)

    monkeypatch.setattr(os, "scandir", refused)
    index = scan(root, index="auto")
    assert (known(index).removed_examples, index.unreadable_count) == (("b/2.jpg",), 1)
    assert contents(index) == contents(full(root))


@posix
def test_where_links_lead_is_looked_up_every_time(tree: Tree, tmp_path: Path) -> None:
    root = tree("a/1.jpg", "b/2.jpg")
    one, two = tmp_path / "one", tmp_path / "two"
    for outside, name in ((one, "o.jpg"), (two, "t.jpg")):
        outside.mkdir()
        (outside / name).touch()
    pointer = tmp_path / "pointer"
    pointer.symlink_to(one)
    (root / "b" / "link").symlink_to(pointer)
    (root / "b" / "soon.jpg").symlink_to(tmp_path / "soon")
    settle(root, one, two)
    assert relative(scan(root, index="auto")) == ["a/1.jpg", "b/2.jpg", "b/soon.jpg", "b/link/o.jpg"]
    pointer.unlink()
    pointer.symlink_to(two)
    (tmp_path / "soon").mkdir()
    (tmp_path / "soon" / "s.jpg").touch()
    settle(tmp_path / "soon")
    index = scan(root, index="auto")
    assert relative(index) == ["a/1.jpg", "b/2.jpg", "b/link/t.jpg", "b/soon.jpg/s.jpg"]
    assert contents(index) == contents(full(root))
    assert known(index).folders_listed == 3  # b and the two: not the root, not a


@posix
def test_a_folder_comes_under_its_second_link_when_the_first_is_gone(tree: Tree, tmp_path: Path) -> None:
    root = tree("a/1.jpg", "b/2.jpg")
    (tmp_path / "outside" / "inner").mkdir(parents=True)
    (tmp_path / "outside" / "inner" / "x.jpg").touch()
    (root / "a" / "first").symlink_to(tmp_path / "outside" / "inner")
    (root / "b" / "second").symlink_to(tmp_path / "outside")
    settle(root, tmp_path / "outside")
    assert relative(scan(root, index="auto")) == ["a/1.jpg", "a/first/x.jpg", "b/2.jpg"]
    (root / "a" / "first").unlink()
    index = scan(root, index="auto")
    assert relative(index) == ["a/1.jpg", "b/2.jpg", "b/second/inner/x.jpg"]
    assert contents(index) == contents(full(root))


@posix
def test_names_of_any_bytes_are_remembered_exactly(tree: Tree) -> None:
    root = os.fsencode(tree())
    for folder in (b"\xff", b"a\nb", b'"', b"a ", b"a", b"a-b", b"a\x01"):
        os.makedirs(root + b"/" + folder + b"/deep")
        for name in (b"1\xff.jpg", b"2\n.jpg", b"x.\xfe", b"y.Tx\nt"):
            os.close(os.open(root + b"/" + folder + b"/deep/" + name, os.O_CREAT))
    settle(os.fsdecode(root))
    scan(root, index="auto")
    os.close(os.open(root + b"/a-b/new.jpg", os.O_CREAT))
    index = scan(root, index="auto")
    assert known(index) == Changes(added=1, folders_listed=1, added_examples=("a-b/new.jpg",))
    assert contents(index) == contents(full(os.fsdecode(root)))
    os.unlink(root + b"/\xff/deep/1\xff.jpg")
    assert known(scan(root, index="auto")).removed_examples == ("\udcff/deep/1\udcff.jpg",)


def test_a_file_in_the_folder_itself_can_hold_the_table(tree: Tree) -> None:
    root = tree("a/1.jpg")
    settle(root)
    for _ in range(3):
        scan(root, index=root / "index.arrow")
    assert contents(scan(root, index=root / "index.arrow")) == contents(full(root))


TOPS = ("cats", "dogs", "train", "val", "Test", ".hidden", "__MACOSX")
FOLDERS = st.lists(st.sampled_from(("a", "b", "x.jpg", ".h")), max_size=2).flatmap(
    lambda deeper: st.sampled_from(("", *TOPS)).map(lambda top: "/".join([top, *deeper] if top else deeper))
)
NAMES = st.sampled_from(("1.jpg", "2.PNG", "3.gif", ".4.jpg", "note.txt", "b", "x.jpg", "README"))


class Folders(RuleBasedStateMachine):
    """A folder that is changed at random: a scan that begins from the one before finds what a scan from nothing does."""

    @initialize()
    def begin(self) -> None:
        self.patch = pytest.MonkeyPatch()
        self.temporary = Path(tempfile.mkdtemp())
        self.patch.setenv("IMGSTREAM_CACHE", str(self.temporary / "cache"))
        self.root, self.outside = self.temporary / "photos", self.temporary / "outside"
        for folder in (self.root, self.outside):
            (folder / "cats").mkdir(parents=True)
            (folder / "cats" / "0.jpg").touch()
        self.last: dict[str, list[str]] = {}
        self.changed: dict[str, set[str]] = {"auto": set(), str(self.temporary / "table.arrow"): set()}
        self.stamps: dict[str, tuple[int, int]] = {}
        self.settle()

    def teardown(self) -> None:
        if hasattr(self, "temporary"):
            self.patch.undo()
            shutil.rmtree(self.temporary)

    def settle(self) -> None:
        """Let what was changed have been changed a while ago; what was not keeps its time."""
        for start in (self.root, self.outside):
            for folder, _, _ in os.walk(start):
                status = os.stat(folder)
                if self.stamps.get(folder) != (status.st_ino, status.st_mtime_ns):
                    tick = next(ticks)
                    os.utime(folder, ns=(tick, tick))
                    self.stamps[folder] = (status.st_ino, tick)
                    for changed in self.changed.values():
                        changed.add(folder)

    def at(self, folder: str, outside: bool) -> Path | None:
        path = (self.outside if outside else self.root) / folder
        return path if path.is_dir() and self.temporary in path.resolve().parents else None

    @rule(folder=FOLDERS, outside=st.booleans())
    def add_folder(self, folder: str, outside: bool) -> None:
        path = (self.outside if outside else self.root) / folder
        if not any(above.is_file() or above.is_symlink() for above in (path, *path.parents)):
            path.mkdir(parents=True, exist_ok=True)

    @rule(folder=FOLDERS, names=st.sets(NAMES, min_size=1), outside=st.booleans())
    def add_files(self, folder: str, names: set[str], outside: bool) -> None:
        if (path := self.at(folder, outside)) is not None:
            for name in names:
                if not os.path.lexists(path / name):
                    (path / name).touch()

    @rule(folder=FOLDERS, name=NAMES, outside=st.booleans())
    def remove_file(self, folder: str, name: str, outside: bool) -> None:
        if (path := self.at(folder, outside)) is not None and (path / name).is_file():
            (path / name).unlink()

    @rule(folder=FOLDERS, outside=st.booleans())
    def remove_folder(self, folder: str, outside: bool) -> None:
        if folder and (path := self.at(folder, outside)) is not None:
            path.unlink() if path.is_symlink() else shutil.rmtree(path)

    @rule(old=FOLDERS, new=FOLDERS)
    def rename(self, old: str, new: str) -> None:
        source, target = self.at(old, False), self.root / new
        if old and source is not None and target.parent.is_dir() and not os.path.lexists(target) and source not in target.parents:
            source.rename(target)

    @rule(folder=FOLDERS, name=st.sampled_from(("a", "link", "zz", "val")), to=FOLDERS, outside=st.booleans())
    def link(self, folder: str, name: str, to: str, outside: bool) -> None:
        path = self.at(folder, False)
        if path is not None and not os.path.lexists(path / name):
            (path / name).symlink_to((self.outside if outside else self.root) / to)

    @rule(folder=FOLDERS, name=st.sampled_from(("link.jpg", "circle")))
    def link_to_itself(self, folder: str, name: str) -> None:
        if (path := self.at(folder, False)) is not None and not os.path.lexists(path / name):
            (path / name).symlink_to(name)

    @precondition(lambda self: hasattr(self, "temporary"))
    @invariant()
    def a_refreshed_index_is_that_of_a_full_scan(self) -> None:
        self.settle()
        for place in self.changed:
            try:
                expected = full(self.root)
            except NoImagesError as error:
                with pytest.raises(NoImagesError, match=re.escape(str(error))):
                    scan(self.root, index=place)
                continue
            index = scan(self.root, index=place)
            assert contents(index) == contents(expected)
            if index.changes is not None:
                self.check(index.changes, set(self.last[place]), set(relative(index)), self.changed[place])
            self.last[place] = relative(index)
            self.changed[place].clear()

    def check(self, changes: Changes, before: set[str], now: set[str], changed: set[str]) -> None:
        for found, examples, of in (
            (changes.added, changes.added_examples, now - before),
            (changes.removed, changes.removed_examples, before - now),
        ):
            assert (found, len(set(examples))) == (len(of), min(5, len(of)))
            assert of.issuperset(examples)
        linking = {at for at, *names in os.walk(self.root) if any(os.path.islink(f"{at}/{name}") for name in chain(*names))}
        outside = list(os.walk(self.outside))  # may come under other names
        assert changes.folders_listed <= len(changed | linking) + len(outside)


Folders.TestCase.settings = settings(max_examples=settings.default.max_examples // 5, stateful_step_count=12)
TestFolders = Folders.TestCase


def test_two_indexes_differ_in_the_paths_that_one_of_them_has(tmp_path: Path) -> None:
    for name in ("a/1.jpg", "a/2.jpg", "b/3.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    before = scan(tmp_path)
    assert not changes_between(before, scan(tmp_path))
    (tmp_path / "a/2.jpg").unlink()
    (tmp_path / "b" / os.fsdecode(b"n\xff.jpg")).write_bytes(b"")
    (tmp_path / "b/4.jpg").write_bytes(b"")
    changes = changes_between(before, scan(tmp_path))
    assert (changes.added, changes.removed, changes.removed_examples) == (2, 1, ("a/2.jpg",))
    assert sorted(map(os.fsencode, changes.added_examples)) == [b"b/4.jpg", b"b/n\xff.jpg"]
