import base64
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imgstream.errors import DatasetError
from imgstream.files.csv_output import csv_writer, path_b64, utf8
from imgstream.index import scan
from imgstream.index.path_lists import read_groups, read_paths

Tree = Callable[..., Path]
NAMES = [
    b"cats/1.jpg",
    b"a\nb.jpg",
    b"\"q',.jpg",
    b"\xff\xfe.jpg",
    b" .jpg",
    b"-rf.jpg",
    b"path",
    "é😀.jpg".encode(),
    b"a\rb.jpg",
    b"x,y.jpg",
]
as_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="permissions do not bind root")


def write(file: Path, rows: list[tuple[bytes, bytes]]) -> Path:
    """As check writes it."""
    with file.open("w", encoding="utf-8", newline="") as lines:
        writer = csv_writer(lines)
        writer.writerow(["path", "group", "path_b64"])
        for path, group in rows:
            writer.writerow([utf8(path.decode("utf-8", "surrogateescape")), utf8(group.decode("utf-8", "surrogateescape")), path_b64(path)])
    return file


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(paths=st.lists(st.binary(min_size=1, max_size=20).map(lambda name: name.replace(b"\0", b"x"))))
def test_any_path_in_bytes_comes_back_from_a_csv(paths: list[bytes], tmp_path: Path) -> None:
    file = write(tmp_path / "list.csv", [(path, b"g%d" % i) for i, path in enumerate(paths)])
    assert read_paths(file) == paths
    assert read_groups(str(file)) == [(path, b"g%d" % i) for i, path in enumerate(paths)]


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_list_may_be_plain_lines(start: bytes, end: bytes, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(start + end.join([b"cats/1.jpg", b"", b" x, y.jpg", b'"q.jpg', b"\xff.jpg", "é.jpg".encode()]))
    assert read_paths(tmp_path / "list.txt") == [b"cats/1.jpg", b" x, y.jpg", b'"q.jpg', b"\xff.jpg", "é.jpg".encode()]


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_csv_may_have_other_columns_in_any_order_and_short_rows(start: bytes, end: bytes, tmp_path: Path) -> None:
    lines = [
        b'reason,"group",path',
        b"bad,g,a.jpg",
        b"bad,h",
        b"",
        b'bad,"two\nlines","b\n""c"".jpg",more',
        b",,\xff.jpg",
        b"x,y,",
        b"-,-,d.jpg",
    ]
    (tmp_path / "list.csv").write_bytes(start + end.join(lines))
    assert read_paths(tmp_path / "list.csv") == [b"a.jpg", b'b\n"c".jpg', b"\xff.jpg", b"d.jpg"]
    assert read_groups(tmp_path / "list.csv") == [
        (b"a.jpg", b"g"),
        (b'b\n"c".jpg', b"two\nlines"),
        (b"\xff.jpg", b""),
        (b"d.jpg", b"-"),
    ]


def test_an_empty_list_names_nothing(tmp_path: Path) -> None:
    for content in ("", "\n\n", "path\n", "path,path_b64\n"):
        (tmp_path / "list").write_text(content)
        assert read_paths(tmp_path / "list") == []


def test_exact_bytes_win_over_text(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_bytes(b"path,path_b64\nshown,%b\nplain,\n" % base64.b64encode(b"\xff"))
    assert read_paths(tmp_path / "list.csv") == [b"\xff", b"plain"]


@pytest.mark.parametrize("columns", ["path", "group", "path;group", "paths,groups", ""])
def test_groups_without_their_columns_say_what_is_missing(columns: str, tmp_path: Path) -> None:
    (tmp_path / "groups.csv").write_text(f"{columns}\na,b\n")
    with pytest.raises(DatasetError, match=r"groups\.csv has no columns path and group"):
        read_groups(tmp_path / "groups.csv")


@pytest.mark.parametrize("exact", ["no base64!", "YQ", "é", "YQ==YQ=="])
def test_what_is_no_base64_is_refused(exact: str, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(f"path,group,path_b64\na,b,{exact}\n", "utf-8")
    for read in (read_paths, read_groups):
        with pytest.raises(DatasetError, match=r"list\.csv cannot be read as a list of files"):
            read(tmp_path / "list.csv")


@pytest.mark.parametrize("name", ["missing", "folder"])
def test_a_list_that_cannot_be_read_says_why(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for read in (read_paths, read_groups):
        with pytest.raises(DatasetError, match=f"{name} cannot be read as a list of files"):
            read(tmp_path / name)


@as_root
def test_a_list_that_may_not_be_read_says_so(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("a")
    (tmp_path / "list").chmod(0)
    with pytest.raises(DatasetError, match="Permission denied"):
        read_paths(tmp_path / "list")


@pytest.mark.parametrize("unwanted", [NAMES, NAMES[1:4], NAMES[:1], []])
def test_without_a_list_leaves_exactly_the_others(unwanted: list[bytes], tree: Tree, tmp_path: Path) -> None:
    root = os.fsencode(tree("cats/1.jpg"))
    names = sorted(name if name.endswith(b".jpg") else name + b".jpg" for name in NAMES)
    for name in names:
        os.close(os.open(root + b"/" + name, os.O_CREAT))
    index = scan(root)
    listed = read_paths(write(tmp_path / "list.csv", [(name, b"") for name in [*unwanted, b"not there", b"1.jpg", b"cats/"]]))
    rest = index.without(listed)
    expected = [index.relative_bytes(i) for i in range(len(index)) if index.relative_bytes(i) not in unwanted]
    assert [rest.relative_bytes(i) for i in range(len(rest))] == expected
    assert [index.relative_bytes(row) for row in rest.rows.tolist()] == expected
    assert rest.table.path == index.table.path
