"""A .tar as the package webdataset reads it: members of one key follow one another, key.cls, key.jpg and key.json."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Sequence
from typing import BinaryIO

from imgstream.packing.images import PackedImage

EXTENSION = "tar"


class WebDatasetShard:
    """Writes images one after another; the key is the row number, because names may hold dots."""

    def __init__(self, file: BinaryIO, class_names: Sequence[str]) -> None:
        self._class_names = class_names
        self._archive = tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115  # see close
        self._file = file

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._file.tell()

    def add(self, image: PackedImage) -> None:
        """Write an image and what is known of it."""
        key, about = f"{image.row:010}", {"filename": image.filename, "height": image.height, "width": image.width}
        if image.label >= 0:
            about["label"] = self._class_names[image.label]
            self._member(f"{key}.cls", b"%d" % image.label)
        self._member(f"{key}.{image.extension}", image.data)
        self._member(f"{key}.json", json.dumps(about, sort_keys=True).encode())

    def close(self) -> None:
        """Write the end of the archive."""
        self._archive.close()

    def _member(self, name: str, data: bytes) -> None:
        member = tarfile.TarInfo(name)  # of nobody, and of no time: the same bytes for the same images
        member.size = len(data)
        self._archive.addfile(member, io.BytesIO(data))
