from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from imgstream.prediction.local_disks import is_local

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere it cannot be told")

Mounts = Callable[[bytes], None]


@pytest.fixture
def mounts(monkeypatch: pytest.MonkeyPatch) -> Mounts:
    """Makes /proc/self/mounts hold these lines."""
    original = Path.open

    def set_lines(lines: bytes) -> None:
        def read_bytes(path: Path) -> bytes:
            if path == Path("/proc/self/mounts"):
                return lines
            with original(path, "rb") as file:
                return file.read()

        monkeypatch.setattr(Path, "read_bytes", read_bytes)

    return set_lines


@linux
@pytest.mark.parametrize(
    ("path", "local"),
    [
        ("/a.store", True),
        ("/srv/a.store", True),
        ("/mnt/nas/deep/a.store", False),
        ("/mnt/nas", False),
        ("/mnt/nasty/a.store", True),  # not under /mnt/nas
        ("/mnt/nas/disk/a.store", True),  # a disk of its own inside
        ("/mnt/fuse/a.store", False),
        ("/mnt/two words/a.store", False),
        ("/mnt/two/a.store", True),
        ("/mnt/line\nend\tand\\slash/a.store", False),
        ("/mnt/odd\x85line\x0cends\r/a.store", False),
        (os.fsdecode(b"/mnt/\xff/a.store"), False),
        ("/mnt/over/a.store", False),  # mounted twice: the later one counts
    ],
)
def test_the_mount_that_a_path_lies_in_decides(mounts: Mounts, path: str, local: bool) -> None:
    mounts(
        b"/dev/sda1 / ext4 rw 0 0\n"
        b"nas:/vol /mnt/nas nfs4 rw,addr=10.0.0.1 0 0\n"
        b"/dev/sdb1 /mnt/nas/disk xfs rw 0 0\n"
        b"sshfs /mnt/fuse fuse.sshfs rw 0 0\n"
        b"//pc/share /mnt/two\\040words cifs rw 0 0\n"
        b"nas:/x /mnt/line\\012end\\011and\\134slash nfs rw 0 0\n"
        b"nas:/x " + "/mnt/odd\x85line\x0cends\r".encode() + b" nfs rw 0 0\n"
        b"nas:/y /mnt/\xff nfs rw 0 0\n"
        b"/dev/sdc1 /mnt/over ext4 rw 0 0\n"
        b"nas:/z /mnt/over nfs rw 0 0\n"
    )
    assert is_local(path) == local


@linux
def test_where_nothing_can_be_told_a_disk_is_not_taken_for_local(mounts: Mounts, monkeypatch: pytest.MonkeyPatch) -> None:
    for lines in (b"", b"\n", b"/dev/sda1 /\n", b"what / unheard-of rw 0 0\n"):
        mounts(lines)
        assert not is_local("/a.store")

    def refused(_: Path) -> bytes:
        raise PermissionError

    monkeypatch.setattr(Path, "read_bytes", refused)
    assert not is_local("/a.store")


def test_on_other_systems_a_disk_is_not_taken_for_local(mounts: Mounts, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts(b"/dev/sda1 / ext4 rw 0 0\n")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not is_local("/a.store")


@linux
def test_a_link_counts_as_where_it_leads(mounts: Mounts, tmp_path: Path) -> None:
    (tmp_path / "nas").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nas")
    mounts(b"/dev/sda1 / ext4 rw 0 0\nnas:/ " + os.fsencode(os.path.realpath(tmp_path / "nas")) + b" nfs rw 0 0\n")
    assert not is_local(tmp_path / "link" / "a.store")
    assert is_local(tmp_path / "a.store")


@linux
def test_a_real_mount_with_an_odd_name_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "a b\n\\040\udcff"
    folder.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "proc", "none", folder], check=False).returncode:
        pytest.skip("only root can mount")
    try:
        assert not is_local(folder / "a.store")
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
