import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgstream.errors import DatasetError
from imgstream.files import atomic
from imgstream.index import ImageIndex, scan
from imgstream.index.table import table, table_writer
from imgstream.index.table.columns import Names

Tree = Callable[..., Path]


def test_a_scan_keeps_its_own_rows_when_another_process_writes_the_same_table_in_between(
    tree: Tree, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tree("c/new.jpg")
    scan(root)
    (other,) = (cache / "index").glob("*.arrow")
    shutil.copy(other, tmp_path / "other.arrow")

    @contextlib.contextmanager
    def overtaken(path: Path) -> Iterator[IO[Any]]:
        with atomic.atomic_file(path) as file:
            yield file
        shutil.copy(tmp_path / "other.arrow", tmp_path / "copy.arrow")
        (tmp_path / "copy.arrow").replace(path)

    monkeypatch.setattr(table_writer, "atomic_file", overtaken)
    (root / "c" / "new.jpg").rename(root / "c" / "old.jpg")
    assert scan(root).relative_bytes(0) == b"c/old.jpg"


def test_a_kill_while_the_table_is_written_leaves_the_one_before(tree: Tree, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree("c/1.jpg")
    scan(root)
    (file,) = (cache / "index").glob("*.arrow")
    before = file.read_bytes()

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    (root / "c" / "2.jpg").touch()
    monkeypatch.setattr(table.pa.ipc, "new_file", killed)
    with pytest.raises(KeyboardInterrupt):
        scan(root)
    assert [entry.name for entry in (cache / "index").glob("*.arrow")] == [file.name]
    assert file.read_bytes() == before


def everything(index: ImageIndex) -> dict[str, object]:
    at = np.arange(len(index))
    return {
        "paths": [index.relative_bytes(i) for i in range(len(index))],
        "labels": index.labels.tolist(),
        "rows": index.rows.tolist(),
        "class_names": index.class_names,
        "split": {name: found.tolist() for name, found in (index.explicit_split or {}).items()},
        "weights": None if (weights := index.weights_at(at)) is None else weights.tolist(),
        "groups": index.table.columns["group"][index.positions_at(at)].tolist() if "group" in index.table.columns else None,
        "skipped": index.skipped_extensions,
        "fingerprint": index.fingerprint,
    }


def with_columns(rows: int, columns: list[str]) -> ImageIndex:
    """A table with optional columns, each with a value of its own in every row."""
    values = {
        "row": np.arange(rows)[::-1] + 2**31,
        "part": np.arange(rows) % 4,
        "group": np.arange(rows).astype(np.uint64) << np.uint64(60),
        "weight": np.arange(rows) / 4,
    }
    with table_writer.TableWriter(None, columns) as writer:
        for folder in (b"", b"a/\xff/", b"b\n/"):
            writer.add_folder(folder)
        names = Names.of([b"%d.jpg" % i for i in range(rows)])
        chosen = {column: values[column] for column in columns}
        writer.add_rows(names, np.arange(rows) % 3, np.arange(rows) % 3 - 1, **chosen)
        return ImageIndex(writer.finish(table.TableInfo(root="r", class_names=["x", "y"], skipped_extensions={".txt": 2}), None))


@pytest.mark.parametrize("columns", [[], ["part"], ["row", "part", "group", "weight"]])
def test_a_table_with_one_wrong_byte_is_refused_or_says_the_same(columns: list[str], tmp_path: Path) -> None:
    index = with_columns(3, columns)
    index.save(tmp_path / "whole.arrow")
    content = (tmp_path / "whole.arrow").read_bytes()
    expected = everything(ImageIndex.load(tmp_path / "whole.arrow"))
    assert expected == everything(index)
    refused = 0
    for at in range(len(content)):
        damaged = bytearray(content)
        damaged[at] ^= (1, 16, 255)[at % 3]
        file = tmp_path / "damaged.arrow"
        file.write_bytes(damaged)
        try:
            loaded = ImageIndex.load(file)
        except DatasetError:
            refused += 1
        else:
            assert everything(loaded) == expected, at
            del loaded
        file.unlink()  # the next is a new file: this one may be mapped
    assert refused > len(content) / 3  # the rest is padding, which Arrow's files have much of


@settings(max_examples=settings.default.max_examples * 4 // 5)
@given(at=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255), length=st.integers(1, 9), cut=st.booleans())
def test_a_table_that_loads_equals_the_one_that_was_saved(at: float, value: int, length: int, cut: bool) -> None:
    index = with_columns(5, ["part", "weight"])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "index.arrow"
        index.save(file)
        content = bytearray(file.read_bytes())
        first = int(at * len(content))
        content[first : None if cut else first + length] = b"" if cut else bytes([value]) * length
        file.unlink()  # a new file: the old one may be mapped
        file.write_bytes(content)
        try:
            loaded = ImageIndex.load(file)
        except DatasetError:
            return
        assert everything(loaded) == everything(index)


def test_a_table_of_an_older_format_is_refused_by_its_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(table, "FORMAT_VERSION", 1)
        with_columns(3, []).save(tmp_path / "old.arrow")
    with pytest.raises(DatasetError, match=r"old\.arrow cannot be read as a table of images \(table format 1; .* reads format 2\)"):
        ImageIndex.load(tmp_path / "old.arrow")


@pytest.mark.parametrize("columns", [["part"], ["group"], ["weight"], ["row"], ["row", "part", "group", "weight"]])
def test_columns_of_the_callers_outlive_selecting_saving_and_loading(columns: list[str], tmp_path: Path) -> None:
    index = with_columns(9, columns)
    part = index.take([7, 1, 4, 2, 8])
    index.save(tmp_path / "whole.arrow")
    part.save(tmp_path / "part.arrow")
    ImageIndex.load(tmp_path / "part.arrow").take([3, 0]).save(tmp_path / "less.arrow")
    for saved, expected in (("whole", index), ("part", part), ("less", part.take([3, 0]))):
        found, wanted = everything(ImageIndex.load(tmp_path / f"{saved}.arrow")), everything(expected)
        if saved != "whole":
            found.pop("fingerprint"), wanted.pop("fingerprint")  # a saved selection is a table of its own
        assert found == wanted
    assert everything(part)["rows"] == [(9 - 1 - i + 2**31 if "row" in columns else i) for i in (7, 1, 4, 2, 8)]
    assert everything(part)["weights"] == ([i / 4 for i in (7, 1, 4, 2, 8)] if "weight" in columns else None)
    assert everything(part)["groups"] == ([i << 60 & (2**64 - 1) for i in (7, 1, 4, 2, 8)] if "group" in columns else None)


@pytest.mark.parametrize("split", [False, True])
def test_a_row_costs_its_name_and_at_most_24_bytes_in_a_file(split: bool, tree: Tree, tmp_path: Path, cache: Path) -> None:
    folders = ["train/a", "val/a"] if split else ["a", "b"]
    names = [f"{i:05}.jpg" for i in range(1000)]
    index = scan(tree(*(f"{folder}/{name}" for folder in folders for name in names)))
    (file,) = (cache / "index").glob("*.arrow")
    index.take(np.arange(2000)[::-1]).save(tmp_path / "part.arrow")
    for path in (file, tmp_path / "part.arrow"):
        assert path.stat().st_size <= 2000 * (9 + 24) + 4096


def test_ten_thousand_rows_cost_their_names_and_16_bytes_each(tmp_path: Path) -> None:
    sizes = []
    for rows in (10_000, 20_000):
        ImageIndex.from_paths(b"folder/%05d.jpg" % i for i in range(rows)).save(tmp_path / "x.arrow")
        sizes.append((tmp_path / "x.arrow").stat().st_size)
    assert sizes[1] - sizes[0] <= 10_000 * (9 + 16) + 256
    assert sizes[0] <= 10_000 * (9 + 16) + 4096


def test_no_table_holds_what_does_not_fit_its_columns(tmp_path: Path) -> None:
    with_columns(4, ["part", "group", "weight"]).save(tmp_path / "index.arrow")
    with pa.memory_map(str(tmp_path / "index.arrow")) as file:
        batch = pa.ipc.open_file(file).get_batch(0)
    for column, kind in (
        ("label", pa.int64()),
        ("part", pa.int8()),
        ("group", pa.int64()),
        ("weight", pa.float64()),
        ("name", pa.string()),
    ):
        names = batch.schema.names
        other = batch.set_column(names.index(column), column, batch.column(column).cast(kind))
        with pa.ipc.new_file(str(tmp_path / "other.arrow"), other.schema) as writer:
            writer.write_batch(other.replace_schema_metadata(batch.schema.metadata))
        with pytest.raises(DatasetError, match=f"column '{column}'"):
            ImageIndex.load(tmp_path / "other.arrow")
    with pa.ipc.new_file(str(tmp_path / "other.arrow"), batch.schema) as writer:
        writer.write_batch(batch)
        writer.write_batch(batch)
    with pytest.raises(DatasetError, match="2 record batches"):
        ImageIndex.load(tmp_path / "other.arrow")
    weights = pa.array([1.0, None, 2.0, 3.0], pa.float32())
    with_null = batch.set_column(batch.schema.names.index("weight"), "weight", weights)
    with pa.ipc.new_file(str(tmp_path / "other.arrow"), with_null.schema) as writer:
        writer.write_batch(with_null.replace_schema_metadata(batch.schema.metadata))
    with pytest.raises(DatasetError, match="nulls"):
        ImageIndex.load(tmp_path / "other.arrow")
