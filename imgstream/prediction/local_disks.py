"""Tells disks of this machine from network disks."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

_LOCAL = frozenset(
    [
        "apfs",
        "bcachefs",
        "btrfs",
        "exfat",
        "ext2",
        "ext3",
        "ext4",
        "f2fs",
        "hfs",
        "jfs",
        "ntfs",
        "ntfs3",
        "overlay",
        "ramfs",
        "reiserfs",
        "tmpfs",
        "ubifs",
        "vfat",
        "xfs",
        "zfs",
    ]
)
_ESCAPED = re.compile(r"\\([0-7]{3})")


def is_local(path: str | os.PathLike[str]) -> bool:
    """Whether `path` lies on a file system that is known to be a disk of this machine; False where that cannot be told."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mounts = os.fsdecode(Path("/proc/self/mounts").read_bytes()).split("\n")  # a name may hold any other line end
    except OSError:
        return False
    real, best, kind = os.path.realpath(path), "", ""
    for line in mounts:
        fields = line.split(" ")
        if len(fields) > 2:
            folder = _ESCAPED.sub(lambda match: chr(int(match[1], 8)), fields[1])
            if len(folder) >= len(best) and (real == folder or real.startswith(os.path.join(folder, ""))):
                best, kind = folder, fields[2]
    return kind in _LOCAL
