"""What is found out about files as they are read: it is right, it outlives a refresh, and it never costs a batch."""

from __future__ import annotations

import errno
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

import imgstream as ims
from imgstream.files.reader import FileVersion
from imgstream.formats.header import Header
from imgstream.index import ImageIndex, scan
from imgstream.index.header_scan import scan_headers
from imgstream.index.manifest.read import read_manifest
from imgstream.index.table.file_facts import FileFacts
from imgstream.index.table.table import KINDS

SPEC = ims.SampleSpec(size=(8, 8))
MAX_PIXELS = SPEC.max_pixels
DRAWN = {  # (height, width, orientation, kind)
    "a/1.jpg": (20, 30, 6, "jpeg"),
    "a/2.png": (16, 10, 1, "png"),
    "a/3.gif": (9, 12, 1, "gif"),
    "b/4.bmp": (11, 13, 1, "bmp"),
    "b/5.webp": (14, 15, 1, "webp"),
    "b/6.tiff": (17, 8, 1, "tiff"),
    "b/7.jpg": (21, 22, 1, "png"),  # whatever its name says
}
NOTHING = (0, 0, 0, 0, 0, "", 0)
both_pipelines = pytest.mark.parametrize("pipeline", ["python", "tf"])


def draw(path: Path, height: int, width: int, orientation: int, kind: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if orientation > 1:
        exif[0x0112] = orientation
    image = Image.fromarray(np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8))
    image.save(path, kind, **({"exif": exif} if orientation > 1 else {}))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A file of each kind, and three bad ones."""
    root = tmp_path / "photos"
    for name, facts in DRAWN.items():
        draw(root / name, *facts)
    (root / "a" / "bad.jpg").write_text("<html>no image</html>")
    (root / "b" / "empty.png").touch()
    (root / "b" / "gone.jpg").symlink_to("nowhere.jpg")
    long_ago(root)
    return root


def long_ago(root: Path) -> None:
    """Let the folders be as old as those that are not listed again."""
    for folder, _, _ in os.walk(root):
        os.utime(folder, (1e9, 1e9))


def read(index: ImageIndex, pipeline: Any = "python", **more: Any) -> list[list[int]]:
    """Make a pass; the positions in each batch."""
    return [batch.positions.tolist() for batch in ims.Stream(index, SPEC, batch_size=4, pipeline=pipeline, **more).traced_batches()]


def known(index: ImageIndex) -> dict[str, tuple[Any, ...]]:
    """Path → (size, mtime, height, width, orientation, kind, state)."""
    found = index.facts_at(np.arange(len(index)))
    return {
        os.fsdecode(index.relative_bytes(i)): (*record[:5], KINDS[record[5]], record[6])  # type: ignore[index]
        for i, record in enumerate(found.tolist())
    }


def expected(root: Path) -> dict[str, tuple[Any, ...]]:
    """The same of `photos`, once all files were read."""
    facts = dict.fromkeys(("a/bad.jpg", "b/empty.png", "b/gone.jpg"), NOTHING)
    for name, drawn in DRAWN.items():
        status = (root / name).stat()
        facts[name] = (status.st_size, status.st_mtime_ns, *drawn, 1)
    return facts


@both_pipelines
def test_a_pass_finds_out_what_each_good_file_is_and_nothing_of_bad_ones(photos: Path, pipeline: str) -> None:
    index = scan(photos)
    assert set(known(index).values()) == {NOTHING}
    read(index, pipeline)
    assert known(index) == known(scan(photos)) == expected(photos)
    assert index.changed() == []


@both_pipelines
def test_of_a_selection_the_files_that_were_read_are_known(photos: Path, pipeline: str) -> None:
    index = scan(photos)
    part = index.take([5, 1])
    read(part, pipeline)
    of_all = expected(photos)
    assert known(part) == {name: of_all[name] for name in ("b/5.webp", "a/2.png")}
    assert {name for name, facts in known(index).items() if facts != NOTHING} == {"b/5.webp", "a/2.png"}


@both_pipelines
def test_a_file_that_is_overwritten_between_two_passes_has_changed_and_only_it(photos: Path, pipeline: str) -> None:
    index = scan(photos)
    for _ in range(2):
        read(index, pipeline)
        assert index.changed() == []
    draw(photos / "a" / "1.jpg", 40, 50, 1, "jpeg")
    read(index, pipeline)
    for _ in range(2):  # and it stays so, though later passes meet the file as it is now
        assert index.changed() == scan(photos).changed() == [str(photos / "a" / "1.jpg")]
        assert known(index)["a/1.jpg"][2:] == (40, 50, 1, "jpeg", 2)
        read(index, pipeline)
    assert index.take([1, 2]).changed() == []


def test_a_file_of_the_same_length_with_an_older_time_has_changed_too(photos: Path) -> None:
    index = scan(photos)
    read(index)
    os.utime(photos / "b" / "4.bmp", (1e9, 1e9))  # as cp -p from an older folder leaves it
    read(index)
    assert index.changed() == [str(photos / "b" / "4.bmp")]


def test_what_is_kept_in_the_pixel_cache_is_opened_again_only_where_it_has_changed(photos: Path, tmp_path: Path) -> None:
    index = scan(photos)
    for name in DRAWN:
        os.utime(photos / name, (1e9, 1e9))
    for _ in range(2):
        read(index, cache=tmp_path / "pixels")
    assert known(index) == expected(photos)
    draw(photos / "a" / "2.png", 33, 44, 1, "png")
    read(index, cache=tmp_path / "pixels")
    assert index.changed() == [str(photos / "a" / "2.png")]


def test_opening_all_files_takes_them_as_they_are_and_tells_how_many_had_changed(photos: Path) -> None:
    index, progress = scan(photos), list[int]()
    assert scan_headers(index, MAX_PIXELS, progress.append) == (0, [])
    assert progress == [10]
    assert known(index) == expected(photos)
    paths = [str(photos / name) for name in ("a/1.jpg", "b/4.bmp")]
    draw(photos / "a" / "1.jpg", 20, 30, 6, "jpeg")
    os.utime(photos / "a" / "1.jpg", (1e9, 1e9))
    os.utime(photos / "b" / "4.bmp", (1e9, 1e9))
    read(index.take([0]))  # one is found by a pass, the other here
    assert index.changed() == paths[:1]
    assert scan_headers(index, MAX_PIXELS) == (2, paths)
    assert index.changed() == []
    assert known(index) == expected(photos)
    assert scan_headers(index, MAX_PIXELS) == (0, [])


@pytest.mark.parametrize("place", ["auto", "photos.arrow"])
def test_facts_survive_a_refresh_and_new_files_have_none(place: str, photos: Path, tmp_path: Path) -> None:
    where = "auto" if place == "auto" else tmp_path / place
    index = scan(photos, index=where)
    read(index)
    draw(photos / "b" / "5.webp", 70, 80, 1, "webp")
    read(index)
    before = known(index)
    (photos / "b" / "4.bmp").unlink()
    for name in ("0/0.png", "a/0.png", "b/9.png"):
        draw(photos / name, 5, 6, 1, "png")
    again = scan(photos, index=where)
    assert again.changes is not None
    assert (again.changes.added, again.changes.removed) == (3, 1)
    kept = {name: facts for name, facts in before.items() if name != "b/4.bmp"}
    assert known(again) == {**kept, "0/0.png": NOTHING, "a/0.png": NOTHING, "b/9.png": NOTHING}
    assert again.changed() == [str(photos / "b" / "5.webp")]
    read(again)
    assert known(again)["0/0.png"][2:] == (5, 6, 1, "png", 1)
    assert again.changed() == [str(photos / "b" / "5.webp")]


def facts_file(cache: Path) -> Path:
    (file,) = (cache / "index").glob("*.facts")
    return file


@pytest.mark.parametrize(
    "spoil",
    [
        lambda whole: b"",
        lambda whole: whole[:-1],
        lambda whole: whole[:32],
        lambda whole: whole + bytes(32),
        lambda whole: b"x" * len(whole),
        lambda whole: whole[:12] + bytes([whole[12] ^ 1]) + whole[13:],  # of another table
        lambda whole: whole[:8] + b"\2" + whole[9:],  # of another format
    ],
)
def test_a_file_of_facts_that_is_damaged_cut_or_foreign_is_as_if_it_were_empty(
    spoil: Callable[[bytes], bytes], photos: Path, cache: Path
) -> None:
    read(scan(photos))
    file = facts_file(cache)
    file.write_bytes(spoil(file.read_bytes()))
    index = scan(photos)
    assert set(known(index).values()) == {NOTHING}
    assert index.changed() == []
    read(index)
    assert known(index) == expected(photos)
    assert index.changed() == []


def test_a_damaged_record_is_as_if_it_were_empty_and_found_out_again(photos: Path, cache: Path, tmp_path: Path) -> None:
    index = scan(photos)
    read(index)
    file, facts = facts_file(cache), expected(photos)
    whole = file.read_bytes()
    for at in range(32):
        damaged = bytearray(whole)
        damaged[32 + at] ^= 0xA5
        file.write_bytes(damaged)
        found = known(scan(photos))
        assert found == {**facts, "a/1.jpg": NOTHING}, f"byte {at}"
    again = scan(photos)
    again.save(tmp_path / "some.arrow")
    assert known(ImageIndex.load(tmp_path / "some.arrow")) == {**facts, "a/1.jpg": NOTHING}
    read(again)
    assert known(again) == facts
    assert again.changed() == []


def a_file_for_the_folder(cache: Path, patch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(cache)
    cache.write_text("a file stands where the folder should be")


def a_folder_for_the_file(cache: Path, patch: pytest.MonkeyPatch) -> None:
    (table,) = (cache / "index").glob("*.arrow")
    table.with_suffix(".facts").mkdir()


def a_full_disk(cache: Path, patch: pytest.MonkeyPatch) -> None:
    def pwrite(*_: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    patch.setattr(os, "pwrite", pwrite)


@both_pipelines
@pytest.mark.parametrize("spoil", [a_file_for_the_folder, a_folder_for_the_file, a_full_disk])
def test_where_facts_cannot_be_kept_nothing_else_suffers(
    spoil: Callable[[Path, pytest.MonkeyPatch], None], pipeline: str, photos: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = scan(photos)
    spoil(cache, monkeypatch)
    for _ in range(2):
        assert read(index, pipeline) == [[0, 1, 2], [4, 5, 6, 7], []]
        assert set(known(index).values()) == {NOTHING}
        assert index.changed() == []
    assert scan_headers(index, MAX_PIXELS) == (0, [])


def test_a_disk_that_is_full_when_a_table_is_refreshed_costs_the_facts_alone(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read(scan(photos, index="auto"))
    draw(photos / "a" / "0.png", 5, 6, 1, "png")
    with monkeypatch.context() as patch:
        a_full_disk(photos, patch)
        index = scan(photos, index="auto")
    assert len(index) == 11
    assert set(known(index).values()) == {NOTHING}


def test_a_list_of_paths_has_no_facts(photos: Path) -> None:
    index = ImageIndex.from_paths(["a/1.jpg", "b/4.bmp"], root=photos)
    read(index)
    assert index.facts is None
    assert set(known(index).values()) == {NOTHING}
    assert index.changed() == []
    assert scan_headers(index, MAX_PIXELS) == (0, [])


def test_a_saved_table_has_columns_of_what_is_known_and_load_gives_it_back(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index, file = scan(photos), tmp_path / "photos.arrow"
    index.save(file)
    columns = ["folder", "name", "label"]
    with pa.ipc.open_file(file) as reader:
        assert reader.schema.names == columns  # nothing is known yet
    assert scan_headers(index, MAX_PIXELS) == (0, [])
    index.save(file)
    with pa.ipc.open_file(file) as reader:
        table = reader.read_all()
    types = {
        "size": pa.int64(),
        "mtime": pa.int64(),
        "height": pa.uint32(),
        "width": pa.uint32(),
        "orientation": pa.uint8(),
        "kind": pa.dictionary(pa.int8(), pa.utf8()),
    }
    assert table.schema.names == [*columns, *types]
    assert {name: table.schema.field(name).type for name in types} == types
    facts = expected(photos)
    paths = [os.fsdecode(folder + name) for folder, name in zip(table["folder"].to_pylist(), table["name"].to_pylist(), strict=True)]
    rows = zip(*(table[name].to_pylist() for name in types), strict=True)
    assert dict(zip(paths, rows, strict=True)) == {name: values[:6] for name, values in facts.items()}
    for elsewhere in (False, True):  # beside the cache folder that knows it, and where nobody has ever opened a file
        if elsewhere:
            monkeypatch.setenv("IMGSTREAM_CACHE", str(tmp_path / "another cache"))
        loaded = ImageIndex.load(file)
        assert known(loaded) == facts
        assert loaded.fingerprint == index.fingerprint == scan(photos).fingerprint
        assert loaded.labels.tolist() == index.labels.tolist()
    refreshed = scan(photos, index=file)
    assert refreshed.fingerprint == index.fingerprint


def test_a_manifests_split_groups_and_weights_outlive_the_facts(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("path,label,split,group,weight\na/1.jpg,x,train,g,0.5\nb/4.bmp,y,val,h,\n")
    index, _ = read_manifest(tmp_path / "list.csv", root=photos)
    read(index)
    index.save(tmp_path / "list.arrow")
    loaded = ImageIndex.load(tmp_path / "list.arrow")
    assert loaded.fingerprint == index.fingerprint
    assert known(loaded) == {name: expected(photos)[name] for name in ("a/1.jpg", "b/4.bmp")}
    assert [part.rows.tolist() for part in loaded.split()] == [[0], [1]]
    weights = loaded.weights_at(np.arange(2))
    assert weights is not None
    assert weights.tolist() == [0.5, 1.0]
    assert loaded.table.columns["group"].tolist() == index.table.columns["group"].tolist()


def test_a_saved_selection_brings_the_facts_of_its_rows_and_gives_the_same_batches(photos: Path, tmp_path: Path) -> None:
    index = scan(photos)
    read(index)
    part = index.take([7, 0, 3])
    part.save(tmp_path / "part.arrow")
    loaded = ImageIndex.load(tmp_path / "part.arrow")
    facts = expected(photos)
    assert loaded.rows.tolist() == [7, 0, 3]
    assert known(loaded) == known(part) == {name: facts[name] for name in ("b/7.jpg", "a/1.jpg", "a/bad.jpg")}
    assert known(loaded.take([1])) == {"a/1.jpg": facts["a/1.jpg"]}
    for one, other in zip(ims.Stream(loaded, SPEC).batches(), ims.Stream(part, SPEC).batches(), strict=True):
        np.testing.assert_array_equal(one[0], other[0])
    draw(photos / "b" / "4.bmp", 50, 50, 1, "bmp")  # row 3 of the folder's table is not row 3 of the selection
    read(loaded)
    assert index.changed() == []
    assert known(index)["b/4.bmp"] == facts["b/4.bmp"]


def test_folders_with_the_same_names_are_known_apart_even_where_their_tables_lie_at_one_path(photos: Path, tmp_path: Path) -> None:
    other, file = tmp_path / "other", tmp_path / "photos.arrow"
    for name, (height, width, *rest) in DRAWN.items():
        draw(other / name, height + 1, width + 2, *rest)
    for name in ("a/bad.jpg", "b/empty.png", "b/gone.jpg"):
        (other / name).touch()
    for where in (None, "auto", file):
        first = scan(photos, index=where)
        scan_headers(first, MAX_PIXELS)
        second = scan(other, index=where)
        assert second.fingerprint == first.fingerprint
        assert set(known(second).values()) == {NOTHING}
        read(second)
        assert second.changed() == []
        assert known(second)["a/1.jpg"][2:] == (21, 32, 6, "jpeg", 1)
        assert known(first) == expected(photos)
        shutil.rmtree(os.environ["IMGSTREAM_CACHE"])


def test_threads_that_open_the_facts_at_once_all_note(tmp_path: Path) -> None:
    start = threading.Barrier(8)

    class Slow(FileFacts):
        def __setattr__(self, name: str, value: object) -> None:
            super().__setattr__(name, value)
            if name == "_mapped" and value is not None:
                time.sleep(0.05)  # the others see it now

    slow = Slow(tmp_path / "x.facts", 64, "00" * 16)

    def note(row: int) -> None:
        start.wait()
        slow.note(row, FileVersion(row + 1, 1), Header("jpeg", 8, 8, 1))

    threads = [threading.Thread(target=note, args=(row,)) for row in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert FileFacts(tmp_path / "x.facts", 64, "00" * 16).at(np.arange(8))["size"].tolist() == list(range(1, 9))
