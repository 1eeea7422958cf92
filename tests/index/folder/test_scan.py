import multiprocessing
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imgstream.errors import DatasetError, NoImagesError
from imgstream.index import IMAGE_EXTENSIONS, ImageIndex
from imgstream.index import scan_folder as scan

Tree = Callable[..., Path]
as_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="permissions do not bind root")
posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX file names and links")


def listed(index: ImageIndex) -> list[tuple[str, int]]:
    return [(os.fsdecode(index.relative_bytes(i)), int(index.labels[i])) for i in range(len(index))]


def test_the_first_folder_is_the_class_and_deeper_ones_belong_to_it(tree: Tree) -> None:
    root = tree("dogs/b.jpg", "dogs/a/deep/x.png", "cats/2.jpg", "cats/10.jpg", "loose.gif")
    index = scan(root)
    assert index.class_names == ["cats", "dogs"]
    assert listed(index) == [("loose.gif", -1), ("cats/10.jpg", 0), ("cats/2.jpg", 0), ("dogs/b.jpg", 1), ("dogs/a/deep/x.png", 1)]
    assert index.labels.dtype == np.int32


def test_paths_start_with_the_folder_as_it_was_given(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree("cats/1.jpg")
    monkeypatch.chdir(root.parent)
    for given, path in [("photos/", "photos/cats/1.jpg"), ("photos", "photos/cats/1.jpg"), (b"./photos", "./photos/cats/1.jpg")]:
        index = scan(given)
        assert (index.path(0), index.path_bytes(0)) == (path, path.encode())
        assert os.path.exists(index.path(0))
    assert scan(root).path(0) == str(root / "cats" / "1.jpg")
    assert scan("photos/").root == "photos/"


def test_every_listed_extension_counts_in_any_case_and_others_are_counted(tree: Tree) -> None:
    root = tree(
        *(f"c/{i}{e.upper() if i % 2 else e}" for i, e in enumerate(IMAGE_EXTENSIONS)), "c/notes.TXT", "c/a.txt", "c/README", "c/jpg"
    )
    index = scan(root)
    assert len(index) == len(IMAGE_EXTENSIONS)
    assert index.skipped_extensions == {".txt": 2, "": 2}


def test_hidden_files_and_folders_and_mac_leftovers_are_left_out(tree: Tree) -> None:
    root = tree("c/a.jpg", "c/.a.jpg", "c/._a.jpg", "c/.jpg", ".git/b.jpg", "__MACOSX/c/a.jpg", "c/__MACOSX/a.jpg", "c/.thumbs/t.jpg")
    index = scan(root)
    assert listed(index) == [("c/a.jpg", 0)]
    assert index.skipped_extensions == {}
    assert index.class_names == ["c"]


def test_an_empty_class_folder_is_still_a_class(tree: Tree) -> None:
    index = scan(tree("cats/1.jpg", "empty/", "zebras/z.txt"))
    assert index.class_names == ["cats", "empty", "zebras"]


def test_a_flat_folder_has_no_classes(tree: Tree) -> None:
    index = scan(tree("b.jpg", "a.jpg"))
    assert (index.class_names, listed(index)) == ([], [("a.jpg", -1), ("b.jpg", -1)])


def test_class_names_come_in_code_point_order_as_keras_has_them(tree: Tree) -> None:
    names = ["b", "B", "a b", "a-b", "é", "\ue000", "😀", "10", "9"]
    index = scan(tree(*(f"{name}/x.jpg" for name in names)))
    assert index.class_names == sorted(names)
    assert [index.class_names[label] for label in index.labels] == [
        index.relative_bytes(i).decode().split("/")[0] for i in range(len(names))
    ]


def test_a_folder_named_like_an_image_is_a_folder(tree: Tree) -> None:
    assert listed(scan(tree("cats.jpg/inner.png/1.jpg"))) == [("cats.jpg/inner.png/1.jpg", 0)]


@posix
def test_pipes_sockets_and_broken_links_are_rows_like_any_other(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree("c/ok.jpg")
    monkeypatch.chdir(root)  # a socket's path may have 107 bytes only
    os.mkfifo("c/pipe.jpg")
    os.symlink("nowhere", "c/broken.jpg")
    os.symlink("circle.jpg", "c/circle.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("c/sock.jpg")
        assert [path for path, _ in listed(scan("."))] == ["c/broken.jpg", "c/circle.jpg", "c/ok.jpg", "c/pipe.jpg", "c/sock.jpg"]


@posix
def test_names_with_newlines_quotes_and_bytes_that_are_no_text_are_kept_exactly(tree: Tree) -> None:
    root = tree()
    folder = os.fsencode(root) + b"/cl\xffass"
    names = [b"a\nb.jpg", b"\"q'.jpg", b"\xff\xfe.jpg", b" .jpg", b"-rf.jpg", b"a\x01\\n.jpg", "é.jpg".encode()]
    os.mkdir(folder)
    for name in names:
        os.close(os.open(folder + b"/" + name, os.O_CREAT))
    index = scan(root)
    assert [index.path_bytes(i) for i in range(len(index))] == [folder + b"/" + name for name in sorted(names)]
    assert [os.fsencode(index.path(i)) for i in range(len(index))] == [folder + b"/" + name for name in sorted(names)]
    assert index.class_names == ["cl\\xffass"]


@posix
def test_two_classes_that_would_show_alike_stay_two(tree: Tree) -> None:
    root = os.fsencode(tree("\\xff/1.jpg"))
    os.mkdir(root + b"/\xff")
    os.close(os.open(root + b"/\xff/2.jpg", os.O_CREAT))
    index = scan(root)
    assert (index.class_names, index.labels.tolist()) == (["\\xff", "\\xff~"], [0, 1])


@posix
def test_links_in_circles_end_and_a_real_folder_wins_over_links_to_it(tree: Tree) -> None:
    root = tree("zoo/deep/1.jpg", "apes/2.jpg")
    (root / "apes" / "up").symlink_to(root)
    (root / "apes" / "self").symlink_to("self")
    (root / "aaa").symlink_to(root / "zoo")  # earlier in the order than zoo itself
    (root / "zoo" / "deep" / "again").symlink_to("..")
    index = scan(root)
    assert index.class_names == ["apes", "zoo"]
    assert listed(index) == [("apes/2.jpg", 0), ("zoo/deep/1.jpg", 1)]


@posix
def test_a_linked_folder_from_elsewhere_is_followed_once(tree: Tree, tmp_path: Path) -> None:
    root = tree("cats/1.jpg", "cats/.hidden/h.jpg")
    outside = tmp_path / "outside"
    (outside / "inner").mkdir(parents=True)
    (outside / "inner" / "o.jpg").touch()
    (outside / "back").symlink_to(root)
    (root / "dogs").symlink_to(outside)
    (root / "wolves").symlink_to(outside / "inner")
    (root / "shown").symlink_to(root / "cats" / ".hidden")
    link = tmp_path / "link"
    link.symlink_to(root)
    for start in (root, link):
        assert listed(scan(start)) == [("cats/1.jpg", 0), ("dogs/inner/o.jpg", 1), ("shown/h.jpg", 2)]


def test_folders_nested_deeper_than_python_can_recurse_are_walked(tree: Tree) -> None:
    levels = [tree()]
    try:
        for _ in range(1200):
            levels.append(levels[-1] / "d")
            levels[-1].mkdir()
        (levels[-1] / "x.jpg").touch()
        assert [len(path) for path, _ in listed(scan(levels[0]))] == [2 * 1200 + len("x.jpg")]
    finally:
        (levels[-1] / "x.jpg").unlink(missing_ok=True)
        for folder in reversed(levels):  # pytest's own clean-up recurses
            folder.rmdir()


@as_root
def test_an_unreadable_folder_is_reported_and_not_fatal(tree: Tree) -> None:
    root = tree("cats/1.jpg", "dogs/2.jpg")
    (root / "dogs").chmod(0)
    try:
        index = scan(root)
    finally:
        (root / "dogs").chmod(0o700)
    assert len(index) == 1
    assert index.unreadable_count == 1
    assert index.unreadable_folders == [f"{root}/dogs/: Permission denied"]


def test_a_folder_that_goes_away_while_it_is_walked_is_reported(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree("cats/1.jpg", "dogs/2.jpg")
    original = os.scandir

    def vanishing(path: bytes) -> object:
        if path.endswith(b"dogs/"):
            raise FileNotFoundError(2, "No such file or directory")
        return original(path)

    monkeypatch.setattr(os, "scandir", vanishing)
    index = scan(root)
    assert listed(index) == [("cats/1.jpg", 0)]
    assert index.class_names == ["cats", "dogs"]
    assert (index.unreadable_count, index.unreadable_folders) == (1, [f"{root}/dogs/: No such file or directory"])


def test_no_images_says_what_was_looked_for_and_what_was_there(tree: Tree) -> None:
    root = tree("a/x.heic2", "a/y.heic2", "b/z.txt", "b/none")
    with pytest.raises(NoImagesError) as error:
        scan(root)
    assert str(error.value) == (
        f"No images under {root}. Looked for {' '.join(IMAGE_EXTENSIONS)}; found 2 .heic2, 1 without extension, 1 .txt."
    )


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("empty", "found no files at all"),
        ("missing", "there is no such folder"),
        ("file.jpg", "it is a file"),
        ("nul\0", "cannot be listed"),
        ("", "no such folder"),
    ],
)
def test_a_root_that_is_no_folder_of_images_says_why(path: str, words: str, tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree("file.jpg", "empty/")
    monkeypatch.chdir(root)
    with pytest.raises(NoImagesError, match=words):
        scan(path)


def test_the_message_for_a_hostile_name_is_one_line(tree: Tree) -> None:
    root = tree("a\nb/x.t\nxt")
    with pytest.raises(NoImagesError) as error:
        scan(root / "a\nb")
    assert "\n" not in str(error.value)


def test_countless_extensions_do_not_fill_the_memory(tree: Tree) -> None:
    index = scan(tree("a.jpg", *(f"log.{i}" for i in range(1100))))
    assert len(index.skipped_extensions) == 1001
    assert index.skipped_extensions["(other)"] == 100


def test_top_folders_named_train_and_val_are_the_split(tree: Tree) -> None:
    root = tree(
        "train/cats/1.jpg", "train/dogs/2.jpg", "valid/cats/3.jpg", "Validation/owls/4.jpg", "test/dogs/5.jpg", "train/6.jpg", "top.jpg"
    )
    index = scan(root)
    assert index.class_names == ["cats", "dogs", "owls"]
    train, val = index.split(val=0.5, seed=3)
    assert listed(train) == [("train/6.jpg", -1), ("train/cats/1.jpg", 0), ("train/dogs/2.jpg", 1)]
    assert sorted(listed(val)) == [("Validation/owls/4.jpg", 2), ("valid/cats/3.jpg", 0)]
    parts = index.explicit_split
    assert parts is not None
    assert listed(index.take(parts["test"])) == [("test/dogs/5.jpg", 1)]
    assert listed(index.take(parts["train"])) == listed(train)


def test_one_other_folder_makes_them_classes_again(tree: Tree) -> None:
    index = scan(tree("train/1.jpg", "val/2.jpg", "plane/3.jpg"))
    assert (index.class_names, index.explicit_split) == (["plane", "train", "val"], None)


def test_train_without_val_is_split_by_hash_and_test_is_kept_apart(tree: Tree) -> None:
    index = scan(tree(*(f"train/{c}/{i}.jpg" for c in "ab" for i in range(50)), "test/a/t.jpg", "val/a/"))
    train, val = index.split(val=0.3)
    assert len(train) + len(val) == 100
    assert 10 < len(val) < 50
    with pytest.raises(DatasetError, match="none is for training"):
        index.take(index.explicit_split["test"]).split()  # type: ignore[index]


def test_label_pattern_takes_labels_from_names(tree: Tree) -> None:
    root = tree("x/cat_1.jpg", "y/dog_2.jpg", "y/cat_3.jpg", "other.jpg", "x/_4.jpg", "empty_class/")
    index = scan(root, label_pattern=r"(?P<label>[a-z]*)_\d")
    assert index.class_names == ["cat", "dog"]
    assert listed(index) == [("other.jpg", -1), ("x/_4.jpg", -1), ("x/cat_1.jpg", 0), ("y/cat_3.jpg", 0), ("y/dog_2.jpg", 1)]
    assert scan(root, label_pattern=r"^(?P<label>[^/]+)/").class_names == ["x", "y"]


@pytest.mark.parametrize(("pattern", "words"), [("(?P<label>", "no regular expression"), ("([a-z]+)_", "no group named label")])
def test_a_label_pattern_that_cannot_work_says_so(pattern: str, words: str, tree: Tree) -> None:
    with pytest.raises(DatasetError, match=words):
        scan(tree("a.jpg"), label_pattern=pattern)


def test_progress_counts_up_to_all_images(tree: Tree) -> None:
    seen: list[int] = []
    scan(tree(*(f"c/{i}.jpg" for i in range(2500))), progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 2500


def test_scanning_again_sees_what_changed_and_leaves_the_old_index_alone(tree: Tree, cache: Path) -> None:
    root = tree("c/1.jpg")
    before = scan(root)
    (root / "c" / "0.jpg").touch()
    after = scan(root)
    assert (len(before), len(after)) == (1, 2)
    assert before.relative_bytes(0) == b"c/1.jpg"
    assert sorted(path.suffix for path in (cache / "index").iterdir()) == [".arrow", ".folders"]  # one table, and nothing temporary


def test_a_cache_that_cannot_be_written_costs_one_warning(tree: Tree, cache: Path) -> None:
    cache.write_text("a file stands where the folder should be")
    with pytest.warns(UserWarning, match="IMGSTREAM_CACHE") as caught:
        index = scan(tree("c/1.jpg"))
    assert len(caught) == 1
    assert listed(index) == [("c/1.jpg", 0)]


def _scan_often(root: str, failures: Any) -> None:
    for _ in range(20):
        index = scan(root)
        if [index.relative_bytes(i) for i in range(len(index))] != [b"c/%d.jpg" % i for i in range(9)]:
            failures.put("other rows")
            return
    failures.put("")


def test_processes_that_scan_one_folder_at_once_do_not_disturb_each_other(tree: Tree) -> None:
    root = tree(*(f"c/{i}.jpg" for i in range(9)))
    context = multiprocessing.get_context("spawn")
    failures = context.Queue()
    processes = [context.Process(target=_scan_often, args=(str(root), failures)) for _ in range(2)]
    for process in processes:
        process.start()
    assert [failures.get(timeout=60) for _ in processes] == ["", ""]
    for process in processes:
        process.join()


def test_scan_needs_neither_tensorflow_nor_keras() -> None:
    code = "import sys, imgstream.index; assert not {'tensorflow', 'keras', 'cv2', 'PIL'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).resolve().parents[2])
