import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imgstream.errors import DatasetError, ImgstreamError, NoImagesError, OutputError
from imgstream.index import ImageIndex, scan

Tree = Callable[..., Path]
PATHS = st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=30)
in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)


@pytest.fixture
def index(tree: Tree) -> ImageIndex:
    return scan(tree(*(f"{c}/{i}.jpg" for c in ("cats", "dogs") for i in range(5))))


def relative(index: ImageIndex) -> list[bytes]:
    return [index.relative_bytes(i) for i in range(len(index))]


def test_take_keeps_row_numbers_through_selections_of_selections(index: ImageIndex) -> None:
    once = index.take([9, 0, 5, 3])
    twice = once.take(np.array([2, 0], np.uint8))
    assert relative(twice) == [b"dogs/0.jpg", b"dogs/4.jpg"]
    assert twice.rows.tolist() == [5, 9] == [twice.row(0), twice.row(1)]
    assert twice.labels.tolist() == [1, 1]
    assert index.rows.tolist() == list(range(10))
    assert len(index.take([])) == 0


@pytest.mark.parametrize("positions", [[10], [-1], [0, 10**12]])
def test_take_refuses_positions_outside(positions: list[int], index: ImageIndex) -> None:
    with pytest.raises(IndexError, match=r"0\.\.9"):
        index.take(positions)


@pytest.mark.parametrize("positions", [[0.5], [True] * 10, [[1]]])
def test_take_refuses_what_are_no_positions(positions: list[object], index: ImageIndex) -> None:
    with pytest.raises(TypeError, match="whole numbers"):
        index.take(positions)  # type: ignore[arg-type]


@pytest.mark.parametrize("i", [10, -1])
def test_an_image_that_is_not_there_is_an_index_error(i: int, index: ImageIndex) -> None:
    for read in (index.path, index.path_bytes, index.relative_bytes, index.row):
        with pytest.raises(IndexError):
            read(i)


def test_labels_and_rows_cannot_be_changed(index: ImageIndex) -> None:
    for part in (index, index.take([1, 2])):
        for values in (part.labels, part.rows):
            with pytest.raises(ValueError, match="read-only"):
                values[0] = 7
    index.class_names.append("more")
    assert index.class_names == ["cats", "dogs"]


def test_labels_of_a_whole_index_are_a_view_of_the_file(index: ImageIndex) -> None:
    assert not index.labels.flags.owndata


def test_a_pickle_is_small_and_opens_the_same_rows(tree: Tree) -> None:
    index = scan(tree(*(f"a_class_with_a_long_name/{i:05d}.jpg" for i in range(2000))))
    whole, part = pickle.dumps(index), pickle.dumps(index.take([1999, 3]))
    assert max(len(whole), len(part)) < 1000
    assert relative(pickle.loads(whole)) == relative(index)
    again = pickle.loads(part)
    assert (again.path(0), again.rows.tolist(), again.root) == (index.path(1999), [1999, 3], index.root)


def test_a_pickle_keeps_the_folder_as_it_was_given(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree("c/1.jpg").parent)
    pickled = pickle.dumps(scan("photos"))
    scan("./photos/")  # the same table, written anew under another spelling
    assert pickle.loads(pickled).path(0) == "photos/c/1.jpg"


def test_a_pickle_whose_table_was_replaced_is_refused_and_never_opens_other_rows(tree: Tree) -> None:
    root = tree("c/1.jpg")
    pickled = pickle.dumps(scan(root))
    (root / "c" / "0.jpg").touch()
    scan(root)
    with pytest.raises(DatasetError, match="newer scan"):
        pickle.loads(pickled)


@given(paths=PATHS)
def test_from_paths_keeps_order_and_every_byte(paths: list[bytes]) -> None:
    index = ImageIndex.from_paths(paths)
    assert [index.path_bytes(i) for i in range(len(index))] == paths
    assert relative(pickle.loads(pickle.dumps(index))) == paths
    assert index.labels.tolist() == [-1] * len(paths)
    assert index.class_names == []


def test_from_paths_takes_strings_and_a_root() -> None:
    index = ImageIndex.from_paths(["b/1.jpg", b"a\xff.png", Path("/abs/x.jpg")])
    assert [index.path(i) for i in range(3)] == ["b/1.jpg", "a\udcff.png", "/abs/x.jpg"]
    assert index.root == ""
    rooted = ImageIndex.from_paths(["b/1.jpg"], root="photos")
    assert (rooted.path(0), rooted.relative_bytes(0), rooted.root) == ("photos/b/1.jpg", b"b/1.jpg", "photos")
    with pytest.raises(DatasetError, match="absolute"):
        ImageIndex.from_paths(["/b/1.jpg"], root="photos")
    with pytest.raises(NoImagesError, match="empty"):
        ImageIndex.from_paths([])


def test_save_and_load_give_the_same_whole_index(index: ImageIndex, tmp_path: Path) -> None:
    index.save(tmp_path / "index.arrow")
    again = ImageIndex.load(tmp_path / "index.arrow")
    assert relative(again) == relative(index)
    assert again.labels.tolist() == index.labels.tolist()
    assert (again.class_names, again.root, again.fingerprint) == (index.class_names, index.root, index.fingerprint)


def test_a_saved_selection_keeps_its_row_numbers_and_its_parts(tree: Tree, tmp_path: Path) -> None:
    index = scan(tree("train/a/1.jpg", "train/b/2.jpg", "val/a/3.jpg", "val/b/4.jpg"))
    index.take([3, 1, 0]).save(tmp_path / "part.arrow")
    part = ImageIndex.load(tmp_path / "part.arrow")
    assert relative(part) == [b"val/b/4.jpg", b"train/b/2.jpg", b"train/a/1.jpg"]
    assert part.rows.tolist() == [3, 1, 0]
    assert part.take([2, 0]).rows.tolist() == [0, 3]
    train, val = part.split()
    assert (relative(train), relative(val)) == ([b"train/b/2.jpg", b"train/a/1.jpg"], [b"val/b/4.jpg"])
    part.take([]).save(tmp_path / "empty.arrow")
    assert len(ImageIndex.load(tmp_path / "empty.arrow")) == 0


def test_a_table_is_an_arrow_file_that_other_tools_read(index: ImageIndex, tmp_path: Path) -> None:
    index.save(tmp_path / "index.arrow")
    with pa.memory_map(str(tmp_path / "index.arrow")) as file:
        rows = pa.ipc.open_file(file).read_all().to_pylist()
    assert rows[6] == {"folder": b"dogs/", "name": b"1.jpg", "label": 1}


def test_save_says_where_it_cannot_write(index: ImageIndex, tmp_path: Path) -> None:
    for part in (index, index.take([1])):
        with pytest.raises(OutputError, match="nowhere"):
            part.save(tmp_path / "nowhere" / "index.arrow")


@pytest.mark.parametrize("content", [None, b"", b"no arrow file at all"])
def test_load_refuses_what_is_no_table(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "x.arrow").write_bytes(content)
    with pytest.raises(DatasetError, match=r"x\.arrow cannot be read"):
        ImageIndex.load(tmp_path / "x.arrow")


def test_load_refuses_an_arrow_file_of_another_kind_or_format(index: ImageIndex, tmp_path: Path) -> None:
    index.save(tmp_path / "index.arrow")
    with pa.memory_map(str(tmp_path / "index.arrow")) as file:
        table = pa.ipc.open_file(file).read_all()
        for other in (
            table.drop_columns("label"),
            table.replace_schema_metadata({"imgstream": '{"format": 1}'}),
            table.replace_schema_metadata({"imgstream": '{"format": 3}'}),
            table.replace_schema_metadata({"imgstream": "[]"}),
            table.replace_schema_metadata({"imgstream": '{"format": 2}'}),  # and nothing else
            table.replace_schema_metadata(None),
        ):
            with pa.ipc.new_file(str(tmp_path / "other.arrow"), other.schema) as writer:
                writer.write_table(other)
            with pytest.raises(DatasetError):
                ImageIndex.load(tmp_path / "other.arrow")


@in_one_folder
@given(at=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255), cut=st.booleans())
def test_a_damaged_table_is_refused_or_gives_paths_and_never_breaks(
    index: ImageIndex, tmp_path: Path, at: float, value: int, cut: bool
) -> None:
    file = tmp_path / "index.arrow"
    index.save(file)
    content = bytearray(file.read_bytes())
    if cut:
        del content[int(at * len(content)) :]
    else:
        content[int(at * len(content))] = value
    file.unlink()  # a new file: the old one may be mapped
    file.write_bytes(content)
    try:
        loaded = ImageIndex.load(file)
    except ImgstreamError:
        return
    assert all(isinstance(path, bytes) for path in relative(loaded))
    assert all(-1 <= label < len(loaded.class_names) for label in loaded.labels)


def test_equal_contents_have_equal_fingerprints_and_others_do_not(tree: Tree, tmp_path: Path) -> None:
    root = tree("a/1.jpg", "b/2.jpg")
    first = scan(root)
    root.rename(tmp_path / "moved")
    assert scan(tmp_path / "moved").fingerprint == first.fingerprint
    (tmp_path / "moved" / "a" / "3.jpg").touch()
    assert scan(tmp_path / "moved").fingerprint != first.fingerprint
    assert first.take([0]).fingerprint == first.take([0]).fingerprint != first.take([1]).fingerprint


def test_the_text_of_an_index_says_what_it_holds(index: ImageIndex) -> None:
    assert repr(index) == f"<ImageIndex: 10 images under {index.root!r}, 2 classes>"
