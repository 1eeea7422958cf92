"""Reads .tar files: members named as images, and what lies beside them under the same key, as WebDataset has it (key.jpg, key.cls)."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from typing import BinaryIO

from imgstream.index.shards.records import LONGEST, Damaged, NotReadable, Reading, Record, is_hidden, named_as_image, normal

_BLOCK = tarfile.BLOCKSIZE
_SIDECARS = (b"json", b"cls", b"txt")
"""Extensions of what names the class of an image with the same key; the first that does is taken. JSON may also say its path."""
_LARGEST_SIDECAR = 1 << 20
_JSON_KEYS = {"label": ("label", "cls", "class"), "path": ("filename", "file_name", "path")}
_PACKED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7z": "xz", b"\x28\xb5\x2f\xfd": "zstd"}


def read_tar(file: BinaryIO, size: int, reading: Reading) -> Iterator[Record]:
    """See records.Reader. Links are members that cannot be read; what follows damage cannot be found, and is one such member."""
    head = file.read(8)
    file.seek(0)
    for magic, name in _PACKED.items():
        if head.startswith(magic):
            raise NotReadable(
                f"is compressed with {name}, so that no image can be read without all before it. Unpack it once ({name} -d): images "
                "hardly shrink"
            )
    try:
        archive = tarfile.open(  # noqa: SIM115  # it has nothing of its own to close
            fileobj=file, mode="r:", errorlevel=0, encoding="utf-8", errors="surrogateescape"
        )
    except tarfile.TarError as error:
        raise Damaged(f"is no tar file ({error}). Copy it again") from None
    yield from _grouped(_members(archive, size, reading), file, reading)
    yield from _damage(archive, file, size)


def _members(archive: tarfile.TarFile, size: int, reading: Reading) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    """Members and their names; directories are left out, and what is hidden."""
    while True:
        try:
            member = archive.next()
        except (tarfile.TarError, OSError, ValueError):  # ValueError: a number that is none
            return
        if member is None:
            return
        archive.members.clear()  # type: ignore[attr-defined]  # it keeps all otherwise
        name = normal(member.name.encode("utf-8", "surrogateescape"))
        if member.isdir() or not name or is_hidden(name):
            continue
        yield member, name


def _grouped(members: Iterator[tuple[tarfile.TarInfo, bytes]], file: BinaryIO, reading: Reading) -> Iterator[Record]:
    """The images, each with the label of its key: members of a key follow one another."""
    pending: list[Record] = []
    key, labels, path = b"", dict[bytes, bytes](), b""
    for member, name in members:
        folder, slash, base = name.rpartition(b"/")
        stem, _, extension = base.partition(b".")
        this = folder + slash + stem
        if this != key:
            yield from _labelled(pending, labels, path)
            pending, key, labels, path = [], this, {}, b""
        if named_as_image(name):
            pending.append(_record(member, name))
        elif extension.lower() in _SIDECARS and member.isreg() and member.size <= _LARGEST_SIDECAR:
            contents = _contents(file, member)
            is_json = extension.lower() == b"json"
            label = _of_json(contents, "label", reading) if is_json else contents.strip()
            path = normal(_of_json(contents, "path", reading)) if is_json else path
            if label:
                labels[extension.lower()] = label
        else:
            reading.count_other(name)
    yield from _labelled(pending, labels, path)


def _record(member: tarfile.TarInfo, name: bytes) -> Record:
    if member.isreg() and not member.issparse():
        if member.size > LONGEST:
            return Record(name, member.offset_data, 0, kept=f"too large: a member of {member.size:,} bytes")
        return Record(name, member.offset_data, member.size)
    what = "a sparse file" if member.issparse() else "a link" if member.issym() or member.islnk() else "a device or pipe"
    return Record(name, member.offset_data, 0, kept=f"not a regular file: {what} in an archive")


def _labelled(records: list[Record], labels: dict[bytes, bytes], path: bytes) -> Iterator[Record]:
    label = next((labels[extension] for extension in _SIDECARS if extension in labels), None)
    named = len(records) == 1 and path  # one path cannot be that of several images
    return (record._replace(label=label, name=path if named else record.name) for record in records)


def _contents(file: BinaryIO, member: tarfile.TarInfo) -> bytes:
    at = file.tell()
    file.seek(member.offset_data)
    contents = file.read(member.size)
    file.seek(at)
    return contents


def _of_json(contents: bytes, field: str, reading: Reading) -> bytes:
    """A label or path in a JSON object; empty for none."""
    try:
        fields = json.loads(contents)
    except (ValueError, RecursionError):
        return b""
    keys = (reading.columns[field],) if field in reading.columns else _JSON_KEYS[field]
    value = next((fields[key] for key in keys if key in fields), None) if isinstance(fields, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | str) or value == -1:
        return b""
    return str(value).encode("utf-8", "surrogatepass")


def _damage(archive: tarfile.TarFile, file: BinaryIO, size: int) -> Iterator[Record]:
    """A record for what could not be listed, if the archive does not end as one does."""
    at = archive.offset
    if at > size:
        return  # the last member is cut off, and is found to be
    file.seek(at - _BLOCK if at >= _BLOCK else 0)
    before, block = file.read(_BLOCK) if at >= _BLOCK else b"", file.read(_BLOCK)
    if at == size or not block.strip(b"\0") or (before and not before.strip(b"\0")):
        return
    yield Record(None, at, 0, kept=f"corrupt: no member begins at byte {at:,}: what follows, {size - at:,} bytes, cannot be found")
