"""Reads Parquet files with the bytes of images in a column: binary, or a struct of bytes and path as Hugging Face's datasets have it."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.parquet

from imgstream.errors import BadImage
from imgstream.files.spans import STORED, page_form
from imgstream.formats.header import read_header
from imgstream.index.shards.parquet_pages import Chunk, Place, places
from imgstream.index.shards.records import Damaged, NotReadable, Reading, Record, normal

_LABEL = ("label", "labels", "class", "category")
_NAME = ("path", "file_name", "filename", "image_path")
_CODECS = {"UNCOMPRESSED": None, "SNAPPY": "snappy", "GZIP": "gzip", "ZSTD": "zstd", "BROTLI": "brotli", "LZ4": "lz4_raw"}
_LOOKED_AT = 16  # values of a binary column, the first of which that is no null says whether the column holds images


class _Columns(NamedTuple):
    image: str
    """Its path in the schema: image, or image.bytes."""
    label: str | None
    name: str | None
    class_names: Sequence[str]


def holds_images(path: str | os.PathLike[str]) -> bool:
    """Whether a Parquet file has a column of images; else it is a manifest, or nothing that can be read."""
    try:
        status = os.stat(path)
        return _holds_images(os.fspath(path), status.st_size, status.st_mtime_ns)
    except (OSError, ValueError):
        return False


@functools.lru_cache(maxsize=64)
def _holds_images(path: str, size: int, modified: int) -> bool:
    try:
        with pyarrow.parquet.ParquetFile(path) as parquet:
            return _image_column(parquet) is not None
    except (OSError, ValueError, pa.ArrowException):  # ValueError: names that are no UTF-8
        return False


def read_parquet_images(file: BinaryIO, size: int, reading: Reading) -> Iterator[Record]:
    """See records.Reader. A null is a row without an image."""
    try:
        parquet = pyarrow.parquet.ParquetFile(file, pre_buffer=False)
        columns = _columns(parquet, reading)
        leaf = next(i for i in range(len(parquet.schema)) if parquet.schema.column(i).path == columns.image)
        if parquet.schema.column(leaf).max_repetition_level:
            raise NotReadable(f"has lists in its column {columns.image}: one image a row can be read")
        for number in range(parquet.num_row_groups):
            group = parquet.metadata.row_group(number)
            if not group.num_rows:
                continue
            described = group.column(leaf)
            if described.compression not in _CODECS:
                raise NotReadable(f"is compressed with {described.compression}, which is not read: write it with snappy, zstd or none")
            at = min(filter(None, (described.dictionary_page_offset, described.data_page_offset)))
            levels = parquet.schema.column(leaf).max_definition_level
            chunk = Chunk(at, described.total_compressed_size, described.num_values, _CODECS[described.compression], levels)
            wanted = [name for name in (columns.label, columns.name) if name is not None]
            others = parquet.read_row_group(number, columns=wanted, use_threads=False) if wanted else None
            labels = _texts(others, columns.label, columns.class_names)
            names = _texts(others, columns.name, ())
            rows = places(file, chunk)
            for row in range(group.num_rows):
                place = next(rows)
                name = (names[row] if names is not None else None) or b""
                yield _record(place, normal(name) or None, labels[row] if labels is not None else None)
    except (pa.ArrowException, OSError, ValueError, KeyError, IndexError, StopIteration) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise Damaged(f"cannot be read as Parquet ({' '.join(str(error).split())[:200]})") from None


def _record(place: Place | str | None, name: bytes | None, label: bytes | None) -> Record:
    if place is None:
        return Record(name, 0, 0, label, "empty: a null in place of an image")
    if isinstance(place, str):
        return Record(name, 0, 0, label, place)
    page = place.page
    if page.codec is None:
        return Record(name, page.at + place.offset, place.length, label, STORED)
    return Record(name, place.offset, place.length, label, page_form(page.codec, page.at, page.size, page.unpacked))


def _columns(parquet: pyarrow.parquet.ParquetFile, reading: Reading) -> _Columns:
    schema = parquet.schema_arrow
    names = list(schema.names)
    for field, column in reading.columns.items():
        if column not in names:
            raise NotReadable(f"has no column {column!r} for {field}; it has {', '.join(names[:20])}")
    image = reading.columns.get("image") or _image_column(parquet)
    kind = schema.field(image).type if image is not None else None
    if image is None or not (_is_binary(kind) or _is_struct(kind)):
        raise NotReadable(f"has no column of image bytes; it has {', '.join(names[:20])}. Name one with --columns image=…")
    label = reading.columns.get("label") or next((name for name in _LABEL if name in names), None)
    own = f"{image}.path" if "path" in _members(kind) else None
    name = reading.columns.get("path") or own or next((name for name in _NAME if name in names and name != image), None)
    return _Columns(f"{image}.bytes" if _is_struct(kind) else image, label, name, _class_names(schema, label))


def _image_column(parquet: pyarrow.parquet.ParquetFile) -> str | None:
    """The first column that is a struct of bytes, or binary with images."""
    schema = parquet.schema_arrow
    for name in schema.names:
        kind = schema.field(name).type
        if _is_struct(kind):
            return name
        if _is_binary(kind):
            values = (value for batch in parquet.iter_batches(1, columns=[name], use_threads=False) for value in batch.column(0))
            first = next((value.as_py() for value in islice(values, _LOOKED_AT) if value.is_valid), None)
            if first is not None and _is_image(first):
                return name
    return None


def _is_image(data: bytes) -> bool:
    try:
        read_header(data)
    except BadImage as error:
        return error.reason not in ("wrong kind", "empty") and len(data) > 64
    return True


def _is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _is_struct(kind: pa.DataType) -> bool:
    return _is_binary(_members(kind).get("bytes", pa.null()))


def _members(kind: pa.DataType) -> dict[str, pa.DataType]:
    """The fields of a struct; {} of another type."""
    return {field.name: field.type for field in map(kind.field, range(kind.num_fields))} if pa.types.is_struct(kind) else {}


def _class_names(schema: pa.Schema, label: str | None) -> Sequence[str]:
    """The names that Hugging Face's metadata gives the numbers of a column; [] for none."""
    try:
        feature = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"][label]
        names = feature["names"] if feature.get("_type") == "ClassLabel" else []
    except (KeyError, TypeError, ValueError, AttributeError):
        return []
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else []


def _texts(table: pa.Table | None, name: str | None, class_names: Sequence[str]) -> list[bytes | None] | None:
    """The values of a column as text; numbers by `class_names` where there is one for them. Those below 0 are none."""
    if table is None or name is None:
        return None
    outer, _, inner = name.partition(".")
    column = table.column(name if name in table.column_names else outer)
    if inner and name not in table.column_names:
        column = pa.compute.struct_field(column, inner)
    return [_text(value, class_names) for value in column.to_pylist()]


def _text(value: object, class_names: Sequence[str]) -> bytes | None:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    if 0 <= value < len(class_names):
        return class_names[value].encode()
    return b"%d" % value if value >= 0 else None
