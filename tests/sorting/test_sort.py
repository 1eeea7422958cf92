from __future__ import annotations

import base64
import csv
import errno
import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgstream.errors import DatasetError, OutputError
from imgstream.sorting import placing, preview, sort, stored_root, undo
from imgstream.sorting.journal import Journal

Tree = dict[bytes, tuple[str, bytes]]


def predictions(path: Path, rows: Iterable[tuple[bytes, str | None]]) -> Path:
    """A predictions file of (path, label); a label of None is a bad file."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "score", "error", "path_b64"])
        for name, label in rows:
            is_utf8 = name.decode("utf-8", "replace").encode() == name
            exact = "" if is_utf8 else base64.b64encode(name).decode()
            error = "truncated: the data ends" if label is None else ""
            writer.writerow([name.decode("utf-8", "replace"), label or "", "0.900000" if label else "", error, exact])
    return path


def files_of(folder: Path, contents: dict[bytes, bytes]) -> Path:
    """Write files, each with a time of its own."""
    for number, (name, data) in enumerate(contents.items()):
        path = os.path.join(os.fsencode(folder), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)
        os.utime(path, ns=(10**18 + number, 10**18 + number))
    return folder


def tree(folder: Path, *, times: bool = True) -> Tree:
    """Everything in a folder but undo files: kind and time, and contents."""
    found: Tree = {}
    root = os.fsencode(folder)
    for above, folders, names in os.walk(root):
        for name in (*folders, *names):
            path = os.path.join(above, name)
            key = os.path.relpath(path, root)
            if os.path.islink(path):
                found[key] = ("link", os.readlink(path))
            elif os.path.isdir(path):
                found[key] = ("folder", b"")
            elif not os.path.isfile(path):
                found[key] = ("other", b"")
            elif not name.startswith(b"imgstream-undo-"):
                with open(path, "rb") as file:
                    found[key] = (f"file {os.stat(path).st_mtime_ns}" if times else "file", file.read())
    return found


class Killed(BaseException):
    """A process that is gone."""


_CHANGES = ("link", "symlink", "unlink", "mkdir", "rmdir", "write", "fsync", "ftruncate", "utime", "makedirs")


def kill_at(monkeypatch: pytest.MonkeyPatch, moment: int) -> Callable[[], int]:
    """From the given number of changes to the disk on, each raises Killed, as for a process that is no more; a write gets half of it
    done. Returns what tells how many there were.
    """
    seen = [0]

    def dying(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            seen[0] += 1
            if seen[0] > moment:
                if seen[0] == moment + 1 and name == "write":
                    real(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
                raise Killed
            return real(*arguments, **options)

        return call

    for name in _CHANGES:
        monkeypatch.setattr(os, name, dying(name, getattr(os, name)))
    return lambda: seen[0]


def no_hard_links(monkeypatch: pytest.MonkeyPatch, *, at_all: bool) -> None:
    """Hard links fail as across devices; unless `at_all`, those within a folder go on working."""
    real = os.link

    def link(source: bytes, target: bytes, **options: Any) -> None:
        if at_all or os.path.dirname(source) != os.path.dirname(target):
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        real(source, target, **options)

    monkeypatch.setattr(os, "link", link)


CONTENTS = {
    b"a/1.jpg": b"one",
    b"a/2.jpg": b"two",
    b"b/1.jpg": b"another one",
    b"b/" + b"x\xff\n.jpg": b"no UTF-8, and a line end",
    b"b/bad.jpg": b"half",
    b"c/1.jpg": b"a third",
    b"c/3.jpg": b"",
}
LABELS = ["cat", "dog", "cat", "cat", None, "cat", "unsure"]
SORTED = {
    b"cat/1.jpg": b"one",
    b"dog/2.jpg": b"two",
    b"cat/1 (2).jpg": b"another one",
    b"cat/x\xff\n.jpg": b"no UTF-8, and a line end",
    b"unreadable/bad.jpg": b"half",
    b"cat/1 (3).jpg": b"a third",
    b"unsure/3.jpg": b"",
}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return files_of(tmp_path / "photos", CONTENTS)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return predictions(tmp_path / "out.csv", zip(CONTENTS, LABELS, strict=True))


def contents(folder: Path) -> dict[bytes, bytes]:
    """Of the files, links followed."""
    found = {}
    for name, (kind, data) in tree(folder, times=False).items():
        if kind == "link":
            with open(os.path.join(os.fsencode(folder), name), "rb") as file:
                found[name] = file.read()
        elif kind == "file":
            found[name] = data
    return found


@pytest.mark.parametrize("action", ["link", "copy", "move"])
def test_files_lie_by_label_under_names_of_their_own_and_undo_brings_all_back(photos: Path, out: Path, tmp_path: Path, action: Any) -> None:
    before = tree(photos)
    report = sort(out, str(photos), tmp_path / "sorted", action)
    assert contents(tmp_path / "sorted") == SORTED
    assert (report.rows, report.unsure, report.unreadable, report.renamed, report.failed) == (7, 1, 1, 2, 0)
    assert {"link": report.linked, "copy": report.copied, "move": report.moved}[action] == 7
    if action == "move":
        assert contents(photos) == {}
    else:
        assert tree(photos) == before
    if action == "link":
        assert all(os.stat(os.path.join(os.fsencode(tmp_path / "sorted"), name)).st_nlink == 2 for name in SORTED)
    else:  # times travel with the files
        times = sorted(kind for kind, _ in tree(tmp_path / "sorted").values() if kind.startswith("file"))
        assert times == sorted(kind for kind, _ in before.values() if kind.startswith("file"))
    undone = undo(report.undo)
    assert (undone.back, undone.left) == (7, 0)
    assert tree(photos) == before
    assert not (tmp_path / "sorted").exists()


@pytest.mark.parametrize("action", ["link", "copy", "move"])
def test_the_same_command_again_does_nothing_and_says_the_same(photos: Path, out: Path, tmp_path: Path, action: Any) -> None:
    first = sort(out, str(photos), tmp_path / "sorted", action)
    before = tree(tmp_path / "sorted")
    assert sort(out, str(photos), tmp_path / "sorted", action) == first
    assert tree(tmp_path / "sorted") == before


def test_what_is_in_the_folder_already_is_never_overwritten(photos: Path, out: Path, tmp_path: Path) -> None:
    files_of(tmp_path / "sorted", {b"cat/1.jpg": b"mine", b"cat/1 (3).jpg": b"mine too"})
    report = sort(out, str(photos), tmp_path / "sorted", "move")
    found = contents(tmp_path / "sorted")
    assert found[b"cat/1.jpg"] == b"mine"
    assert found[b"cat/1 (3).jpg"] == b"mine too"
    assert [found[name] for name in (b"cat/1 (2).jpg", b"cat/1 (4).jpg", b"cat/1 (5).jpg")] == [b"one", b"another one", b"a third"]
    assert report.renamed == 3
    undo(report.undo)
    assert contents(tmp_path / "sorted") == {b"cat/1.jpg": b"mine", b"cat/1 (3).jpg": b"mine too"}


def test_a_name_that_is_taken_at_the_last_moment_is_not_overwritten(
    photos: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, into = os.link, tmp_path / "sorted"

    def link(source: bytes, target: bytes) -> None:
        if target.endswith(b"dog/2.jpg"):
            (into / "dog" / "2.jpg").write_bytes(b"appeared")
        real(source, target)

    before = tree(photos)
    monkeypatch.setattr(os, "link", link)
    report = sort(out, str(photos), into, "move")
    assert contents(into)[b"dog/2.jpg"] == b"appeared"
    assert contents(into)[b"dog/2 (2).jpg"] == b"two"
    monkeypatch.undo()
    assert undo(report.undo).left == 0
    assert tree(photos) == before
    assert contents(into) == {b"dog/2.jpg": b"appeared"}


# Kills: after a given number of changes to the disk nothing more happens, as for a process that is gone.


@pytest.mark.parametrize("links", ["hard", "within a folder", "none"])
@pytest.mark.parametrize("action", ["link", "copy", "move"])
def test_killed_anywhere_the_same_command_goes_on_and_undo_brings_all_back(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, action: Any, links: str
) -> None:
    monkeypatch.setattr(placing, "BLOCK", 3)

    def begin() -> tuple[Path, Path, Path]:
        above = tmp_path_factory.mktemp("k")
        root = files_of(above / "photos", {**CONTENTS, b"kept.bin": b"kept"})
        (root / "a" / "link.jpg").symlink_to("../kept.bin")
        rows = [*zip(CONTENTS, LABELS, strict=True), (b"a/link.jpg", "dog"), (b"gone.jpg", "dog")]
        return above, root, predictions(above / "out.csv", rows)

    def killed(moment: int, call: Callable[[], object]) -> int:
        with monkeypatch.context() as patched:
            if links != "hard":
                no_hard_links(patched, at_all=links == "none")
            count = kill_at(patched, moment)
            try:
                call()
            except Killed:
                pass
            return count()

    above, root, out = begin()
    start = tree(root)
    moments = killed(10**9, lambda: sort(out, str(root), above / "sorted", action))
    whole = (contents(above / "sorted"), contents(root))
    assert moments > 20
    for moment in range(moments):
        above, root, out = begin()
        assert killed(moment, lambda: sort(out, str(root), above / "sorted", action)) > moment  # noqa: B023  # called at once
        if moment % 2:
            killed(10**9, lambda: sort(out, str(root), above / "sorted", action))  # noqa: B023
            assert (contents(above / "sorted"), contents(root)) == whole, moment
        files = list((above / "sorted").glob("imgstream-undo-*")) if (above / "sorted").exists() else []
        if files and files[0].stat().st_size and b"\n" in files[0].read_bytes():
            for again in (moment % 17, moment, 10**9):  # the undo is killed too, twice
                if files[0].exists():
                    killed(again, lambda: undo(files[0]))  # noqa: B023
        assert tree(root) == start, moment
        assert contents(above / "sorted") == {} if (above / "sorted").exists() else True


def test_a_process_that_is_really_killed_loses_nothing(tmp_path: Path) -> None:
    many = {b"%d/%d.jpg" % (i % 7, i): b"%d" % i for i in range(3000)}
    root = files_of(tmp_path / "photos", many)
    out = predictions(tmp_path / "out.csv", ((name, "cat") for name in many))
    before = tree(root)
    code = (
        "import os, sys, pathlib\nfrom imgstream.sorting import placing as s\n"
        "real = os.link\n"
        "def link(a, b):\n    real(a, b); print(flush=True)\n"
        "os.link = link\n"
        "s.sort(pathlib.Path(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3]), 'move')"
    )
    child = subprocess.Popen([sys.executable, "-c", code, out, root, tmp_path / "sorted"], stdout=subprocess.PIPE)
    assert child.stdout is not None
    for _ in range(1500):
        child.stdout.readline()
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert 0 < len(contents(tmp_path / "sorted")) < 3000
    report = sort(out, str(root), tmp_path / "sorted", "move")
    assert (report.moved, contents(root)) == (3000, {})
    assert sorted(contents(tmp_path / "sorted").values()) == sorted(many.values())
    assert undo(report.undo).back == 3000
    assert tree(root) == before


def test_a_full_disk_is_one_error_and_the_same_command_goes_on(
    photos: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_hard_links(monkeypatch, at_all=False)
    real = os.write
    with monkeypatch.context() as full:

        def write(descriptor: int, data: Any) -> int:
            if bytes(data) == b"another one":
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(descriptor, data)

        full.setattr(os, "write", write)
        with pytest.raises(OutputError, match="the disk is full"):
            sort(out, str(photos), tmp_path / "sorted", "move")
    assert contents(photos) == CONTENTS  # nothing was removed
    sort(out, str(photos), tmp_path / "sorted", "move")
    assert contents(tmp_path / "sorted") == SORTED


def test_across_devices_the_original_stays_when_its_copy_reads_back_wrong(
    photos: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_hard_links(monkeypatch, at_all=False)
    real = os.write

    def write(descriptor: int, data: Any) -> int:
        return real(descriptor, b"TWO" if bytes(data) == b"two" else data)

    monkeypatch.setattr(os, "write", write)
    report = sort(out, str(photos), tmp_path / "sorted", "move")
    assert contents(photos) == {b"a/2.jpg": b"two"}
    assert (report.moved, report.first_failed[0][0]) == (6, "a/2.jpg")
    assert "check the disk" in report.first_failed[0][1]
    assert b"dog/2.jpg" not in contents(tmp_path / "sorted")


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="needs a second file system")
def test_across_real_devices_everything_goes_and_comes_back(photos: Path, out: Path) -> None:
    import tempfile

    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        if os.stat(other).st_dev == photos.stat().st_dev:
            pytest.skip("the same file system")
        before = tree(photos)
        report = sort(out, str(photos), Path(other) / "sorted", "move")
        assert contents(Path(other) / "sorted") == SORTED
        assert contents(photos) == {}
        assert undo(report.undo).left == 0
        assert tree(photos) == before
        linked = sort(out, str(photos), Path(other) / "sorted", "link")
        assert (linked.linked, linked.symbolic) == (7, 7)
        assert contents(Path(other) / "sorted") == SORTED
        assert undo(linked.undo).left == 0
        assert tree(photos) == before


def test_files_that_are_missing_or_no_files_are_listed_and_stay(photos: Path, tmp_path: Path) -> None:
    (photos / "folder.jpg").mkdir()
    os.mkfifo(photos / "pipe.jpg")
    rows = [(b"a/1.jpg", "cat"), (b"gone.jpg", "cat"), (b"folder.jpg", None), (b"pipe.jpg", None), (b"a\0.jpg", "cat"), (b"a/2.jpg", "cat")]
    before = tree(photos)
    report = sort(predictions(tmp_path / "out.csv", rows), str(photos), tmp_path / "sorted", "move")
    assert contents(tmp_path / "sorted") == {b"cat/1.jpg": b"one", b"cat/2.jpg": b"two"}
    assert (report.moved, report.failed, report.reasons) == (2, 4, {"missing": 2, "not a regular file": 2})
    assert [path for path, _ in report.first_failed] == ["gone.jpg", "folder.jpg", "pipe.jpg", "a\0.jpg"]
    assert undo(report.undo).back == 2
    assert tree(photos) == before


def test_when_nothing_can_be_sorted_the_root_is_doubted_and_nothing_stays(photos: Path, out: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="give --from"):
        sort(out, str(photos / "a"), tmp_path / "sorted", "link")
    assert not (tmp_path / "sorted").exists()


def test_sorting_into_the_folder_itself_is_for_moving_and_leaves_what_is_in_place(photos: Path, tmp_path: Path) -> None:
    files_of(photos, {b"dog/1.jpg": b"dog 1", b"cat/9.jpg": b"really a dog"})
    rows = [(b"a/1.jpg", "cat"), (b"cat/9.jpg", "dog"), (b"dog/1.jpg", "dog"), (b"b/1.jpg", "dog")]
    out, before = predictions(tmp_path / "out.csv", rows), tree(photos)
    for action in ("link", "copy"):
        with pytest.raises(OutputError, match="would find every file twice"):
            sort(out, str(photos), photos, action)  # type: ignore[arg-type]
    assert tree(photos) == before
    report = sort(out, str(photos), photos, "move")
    assert (report.moved, report.in_place, report.renamed) == (3, 1, 1)
    found = contents(photos)
    assert found[b"cat/1.jpg"] == b"one"
    assert found[b"dog/9.jpg"] == b"really a dog"
    assert found[b"dog/1.jpg"] == b"dog 1"
    assert found[b"dog/1 (2).jpg"] == b"another one"
    undo(report.undo)
    assert tree(photos) == before


def test_a_moved_link_leads_where_it_led_and_comes_back_as_it_was(photos: Path, tmp_path: Path) -> None:
    (photos / "c" / "l.jpg").symlink_to("../a/2.jpg")
    (photos / "c" / "dead.jpg").symlink_to("nowhere")
    before = tree(photos)
    out = predictions(tmp_path / "out.csv", [(b"c/l.jpg", "dog"), (b"c/dead.jpg", None)])
    report = sort(out, str(photos), tmp_path / "sorted", "move")
    assert (tmp_path / "sorted" / "dog" / "l.jpg").read_bytes() == b"two"
    assert (tmp_path / "sorted" / "unreadable" / "dead.jpg").is_symlink()
    assert undo(report.undo).left == 0
    assert tree(photos) == before
    for action in ("link", "copy"):
        report = sort(out, str(photos), tmp_path / "sorted", action)  # type: ignore[arg-type]
        assert contents(tmp_path / "sorted") == {b"dog/l.jpg": b"two"}
        assert not (tmp_path / "sorted" / "dog" / "l.jpg").is_symlink()
        assert report.reasons == {"missing": 1}
        undo(report.undo)


def test_linking_again_after_new_predictions_adds_only_what_is_new(photos: Path, out: Path, tmp_path: Path) -> None:
    sort(out, str(photos), tmp_path / "sorted", "link")
    files_of(photos, {b"d/new.jpg": b"new"})
    more = predictions(tmp_path / "out.csv", [*zip(CONTENTS, LABELS, strict=True), (b"d/new.jpg", "dog")])
    report = sort(more, str(photos), tmp_path / "sorted", "link")
    assert (report.linked, report.in_place) == (1, 7)
    assert contents(tmp_path / "sorted") == {**SORTED, b"dog/new.jpg": b"new"}


# Undo


def test_what_was_changed_or_took_the_old_place_is_left_and_told_and_the_rest_comes_back(photos: Path, out: Path, tmp_path: Path) -> None:
    before = tree(photos)
    report = sort(out, str(photos), tmp_path / "sorted", "move")
    (photos / "a" / "1.jpg").write_bytes(b"appeared since")
    (tmp_path / "sorted" / "dog" / "2.jpg").unlink()
    undone = undo(report.undo)
    assert (undone.back, undone.left) == (5, 2)
    assert {name: why.partition(",")[0] for name, why in undone.first_left} == {
        "cat/1.jpg": "something else is at its old place",
        "dog/2.jpg": "it has gone",
    }
    assert (photos / "a" / "1.jpg").read_bytes() == b"appeared since"
    assert (tmp_path / "sorted" / "cat" / "1.jpg").read_bytes() == b"one"
    with pytest.raises(OutputError, match="undone in part"):
        sort(out, str(photos), tmp_path / "sorted", "move")
    (photos / "a" / "1.jpg").unlink()
    files_of(tmp_path / "sorted", {b"dog/2.jpg": b"two"})
    os.utime(tmp_path / "sorted" / "dog" / "2.jpg", ns=(10**18 + 1, 10**18 + 1))
    undone = undo(report.undo)
    assert (undone.back, undone.left) == (2, 0)
    assert tree(photos) == before
    assert not (tmp_path / "sorted").exists()


def test_copies_that_were_changed_and_last_copies_are_left(photos: Path, out: Path, tmp_path: Path) -> None:
    report = sort(out, str(photos), tmp_path / "sorted", "copy")
    (tmp_path / "sorted" / "cat" / "1.jpg").write_bytes(b"drawn upon")
    (photos / "a" / "2.jpg").unlink()
    undone = undo(report.undo)
    assert dict(undone.first_left) == {"cat/1.jpg": "it was changed since", "dog/2.jpg": "its original has gone: this is the last of it"}
    assert contents(tmp_path / "sorted") == {b"cat/1.jpg": b"drawn upon", b"dog/2.jpg": b"two"}


def test_a_moved_file_that_was_edited_comes_back_edited(photos: Path, out: Path, tmp_path: Path) -> None:
    report = sort(out, str(photos), tmp_path / "sorted", "move")
    with open(tmp_path / "sorted" / "cat" / "1.jpg", "ab") as file:
        file.write(b" more")
    assert undo(report.undo).left == 0
    assert (photos / "a" / "1.jpg").read_bytes() == b"one more"


def test_folders_that_have_gone_since_are_made_again(photos: Path, out: Path, tmp_path: Path) -> None:
    before = tree(photos)
    report = sort(out, str(photos), tmp_path / "sorted", "move")
    (photos / "a").rmdir()
    undo(report.undo)
    assert tree(photos) == before


def test_what_is_no_undo_file_is_refused(tmp_path: Path) -> None:
    for data in (b"", b"x\n", b"[]\n", b'{"imgstream_undo": 2}\n', b"\xff\n"):
        (tmp_path / "u.jsonl").write_bytes(data)
        with pytest.raises(DatasetError, match="undo file"):
            undo(tmp_path / "u.jsonl")
        assert (tmp_path / "u.jsonl").read_bytes() == data


def test_two_at_once_are_refused(photos: Path, out: Path, tmp_path: Path) -> None:
    report = sort(out, str(photos), tmp_path / "sorted", "link")
    with Journal(report.undo), pytest.raises(OutputError, match="in use"):
        undo(report.undo)


def test_the_undo_file_has_these_lines(tmp_path: Path) -> None:
    """People's files lie where these lines say: a change here is a new format version."""
    root = files_of(tmp_path / "p", {b"\xff.jpg": b"x", b"l/\xff.jpg": b"yy"})
    report = sort(
        predictions(tmp_path / "o.csv", [(b"\xff.jpg", "a"), (b"l/\xff.jpg", "a"), (b"n", "a")]), str(root), tmp_path / "s", "copy"
    )
    lines = [json.loads(line) for line in report.undo.read_bytes().splitlines()]
    inodes = [os.stat(os.path.join(os.fsencode(root), name)).st_ino for name in (b"\xff.jpg", b"l/\xff.jpg")]
    placed = [os.stat(os.path.join(os.fsencode(tmp_path / "s" / "a"), name)).st_ino for name in (b"\xff.jpg", b"\xff (2).jpg")]
    assert lines == [
        {
            "imgstream_undo": 1,
            "action": "copy",
            "predictions": str(tmp_path / "o.csv"),
            "from": str(root),
            "into": str(tmp_path / "s"),
            "made": True,
        },
        {"folder": "a"},
        {"row": 0, "from": "\udcff.jpg", "to": "a/\udcff.jpg", "size": 1, "mtime": 10**18, "inode": inodes[0]},
        {"row": 1, "from": "l/\udcff.jpg", "to": "a/\udcff (2).jpg", "size": 2, "mtime": 10**18 + 1, "inode": inodes[1]},
        {"row": 2, "from": "n", "failed": "missing: No such file or directory"},
        {"planned": 3, "in_place": 0},
        {"row": 0, "digest": hashlib.blake2b(b"x", digest_size=16).hexdigest(), "inode": placed[0]},
        {"row": 1, "digest": hashlib.blake2b(b"yy", digest_size=16).hexdigest(), "inode": placed[1]},
        {"placed": True},
        {"done": 3, "counts": lines[-1]["counts"], "reasons": {"missing": 1}},
    ]


# What goes in


def test_a_dry_run_says_what_sort_will_do_and_touches_nothing(photos: Path, out: Path, tmp_path: Path) -> None:
    before = tree(tmp_path)
    plan = preview(out, str(photos), tmp_path / "sorted", "move")
    assert (plan.rows, plan.done, plan.folders) == (7, 0, {"cat": 4, "dog": 1, "unreadable": 1, "unsure": 1})
    assert tree(tmp_path) == before
    sort(out, str(photos), tmp_path / "sorted", "move")
    assert {to.encode("utf-8", "surrogateescape") for _, to in plan.first} == set(contents(tmp_path / "sorted"))


def test_the_store_beside_the_predictions_names_the_root(tmp_path: Path) -> None:
    out = tmp_path / "o?#%.csv"
    assert stored_root(out) is None
    with sqlite3.connect(f"{out}.store") as database:
        database.execute("CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID")
        database.execute("INSERT INTO meta VALUES ('root', ?)", (json.dumps("/pho\udcfftos"),))
    database.close()
    assert stored_root(out) == "/pho\udcfftos"
    Path(f"{out}.store").write_bytes(b"no database")
    assert stored_root(out) is None


@pytest.mark.parametrize("into", ["file", "gone/deeper"])
def test_a_place_that_cannot_be_is_refused(photos: Path, out: Path, tmp_path: Path, into: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="--into"):
        sort(out, str(photos), tmp_path / into, "copy")


def test_a_read_only_target_is_one_error_and_nothing_is_moved(
    photos: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sorted").mkdir()

    def mkdir(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "mkdir", mkdir)
    with pytest.raises(OutputError, match="read-only"):
        sort(out, str(photos), tmp_path / "sorted", "move")
    assert contents(photos) == CONTENTS


def test_a_file_that_cannot_be_moved_away_stays_and_its_new_name_goes(
    photos: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.unlink

    def unlink(path: Any) -> None:
        if path.endswith(b"a/2.jpg"):
            raise PermissionError(errno.EACCES, "Permission denied")
        real(path)

    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", unlink)
        report = sort(out, str(photos), tmp_path / "sorted", "move")
    assert (report.moved, report.reasons) == (6, {"no permission": 1})
    assert contents(photos) == {b"a/2.jpg": b"two"}
    assert b"dog/2.jpg" not in contents(tmp_path / "sorted")
    assert (undo(report.undo).back, contents(photos)) == (6, CONTENTS)


def test_a_damaged_file_of_predictions_is_found_before_anything_is_touched(photos: Path, out: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"path": "a/1.jpg", "label": "cat", "error": null}\n{"path": \n')
    before = tree(tmp_path)
    with pytest.raises(DatasetError, match="around row 2"):
        sort(bad, str(photos), tmp_path / "sorted", "move")
    assert tree(tmp_path) == before


names = st.binary(min_size=1, max_size=6).filter(lambda b: not set(b) & {0, 47} and b not in (b".", b".."))


@settings(max_examples=25, deadline=None)
@given(
    files=st.dictionaries(
        st.tuples(st.sampled_from([b"a", b"b", b"c/d"]), names | st.just(b"1.jpg")), st.binary(max_size=9), min_size=1, max_size=12
    ),
    labels=st.lists(
        st.sampled_from(["cat", "..", "a/b", "unsure", "unreadable", "\0", None, ""])
        | st.text(max_size=5).map(lambda t: t.encode("utf-8", "replace").decode()),
        min_size=12,
        max_size=12,
    ),
    block=st.integers(1, 5),
    action=st.sampled_from(["move", "copy", "link"]),
)
def test_whatever_the_names_and_labels_every_file_arrives_once_and_comes_back(
    tmp_path_factory: pytest.TempPathFactory, files: dict[tuple[bytes, bytes], bytes], labels: list[str | None], block: int, action: Any
) -> None:
    above = tmp_path_factory.mktemp("h")
    given_ = {b"/".join(name): data for name, data in files.items()}
    root = files_of(above / "p", given_)
    out = predictions(above / "out.csv", zip(given_, labels, strict=False))
    before = tree(root)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(placing, "BLOCK", block)
        report = sort(out, str(root), above / "s", action)
    assert sorted(contents(above / "s").values()) == sorted(given_.values())
    assert report.failed == 0
    assert {name.count(b"/") for name in contents(above / "s")} == {1}
    assert undo(report.undo).left == 0
    assert tree(root) == before
    assert not (above / "s").exists()


@pytest.mark.parametrize("action", ["copy", "move"])
@pytest.mark.parametrize("place", ["../outside.jpg", "cat/../../outside.jpg", "/outside.jpg"])
def test_an_undo_file_that_leads_out_of_its_folder_touches_nothing(
    photos: Path, out: Path, tmp_path: Path, action: Any, place: str
) -> None:
    report = sort(out, str(photos), tmp_path / "sorted", action)
    (tmp_path / "outside.jpg").write_bytes(b"mine")
    lines = report.undo.read_text(errors="surrogateescape").splitlines()
    at = next(i for i, line in enumerate(lines) if '"size":' in line)
    lines[at] = json.dumps({**json.loads(lines[at]), "to": place})
    report.undo.write_text("\n".join(lines) + "\n", errors="surrogateescape")
    with pytest.raises(DatasetError, match="not below the folder"):
        undo(report.undo)
    assert (tmp_path / "outside.jpg").read_bytes() == b"mine"


def test_an_undo_file_works_only_where_it_was_made(photos: Path, out: Path, tmp_path: Path) -> None:
    report = sort(out, str(photos), tmp_path / "sorted", "move")
    before = tree(tmp_path)
    elsewhere = tmp_path / report.undo.name
    report.undo.rename(elsewhere)
    with pytest.raises(DatasetError, match="put it back where it was made"):
        undo(elsewhere)
    assert tree(tmp_path) == before
    elsewhere.rename(report.undo)
    assert undo(report.undo).left == 0
