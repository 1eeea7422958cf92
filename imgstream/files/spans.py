"""Where the bytes of an image lie that has no file of its own: a part of an archive or a shard."""

from __future__ import annotations

import re
from typing import Any, NamedTuple, TypeGuard

from imgstream.errors import REASONS
from imgstream.files.addresses import Address, absolute

STORED, DEFLATED = "stored", "deflated"
"""How the bytes of an image are kept in a container: as they are, or as raw DEFLATE data, as in most .zip files. See also page_form."""

_ARRAY = re.compile(r"array (?:(\S+) )?(\d+(?:x\d+){1,2})", re.ASCII)
_PAGE = re.compile(r"page (\w+) (\d+)\+(\d+) (\d+)", re.ASCII)


class PackedPage(NamedTuple):
    """A part of a container that is unpacked as a whole; images lie in what comes out."""

    codec: str  # a name of pyarrow.decompress
    at: int
    size: int  # bytes in the container
    unpacked: int  # bytes


def array_form(shape: tuple[int, ...], dtype: str = "|u1") -> str:
    """How images are kept that are slices of this shape and NumPy dtype."""
    return f"array {'' if dtype == '|u1' else f'{dtype} '}{'x'.join(map(str, shape))}"


def page_form(codec: str, at: int, size: int, unpacked: int) -> str:
    """How the images in a packed page are kept."""
    return f"page {codec} {at}+{size} {unpacked}"


class Container(NamedTuple):
    """A file that holds many images, and how some of them are kept in it. The path of one that is an object in a bucket is an Address."""

    path: bytes
    size: int  # bytes, when it was listed
    modified: int  # nanoseconds since 1970, when it was listed
    kept: str = STORED  # STORED, DEFLATED or, of images that cannot be read, why: "reason: detail"

    @property
    def fault(self) -> tuple[str, str] | None:
        """Reason and detail of images that cannot be read, whatever their bytes; None for others."""
        reason, colon, detail = self.kept.partition(": ")
        return (reason, detail) if colon and reason in REASONS else None

    @property
    def is_packed(self) -> bool:
        """Whether images are not there as a file has them."""
        return self.kept == DEFLATED or self.kept.startswith(("page ", "array "))

    @property
    def page(self) -> PackedPage | None:
        """The packed page that the images lie in; None for others."""
        match = _PAGE.fullmatch(self.kept)
        return PackedPage(match[1], *map(int, match.groups()[1:])) if match else None

    @property
    def slice_form(self) -> tuple[str, tuple[int, ...]] | None:
        """The dtype and the shape of the images as slices of an array; None for others."""
        match = _ARRAY.fullmatch(self.kept)
        return (match[1] or "|u1", tuple(map(int, match[2].split("x")))) if match else None

    def encode(self) -> bytes:
        """As a table has it: four fields with a NUL between, which no path holds."""
        return b"\0".join((_in_utf8(self.kept), b"%d" % self.size, b"%d" % self.modified, self.path))

    @classmethod
    def decode(cls, text: bytes) -> Container:
        """The container that `encode` gave. Raises ValueError."""
        kept, size, modified, path = text.split(b"\0")
        return cls(path, int(size), int(modified), kept.decode("utf-8", "surrogateescape"))


class Span(bytes):
    """The path of an image inside a container, such as photos.zip/cats/1.jpg, which also says where its bytes are.

    It is the name of the image wherever a path is, and what a FileReader reads: nothing between an index and a reader need know of it.
    """

    container: Container
    offset: int
    """Where its bytes begin in the container."""
    length: int
    """Number of its bytes there."""
    ahead: Any = None
    """See Address.ahead; of the bytes of its region."""

    def __new__(cls, path: bytes, container: Container, offset: int, length: int) -> Span:
        """`path`: what it is called."""
        span = super().__new__(cls, path)
        span.container, span.offset, span.length = container, offset, length
        return span

    def __reduce__(self) -> tuple[Any, ...]:
        return Span, (bytes(self), self.container, self.offset, self.length)

    @property
    def region(self) -> tuple[int, int]:
        """Start and number of the bytes that are read from the container: its own, or those of its page."""
        page = self.container.page if self.container.is_packed else None
        return (self.offset, self.length) if page is None else (page.at, page.size)

    @property
    def address(self) -> bytes:
        """What no two images share: two records of a shard may have one name."""
        return b"%s\0%s\0%d+%d" % (absolute(self.container.path), _in_utf8(self.container.kept), self.offset, self.length)


def is_remote(path: str | bytes) -> TypeGuard[Address | Span]:
    """Whether what is at a path has to be asked for: an object, or a part of one."""
    return isinstance(path, Address) or (isinstance(path, Span) and isinstance(path.container.path, Address))


def _in_utf8(kept: str) -> bytes:
    """What a library said of damage may hold anything; a NUL would end the field."""
    return kept.replace("\0", " ").encode("utf-8", "surrogateescape")
