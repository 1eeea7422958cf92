"""Which file names are images, and how names are shown."""

from __future__ import annotations

IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".avif", ".heic", ".heif", ".dcm")
"""A file whose name ends in one of these, in any case, is a row."""

ARRAY_EXTENSIONS = (".npy",)
"""In a folder without a file of those, a file whose name ends in one of these is a row: beside images, arrays are something else."""


def as_written(text: str) -> bytes:
    """The bytes of `text` out of a file that was read as UTF-8 with surrogateescape: a name in a file does not depend on the encoding of
    this process's file names, which os.fsencode goes by and which may be ASCII.
    """
    return text.encode("utf-8", "surrogateescape")


def shown(name: bytes) -> str:
    r"""Text without surrogates: bytes that are no UTF-8 as \xNN."""
    return name.decode("utf-8", "backslashreplace")


def one_line(name: bytes | str) -> str:
    """A name for a message: unchanged, or with newlines and the like escaped."""
    text = name if isinstance(name, str) else shown(name)
    return text if text.isprintable() else repr(text)
