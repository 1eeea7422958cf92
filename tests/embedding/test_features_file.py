from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import imgstream as ims
from imgstream.embedding import Embedding, FeaturesFile, FeaturesInfo, check_output, open_writer
from imgstream.embedding.features_file import fingerprint
from imgstream.errors import DatasetError, OutputError

SPEC = ims.SampleSpec(size=(4, 6))


def info(dimensions: int = 3) -> FeaturesInfo:
    return FeaturesInfo(model="net", fingerprint="ab" * 32, spec=SPEC, dimensions=dimensions)


def good(path: bytes, *values: float, label: str | None = None) -> Embedding:
    return Embedding(path.decode("utf-8", "replace"), path, label, None, np.array(values, np.float32))


def bad(path: bytes, error: str) -> Embedding:
    return Embedding(path.decode("utf-8", "replace"), path, None, error, None)


def write(path: Path, rows: Iterable[Embedding], about: FeaturesInfo | None = None) -> Path:
    with open_writer(path, about or info()) as writer:
        for row in rows:
            writer.write(row)
    return path


def plain(rows: Iterable[Embedding]) -> list[Any]:
    return [(r.path, r.path_bytes, r.label, r.error, None if r.features is None else r.features.tolist()) for r in rows]


ROWS = [
    good(b"a.jpg", 0.1, float("nan"), -3e38, label="cat"),
    bad(b"sub/b\n.jpg", "empty: 0 bytes"),
    good(b"c\xff.jpg", 1, 2, 3, label="d\ufffd"),
    bad(b"=\"',\xff", "corrupt: of no kind"),
]


def test_the_file_has_these_columns_values_and_metadata(tmp_path: Path) -> None:
    table = pq.read_table(write(tmp_path / "out.parquet", ROWS))
    assert [field.name for field in table.schema] == ["path", "path_b64", "label", "error", "features"]
    assert [field.type for field in table.schema] == [*[pa.string()] * 4, pa.list_(pa.float32())]
    found = table.to_pydict()
    assert found["path"] == ["a.jpg", "sub/b\n.jpg", "c\ufffd.jpg", "=\"',\ufffd"]
    assert found["path_b64"] == [None, None, "Y/8uanBn", "PSInLP8="]
    assert found["label"] == ["cat", None, "d\ufffd", None]
    assert found["error"] == [None, "empty: 0 bytes", None, "corrupt: of no kind"]
    assert found["features"][1:] == [None, [1, 2, 3], None]
    assert json.loads(table.schema.metadata[b"imgstream.features"]) == {
        "format": 1,
        "model": "net",
        "fingerprint": "ab" * 32,
        "spec": SPEC.to_json(),
        "dimensions": 3,
    }


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    file = FeaturesFile(write(tmp_path / "out.parquet", ROWS))
    assert (len(file), file.info) == (4, info())
    assert repr(plain(file)) == repr(plain(ROWS))  # repr: nan
    assert repr(plain(file)) == repr(plain(ROWS))  # and again
    only_bad = FeaturesFile(write(tmp_path / "bad.parquet", ROWS[1:2]))
    assert plain(only_bad) == plain(ROWS[1:2])
    assert list(FeaturesFile(write(tmp_path / "none.parquet", []))) == []


def test_row_groups_are_small_whatever_the_number_of_rows(tmp_path: Path) -> None:
    wide = info(1 << 20)
    assert (info(3).group_rows, wide.group_rows, info(1 << 24).group_rows) == (4096, 2, 1)
    values = np.arange(5 << 20, dtype=np.float32).reshape(5, -1)
    path = write(tmp_path / "out.parquet", [Embedding(str(i), b"%d" % i, None, None, values[i]) for i in range(5)], wide)
    file = pq.ParquetFile(path)
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [2, 2, 1]
    assert [int(row.features[0]) >> 20 for row in FeaturesFile(path) if row.features is not None] == list(range(5))


def test_a_writer_that_is_interrupted_leaves_the_earlier_file(tmp_path: Path) -> None:
    path = write(tmp_path / "out.parquet", ROWS[:1])

    def interrupted() -> Iterator[Embedding]:
        yield ROWS[2]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(path, interrupted())
    assert [row.path for row in FeaturesFile(path)] == ["a.jpg"]
    assert os.listdir(tmp_path) == [path.name]


def test_a_disk_that_fills_up_is_an_output_error_and_leaves_nothing(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", disk], check=False).returncode:
        pytest.skip("only root can mount a small disk")
    try:
        noise = np.random.default_rng(0).normal(size=(20, 1 << 16)).astype(np.float32)
        rows = [Embedding(str(i), b"%d" % i, None, None, values) for i, values in enumerate(noise)]
        with pytest.raises(OutputError, match=r"cannot write .*: the disk is full"):
            write(disk / "out.parquet", rows, info(1 << 16))
        assert os.listdir(disk) == []
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def test_an_output_that_cannot_be_is_refused_before_any_row(tmp_path: Path) -> None:
    check_output(tmp_path / "OUT.PARQUET")
    for name in ("out.csv", "out", ".parquet"):
        with pytest.raises(OutputError, match=re.escape("in .parquet")):
            check_output(tmp_path / name)
    with pytest.raises(OutputError, match="does not exist"), open_writer(tmp_path / "nowhere" / "out.parquet", info()):
        pytest.fail("the block must not be entered")


def with_metadata(path: Path, about: Any, table: Any = None) -> Path:
    table = pq.read_table(write(path, ROWS)) if table is None else table
    pq.write_table(table.replace_schema_metadata({"imgstream.features": json.dumps(about)}), path)
    return path


def test_what_is_no_file_of_features_says_so(tmp_path: Path) -> None:
    path = tmp_path / "out.parquet"
    about = info().to_json()
    (tmp_path / "garbage.parquet").write_bytes(b"PAR1" + bytes(50))
    pq.write_table(pa.table({"path": ["a"]}), tmp_path / "other.parquet")
    for file, words in (
        (tmp_path / "gone.parquet", "gone.parquet"),
        (tmp_path / "garbage.parquet", "cannot be read as features"),
        (tmp_path / "other.parquet", "no file that imgstream embed wrote"),
        (with_metadata(path, {**about, "format": 2}), "format 2; this imgstream reads format 1"),
    ):
        with pytest.raises(DatasetError, match=words):
            FeaturesFile(file)
    for wrong, words in (
        ({**about, "dimensions": 0}, "0 features"),
        ({**about, "spec": {}}, "spec.json"),
        ({"format": 1}, "not whole"),
        (7, "int"),
    ):
        with pytest.raises(DatasetError, match=words):
            FeaturesFile(with_metadata(path, wrong))
    with pytest.raises(DatasetError, match="a row has not 4 features"):
        list(FeaturesFile(with_metadata(path, {**about, "dimensions": 4})))
    both = pq.read_table(write(path, ROWS)).set_column(3, "error", pa.array(["x", None, None, None]))
    with pytest.raises(DatasetError, match="both features and an error"):
        list(FeaturesFile(with_metadata(path, about, both)))


def test_a_file_of_an_earlier_version_whose_lists_are_of_one_size_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "out.parquet", [good(b"a.jpg", 1, 2, 3), good(b"b.jpg", 4, 5, 6)])
    table = pq.read_table(path)
    earlier = table.set_column(4, "features", table["features"].combine_chunks().cast(pa.list_(pa.float32(), 3)))
    found = [row.features for row in FeaturesFile(with_metadata(path, info().to_json(), earlier))]
    np.testing.assert_array_equal(found, [[1, 2, 3], [4, 5, 6]])


def test_a_file_that_is_cut_or_damaged_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "out.parquet", [good(b"%d.jpg" % i, i, i, i) for i in range(2000)])
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(DatasetError, match="cannot be read as features"):
        FeaturesFile(path)
    path.write_bytes(whole[:4] + bytes(500) + whole[504:])
    with pytest.raises(DatasetError, match="cannot be read as features"):
        list(FeaturesFile(path))


def test_a_fingerprint_tells_weights_and_specs_apart(model: Any) -> None:
    class Other:
        def __init__(self, *weights: np.ndarray) -> None:
            self.weights = weights

        def get_weights(self) -> list[np.ndarray]:
            return list(self.weights)

    ones = np.ones((2, 3), np.float32)
    changed = ones.copy()
    changed[1, 2] = np.nextafter(np.float32(1), np.float32(2))
    models = [Other(ones), Other(changed), Other(ones.T), Other(ones, ones[0]), Other()]
    prints = [fingerprint(other, SPEC) for other in models] + [fingerprint(models[0], ims.SampleSpec(size=(6, 4)))]
    assert len(set(prints)) == 6
    assert fingerprint(Other(ones.copy()), ims.SampleSpec(size=(4, 6))) == prints[0]
    assert re.fullmatch("[0-9a-f]{64}", prints[0])
    assert FeaturesInfo.of(model, SPEC, "means") == FeaturesInfo(
        model="means", fingerprint=fingerprint(model, SPEC), spec=SPEC, dimensions=4
    )
