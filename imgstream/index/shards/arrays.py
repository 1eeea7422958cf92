"""Reads arrays of many images: X.npy with y.npy beside it, or an .npz of both. Each image is a slice; the array is never in memory."""

from __future__ import annotations

import os
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, Any, BinaryIO

import numpy as np

from imgstream.errors import BadImage
from imgstream.files.spans import array_form
from imgstream.formats.npy import MAGIC, ArrayHeader, array_header, image_shape
from imgstream.index.shards.records import LONGEST, Damaged, NotReadable, Reading, Record
from imgstream.index.shards.zip import data_at

_LABELS = {"x": "y", "images": "labels", "data": "labels"}
"""Words in names of arrays of images, and in those of their labels: X and y, x_train and y_train, train_images and train_labels."""
_WORD = re.compile(r"(?<![a-z0-9])(x|images|data)(?![a-z0-9])", re.IGNORECASE)
_HEAD = 1 << 14
_AT_ONCE = 1 << 12


def is_array_of_images(path: str, *, by_name: bool = False) -> bool:
    """Whether an .npy holds many images, not one: (n, height, width, channels), or three axes the last of which is no channels, or with
    labels beside it. `by_name`: and is named as one.
    """
    if by_name and _label_name(_stem(path)) is None:
        return False
    try:
        with open(path, "rb") as file:
            shape = array_header(file.read(_HEAD)).shape
    except (OSError, BadImage, struct.error, IndexError):
        return False
    return len(shape) == 4 or (len(shape) == 3 and (shape[2] not in (1, 3, 4) or labels_beside(path) is not None))


def read_npy(file: BinaryIO, size: int, reading: Reading) -> Iterator[Record]:
    """See records.Reader."""
    path = os.fsdecode(file.name)
    header = _header(file.read(_HEAD))
    beside = labels_beside(path)
    labels = None
    if beside is not None:
        with open(beside, "rb") as opened:
            labels = _labels(opened, os.path.basename(beside), header.shape[0] if header.shape else 0)
    yield from _slices(header, 0, labels)


def read_npz(file: BinaryIO, size: int, reading: Reading) -> Iterator[Record]:
    """See records.Reader. Arrays that have labels are read, one after another; or the only one. x_train and x_test give the split."""
    try:
        yield from _of_archive(zipfile.ZipFile(file), file)
    except (zipfile.BadZipFile, zlib.error, ValueError, RuntimeError, NotImplementedError, EOFError) as error:  # RuntimeError: encrypted
        raise Damaged(f"cannot be read as .npz ({error}). Copy it again") from None


def _of_archive(archive: zipfile.ZipFile, file: BinaryIO) -> Iterator[Record]:
    members = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist() if entry.filename.endswith(".npy")}
    pairs = {name: _matching(name, members) for name in members}
    chosen = {name: of for name, of in pairs.items() if of is not None} or (dict.fromkeys(members) if len(members) == 1 else {})
    if not chosen:
        raise NotReadable(f"has no arrays named as images and labels, such as X and y, or x_train and y_train; it has {', '.join(members)}")
    for name, of in chosen.items():
        entry = members[name]
        if entry.compress_type != zipfile.ZIP_STORED:
            raise NotReadable("is compressed, so that no image can be read without all before it: save it with np.savez")
        begins = data_at(file, entry.header_offset)
        file.seek(begins)
        header = _header(file.read(_HEAD))
        labels = None
        if of is not None:
            with archive.open(members[of]) as opened:
                labels = _labels(opened, of, header.shape[0] if header.shape else 0)
        of_several = _WORD.sub("", name).strip("_-. ") or name  # train of x_train
        yield from _slices(header, begins, labels, of_several if len(chosen) > 1 else None)


def labels_beside(path: str) -> str | None:
    """The file of the labels of an array of images; None where there is none."""
    folder = os.path.dirname(path)
    try:
        files = {os.path.splitext(name)[0]: name for name in os.listdir(folder or ".") if name.lower().endswith(".npy")}
    except OSError:
        return None
    of = _matching(_stem(path), files)
    return None if of is None else os.path.join(folder, files[of])


def _stem(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]


def _label_name(name: str) -> str | None:
    match = _WORD.search(name)
    return None if match is None else name[: match.start()] + _LABELS[match[1].lower()] + name[match.end() :]


def _matching(name: str, names: dict[str, Any]) -> str | None:
    """That of `names` which is the labels of `name`, in any case of letters."""
    of = _label_name(name)
    return None if of is None else next((each for each in names if each.lower() == of.lower() and each != name), None)


def _header(head: bytes) -> ArrayHeader:
    if not head.startswith(MAGIC):
        raise Damaged("is no .npy file. Copy it again")
    try:
        return array_header(head)
    except (BadImage, struct.error, IndexError) as error:
        raise Damaged(f"cannot be read as .npy ({error}). Copy it again") from None


def _slices(header: ArrayHeader, begins: int, labels: np.ndarray | None, folder: str | None = None) -> Iterator[Record]:
    """The images of an array whose file begins at byte `begins`; with `folder`, named by it and their number. What lies behind the end of
    the file is found to be truncated when it is read.
    """
    shape = header.shape[1:]
    if len(header.shape) not in (3, 4):
        raise NotReadable(f"has shape {header.shape}; images are (n, height, width) or (n, height, width, 1, 3 or 4)")
    try:
        height, width, channels = image_shape(header._replace(shape=shape))
    except BadImage as error:
        raise NotReadable(f"is {error.detail}") from None
    if header.fortran_order and header.shape[0] > 1:
        raise NotReadable("is in Fortran order, in which an image is scattered: save np.ascontiguousarray(X)")
    length = height * width * channels * np.dtype(header.dtype).itemsize
    if length > LONGEST:
        raise NotReadable(f"has images of {length:,} bytes each; {LONGEST:,} is the most")
    kept = array_form(shape, header.dtype.replace("<u1", "|u1"))
    for first in range(0, header.shape[0], _AT_ONCE):
        past = min(first + _AT_ONCE, header.shape[0])
        names = [None] * (past - first) if labels is None else [_text(value) for value in labels[first:past].tolist()]
        for number, label in enumerate(names, first):
            path = None if folder is None else f"{folder}/{number}".encode()
            yield Record(path, begins + header.begins + number * length, length, label, kept)


def _labels(file: IO[bytes], name: str, count: int) -> np.ndarray:
    """(count,): whole numbers or text. Raises NotReadable for anything else."""
    try:
        labels = np.lib.format.read_array(file, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise NotReadable(f"has labels, {name}, that cannot be read ({' '.join(str(error).split())[:120]})") from None
    if labels.ndim == 2 and labels.shape[1] == 1:  # as Keras has them
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "iuUSb":
        raise NotReadable(f"has labels, {name}, of {labels.dtype} {labels.shape}; they are (n,) of whole numbers or text")
    if len(labels) != count:
        raise NotReadable(f"has {count:,} images, and {name} has {len(labels):,} labels: are they of one another?")
    return labels


def _text(value: Any) -> bytes | None:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass") or None
    if isinstance(value, bytes):
        return value or None
    return b"%d" % value if value >= 0 else None
