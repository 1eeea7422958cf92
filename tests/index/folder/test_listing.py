import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgstream.index.folder.listing import ListedFolder, Listing, ListingWriter

NAME = st.binary(min_size=1, max_size=6).map(lambda name: name.translate(None, b"\0/") or b"x")
FOLDERS = st.lists(st.lists(NAME, max_size=4).map(tuple), max_size=20, unique=True).map(sorted)


def written(folders: list[tuple[bytes, int, int, int, list[bytes], dict[str, int]]], path: Path, table: str = "t") -> Listing | None:
    with ListingWriter(None) as writer:
        for folder in folders:
            writer.add(*folder)
        writer.write(path, table)
    return Listing.open(path, table)


SMALL: list[tuple[bytes, int, int, int, list[bytes], dict[str, int]]] = [
    (b"", 17, 5, 1, [b"a", b"a-b"], {}),
    (b"a/", 0, 2**64 - 1, 2, [b"x"], {".txt": 3, "": 1}),
    (b"a/x/", -5, 0, 0, [], {}),
    (b"a-b/", 2**62, 7, 4, [], {}),
]


@settings(max_examples=50)
@given(folders=FOLDERS, data=st.data())
def test_every_folder_is_found_as_it_was_and_no_other(folders: list[tuple[bytes, ...]], data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.integers(0, 2**40), min_size=len(folders), max_size=len(folders)))
    entries = [
        (b"".join(name + b"/" for name in names), 10 + i, 2**63 + i, rows[i], [b"\xff", b"b"][: i % 3], {".x": i} if i % 2 else {})
        for i, names in enumerate(folders)
    ]
    with tempfile.TemporaryDirectory() as folder:
        listing = written(entries, Path(folder) / "x.folders")
    assert listing is not None
    assert list(listing) == [entry[:3] for entry in entries]
    for i, (name, mtime, inode, count, children, others) in enumerate(entries):
        assert listing.find(name) == ListedFolder(i, mtime, inode, sum(rows[:i]), count, children, others)
        assert (listing.folder(i), listing.rows_of(i)) == (name, (sum(rows[:i]), sum(rows[: i + 1])))
    names = {entry[0] for entry in entries}
    for other in (b"none/", *(name + b"\xff/" for name in names)):
        assert (listing.find(other) is None) == (other not in names)


def test_more_folders_than_are_written_together_stay_in_order(tmp_path: Path) -> None:
    entries = [(b"", 1, 0, 0, [], {}), *((b"%05d/" % i, i + 1, 2 * i, i, [b"x"], {".a": i}) for i in range(9000))]
    listing = written(entries, tmp_path / "x.folders")
    assert listing is not None
    assert list(listing) == [entry[:3] for entry in entries]
    assert listing.find(b"08999/") == ListedFolder(9000, 9000, 2 * 8999, sum(range(8999)), 8999, [b"x"], {".a": 8999})


def test_no_listing_is_that_of_another_table(tmp_path: Path) -> None:
    assert written(SMALL, tmp_path / "x.folders") is not None
    assert Listing.open(tmp_path / "x.folders", "u") is None
    assert Listing.open(tmp_path / "y.folders", "t") is None


def test_a_listing_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    assert written(SMALL, tmp_path / "nowhere" / "x.folders") is None


@pytest.mark.parametrize("flip", [1, 16, 255])
def test_a_listing_with_one_wrong_byte_is_refused_or_says_the_same(flip: int, tmp_path: Path) -> None:
    sound = written(SMALL, tmp_path / "x.folders")
    assert sound is not None
    content = (tmp_path / "x.folders").read_bytes()
    expected = [sound.find(folder) for folder, *_ in SMALL]
    refused = 0
    for at in range(len(content)):
        damaged = bytearray(content)
        damaged[at] ^= flip
        file = tmp_path / f"{at}.folders"  # a new file: the others may be mapped
        file.write_bytes(damaged)
        listing = Listing.open(file, "t")
        file.unlink()
        refused += listing is None
        assert listing is None or [listing.find(folder) for folder, *_ in SMALL] == expected, at
    assert refused > len(content) / 3  # the rest is padding, which Arrow's files have much of


def test_a_listing_that_was_cut_short_is_refused(tmp_path: Path) -> None:
    assert written(SMALL, tmp_path / "x.folders") is not None
    content = (tmp_path / "x.folders").read_bytes()
    for length in range(0, len(content), 16):
        (tmp_path / "cut.folders").unlink(missing_ok=True)
        (tmp_path / "cut.folders").write_bytes(content[:length])
        assert Listing.open(tmp_path / "cut.folders", "t") is None


def test_other_files_are_kept_as_json(tmp_path: Path) -> None:
    listing = written([(b"", 1, 0, 0, [], {".é\\xff": 2})], tmp_path / "x.folders")
    assert listing is not None
    found = listing.find(b"")
    assert found is not None
    assert json.loads(json.dumps(found.others)) == {".é\\xff": 2}
