"""Parquet files with image bytes: each value is found in its page, whatever the page looks like."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shard_files import write_parquet

import imgstream as ims
from imgstream.errors import DatasetError, DatasetWarning
from imgstream.files.reader import FileReader
from imgstream.files.spans import Container, PackedPage, Span
from imgstream.files.unpacking import unpacked_page, value_in_page
from imgstream.index import kind_of
from imgstream.index.shards.parquet_pages import Chunk, places

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


def values_of(data: bytes) -> list[bytes | None]:
    """The values of the only column, by their places."""
    parquet = pyarrow.parquet.ParquetFile(io.BytesIO(data))
    found: list[bytes | None] = []
    for number in range(parquet.num_row_groups):
        if not parquet.metadata.row_group(number).num_rows:
            continue
        column = parquet.metadata.row_group(number).column(0)
        at = min(filter(None, (column.dictionary_page_offset, column.data_page_offset)))
        codec = {"UNCOMPRESSED": None, "SNAPPY": "snappy", "ZSTD": "zstd"}[column.compression]
        level = parquet.schema.column(0).max_definition_level
        for place in places(io.BytesIO(data), Chunk(at, column.total_compressed_size, column.num_values, codec, level)):
            if place is None:
                found.append(None)
                continue
            if isinstance(place, str):
                raise ValueError(place)
            page = place.page
            body = memoryview(data)[page.at : page.at + page.size]
            if page.codec is not None:
                body = unpacked_page(body, PackedPage(page.codec, page.at, page.size, page.unpacked))
            found.append(bytes(value_in_page(body, place.offset, place.length)))
    return found


@given(
    st.lists(st.one_of(st.none(), st.binary(max_size=40), st.sampled_from([b"twice", b"a" * 3000])), max_size=60),
    st.sampled_from(["none", "snappy", "zstd"]),
    st.sampled_from(["1.0", "2.0"]),
    st.booleans(),
    st.integers(1, 40),
)
def test_every_value_and_every_null_is_where_it_is_found(
    values: list[bytes | None], compression: str, version: str, dictionary: bool, group: int
) -> None:
    file = io.BytesIO()
    table = pa.table({"x": pa.array(values, pa.binary())})
    options: dict[str, Any] = {"compression": compression, "data_page_version": version, "use_dictionary": dictionary}
    pyarrow.parquet.write_table(table, file, row_group_size=group, data_page_size=64, write_batch_size=7, **options)
    assert values_of(file.getvalue()) == values


@pytest.mark.parametrize("at", range(4, 40, 3))
def test_a_damaged_header_is_refused_or_read_and_nothing_hangs(at: int) -> None:
    file = io.BytesIO()
    pyarrow.parquet.write_table(pa.table({"x": [PNG] * 5}), file, compression="none")
    for value in (0, 0x7F, 0xFF):
        data = bytearray(file.getvalue())
        data[at] = value
        with contextlib.suppress(ValueError, ims.BadImage):
            assert len(values_of(bytes(data))) == 5


def test_nulls_are_rows_without_an_image_and_a_wrong_checksum_is_told(tmp_path: Path, two_classes: Path) -> None:
    images = [path.read_bytes() for path in sorted(two_classes.rglob("*.jpg"))[:6]]
    table = pa.table(
        {"jpg": [*images[:2], None, *images[3:]], "class": ["a", "b", "b", None, "b", "a"], "filename": [f"{i}.jpg" for i in range(6)]}
    )
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet", compression="none", use_dictionary=False, write_page_checksum=True)
    index = ims.scan(tmp_path / "a.parquet")
    assert (index.class_names, index.labels.tolist(), index.relative_bytes(4)) == (["a", "b"], [0, 1, 1, -1, 1, 0], b"4.jpg")
    with pytest.raises(ims.BadImage, match="empty: a null in place of an image"):
        FileReader().read(index.path_bytes(2), 10**6)
    span = index.path_bytes(1)
    assert isinstance(span, Span)
    data = bytearray((tmp_path / "a.parquet").read_bytes())
    data[span.offset + 9] ^= 1
    (tmp_path / "a.parquet").write_bytes(data)
    with pytest.raises(ims.BadImage, match="corrupt: the checksum of its page is wrong"):
        FileReader().read(ims.scan(tmp_path / "a.parquet").path_bytes(4), 10**6)


def test_a_list_of_paths_stays_a_manifest_also_where_they_are_bytes(tmp_path: Path, two_classes: Path) -> None:
    for values in (["dark/00.jpg"], [b"dark/00.jpg"]):
        pyarrow.parquet.write_table(pa.table({"path": values}), tmp_path / "list.parquet")
        assert kind_of(tmp_path / "list.parquet") == "manifest"
        assert ims.scan(tmp_path / "list.parquet", root=two_classes).path(0) == str(two_classes / "dark/00.jpg")
    pyarrow.parquet.write_table(pa.table({"path": ["x"], "image": [PNG]}), tmp_path / "images.parquet")
    assert kind_of(tmp_path / "images.parquet") == "shards"


def test_columns_that_are_not_there_and_lists_say_what_there_is(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pa.table({"image": [PNG], "other": [PNG]}), path)
    assert len(ims.scan(path, columns={"image": "other"})) == 1
    with pytest.raises(DatasetError, match="no column 'x' for label; it has image, other"):
        ims.scan(path, columns={"label": "x"})
    pyarrow.parquet.write_table(pa.table({"image": [PNG], "n": [3]}), path)
    with pytest.raises(DatasetError, match="no column of image bytes; it has image, n"):
        ims.scan(path, columns={"image": "n"})
    path.write_bytes(path.read_bytes()[:-9])
    assert kind_of(path) == "manifest"  # which says that it cannot be read


def test_large_packed_pages_are_told_of_because_each_image_unpacks_one(tmp_path: Path) -> None:
    table = pa.table({"image": [PNG + bytes([n]) + bytes(3_000_000) for n in range(2)]})
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet", use_dictionary=False)
    with pytest.warns(DatasetWarning, match=r"images lie in compressed pages of up to 6 MB, .* imgstream pack"):
        ims.scan(tmp_path / "a.parquet")


def test_a_page_that_is_not_what_the_table_says_is_a_bad_row() -> None:
    with pytest.raises(ims.BadImage, match="corrupt: its page cannot be unpacked"):
        unpacked_page(memoryview(b"no snappy"), PackedPage("snappy", 0, 9, 100))
    with pytest.raises(ims.BadImage, match="in a page of 4,096 MB"):
        unpacked_page(memoryview(b""), PackedPage("zstd", 0, 9, 1 << 32))
    with pytest.raises(ims.BadImage, match="truncated"):
        value_in_page(memoryview(b"12345"), 3, 3)
    assert Container(b"x", 1, 2, "page no").page is None


def test_rows_of_one_page_unpack_it_once(tmp_path: Path, two_classes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    members = {path.relative_to(two_classes).as_posix(): path.read_bytes() for path in sorted(two_classes.rglob("*.jpg"))}
    index = ims.scan(write_parquet(tmp_path / "a.parquet", members))
    unpacked = []
    monkeypatch.setattr("imgstream.files.reader.unpacked_page", lambda data, page: unpacked.append(page) or unpacked_page(data, page))
    reader = FileReader()
    for row in range(16):
        reader.read(index.path_bytes(row), 10**6)
    assert len(unpacked) == 1
