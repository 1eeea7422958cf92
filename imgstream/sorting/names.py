"""Names of folders and files that are safe on the file system and say what they stand for."""

from __future__ import annotations

import hashlib
import os
import re

UNREADABLE = b"unreadable"
"""The folder of files without a label, because they could not be read."""
UNSURE = b"unsure"
"""The folder of the label that predict gives below --min-score."""

_LONGEST = 255  # bytes of a name on nearly every file system
_FORBIDDEN = r'[\x00-\x1f<>:"/\\|?*]' if os.name == "nt" else r"[\x00/]"
_DEVICES = r"(?i:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\.|$)"


def folder_name(label: str) -> bytes:
    """The name of a label's folder: the label itself where possible. Different labels have different names.

    What a name cannot hold becomes %XX, as in URLs: "/", NUL, a leading dot (hidden, or ".."), and the first letter of the reserved names
    `unreadable` and `__MACOSX` (which no scan enters). A name that is too long is cut, and ends in a hash.
    """
    if not label:
        return b"%"
    name = re.sub(r"%(?=[0-9A-Fa-f]{2})|^%$", "%25", label)
    name = re.sub(_FORBIDDEN, lambda found: f"%{ord(found[0]):02X}", name)
    taken = name.startswith(".") or name in (UNREADABLE.decode(), "__MACOSX")
    if os.name == "nt":
        taken = taken or re.match(_DEVICES, name) is not None
        name = re.sub(r"[. ]$", lambda found: f"%{ord(found[0]):02X}", name)
    if taken:
        name = f"%{ord(name[0]):02X}{name[1:]}"
    folder = name.encode("utf-8", "surrogateescape")
    if len(folder) > _LONGEST:
        digest = hashlib.blake2b(folder, digest_size=8).hexdigest().encode()
        folder = _cut(folder, _LONGEST - len(digest) - 1) + b"~" + digest
    return folder


def numbered(name: bytes, number: int) -> bytes:
    """The n-th file of a name: 1.jpg, 1 (2).jpg, 1 (3).jpg; cut if it would be too long. Bytes that are no UTF-8 stay as they are."""
    if number == 1:
        return name
    stem, extension = os.path.splitext(name)
    if len(extension) > 16:  # no extension: a dot in a long name
        stem, extension = name, b""
    end = b" (%d)%s" % (number, extension)
    return _cut(stem, _LONGEST - len(end)) + end


def _cut(name: bytes, length: int) -> bytes:
    """`name`, or its first `length` bytes without a character that would be cut."""
    if len(name) <= length:
        return name
    while length and name[length] & 0xC0 == 0x80:
        length -= 1
    return name[:length]
