"""The pixel cache by value: what was kept comes back to the byte, or not at all; never more than allowed; nothing else is touched."""

from __future__ import annotations

import errno
import gc
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgstream.cache import PixelCache
from imgstream.errors import CacheWarning, OutputError, SpecError
from imgstream.files.reader import FileVersion

FORM = {"kept": "samples", "size": [4, 5]}
OLD = FileVersion(1000, 1_600_000_000_123_456_789)
DAY = 24 * 3600
SMALL = 20_000
"""A limit in bytes: a shard of all of it, for arrays of a quarter of that and less."""


def drawn(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(1, 256, shape or (4, 5, 3), np.uint8)


def name(number: int) -> bytes:
    return b"/photos/%d.jpg" % number


def fill(cache: PixelCache, numbers: range, *shape: int) -> None:
    store = cache.store(FORM)
    for number in numbers:
        store.add(name(number), OLD, drawn(number, *shape))


def kept(cache: PixelCache, numbers: range, *shape: int) -> list[int]:
    """Which of the numbered arrays a cache finds. What it finds is what was added."""
    store = cache.store(FORM)
    found = [number for number in numbers if store.find(name(number), OLD) is not None]
    for number in found:
        np.testing.assert_array_equal(store.find(name(number), OLD), drawn(number, *shape))
    return found


def apparent(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*/*.pixels"))


def only(folder: Path, pattern: str) -> Path:
    (path,) = folder.glob(pattern)
    return path


def python(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Another process that has run the lines above `code`."""
    lines = (
        "import sys, time, numpy as np\n"
        "from imgstream.cache import PixelCache\n"
        "from imgstream.files.reader import FileVersion\n"
        f"FORM, OLD = {FORM!r}, FileVersion(*{tuple(OLD)!r})\n"
        "def drawn(seed, *shape):\n"
        "    return np.random.default_rng(seed).integers(1, 256, shape or (4, 5, 3), np.uint8)\n"
    )
    command = [sys.executable, "-c", lines + code, *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def run(code: str, *arguments: object) -> None:
    process = python(code, *arguments)
    process.communicate(timeout=60)
    assert process.returncode == 0


# ---- what was kept is found


@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3])), path=st.binary(min_size=1), seed=st.integers(0, 99)
)
def test_what_was_added_is_found_by_a_later_handle_pixel_for_pixel(
    tmp_path_factory: pytest.TempPathFactory, shape: tuple[int, int, int], path: bytes, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("cache")
    PixelCache(folder).store(FORM).add(path, OLD, drawn(seed, *shape))
    found = PixelCache(folder).store(FORM).find(path, OLD)
    assert found is not None
    assert (found.dtype, found.flags.writeable) == (np.uint8, False)
    np.testing.assert_array_equal(found, drawn(seed, *shape))


@pytest.mark.parametrize("version", [OLD, FileVersion(0, 0), FileVersion(2**40, -1), FileVersion(3, -(2**62)), FileVersion(3, 2**62)])
def test_any_version_of_a_file_is_told_from_its_neighbours(tmp_path: Path, version: FileVersion) -> None:
    PixelCache(tmp_path).store(FORM).add(b"a", version, drawn(1))
    store = PixelCache(tmp_path).store(FORM)
    np.testing.assert_array_equal(store.find(b"a", version), drawn(1))
    assert store.find(b"a", version._replace(size=version.size + 1)) is None
    assert store.find(b"a", version._replace(modified=version.modified + 1)) is None
    assert store.find(b"b", version) is None
    assert store.find(b"", version) is None


def test_what_another_process_added_is_found_and_the_other_way_round(tmp_path: Path) -> None:
    fill(PixelCache(tmp_path), range(3))
    code = (
        "store = PixelCache(sys.argv[1]).store(FORM)\n"
        "assert all(np.array_equal(store.find(b'/photos/%d.jpg' % i, OLD), drawn(i)) for i in range(3))\n"
        "for i in range(3, 6): store.add(b'/photos/%d.jpg' % i, OLD, drawn(i))\n"
    )
    run(code, tmp_path)
    assert kept(PixelCache(tmp_path), range(9)) == [0, 1, 2, 3, 4, 5]


def test_a_changed_file_is_kept_anew_beside_its_older_self(tmp_path: Path) -> None:
    newer = OLD._replace(modified=OLD.modified + 1)
    store = PixelCache(tmp_path).store(FORM)
    store.add(b"a", OLD, drawn(1))
    store.add(b"a", newer, drawn(2, 7, 2, 3))
    for cache in (PixelCache(tmp_path), PixelCache(tmp_path)):
        np.testing.assert_array_equal(cache.store(FORM).find(b"a", OLD), drawn(1))
        np.testing.assert_array_equal(cache.store(FORM).find(b"a", newer), drawn(2, 7, 2, 3))


@pytest.mark.parametrize("other", [{"kept": "images"}, {"size": [5, 4]}, {"fit": "pad"}])
def test_one_form_never_meets_anothers_pixels(tmp_path: Path, other: dict[str, object]) -> None:
    cache = PixelCache(tmp_path)
    cache.store(FORM).add(b"a", OLD, drawn(1))
    cache.store({**FORM, **other}).add(b"a", OLD, drawn(2))
    again = PixelCache(tmp_path)
    np.testing.assert_array_equal(again.store(FORM).find(b"a", OLD), drawn(1))
    np.testing.assert_array_equal(again.store({**FORM, **other}).find(b"a", OLD), drawn(2))
    assert again.store({**FORM, **other, "channels": 1}).find(b"a", OLD) is None


@pytest.mark.parametrize("seconds", [-1, 0, 1])
def test_a_file_that_may_be_written_again_within_its_clocks_tick_is_not_kept(tmp_path: Path, seconds: int) -> None:
    now, settled = (FileVersion(9, time.time_ns() + ago * 10**9) for ago in (seconds, -60))
    store = PixelCache(tmp_path).store(FORM)
    store.add(b"young", now, drawn(1))
    store.add(b"settled", settled, drawn(2))
    store.refresh()
    assert store.find(b"young", now) is None
    assert store.find(b"settled", settled) is not None


def test_what_is_added_is_seen_from_the_next_refresh_on(tmp_path: Path) -> None:
    one, other = PixelCache(tmp_path), PixelCache(tmp_path)
    assert kept(other, range(4)) == []
    fill(one, range(2))
    assert kept(other, range(4)) == []
    other.store(FORM).refresh()
    assert kept(other, range(4)) == [0, 1]
    fill(one, range(2, 4))
    other.store(FORM).refresh()
    assert kept(other, range(4)) == [0, 1, 2, 3]
    assert len(other.store(FORM)) == 4


def test_a_cache_travels_to_another_process_by_its_settings(tmp_path: Path) -> None:
    cache = pickle.loads(pickle.dumps(PixelCache(tmp_path, limit=12345, size=(30, 40))))
    assert (cache.folder, cache.limit, cache.size) == (tmp_path, 12345, (30, 40))
    fill(cache, range(1))
    assert kept(pickle.loads(pickle.dumps(cache)), range(2)) == [0]


def test_without_a_folder_it_is_the_users_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("IMGSTREAM_CACHE", str(tmp_path / "mine"))
    fill(PixelCache(), range(2))
    assert kept(PixelCache(tmp_path / "mine" / "pixels"), range(2)) == [0, 1]


def test_a_limit_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="1 or more; got 0"):
        PixelCache(tmp_path, limit=0)


# ---- what is damaged is never served, and never an error


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """The records and the pixels of a shard with arrays 0, 1 and 2."""
    folder = tmp_path_factory.mktemp("three")
    cache = PixelCache(folder, SMALL)
    fill(cache, range(3))
    del cache
    gc.collect()
    return only(folder, "*/*.rows").read_bytes(), only(folder, "*/*.pixels").read_bytes()


def with_shard(folder: Path, rows: bytes | None, pixels: bytes | None) -> Path:
    """A cache folder with this shard in the store of FORM."""
    PixelCache(folder).store(FORM)
    store = only(folder, "*/form.json").parent
    for data, suffix in ((rows, "rows"), (pixels, "pixels")):
        if data is not None:
            (store / f"0123456789ab.{suffix}").write_bytes(data)
    return folder


def goes_on(folder: Path, found: list[int]) -> bool:
    """These arrays are found, nothing else is, and what is added now is found too, with those."""
    ok = kept(PixelCache(folder, SMALL), range(3)) == found
    cache = PixelCache(folder, SMALL)
    fill(cache, range(10, 15))
    again = PixelCache(folder, SMALL)
    return ok and kept(again, range(3)) == found and kept(again, range(10, 15)) == [10, 11, 12, 13, 14] and apparent(folder) <= SMALL


def flipped(data: bytes, at: int, mask: int) -> bytes:
    return data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]


masks = st.integers(1, 255)


@given(at=st.integers(0, 3 * 64 - 1), mask=masks)
def test_a_record_with_a_damaged_byte_is_as_if_it_were_not_there(
    tmp_path_factory: pytest.TempPathFactory, three: tuple[bytes, bytes], at: int, mask: int
) -> None:
    rows, pixels = three
    folder = with_shard(tmp_path_factory.mktemp("cache"), flipped(rows, at, mask), pixels)
    assert goes_on(folder, [i for i in range(3) if i != at // 64])


@given(at=st.integers(0, 2 * 64 + 60 - 1), mask=masks)
def test_an_array_with_a_damaged_byte_is_not_served(
    tmp_path_factory: pytest.TempPathFactory, three: tuple[bytes, bytes], at: int, mask: int
) -> None:
    rows, pixels = three  # 60 bytes each, at 0, 64 and 128
    folder = with_shard(tmp_path_factory.mktemp("cache"), rows, flipped(pixels, at, mask))
    assert goes_on(folder, [i for i in range(3) if i != at // 64 or at % 64 >= 60])


@given(length=st.integers(0, 3 * 64))
def test_records_that_were_cut_short_leave_those_before(
    tmp_path_factory: pytest.TempPathFactory, three: tuple[bytes, bytes], length: int
) -> None:
    rows, pixels = three
    folder = with_shard(tmp_path_factory.mktemp("cache"), rows[:length], pixels)
    assert goes_on(folder, list(range(length // 64)))


@given(length=st.integers(0, 2 * 64 + 60))
def test_pixels_that_were_cut_short_leave_those_before(
    tmp_path_factory: pytest.TempPathFactory, three: tuple[bytes, bytes], length: int
) -> None:
    rows, pixels = three
    folder = with_shard(tmp_path_factory.mktemp("cache"), rows, pixels[:length])
    assert goes_on(folder, [i for i in range(3) if 64 * i + 60 <= length])


@given(data=st.binary(max_size=300))
def test_any_bytes_for_records_serve_nothing(tmp_path_factory: pytest.TempPathFactory, three: tuple[bytes, bytes], data: bytes) -> None:
    assert goes_on(with_shard(tmp_path_factory.mktemp("cache"), data, three[1]), [])


def test_pages_that_were_never_written_are_not_served(tmp_path: Path, three: tuple[bytes, bytes]) -> None:
    rows, pixels = three
    assert goes_on(with_shard(tmp_path / "all", rows, bytes(len(pixels))), [])
    assert goes_on(with_shard(tmp_path / "half", rows, pixels[:64] + bytes(len(pixels) - 64)), [0])


def test_an_image_that_is_black_is_kept_like_any_other(tmp_path: Path) -> None:
    PixelCache(tmp_path).store(FORM).add(b"night", OLD, np.zeros((4, 5, 3), np.uint8))
    found = PixelCache(tmp_path).store(FORM).find(b"night", OLD)
    assert found is not None
    assert not found.any()


def test_a_shard_without_its_pixels_or_its_records_serves_nothing(tmp_path: Path, three: tuple[bytes, bytes]) -> None:
    rows, pixels = three
    assert goes_on(with_shard(tmp_path / "rows", rows, None), [])
    assert goes_on(with_shard(tmp_path / "pixels", None, pixels), [])
    assert goes_on(with_shard(tmp_path / "neither", None, None), [])


def test_other_files_in_the_folder_do_no_harm(tmp_path: Path, three: tuple[bytes, bytes]) -> None:
    folder = with_shard(tmp_path, *three)
    store = only(folder, "*/form.json").parent
    store.joinpath("form.json").write_text("{no JSON")
    store.joinpath("notes.rows").write_text("mine")
    store.joinpath("a folder.rows").mkdir()
    folder.joinpath("notes.txt").write_text("mine")
    folder.joinpath("photos").mkdir()
    if hasattr(os, "mkfifo"):
        os.mkfifo(store / "pipe.rows")
    assert goes_on(folder, [0, 1, 2])
    assert store.joinpath("notes.rows").read_text() == "mine"
    assert PixelCache(folder).held() == []  # nobody knows any more of what


def test_what_a_reader_has_mapped_stays_when_the_cache_is_cleared(tmp_path: Path) -> None:
    fill(PixelCache(tmp_path), range(3))
    cache = PixelCache(tmp_path)
    held = cache.store(FORM).find(name(1), OLD)
    PixelCache(tmp_path).clear()
    np.testing.assert_array_equal(held, drawn(1))
    for _ in range(2):
        assert kept(cache, range(3)) in ([1], [0, 1, 2])
        cache.store(FORM).refresh()
    assert kept(PixelCache(tmp_path), range(3)) == []


# ---- the limit


def test_never_more_is_kept_than_the_limit_and_what_is_kept_stays(tmp_path: Path) -> None:
    cache = PixelCache(tmp_path, SMALL)
    with pytest.warns(CacheWarning, match="has reached its limit") as told:
        sizes = [apparent(tmp_path) for number in range(60) if fill(cache, range(number, number + 1), 10, 20, 3) is None]
    assert len(told) == 1
    assert max(sizes) <= SMALL
    first = kept(PixelCache(tmp_path), range(60), 10, 20, 3)
    assert first == list(range(len(first)))
    assert SMALL * 0.7 < 600 * len(first) <= SMALL
    again = PixelCache(tmp_path, SMALL)
    with pytest.warns(CacheWarning):
        fill(again, range(100, 160), 10, 20, 3)
    assert kept(PixelCache(tmp_path), range(60), 10, 20, 3) == first
    assert apparent(tmp_path) <= SMALL


@pytest.mark.parametrize("limit", [1, 5, 63, 599])
def test_a_limit_below_one_image_keeps_none(tmp_path: Path, limit: int) -> None:
    cache = PixelCache(tmp_path, limit)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CacheWarning)
        fill(cache, range(3), 10, 20, 3)
    assert kept(PixelCache(tmp_path), range(3)) == []
    assert apparent(tmp_path) <= limit


def test_room_that_was_not_used_is_given_back_and_used_by_the_next(tmp_path: Path) -> None:
    cache = PixelCache(tmp_path, SMALL)
    fill(cache, range(3))
    assert apparent(tmp_path) == SMALL  # reserved: nobody else may count on it
    del cache
    gc.collect()
    assert apparent(tmp_path) == 2 * 64 + 60
    later = PixelCache(tmp_path, SMALL)
    fill(later, range(3, 6))
    assert len(list(tmp_path.glob("*/*.rows"))) == 1
    assert kept(PixelCache(tmp_path), range(9)) == [0, 1, 2, 3, 4, 5]


def test_a_process_that_ends_gives_back_what_it_did_not_use(tmp_path: Path) -> None:
    code = "cache = PixelCache(sys.argv[1], 20000); cache.store(FORM).add(b'/photos/0.jpg', OLD, drawn(0))"
    run(code, tmp_path)
    assert apparent(tmp_path) == 60


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_the_shard_of_a_killed_process_is_gone_on_with(tmp_path: Path) -> None:
    code = (
        "store = PixelCache(sys.argv[1], 20000).store(FORM)\n"
        "for i in range(3): store.add(b'/photos/%d.jpg' % i, OLD, drawn(i))\n"
        "print('filled', flush=True); time.sleep(60)"
    )
    process = python(code, tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "filled\n"
    with pytest.warns(CacheWarning, match="limit"):  # for as long as it lives, all the room is its own
        fill(PixelCache(tmp_path, SMALL), range(3, 6))
    process.kill()
    process.communicate()
    rows = only(tmp_path, "*/*.rows")
    rows.write_bytes(rows.read_bytes() + b"half a record")
    cache = PixelCache(tmp_path, SMALL)
    fill(cache, range(3, 6))
    assert kept(PixelCache(tmp_path), range(9)) == [0, 1, 2, 3, 4, 5]
    assert len(list(tmp_path.glob("*/*.rows"))) == 1
    assert apparent(tmp_path) <= SMALL


def test_two_handles_that_write_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    caches = [PixelCache(tmp_path), PixelCache(tmp_path)]
    parts = [range(first, first + 50) for first in range(0, 400, 50)]
    threads = [threading.Thread(target=fill, args=(caches[i % 2], part)) for i, part in enumerate(parts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kept(PixelCache(tmp_path), range(400)) == list(range(400))
    assert len(list(tmp_path.glob("*/*.rows"))) == 2


def test_two_processes_that_write_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    code = (
        "store, first = PixelCache(sys.argv[1]).store(FORM), int(sys.argv[2])\n"
        "print('here', flush=True); sys.stdin.readline()\n"
        "for i in range(first, first + 200): store.add(b'/photos/%d.jpg' % i, OLD, drawn(i))"
    )
    processes = [python(code, tmp_path, first) for first in (0, 200)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    fill(PixelCache(tmp_path), range(400, 500))
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert kept(PixelCache(tmp_path), range(500)) == list(range(500))


@pytest.mark.parametrize(("hours", "replaced"), [(25, True), (23, False)])
def test_what_nobody_used_for_a_day_makes_room_for_others(tmp_path: Path, hours: int, replaced: bool) -> None:
    cache = PixelCache(tmp_path, SMALL)
    with pytest.warns(CacheWarning):
        fill(cache, range(60), 10, 20, 3)
    del cache
    gc.collect()
    rows = only(tmp_path, "*/*.rows")
    before = time.time() - hours * 3600
    os.utime(rows, (before, before))
    other = PixelCache(tmp_path, SMALL).store({"kept": "others"})
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        other.add(b"new", OLD, drawn(7))
    other.refresh()
    assert (other.find(b"new", OLD) is not None) == replaced
    assert rows.exists() != replaced
    assert len(told) == (not replaced)
    assert apparent(tmp_path) <= SMALL


def test_a_pass_that_looks_is_a_use(tmp_path: Path) -> None:
    fill(PixelCache(tmp_path, SMALL), range(3))
    rows = only(tmp_path, "*/*.rows")
    os.utime(rows, (time.time() - 3 * DAY,) * 2)
    PixelCache(tmp_path).store(FORM).refresh()
    assert time.time() - rows.stat().st_mtime < DAY


# ---- a disk that refuses


@pytest.mark.skipif(not hasattr(os, "pwrite"), reason="no pwrite here")
def test_a_full_disk_is_told_once_and_what_is_kept_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, calls = os.pwrite, []

    def full(descriptor: int, data: memoryview, at: int) -> int:
        calls.append(at)
        if len(calls) > 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[:40], at)  # an array takes two: a write may do less than it was asked for

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.warns(CacheWarning, match="cannot grow.*No space") as told:
        fill(PixelCache(tmp_path), range(9))
    assert len(told) == 1
    monkeypatch.undo()
    assert kept(PixelCache(tmp_path), range(9)) == [0, 1]
    fill(PixelCache(tmp_path), range(2, 9))
    assert kept(PixelCache(tmp_path), range(9)) == list(range(9))


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path / "file", tmp_path / "file" / "cache"):
        with pytest.raises(OutputError, match="file") as caught:
            PixelCache(folder).store(FORM)
        assert repr(str(folder)) in str(caught.value)


@pytest.fixture
def sealed(tmp_path: Path) -> Iterator[Path]:
    """A folder that may be read and not written to."""
    if not hasattr(os, "geteuid") or os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    folder = tmp_path / "sealed"
    fill(PixelCache(folder), range(2))
    gc.collect()
    for path in (only(folder, "*/form.json").parent, folder):
        path.chmod(0o500)
    yield folder
    for path in (folder, only(folder, "*/form.json").parent):
        path.chmod(0o700)


def test_a_folder_that_may_not_be_written_to_is_read_and_named_where_it_must_be_written_to(sealed: Path) -> None:
    assert kept(PixelCache(sealed), range(3)) == [0, 1]
    with pytest.raises(OutputError, match="sealed"):
        PixelCache(sealed).store({"kept": "others"})


# ---- held and clear


def test_held_tells_forms_images_bytes_and_when_they_were_used(tmp_path: Path) -> None:
    assert PixelCache(tmp_path / "nothing").held() == []
    cache = PixelCache(tmp_path)
    fill(cache, range(3))
    cache.store({"kept": "images"}).add(b"a", OLD, drawn(1, 60, 60, 3))
    os.utime(only(tmp_path, f"{cache.store(FORM)._folder.name}/*.rows"), (1000.0, 1000.0))
    images, samples = cache.held()
    assert (images.form["kept"], images.images, samples.images, samples.used) == ("images", 1, 3, 1000.0)
    assert FORM.items() <= samples.form.items()
    assert images.used >= time.time() - 600
    assert 60 * 60 * 3 <= images.bytes < 1e6  # a reservation takes no space on disk


def test_clear_removes_what_the_cache_made_and_nothing_else(tmp_path: Path) -> None:
    cache = PixelCache(tmp_path)
    fill(cache, range(3))
    store = only(tmp_path, "*/form.json").parent
    mine = [tmp_path / "notes.txt", tmp_path / "lock", store / "notes.txt", store / "notes.rows", store / "notes.pixels"]
    (tmp_path / "survey").mkdir()
    mine += [tmp_path / "survey" / file for file in ("form.json", "a.pixels", "a.rows", "0123456789ab.pixels")]
    for path in mine:
        path.write_text(json.dumps({"kept": "mine"}))
    assert cache.clear() > 0
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(mine)
    assert all(path.read_text() == '{"kept": "mine"}' for path in mine)
    assert cache.held() == []
    assert cache.clear() == 0


def test_a_cleared_folder_is_gone_and_can_be_filled_again(tmp_path: Path) -> None:
    fill(PixelCache(tmp_path), range(3))
    gc.collect()
    assert PixelCache(tmp_path).clear() > 0
    assert list(tmp_path.rglob("*.rows")) == []
    fill(PixelCache(tmp_path), range(2))
    assert kept(PixelCache(tmp_path), range(3)) == [0, 1]


def test_files_of_the_users_are_never_removed_to_make_room(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    mine = tmp_path / "mine" / "brush.pixels"
    mine.write_bytes(bytes(SMALL))
    cache = PixelCache(tmp_path, SMALL)
    fill(cache, range(3))
    assert mine.exists()
    assert kept(PixelCache(tmp_path), range(3)) == [0, 1, 2]
