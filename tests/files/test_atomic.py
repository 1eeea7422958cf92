from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgstream.errors import OutputError
from imgstream.files.atomic import atomic_file, check_target, write_bytes, write_json, write_text


def test_the_file_appears_only_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "out.bin"
    with atomic_file(target) as file:
        file.write(b"abc")
        assert not target.exists()
    assert target.read_bytes() == b"abc"
    assert os.listdir(tmp_path) == ["out.bin"]


def test_a_block_that_raises_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "out.txt"
    target.write_text("before")

    def write_half() -> None:
        with atomic_file(target, "w") as file:
            file.write("half a fi")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert target.read_text() == "before"
    assert os.listdir(tmp_path) == ["out.txt"]


def test_a_killed_process_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "out.txt"
    target.write_text("before")
    code = (
        "import sys, time; from imgstream.files.atomic import atomic_file\n"
        "with atomic_file(sys.argv[1]) as f: f.write(b'x' * 3_000_000); f.flush(); print('written', flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(target)], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"written\n"
    finally:
        child.send_signal(signal.SIGKILL)
        child.communicate()
    assert target.read_text() == "before"
    write_text(target, "after")
    assert target.read_text() == "after"


def test_an_oserror_of_the_block_is_not_blamed_on_the_output(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_file(tmp_path / "out"):
        (tmp_path / "some other file").read_bytes()


def test_text_is_utf8_and_its_line_ends_stay(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "out", "w") as file:
        file.write("é\r\n\n")
    assert (tmp_path / "out").read_bytes() == b"\xc3\xa9\r\n\n"


def test_text_of_a_name_that_is_no_utf8_is_written_as_an_escape(tmp_path: Path) -> None:
    write_text(tmp_path / "out", "a\udcff.jpg")
    assert (tmp_path / "out").read_bytes() == b"a\\udcff.jpg"


def test_others_may_read_the_file_as_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        write_bytes(tmp_path / "out", b"")
    finally:
        os.umask(before)
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o644


def test_a_name_as_long_as_the_file_system_allows_is_written(tmp_path: Path) -> None:
    write_bytes(tmp_path / ("n" * 255), b"x")
    assert (tmp_path / ("n" * 255)).read_bytes() == b"x"


def test_a_link_stays_a_link_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "link").symlink_to("far/real")
    write_bytes(tmp_path / "link", b"x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "far" / "real").read_bytes() == b"x"


def test_a_file_over_the_size_limit_is_an_output_error_and_leaves_nothing(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OutputError, match="larger than this system allows"):
            write_bytes(tmp_path / "out", bytes(200_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.listdir(tmp_path) == []


def test_a_full_disk_is_an_output_error_wherever_the_write_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match=r"out': the disk is full\. Free some space"):
        write_bytes(tmp_path / "out", b"x")
    assert os.listdir(tmp_path) == []


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"nowhere' does not exist\. Create it first"):
        write_bytes(tmp_path / "nowhere" / "out", b"")


def test_a_file_in_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"):
        write_bytes(tmp_path / "file" / "out", b"")


def test_a_folder_or_a_pipe_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutputError, match="it is a folder"):
        write_bytes(tmp_path / "folder", b"")
    with pytest.raises(OutputError, match="pipe, socket or device"):
        write_bytes(tmp_path / "pipe", b"")


def test_links_in_a_circle_and_endless_names_are_output_errors(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OutputError, match="circle"):
        write_bytes(tmp_path / "a", b"")
    with pytest.raises(OutputError, match="too long"):
        write_bytes(tmp_path / ("n" * 256), b"")


def test_what_may_not_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("kept")
    (tmp_path / "kept").chmod(0o444)
    (tmp_path / "closed").mkdir(mode=0o555)
    if os.access(tmp_path / "kept", os.W_OK):
        pytest.skip("this user may write everywhere")
    with pytest.raises(OutputError, match="write-protected"):
        write_bytes(tmp_path / "kept", b"")
    with pytest.raises(OutputError, match="no permission"):
        write_bytes(tmp_path / "closed" / "out", b"")


def test_an_error_is_one_line_whatever_the_name(tmp_path: Path) -> None:
    with pytest.raises(OutputError) as caught:
        check_target(tmp_path / "a\nb\udcff" / "out")
    assert "\n" not in str(caught.value)
    assert str(caught.value).isprintable()


def test_checking_creates_nothing(tmp_path: Path) -> None:
    assert check_target(tmp_path / "out") == tmp_path.resolve() / "out"
    assert os.listdir(tmp_path) == []


def test_json_is_indented_utf8(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"class": "Käfer"})
    assert (tmp_path / "a.json").read_text("utf-8") == '{\n  "class": "Käfer"\n}\n'


def test_json_that_cannot_be_leaves_what_was_there(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", 1)
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"x": object()})
    assert json.loads((tmp_path / "a.json").read_text()) == 1


@given(st.text(st.characters(exclude_categories=())))
def test_any_string_comes_back_from_json_equal(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    write_json(path, [text])
    # A high and a low surrogate side by side are one character to JSON; no file name decodes to such a pair.
    assert json.loads(path.read_text("utf-8"))[0] == text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


@pytest.mark.parametrize("address", ["s3://bucket/out.csv", Path("gs://bucket/out.csv")])
def test_an_address_is_no_output(address: str | Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutputError, match=r"it is an address\. Write to a disk, and copy it there"):
        check_target(address)
    assert list(tmp_path.iterdir()) == []
