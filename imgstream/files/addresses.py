"""Addresses of images that are no files on a disk: objects in buckets, and what web servers give."""

from __future__ import annotations

import os
from typing import Any

SCHEMES = ("s3://", "gs://", "az://", "https://", "http://")
"""What an address begins with."""
LISTED_SCHEMES = ("s3://", "gs://", "az://")
"""Of stores that say what they hold."""

_ENCODED_SCHEMES = tuple(scheme.encode() for scheme in SCHEMES)
UNKNOWN = -1
"""The size of an object that was not listed."""


class Address(bytes):
    """The address of an image, such as s3://photos/cats/1.jpg, with what a listing said of it.

    It is the name of the image wherever a path is, and what a FileReader reads: nothing between an index and a reader need know of it.
    """

    size: int
    """Bytes when it was listed, UNKNOWN if it was not."""
    modified: int
    """See files.objects.modified_of; 0 if it was not listed."""
    ahead: Any
    """The bytes, where they are on their way already (a future of a files.objects.Got); else None."""

    def __new__(cls, address: bytes, size: int = UNKNOWN, modified: int = 0) -> Address:
        """`address`: with its scheme; the key is not quoted, except in http addresses."""
        made = super().__new__(cls, address)
        made.size, made.modified, made.ahead = size, modified, None
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        return Address, (bytes(self), self.size, self.modified)


def is_address(path: str | bytes | os.PathLike[str]) -> bool:
    """Whether a path is an address, by how it begins."""
    if isinstance(path, bytes):
        return path.startswith(_ENCODED_SCHEMES)
    return os.fspath(path).startswith(SCHEMES)


def absolute(path: str | bytes) -> Any:
    """The path as it is called from any folder: os.path.abspath of a path, the address itself of an address."""
    return path if is_address(path) else os.path.abspath(path)


def split_address(address: str) -> tuple[str, str]:
    """What a store is made from, and the key in it: ("s3://photos", "cats/1.jpg"), ("https://a.org", "cats/1.jpg"). Of az, the first is the
    container.
    """
    scheme, _, rest = address.partition("://")
    first, _, key = rest.partition("/")
    return f"{scheme}://{first}", key
