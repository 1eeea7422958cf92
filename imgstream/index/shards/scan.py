"""scan_shards: lists the images inside archives and shards as a table, reading each of these files once, in bounded memory."""

from __future__ import annotations

import os
import re
import stat
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from imgstream.errors import BadImage, DatasetError, DatasetWarning, NoImagesError
from imgstream.files.addresses import Address, is_address
from imgstream.files.object_file import RANGE, open_object
from imgstream.files.reader import FileVersion, file_version
from imgstream.files.spans import STORED, Container
from imgstream.index.folder.scan import compile_pattern, name_classes, place_for
from imgstream.index.folder.walk import PARTS
from imgstream.index.image_index import ImageIndex
from imgstream.index.manifest.fields import Labels
from imgstream.index.manifest.paths import Folders
from imgstream.index.names import one_line, shown
from imgstream.index.selection import chunks_of
from imgstream.index.shards.arrays import labels_beside, read_npy, read_npz
from imgstream.index.shards.earlier import Earlier
from imgstream.index.shards.files import Form, Shards, find_shards, form_of
from imgstream.index.shards.layout import Layout, find_layout
from imgstream.index.shards.parquet import read_parquet_images
from imgstream.index.shards.records import Damaged, NotReadable, Reader, Reading, Record
from imgstream.index.shards.tar import read_tar
from imgstream.index.shards.tfrecord import read_tfrecord
from imgstream.index.shards.zip import read_zip
from imgstream.index.split.path_hash import path_hashes
from imgstream.index.table.table import PARTS as PART_NAMES
from imgstream.index.table.table import SPAN_COLUMNS, Table, TableInfo
from imgstream.index.table.table_writer import CHUNK_ROWS, TableWriter
from imgstream.wording import quantity

_READERS: dict[Form, Reader] = {
    "tfrecord": read_tfrecord,
    "tar": read_tar,
    "zip": read_zip,
    "parquet": read_parquet_images,
    "npy": read_npy,
    "npz": read_npz,
}
_ARCHIVES: tuple[Form, ...] = ("tar", "zip", "npz")
_BUFFERS: dict[Form, int] = {"tfrecord": 1 << 20, "tar": 1 << 14, "zip": 1 << 14, "parquet": 1 << 16, "npy": 1 << 14, "npz": 1 << 14}
"""Bytes read at a time: a TFRecord file is read whole, of an archive little more than the heads of its members."""
_KEPT_WHILE_UNCHANGED: tuple[Form, ...] = ("tfrecord", "parquet")
"""Forms that are read as a whole to be listed: when other shards of the source change, their rows are those of the earlier listing."""
_LARGE_PAGE = 4_000_000
FIELDS = ("image", "label", "path")
"""What `columns` may name: the feature, column or key that holds it."""


def scan_shards(
    source: str | bytes | os.PathLike[str],
    label_pattern: str | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    full: bool = False,
    progress: Callable[[int], None] | None = None,
) -> ImageIndex:
    """List the images inside an archive or shard, those that a pattern matches, or those in a folder, in the order in which they lie there.

    The class of an image is what its container says of it: a TFRecord's image/class/text or image/class/label, a WebDataset's key.cls,
    key.json or key.txt, a Parquet file's column label. Where none says anything, it is the first folder of its name, as in a folder of
    images. Its path is its name in the container; an image without one is called by its container and its number there, from 0. The table
    is kept in the user's cache folder, and used again while the files have the same sizes and mtimes; of TFRecord and Parquet shards only
    those are read again that have changed.

    Args:
        source: A .tfrecord, .tar or .zip, a .parquet with image bytes, an .npy or .npz of many images, a pattern such as train-*.tfrecord,
            or a folder of such files. All but arrays may lie in a bucket: s3://photos/train-*.tfrecord, s3://photos/shards.
        label_pattern: See scan_folder.
        columns: Names of what holds image, label and path, in place of the usual ones.
        full: Read every file again.
        progress: Called now and then with the number of images found so far.

    Returns:
        The index of the images. Damaged records are in it too, and found to be bad when they are read.

    Raises:
        NoImagesError: There is no image.
        DatasetError: A file cannot be read at random, or is not what its name says; a column or label_pattern is wrong.
        OutputError: There is no room for the table anywhere.
    """
    given = os.fsdecode(source)
    pattern = None if label_pattern is None else compile_pattern(label_pattern)
    reading = Reading(columns=dict(columns or {}))
    if unknown := sorted(set(reading.columns) - set(FIELDS)):
        raise DatasetError(f"columns of shards name {', '.join(FIELDS)}; {unknown[0]!r} is none of them")
    shards = find_shards(given)
    containers = list(shards.objects) or [_described(shards.root, name) for name in shards.names]
    beside = [None if shards.objects else _labels_version(shards.root, name) for name in shards.names]
    options = repr(("shards", label_pattern, sorted(reading.columns.items()), beside))
    place = place_for(os.fsencode(given), options)
    earlier = None if place is None or full else _earlier(place)
    table = earlier if earlier is not None and _containers(earlier) == containers else None
    if table is None:
        with TableWriter(None if place is None else place.parent, ["part", *SPAN_COLUMNS]) as writer:
            listing = _Listing(writer, shards, containers, pattern, reading, progress, Earlier.of(earlier))
            table = listing.write(place)
        _tell_repeated(table, given)
        if listing.largest_page > _LARGE_PAGE:
            warnings.warn(
                f"{one_line(given)}: images lie in compressed pages of up to {listing.largest_page / 1e6:,.0f} MB, and each image "
                "unpacks one: in a random order that is slow. imgstream pack writes them so that each is read by itself",
                DatasetWarning,
                stacklevel=3,
            )
    return ImageIndex(table, root=shards.root)


def _described(root: str, name: bytes) -> Container:
    path = os.path.join(os.fsencode(root), name) if name else os.fsencode(root)
    try:
        status = os.stat(path)
    except OSError as error:
        raise DatasetError(f"{one_line(path)} cannot be read: {error.strerror or error}") from None
    if not stat.S_ISREG(status.st_mode):
        raise DatasetError(f"{one_line(path)} is no regular file: an archive or shard must be one, to be read at random")
    return Container(name, status.st_size, status.st_mtime_ns)


def _labels_version(root: str, name: bytes) -> FileVersion | None:
    """The version of the file of labels beside an array; None for other forms."""
    path = os.path.join(root, os.fsdecode(name)) if name else root
    beside = labels_beside(path) if form_of(path) == "npy" else None
    return None if beside is None else file_version(beside)


def _earlier(place: Path) -> Table | None:
    """The table of an earlier listing of this source."""
    try:
        table = Table.open(place)
        table.containers()
    except DatasetError:
        return None
    return table


def _containers(table: Table) -> list[Container]:
    """The files that were listed."""
    return [container for container in table.containers() if container.kept == STORED]


class _Listing:
    """Writes a row for each image of some containers."""

    def __init__(
        self,
        writer: TableWriter,
        shards: Shards,
        containers: list[Container],
        pattern: re.Pattern[str] | None,
        reading: Reading,
        progress: Callable[[int], None] | None,
        earlier: Earlier | None,
    ) -> None:
        self._earlier = earlier
        self._writer, self._shards, self._containers, self._pattern = writer, shards, containers, pattern
        self._reading, self._progress = reading, progress or (lambda found: None)
        self._labels, self._folders = Labels(None), Folders(writer.add_folder)
        self._classes: dict[bytes, int] = {}
        self._is_labelled = pattern is not None
        self.largest_page = 0
        """Bytes of the largest packed page that images lie in, unpacked."""

    def write(self, place: Path | None) -> Table:
        """The table, at `place` or without a name."""
        archives = [container for container in self._containers if self._form(container) in _ARCHIVES]
        layout = find_layout(
            record.name for container in archives for record in self._records(container, Reading(columns={})) if record.name
        )
        self._tell_of_folders(archives, layout)
        others = self._reading.others
        for container, part in zip(self._containers, self._shards.parts or [""] * len(self._containers), strict=True):
            ids = {STORED: self._writer.add_container(container)}
            count = 0
            records = self._unchanged(container) or self._records(container, self._reading)
            while chunk := list(islice(records, CHUNK_ROWS)):
                within = layout if container in archives else Layout()
                self._add(container, chunk, count, part, within, ids)
                count += len(chunk)
                self._progress(len(self._writer))
        if not len(self._writer):
            found = ", ".join(f"{count:,} {extension or 'without extension'}" for extension, count in others.most_common(5))
            raise NoImagesError(f"No images in {one_line(self._shards.root)}: it holds {found or 'no records at all'}")
        class_names, order = self._labels.names() if self._is_labelled else name_classes(self._classes)
        self._writer.renumber_labels(order)
        return self._writer.finish(
            TableInfo(
                root=self._shards.root,
                class_names=class_names,
                skipped_extensions=dict(others.most_common()),
                own_labels=self._is_labelled,
            ),
            place,
        )

    def _tell_of_folders(self, archives: list[Container], layout: Layout) -> None:
        """Warn where each archive seems to hold a whole folder: its name would be a class, as the archives have no folder in common."""
        if self._pattern is not None or layout != Layout() or len(archives) < 2:
            return
        names = ((record.name for record in self._records(each, Reading(columns={})) if record.name) for each in archives)
        tops = [find_layout(each).top for each in names]
        if all(tops) and len(set(tops)) > 1:
            example = os.fsdecode(tops[0])
            warnings.warn(
                f"{one_line(self._shards.root)}: each archive holds one folder with others in it, such as {one_line(example)}, and these "
                f"are taken for the classes. If the classes are the folders within, give --label-pattern '^[^/]+/(?P<label>[^/]+)/'",
                DatasetWarning,
                stacklevel=4,
            )

    def _form(self, container: Container) -> Form:
        return form_of(os.fsdecode(container.path or os.fsencode(self._shards.root))) or "tar"

    def _unchanged(self, container: Container) -> Iterator[Record] | None:
        """The records of a shard that an earlier listing has."""
        if self._earlier is None or self._form(container) not in _KEPT_WHILE_UNCHANGED:
            return None
        return self._earlier.records(container)

    def _records(self, container: Container, reading: Reading) -> Iterator[Record]:
        path = os.path.join(os.fsencode(self._shards.root), container.path) if container.path else os.fsencode(self._shards.root)
        try:
            with _opened(path, container, _BUFFERS[self._form(container)]) as file:
                yield from _READERS[self._form(container)](file, container.size, reading)
        except Damaged as error:
            if len(self._containers) == 1:
                raise DatasetError(f"{one_line(path)} {error}") from None
            yield Record(None, 0, 0, kept=f"corrupt: {one_line(path)} {error}")
        except NotReadable as error:
            raise DatasetError(f"{one_line(path)} {error}") from None
        except BadImage as error:  # of a request
            raise DatasetError(f"{one_line(path)} cannot be read: {error.detail}") from None
        except OSError as error:
            raise DatasetError(f"{one_line(path)} cannot be read: {error.strerror or error}") from error

    def _add(self, container: Container, records: list[Record], first: int, part: str, layout: Layout, ids: dict[str, int]) -> None:
        """Add rows. `first`: number of the first record; `ids`: of the container, by how images are kept in it."""
        parts = np.full(len(records), PART_NAMES.index(part), np.uint8)
        paths, folders, places = [], np.full(len(records), -1, np.int64), []
        for at, record in enumerate(records):
            if record.name is None:
                path = b"%s%d" % (container.path + b"/" if container.path else b"", first + at)
            else:
                path, named_part, folder = layout.split(record.name)
                if named_part:
                    parts[at] = PART_NAMES.index(PARTS[named_part])
                if folder and not self._is_labelled:
                    folders[at] = self._classes.setdefault(folder, len(self._classes))
            paths.append(path)
            if record.kept not in ids:
                if (page := container._replace(kept=record.kept).page) is not None:
                    self.largest_page = max(self.largest_page, page.unpacked)
                ids[record.kept] = self._writer.add_container(container._replace(kept=record.kept))
            places.append((ids[record.kept], record.offset, record.length))
        labels = self._numbers([self._own_label(path, record) for path, record in zip(paths, records, strict=True)], folders)
        column = pa.array(paths, pa.binary())
        stored, folder_ids = self._folders.stored(column, *self._folders.split(column))
        of, offsets, lengths = np.array(places, np.int64).T
        self._writer.add_rows(stored, folder_ids, labels, part=parts, container=of, offset=offsets, length=lengths)

    def _own_label(self, path: bytes, record: Record) -> bytes | None:
        if self._pattern is None:
            return record.label
        match = self._pattern.search(os.fsdecode(path))
        return os.fsencode(match["label"]) if match and match["label"] else None

    def _numbers(self, own: list[bytes | None], folders: np.ndarray) -> np.ndarray:
        """int32 (n,): the labels. Those of folders count until a container is met that says more; then none of them does."""
        if not self._is_labelled and any(label is not None for label in own):
            self._is_labelled = True
            if len(self._writer):
                self._writer.renumber_labels(np.full(len(self._classes) + 1, -1, np.int32))
        if not self._is_labelled:
            return folders.astype(np.int32)
        return self._labels.numbers(pa.array([None if label is None else shown(label).encode() for label in own], pa.binary()))[0]


def _opened(path: bytes, container: Container, buffering: int) -> BinaryIO:
    if is_address(path):
        return open_object(Address(path, container.size, container.modified), RANGE)
    return open(path, "rb", buffering=buffering)


def _tell_repeated(table: Table, source: str) -> None:
    """Warn of paths that several rows have. Sorts their hashes in a file, not in memory."""
    with tempfile.TemporaryFile() as file:
        file.truncate(8 * len(table))
        hashes = np.memmap(file, np.uint64, "r+", shape=(len(table),))
        for at in chunks_of(len(table)):
            hashes[at] = path_hashes(table, at, 0)
        ordered = hashes.copy() if len(table) < CHUNK_ROWS else hashes
        ordered.sort()
        repeated, example = 0, None
        for at in chunks_of(len(table) - 1):
            same = np.flatnonzero(ordered[at] == ordered[at + 1])
            repeated += len(same)
            example = example if example is not None or not len(same) else ordered[at][same[0]]
    if example is None:
        return
    name = next(
        table.relative(int(at[found[0]]))
        for at in chunks_of(len(table))
        if len(found := np.flatnonzero(path_hashes(table, at, 0) == example))
    )
    warnings.warn(
        f"{one_line(source)}: {quantity(repeated, 'image has', 'images have')} a name that another before has too, such as "
        f"{one_line(name)}: each is a row of its own",
        DatasetWarning,
        stacklevel=4,
    )
