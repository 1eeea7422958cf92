"""What each form of archive or shard gives of the images in it."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO, NamedTuple

from imgstream.files.spans import STORED
from imgstream.index.names import IMAGE_EXTENSIONS, shown

LONGEST = (1 << 32) - 1
"""The most bytes that an image can have: a table has lengths as uint32."""

_IMAGES = tuple(extension.encode() for extension in IMAGE_EXTENSIONS)
_EXTENSIONS_KEPT = 1000


class Record(NamedTuple):
    """An image in a container, or what is there in its place."""

    name: bytes | None
    """Its path there, "/"-separated; None if it has none."""
    offset: int
    length: int
    label: bytes | None = None
    """What the container itself says of its class; None for nothing."""
    kept: str = STORED
    """See files.spans.Container."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reading:
    """What a form's reader is told, and tells beside its records."""

    columns: Mapping[str, str]
    """image, label and path: names of features, columns or keys in place of the usual ones."""
    others: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    """Number of members that are no images, by extension."""

    def count_other(self, name: bytes) -> None:
        """Count a member that is no image."""
        base = name.rpartition(b"/")[2]
        extension = shown(base[base.rfind(b".") :].lower()) if base.rfind(b".") > 0 else ""
        if extension in self.others or len(self.others) < _EXTENSIONS_KEPT:
            self.others[extension] += 1


Reader = Callable[[BinaryIO, int, Reading], Iterator[Record]]
"""(a container, opened; its size; …) -> its images in the order in which they lie there. Raises NotReadable, OSError."""


class NotReadable(Exception):
    """A whole file that is not what its name says, or that cannot be read at random: the text says what to do."""


class Damaged(NotReadable):
    """A whole file that was cut off or overwritten. Beside other files it is one bad image, so that they can be used."""


def named_as_image(name: bytes) -> bool:
    """Whether a member is an image by its name, and not hidden."""
    return name.lower().endswith(_IMAGES) and not is_hidden(name)


def is_hidden(name: bytes) -> bool:
    """Whether a member is what a folder's scan leaves out too: hidden, or a Mac's own notes on another file."""
    return any((part.startswith(b".") and part not in (b".", b"..")) or part == b"__MACOSX" for part in name.split(b"/"))


def normal(name: bytes) -> bytes:
    """The name of a member without what leads nowhere: ./a//b/ is a/b, /a is a. What leads up stays, as a name alone."""
    return b"/".join(part for part in name.split(b"/") if part not in (b"", b"."))
