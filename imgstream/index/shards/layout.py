"""Finds what the folders in an archive mean: a folder that was packed whole is not a class, and train and val are the split."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from imgstream.index.folder.walk import PARTS


class Layout(NamedTuple):
    """How the names of images are to be read."""

    top: bytes = b""
    """A folder, with its slash, that all lie in, none of them directly: their names begin behind it."""
    is_split: bool = False
    """Whether the first folders, behind `top`, are all named train, val, valid, validation or test."""

    def split(self, name: bytes) -> tuple[bytes, bytes, bytes]:
        """(name without `top`, part or b"", class or b""). What lies behind ".." is not of the class that a name begins with."""
        name = name[len(self.top) :]
        part, rest = b"", name
        if self.is_split:
            part, _, rest = name.partition(b"/")
        first, slash, _ = rest.partition(b"/")
        return name, part.lower(), first if slash and b".." not in rest.split(b"/") else b""


def find_layout(names: Iterable[bytes]) -> Layout:
    """The layout of images of these names. It looks at no more of them than it needs."""
    top: bytes | None = None
    has_top = True
    is_split = [True, True]  # of the first folders, and of those in `top`
    seen = False
    for name in names:
        seen = True
        first, slash, rest = name.partition(b"/")
        second, deeper, _ = rest.partition(b"/")
        has_top = has_top and bool(deeper) and b".." not in name.split(b"/") and top in (None, first)
        top = first
        is_split[0] = is_split[0] and bool(slash) and first.lower() in PARTS
        is_split[1] = is_split[1] and has_top and second.lower() in PARTS
        if not has_top and not is_split[0]:
            break
    if not seen:
        return Layout()
    if is_split[0]:
        return Layout(is_split=True)
    return Layout(top + b"/", is_split[1]) if has_top and top else Layout()
