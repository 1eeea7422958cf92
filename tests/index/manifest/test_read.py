import csv
import gzip
import io
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imgstream.errors import DatasetError, NoImagesError
from imgstream.index import ImageIndex, scan
from imgstream.index.manifest.read import ManifestReport, is_manifest, read_manifest
from imgstream.index.split.path_hash import keys_of
from imgstream.index.table.table import Table

Tree = Callable[..., Path]
Write = Callable[..., Path]
as_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="permissions do not bind root")
posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX file names")


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a file of this name and these contents into the folder `lists`."""

    def make(name: str, contents: str | bytes) -> Path:
        file = tmp_path / "lists" / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(contents if isinstance(contents, bytes) else contents.encode())
        return file

    return make


def read(file: Path, **options: Any) -> tuple[ImageIndex, ManifestReport]:
    """Without looking for the files: most tests have none."""
    return read_manifest(file, check_files=False, **options)


def listed(index: ImageIndex) -> list[tuple[str, str | None]]:
    names = [*index.class_names, None]
    return [(index.relative_bytes(i).decode("utf-8", "surrogateescape"), names[label]) for i, label in enumerate(index.labels.tolist())]


def bad(report: ManifestReport) -> list[tuple[int, str]]:
    assert sum(report.bad_counts.values()) == len(report.bad)
    return [(row.line, row.reason) for row in report.bad]


def test_rows_come_in_the_order_of_the_csv_with_classes_in_code_point_order(write: Write) -> None:
    index, report = read(write("a.csv", "path,label\nz/1.jpg,dog\na/2.jpg,cat\nloose.png,\nz/0.jpg,dog\n"))
    assert index.class_names == ["cat", "dog"]
    assert listed(index) == [("z/1.jpg", "dog"), ("a/2.jpg", "cat"), ("loose.png", None), ("z/0.jpg", "dog")]
    assert index.labels.dtype == np.int32
    assert (report.rows_read, report.rows_kept, report.bad, report.bad_counts, report.lines()) == (4, 4, [], {}, [])


def test_the_same_rows_come_out_of_every_format(write: Write, tmp_path: Path) -> None:
    rows = [("a/1.jpg", "cat", "train", "g1", 0.5), ("b 2.jpg", "dog", "VALIDATION", "", 2.0), ("c/3.jpg", "", "", "g1", 1.0)]
    text = "file_name;Species;subset;group;weight\n" + "".join(f"{p};{label};{s};{g};{w}\n" for p, label, s, g, w in rows)
    names = ["file_name", "Species", "subset", "group", "weight"]
    parquet = tmp_path / "lists" / "rows.parquet"
    files = [write("semicolon.csv", text), write("tab.csv", text.replace(";", "\t")), write("tab.tsv", text.replace(";", "\t"))]
    files.append(write("lines.jsonl", "".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows)))
    pa.parquet.write_table(pa.table(dict(zip(names, zip(*rows, strict=True), strict=True))), parquet)
    for file in [*files, parquet]:
        index, report = read(file, columns={"label": "species"})
        assert listed(index) == [("a/1.jpg", "cat"), ("b 2.jpg", "dog"), ("c/3.jpg", None)], file.name
        assert report.bad == []
        columns = index.table.columns
        assert columns["part"].tolist() == [1, 2, 0]
        assert columns["group"].tolist() == [int(keys_of([b"g1"])[0]), 0, int(keys_of([b"g1"])[0])]
        assert columns["weight"].tolist() == [0.5, 2.0, 1.0]


def test_split_group_and_weight_are_absent_where_the_manifest_has_none(write: Write) -> None:
    index, _ = read(write("a.csv", "path,label\na.jpg,x\n"))
    assert {"part", "group", "weight"}.isdisjoint(index.table.columns)
    assert (index.explicit_split, index.has_weights) == (None, False)


def test_a_split_in_the_manifest_is_the_split(write: Write) -> None:
    index, _ = read(write("a.csv", "path,label,split\n1.jpg,x,train\n2.jpg,x,val\n3.jpg,x,test\n4.jpg,x,Valid\n5.jpg,x,\n"))
    train, val = index.split()
    assert [listed(side) for side in (train, val)] == [[("1.jpg", "x")], [("2.jpg", "x"), ("4.jpg", "x")]]


def test_weights_of_a_selection_are_those_of_its_rows(write: Write) -> None:
    index, _ = read(write("a.csv", "path,weight\n1.jpg,0.25\n2.jpg,\n3.jpg,1e3\n"))
    weights = index.take([2, 0, 1]).weights_at(np.arange(3))
    assert weights is not None
    assert weights.dtype == np.float32
    assert weights.tolist() == [1000, 0.25, 1]


def test_columns_are_recognised_in_any_case_and_place(write: Write) -> None:
    for header in ["ID,Filename,x,CLASS", "id, FILE ,y2,Target", "id,image_path,image,y", "id,path,file,category"]:
        index, _ = read(write("a.csv", f"{header}\n7,a.jpg,b.jpg,cat\n"))
        assert listed(index) == [("a.jpg", "cat")], header


def test_columns_are_chosen_by_name_or_position(write: Write) -> None:
    file = write("a.csv", "path,img,species\nx.jpg,a.jpg,cat\n")
    assert listed(read(file, columns={"path": "img", "label": "Species"})[0]) == [("a.jpg", "cat")]
    assert listed(read(file, columns={"path": "img", "label": "2"})[0]) == [("a.jpg", "cat")]
    bare = write("b.csv", "cat,a.jpg\ndog,b.jpg\n")
    assert listed(read(bare, columns={"path": "1", "label": "0"})[0]) == [("a.jpg", "cat"), ("b.jpg", "dog")]
    semicolons = write("c.csv", "a.jpg;cat\nb.jpg;dog\n")
    assert listed(read(semicolons, columns={"path": "0"})[0]) == [("a.jpg", None), ("b.jpg", None)]


def test_columns_that_cannot_be_found_are_explained(write: Write) -> None:
    file = write("a.csv", "img,species\na.jpg,cat\n")
    with pytest.raises(DatasetError, match=r"no column path.*2 columns: img, species.*--columns path=img,label=species"):
        read(file)
    with pytest.raises(DatasetError, match=r"2 columns: img, species.*--columns path=img,label=species"):
        read(write("b.csv", "img;species\na.jpg;cat\n"))
    with pytest.raises(DatasetError, match=r"no column 'kind' for label; it has 2 columns: img, species"):
        read(file, columns={"path": "img", "label": "kind"})
    with pytest.raises(DatasetError, match=r"--columns colour: a manifest has path, label, split, group, weight"):
        read(file, columns={"colour": "img"})
    with pytest.raises(DatasetError, match=r"no column '7'"):
        read(file, columns={"path": "0", "label": "7"})
    with pytest.raises(DatasetError, match=r"has no columns to choose from"):
        read(write("a.txt", "a.jpg\n"), columns={"path": "0"})


def test_a_csv_without_a_header_says_how_to_read_it(write: Write) -> None:
    with pytest.raises(DatasetError, match=r"begins with a row instead of column names.*--columns path=0,label=1"):
        read(write("a.csv", "a/1.jpg,cat\nb/2.jpg,dog\n"))


def test_a_list_of_paths_is_one_a_line_and_nothing_in_them_is_special(write: Write) -> None:
    index, report = read(write("a.txt", 'a b.jpg\r\n\r\n"q",é.jpg\n  c.jpg\nlast.png'))
    assert listed(index) == [("a b.jpg", None), ('"q",é.jpg', None), ("  c.jpg", None), ("last.png", None)]
    assert (index.class_names, report.rows_read) == ([], 4)


@posix
def test_a_list_from_find_print0_may_hold_newlines(write: Write) -> None:
    index, _ = read(write("a.txt", b"./a\nb.jpg\0c/\xff.jpg\r\0\0d.jpg\0"))
    assert [index.relative_bytes(i) for i in range(len(index))] == [b"a\nb.jpg", b"c/\xff.jpg\r", b"d.jpg"]


def test_byte_order_marks_and_foreign_line_ends_do_no_harm(write: Write) -> None:
    for text in ["\ufeffpath,label\r\na.jpg,x\r\n\r\nb.jpg,y\r\n", "path,label\ra.jpg,x\rb.jpg,y", "\n\npath,label\na.jpg,x\n\nb.jpg,y"]:
        index, report = read(write("a.csv", text))
        assert (listed(index), report.bad) == ([("a.jpg", "x"), ("b.jpg", "y")], []), text
    assert listed(read(write("a.txt", b"\xef\xbb\xbfa.jpg\nb.jpg"))[0]) == [("a.jpg", None), ("b.jpg", None)]
    assert listed(read(write("a.jsonl", b'\xef\xbb\xbf{"path": "a.jpg"}\r\n\r\n{"path": "b.jpg"}'))[0]) == [
        ("a.jpg", None),
        ("b.jpg", None),
    ]


def test_utf_16_is_named(write: Write) -> None:
    for name in ["a.csv", "a.tsv", "a.txt", "a.jsonl"]:
        with pytest.raises(DatasetError, match=r"is UTF-16; save it as UTF-8"):
            read(write(name, "path,label\na.jpg,x\n".encode("utf-16")))


def test_labels_that_are_all_whole_numbers_come_in_their_order(write: Write) -> None:
    index, _ = read(write("a.csv", "path,label\na.jpg,10\nb.jpg,9\nc.jpg,-1\nd.jpg,010\ne.jpg,9.0\n"))
    assert index.class_names == ["-1", "9", "10"]
    assert index.labels.tolist() == [2, 1, 0, 2, 1]
    index, _ = read(write("a.csv", "path,label\na.jpg,10\nb.jpg,9\nc.jpg,x\n"))
    assert index.class_names == ["10", "9", "x"]


def test_numbers_in_parquet_and_json_are_labels_too(write: Write, tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    for column in [
        pa.array([10, None, 9], pa.int8()),
        pa.array([10.0, float("nan"), 9.0]),
        pa.array(["10", "", "9"]).dictionary_encode(),
        pa.array(["10", None, "9"], pa.large_string()),
        pa.array([b"10", None, b"9"], pa.large_binary()),
    ]:
        pa.parquet.write_table(pa.table({"path": ["a.jpg", "b.jpg", "c.jpg"], "label": column, "group": column}), file)
        index, report = read(file)
        assert (index.class_names, index.labels.tolist(), report.bad) == (["9", "10"], [1, -1, 0], []), column.type
        assert index.table.columns["group"].tolist() == [int(keys_of([b"10"])[0]), 0, int(keys_of([b"9"])[0])]
    index, _ = read(write("a.jsonl", '{"path": "a.jpg", "label": 10}\n{"path": "b.jpg"}\n{"path": "c.jpg", "label": "9"}\n'))
    assert (index.class_names, index.labels.tolist()) == (["9", "10"], [1, -1, 0])


def test_given_classes_are_the_only_ones(write: Write) -> None:
    file = write("a.csv", "path,label\na.jpg,dog\nb.jpg,bird\nc.jpg,0\nd.jpg,2\ne.jpg,\n")
    index, report = read(file, class_names=["dog", "cat"])
    assert index.class_names == ["cat", "dog"]
    assert listed(index) == [("a.jpg", "dog"), ("c.jpg", "dog"), ("e.jpg", None)]
    assert bad(report) == [(3, "unknown label"), (5, "unknown label")]
    assert report.bad[0].detail == "bird of b.jpg"
    with pytest.raises(DatasetError, match=r"'cat' is given twice"):
        read(file, class_names=["cat", "dog", "cat"])


def test_given_classes_that_are_numbers_are_names_and_no_positions(write: Write) -> None:
    index, report = read(write("a.csv", "path,label\na.jpg,10\nb.jpg,05\nc.jpg,0\n"), class_names=["10", "5"])
    assert (listed(index), index.class_names) == ([("a.jpg", "10"), ("b.jpg", "5")], ["5", "10"])
    assert bad(report) == [(4, "unknown label")]


def test_bad_rows_are_left_out_counted_and_listed_with_their_lines(write: Write) -> None:
    text = b"""path,label,split,weight
a.jpg,x,train,1
b.jpg,x,train
c.jpg,x,dev,1

,x,train,1
d.jpg,x,val,-1
"e
e.jpg",x,val,1
f.jpg,\xff,val,1
g.jpg,x,val,heavy
../h.jpg,x,,
i.jpg,x,val,1,2
"j
.jpg",x,val,nan
k.jpg,x,,1e99
l\0.jpg,x,,
m.jpg,x,,
"""
    index, report = read(write("a.csv", text))
    assert [path for path, _ in listed(index)] == ["a.jpg", "e\ne.jpg", "m.jpg"]
    assert bad(report) == [
        (3, "wrong number of columns"),
        (4, "unknown split"),
        (6, "no path"),
        (7, "bad weight"),
        (10, "encoding"),
        (11, "bad weight"),
        (12, "outside the root"),
        (13, "wrong number of columns"),
        (14, "bad weight"),
        (16, "bad weight"),
        (17, "a NUL in the path"),
    ]
    assert (report.rows_read, report.rows_kept) == (14, 3)
    assert report.bad[0].detail == "3 instead of 4: b.jpg,x,train"
    assert report.lines(1) == [
        "Bad rows: 11 of 14 (wrong number of columns 2, no path 1, a NUL in the path 1, outside the root 1, encoding 1, unknown split 1, "
        "bad weight 4)",
        "  line 3: wrong number of columns: 3 instead of 4: b.jpg,x,train",
        "  and 10 more",
    ]
    assert json.loads(json.dumps(report.to_json()))["bad"][1] == {
        "line": 4,
        "reason": "unknown split",
        "detail": "dev of c.jpg",
        "part": "",
    }


def test_lines_are_right_far_into_a_file_of_many_blocks(write: Write) -> None:
    pad = "x" * 300
    rows = [f'"{pad}\n{i}.jpg",a\r\n' if i % 3 else f"{i}.jpg,a\r\n" for i in range(60_000)]  # 12 MB
    rows[50_001] = "lonely\r\n"
    rows[50_004] = "\r\n"
    rows[50_007] = "x.jpg,a,b\r\n"
    line = 2 + sum(row.count("\n") for row in rows[:50_001])
    index, report = read(write("a.csv", "path,label\r\n" + "".join(rows)))
    assert bad(report) == [(line, "wrong number of columns"), (line + 10, "wrong number of columns")]
    assert (report.rows_read, len(index)) == (59_999, 59_997)
    assert index.relative_bytes(59_996).decode() == f"{pad}\n59999.jpg"


def test_bad_rows_are_all_counted_and_the_first_thousand_listed(write: Write) -> None:
    index, report = read(write("a.csv", "path,label\n" + "a.jpg,x\nbad\n" * 1500))
    assert (len(index), report.bad_counts, len(report.bad)) == (1500, {"wrong number of columns": 1500}, 1000)
    assert (report.bad[0].line, report.bad[-1].line) == (3, 2001)


def test_a_quote_that_is_never_closed_costs_its_own_row_only(write: Write) -> None:
    index, report = read(write("a.csv", 'path,label\na.jpg,x\n"b.jpg,x\nc.jpg,y\nd.jpg,z'))
    assert listed(index) == [("a.jpg", "x"), ("c.jpg", "y"), ("d.jpg", "z")]
    assert bad(report) == [(3, "a quote is not closed")]


def test_a_quote_that_is_never_closed_does_not_hide_a_long_file(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imgstream.index.manifest.rows.BLOCK", 64)
    for module in ("rows", "csv_rows"):
        monkeypatch.setattr(f"imgstream.index.manifest.{module}.MOST_RECORD", 256)
    index, report = read(write("a.csv", 'path,label\na.jpg,x\n"b.jpg,x\n' + "".join(f"{i}.jpg,y\n" for i in range(200)) + "bad\n"))
    assert [path for path, _ in listed(index)] == ["a.jpg", *(f"{i}.jpg" for i in range(200))]
    assert bad(report) == [(3, "a quote is not closed"), (204, "wrong number of columns")]


def test_quotes_within_a_value_are_characters(write: Write) -> None:
    index, report = read(write("a.csv", 'path,label\n5" disk.jpg,x\nbad\n"say ""hi"".jpg","y,z"\n"a"b"c.jpg,x\n6".jpg,x\n'))
    assert listed(index) == [('5" disk.jpg', "x"), ('say "hi".jpg', "y,z"), ('ab"c.jpg', "x"), ('6".jpg', "x")]
    assert bad(report) == [(3, "wrong number of columns")]


def test_bad_json_lines_are_left_out(write: Write) -> None:
    text = """{"path": "a.jpg", "label": "x", "weight": 2}
{"path": "b.jpg", "label": "x",
[1, 2]

{"path": ["c.jpg"], "label": "x"}
{"path": "\\ud800.jpg"}
{"label": "x"}
{"path": "d.jpg", "label": true, "weight": "0.5"}
{"path": "e.jpg", "label": null, "weight": null}
"""
    index, report = read(write("a.jsonl", text + "[" * 100_000))
    assert listed(index) == [("a.jpg", "x"), ("d.jpg", "true"), ("e.jpg", None)]
    assert index.table.columns["weight"].tolist() == [2, 0.5, 1]
    assert bad(report) == [(2, "not JSON"), (3, "not JSON"), (5, "not a value"), (6, "encoding"), (7, "no path"), (10, "not JSON")]
    assert (report.rows_read, report.rows_kept) == (9, 3)


@posix
def test_names_that_are_no_utf_8_are_kept_to_the_byte(write: Write, tmp_path: Path) -> None:
    name = b"a/\xff\xfe.jpg"
    files = [write("a.csv", b"path\n" + name + b"\n"), write("a.txt", name)]
    files.append(write("a.jsonl", json.dumps({"path": os.fsdecode(name)})))
    files.append(write("raw.jsonl", b'{"path": "' + name + b'"}'))
    files.append(tmp_path / "a.parquet")
    pa.parquet.write_table(pa.table({"path": pa.array([name], pa.binary())}), files[-1])
    for file in files:
        assert read(file)[0].relative_bytes(0) == name, file.name


def test_parts_of_a_folder_follow_one_another_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "list"
    folder.mkdir()
    for number in (1, 0):
        rows = {"label": ["x", "y", None], "path": [f"{number}/a.jpg", f"../../{number}.jpg", f"{number}/b.jpg"], "extra": [[1], [2], [3]]}
        pa.parquet.write_table(pa.table(rows), folder / f"part-{number}.parquet")
    (folder / "_SUCCESS").touch()
    index, report = read(folder)
    assert listed(index) == [("0/a.jpg", "x"), ("0/b.jpg", None), ("1/a.jpg", "x"), ("1/b.jpg", None)]
    assert [(row.part, row.line) for row in report.bad] == [("part-0.parquet", 2), ("part-1.parquet", 2)]
    assert report.lines()[1] == "  part-0.parquet, row 2: outside the root: ../../0.jpg"
    assert index.root == str(folder)
    pa.parquet.write_table(pa.table({"path": ["c.jpg"]}), folder / "part-2.parquet")
    with pytest.raises(DatasetError, match=r"part-2.parquet has no column label, which the first part has"):
        read(folder)


def test_a_parquet_column_of_pictures_is_no_column_of_paths(tmp_path: Path) -> None:
    pa.parquet.write_table(pa.table({"image": [{"bytes": b"x", "path": "a.jpg"}]}), tmp_path / "a.parquet")
    with pytest.raises(DatasetError, match=r"column 'image' is struct<.*neither text nor numbers"):
        read(tmp_path / "a.parquet")


def test_paths_are_relative_to_the_manifest_or_to_the_root(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = tree("cats/1.jpg")
    (photos / "list.csv").write_text("path\ncats/1.jpg\n")
    index, report = read_manifest(photos / "list.csv")
    assert (index.path(0), report.bad) == (str(photos / "cats" / "1.jpg"), [])
    (photos.parent / "other").mkdir()
    (photos.parent / "other" / "list.csv").write_text("path\ncats/1.jpg\n")
    index, report = read_manifest(photos.parent / "other" / "list.csv", root=photos)
    assert (index.path(0), report.bad) == (str(photos / "cats" / "1.jpg"), [])
    monkeypatch.chdir(photos)
    index, report = read_manifest("list.csv")
    assert (os.path.exists(index.path(0)), report.bad) == (True, [])


def test_paths_are_made_plain(write: Write, tmp_path: Path) -> None:
    root = tmp_path / "lists"
    paths = ["./a.jpg", "a//b.jpg", "a/../b.jpg", "./././c.jpg", "a/./b.jpg", f"{root}/d/e.jpg", f"{root}/../lists/f.jpg", f"/{root}/g.jpg"]
    paths += [".hidden/h.jpg", "a/.i.jpg", "..j.jpg", "k..jpg", "x/../../lists/l.jpg", "m.jpg/"]
    index, report = read(write("a.txt", "\n".join(paths)))
    plain = ["a.jpg", "a/b.jpg", "b.jpg", "c.jpg", "a/b.jpg", "d/e.jpg", "f.jpg", "g.jpg", ".hidden/h.jpg", "a/.i.jpg", "..j.jpg", "k..jpg"]
    assert ([path for path, _ in listed(index)], report.bad) == ([*plain, "l.jpg", "m.jpg"], [])


def test_paths_that_lead_outside_are_refused_unless_allowed(write: Write, tmp_path: Path) -> None:
    outside = ["../a.jpg", "/etc/b.jpg", "x/../../c.jpg", f"{tmp_path}/lists-of-others/d.jpg", "..", "."]
    file = write("a.txt", "\n".join([*outside, "in.jpg"]))
    index, report = read(file)
    assert listed(index) == [("in.jpg", None)]
    assert bad(report) == [*((line, "outside the root") for line in range(1, 6)), (6, "no path")]
    assert report.bad[0].detail == "../a.jpg"
    index, report = read(file, allow_outside=True)
    expected = [f"{tmp_path}/a.jpg", "/etc/b.jpg", f"{tmp_path}/c.jpg", f"{tmp_path}/lists-of-others/d.jpg", f"{tmp_path}"]
    assert [index.path(i) for i in range(len(index))] == [*expected, f"{tmp_path}/lists/in.jpg"]


def test_a_root_that_is_a_link_takes_both_of_its_names(tree: Tree, write: Write) -> None:
    photos = tree("a.jpg")
    link = photos.parent / "link"
    link.symlink_to(photos)
    index, report = read_manifest(write("a.txt", f"{link}/a.jpg\n{photos.resolve()}/a.jpg\n"), root=link)
    assert (listed(index), report.bad) == ([("a.jpg", None)] * 2, [])


def test_missing_files_are_listed_and_kept(tree: Tree) -> None:
    names = [f"many/{i}.jpg" for i in range(100)]
    photos = tree("here/a.jpg", "here/b.jpg", "top.jpg", *names, *(f"many/other{i}.jpg" for i in range(300)))
    (photos / "many" / "7.jpg").unlink()
    (photos / "many" / "8.jpg").unlink()
    (photos / "many" / "8.jpg").symlink_to("nowhere")
    rows = ["here/a.jpg", "here/gone.jpg", "gone/1.jpg", "top.jpg", "gone/2.jpg", "here/b.jpg/c.jpg", "notop.jpg", *names, "x" * 300]
    (photos / "list.txt").write_text("\n".join(rows))
    index, report = read_manifest(photos / "list.txt")
    assert [path for path, _ in listed(index)] == rows
    assert [row.line for row in report.bad] == [2, 3, 5, 6, 7, 15, 16, 108]
    assert {row.reason for row in report.bad} == {"missing file"}
    assert (report.bad_counts, report.rows_kept) == ({"missing file": 8}, len(rows))
    assert read_manifest(photos / "list.txt", check_files=False)[1].bad == []


def test_the_table_is_kept_in_the_cache_or_where_it_was_asked_for(write: Write, cache: Path, tmp_path: Path) -> None:
    file = write("a.csv", "path,label,weight\na/1.jpg,x,2\nb/2.jpg,y,3\n")
    index, _ = read(file)
    assert index.table.path is not None
    assert Path(index.table.path).parent == cache / "index"
    assert listed(pickle.loads(pickle.dumps(index))) == listed(index)
    read(file, class_names=["x", "y", "z"])
    assert Table.open(index.table.path).info.class_names == ["x", "y"]  # another reading is another table
    output = tmp_path / "out.arrow"
    read(file, output=output)
    loaded = ImageIndex.load(output)
    assert (listed(loaded), loaded.weights_at(np.array([1, 0])).tolist()) == ([("a/1.jpg", "x"), ("b/2.jpg", "y")], [3, 2])  # type: ignore[union-attr]


def test_folders_beyond_what_a_table_remembers_are_part_of_names(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imgstream.index.manifest.paths.MOST_FOLDERS", 2)
    rows = ["a/1.jpg", "b/2.jpg", "c/d/3.jpg", "a/4.jpg", "5.jpg", "e/6.jpg", "b/7.jpg"]
    index, _ = read(write("a.txt", "\n".join(rows)))
    assert [path for path, _ in listed(index)] == rows
    assert list(index.table.folders()) == [b"a/", b"b/", b""]


def test_a_manifest_and_a_scan_of_the_same_files_split_them_alike(tree: Tree) -> None:
    photos = tree(*(f"c{i % 2}/{i}.jpg" for i in range(200)))
    scanned = scan(photos)
    (photos / "list.csv").write_text("path,label\n" + "".join(f"{path},{label}\n" for path, label in listed(scanned)))
    index, _ = read_manifest(photos / "list.csv")
    assert [listed(side) for side in index.split(0.3, 7)] == [listed(side) for side in scanned.split(0.3, 7)]


def test_progress_counts_rows(write: Write) -> None:
    seen: list[int] = []
    read(write("a.txt", "a.jpg\n" * 1_000_000), progress=seen.append)
    assert len(seen) > 1
    assert seen == sorted(seen)
    assert seen[-1] == 1_000_000


def test_manifests_are_known_by_their_names(write: Write, tree: Tree, tmp_path: Path) -> None:
    for name in ["a.csv", "a.TSV", "a.jsonl", "a.ndjson", "a.Parquet", "a.txt"]:
        assert is_manifest(write(name, "")), name
        assert is_manifest(str(write(name, "")))
    assert not any(is_manifest(write(name, "")) for name in ["a.jpg", "a.arrow", "csv", "a.csv.gz"])
    assert not is_manifest(tmp_path / "none.csv")
    assert not is_manifest("nul\0.csv")
    photos = tree("cats/1.jpg")
    assert not is_manifest(photos)
    (photos / "x.parquet").touch()  # such as features of these very images
    assert not is_manifest(photos)
    (photos / "1.JPG").touch()
    assert not is_manifest(photos)


def test_an_empty_manifest_says_so(write: Write) -> None:
    for name, text in [
        ("a.csv", ""),
        ("a.csv", "\n\n"),
        ("b.csv", "path,label\n"),
        ("a.tsv", "path\n\n"),
        ("a.txt", ""),
        ("a.jsonl", "\n"),
    ]:
        with pytest.raises(NoImagesError, match=r"No images: .*(is empty|has no rows)"):
            read(write(name, text))
    file = write("a.parquet", "")
    pa.parquet.write_table(pa.table({"path": pa.array([], pa.string())}), file)
    with pytest.raises(NoImagesError, match="has no rows"):
        read(file)


def test_a_manifest_of_bad_rows_alone_names_the_first(write: Write) -> None:
    with pytest.raises(NoImagesError, match=r"none of the 2 rows of .*a.csv can be used: outside the root \(2\). line 2: /x/a.jpg"):
        read(write("a.csv", "path\n/x/a.jpg\n../b.jpg\n"))


def test_junk_is_refused_in_one_line(write: Write, tmp_path: Path) -> None:
    junk = gzip.compress(np.random.default_rng(0).bytes(100_000))
    for name in ["a.csv", "a.tsv", "a.jsonl", "a.parquet"]:
        with pytest.raises(DatasetError) as caught:
            read(write(name, junk))
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 500 + len(str(tmp_path))


@pytest.mark.parametrize("name", ["a.csv", "a.txt", "a.jsonl"])
def test_a_line_without_end_is_refused_before_it_fills_the_memory(write: Write, name: str) -> None:
    file = write(name, b'{"path": "a.jpg"}\n' if name == "a.jsonl" else b"path\na.jpg\n")
    with file.open("ab") as end:
        for _ in range(40):
            end.write(b"x" * (1 << 20))
    with pytest.raises(DatasetError, match=r"line \d is longer than 16 MB"):
        read(file)
    with file.open("r+b") as start:
        start.truncate(0)
        start.write(b"x" * (40 << 20))
    with pytest.raises(DatasetError, match=r"is longer than 16 MB|is no CSV: its first line is xxx|none of its first lines"):
        read(file)


def test_what_is_no_file_is_refused(write: Write, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"cannot be read as a manifest \(No such file"):
        read(tmp_path / "none.csv")
    with pytest.raises(DatasetError, match=r"is no manifest by its name; one ends in .csv, .tsv"):
        read(write("a.xlsx", "x"))
    folder = tmp_path / "x.csv"
    folder.mkdir()
    with pytest.raises(DatasetError, match=r"is a folder without \*.parquet files"):
        read(folder)


@posix
def test_a_pipe_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    assert not is_manifest(tmp_path / "pipe.csv")
    with pytest.raises(DatasetError, match=r"is no regular file"):
        read(tmp_path / "pipe.csv")


@as_root
def test_a_manifest_that_may_not_be_read_says_so(write: Write) -> None:
    for name in ["a.csv", "a.txt", "a.jsonl", "a.parquet"]:
        file = write(name, "path\na.jpg\n")
        file.chmod(0)
        with pytest.raises(DatasetError, match=r"Permission denied"):
            read(file)


def test_a_column_of_too_many_labels_is_no_label(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imgstream.index.manifest.fields.MOST_CLASSES", 100)
    with pytest.raises(DatasetError, match=r"more than 100 labels: that column is no label"):
        read(write("a.csv", "path,label\n" + "".join(f"{i}.jpg,{i}\n" for i in range(101))))


_BYTES = st.text("ab,;\t\"' \n\r\\x0é", min_size=1, max_size=12).map(str.encode) | st.binary(min_size=1, max_size=6)
_PATHS = _BYTES.map(lambda path: path.translate(None, b"/\0.")).filter(bool)


def test_a_name_that_begins_with_a_byte_order_mark_keeps_it_wherever_blocks_are_cut(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [b"a.jpg", b"\xef\xbb\xbfb.jpg", b"\xef\xbb\xbf"]
    file = write("marks.csv", b"path\n" + b"\n".join(names) + b"\n")
    for block in range(5, 20):
        monkeypatch.setattr("imgstream.index.manifest.rows.BLOCK", block)
        index, report = read(file)
        assert report.bad == []
        assert [index.relative_bytes(i) for i in range(len(index))] == names


@settings(deadline=None, max_examples=settings.default.max_examples * 3 // 2, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.lists(_PATHS, min_size=1, max_size=3), st.text('ab,"\n\ré1 ', max_size=4)), min_size=1, max_size=20),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from(["\n", "\r\n"]),
    st.integers(16, 200),
)
def test_what_pythons_csv_writes_is_read_as_it_was(
    write: Write, monkeypatch: pytest.MonkeyPatch, rows: list[tuple[list[bytes], str]], quoting: Any, end: str, block: int
) -> None:
    text = io.StringIO(newline="")
    end = end if quoting == csv.QUOTE_ALL else "\r\n"  # told \n, Python before 3.13 leaves \r unquoted
    writer = csv.writer(text, quoting=quoting, lineterminator=end)
    writer.writerow(["path", "label"])
    paths, labels = [b"/".join(parts) for parts, _ in rows], [label for _, label in rows]
    lines = []
    for path, label in zip([*paths, b"last"], [*labels, ""], strict=True):
        lines.append(text.getvalue().count("\n") + 1)
        writer.writerow([path.decode("utf-8", "surrogateescape"), label])
    file = write("random.csv", text.getvalue().encode("utf-8", "surrogateescape"))
    monkeypatch.setattr("imgstream.index.manifest.rows.BLOCK", block)  # blocks are cut anywhere
    index, report = read(file)
    assert report.bad == []
    assert [index.relative_bytes(i) for i in range(len(index))] == [*paths, b"last"]
    whole = all(label.isdecimal() for label in labels if label)
    assert [name for _, name in listed(index)] == [*((str(int(label)) if whole else label) if label else None for label in labels), None]
    _, report = read(file, class_names=["none"])
    assert bad(report) == [(line, "unknown label") for line, label in zip(lines, [*labels, ""], strict=True) if label]


def test_a_table_whose_column_names_a_pickle_is_read_without_it(tmp_path: Path) -> None:
    class Runs:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "ran",)

    extension = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": pickle.dumps(Runs())}
    schema = pa.schema([pa.field("path", pa.string(), metadata=extension), pa.field("label", pa.string())])
    pyarrow.parquet.write_table(pa.table([["a.jpg", "b.jpg"], ["cat", "dog"]], schema=schema), tmp_path / "list.parquet")
    try:
        read(tmp_path / "list.parquet")
    except DatasetError:
        pass  # some versions of pyarrow refuse the type
    assert not (tmp_path / "ran").exists()
