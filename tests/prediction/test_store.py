from __future__ import annotations

import contextlib
import errno
import os
import random
import sqlite3
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imgstream.errors import BadImage, ImgstreamError, OutputError, RunError
from imgstream.index import ImageIndex
from imgstream.prediction import store as store_module
from imgstream.prediction.job import merge_stores
from imgstream.prediction.store import FORMAT_VERSION, RANK, Plan, PredictionStore, described, store_path

CLASSES = ["cat", "dog", "eel"]
IDENTITY: dict[str, Any] = {"runs": ["a-run"], "tta": None}


def index_of(n: int, prefix: str = "") -> ImageIndex:
    """Of files that are not there: their version is not known, and stays so."""
    return ImageIndex.from_paths([f"{prefix}{i:04}.jpg" for i in range(n)], root="/no/such/folder")


def ranks_of(positions: np.ndarray) -> np.ndarray:
    ranked = np.zeros((len(positions), 2), RANK)
    ranked["label"] = np.stack([positions % 3, (positions + 1) % 3], axis=1)
    ranked["score"] = [0.75, 0.25]
    return ranked


def fill(store: PredictionStore, index: ImageIndex, *, most: int = 10**9, size: int = 8) -> Plan:
    """Plan, and record so many batches; the file at each position that 10 divides is bad."""
    plan = store.plan(index, size)
    for number, positions in list(store.batches())[:most]:
        bad = [(int(p), BadImage("corrupt", "broken")) for p in positions if p % 10 == 0]
        good = positions[positions % 10 != 0]
        store.record(number, bad, good, ranks_of(good))
    return plan


def labels(store: PredictionStore) -> list[str | None]:
    return [row.label for row in store.results(CLASSES)]


def expected(n: int) -> list[str | None]:
    return [None if i % 10 == 0 else CLASSES[i % 3] for i in range(n)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "out.csv.store"


@pytest.fixture
def filled(path: Path) -> Path:
    """A finished store of 300 rows."""
    with PredictionStore(path, IDENTITY, ranks=2) as store:
        fill(store, index_of(300))
    return path


def test_the_tables_are_these(path: Path) -> None:
    """Format 1, by value."""
    with PredictionStore(path, IDENTITY, ranks=2) as store:
        fill(store, index_of(12), most=1)
    with contextlib.closing(sqlite3.connect(path)) as database:
        meta = dict(database.execute("SELECT key, value FROM meta"))
        columns = [name for _, name, *_ in database.execute("PRAGMA table_info(rows)")]
        rows = database.execute("SELECT * FROM rows ORDER BY position").fetchall()
    assert FORMAT_VERSION == 1
    assert set(meta) == {"format", "identity", "ranks", "planned", "shard", "root"}
    assert meta["format"] == "1"
    assert meta["identity"] == '{"runs": ["a-run"], "tta": null}'
    assert columns == ["path", "copy", "position", "size", "mtime", "batch", "place", "error", "scores"]
    scores = bytes.fromhex("010000000000403f020000000000803e")
    assert rows[0] == (b"0000.jpg", 0, 0, -1, -1, 0, 0, "corrupt: broken", None)
    assert rows[1] == (b"0001.jpg", 0, 1, -1, -1, 0, 1, None, scores + zlib.crc32(scores).to_bytes(4, "little"))
    assert rows[9] == (b"0009.jpg", 0, 9, -1, -1, 1, 1, None, None)


def test_sizes_and_times_are_the_files_own(tmp_path: Path, path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"12345")
    os.utime(tmp_path / "a.jpg", ns=(1, 1_234_567_890_123_456_789))
    with PredictionStore(path, IDENTITY, ranks=2) as store:
        store.plan(ImageIndex.from_paths(["a.jpg"], root=tmp_path), 8)
    with contextlib.closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT size, mtime FROM rows").fetchall() == [(5, 1_234_567_890_123_456_789)]


def test_what_is_set_is_kept(path: Path) -> None:
    with PredictionStore(path, IDENTITY, ranks=2) as store:
        assert store.get("colour") is None
        store.set("colour", ["green", "\udcff"])
        store.set("colour", ["blue", "\udcff"])
    with PredictionStore(path, IDENTITY, ranks=2) as store:
        assert store.get("colour") == ["blue", "\udcff"]


def test_batches_are_planned_once_and_stay(path: Path) -> None:
    with PredictionStore(path, IDENTITY, ranks=2) as store:
        assert fill(store, index_of(20), most=1) == Plan(20, 20, 20, 0, 0)
        assert [(n, p.tolist()) for n, p in store.batches()] == [(1, list(range(8, 16))), (2, list(range(16, 20)))]
        more = ImageIndex.from_paths(["!.jpg", *(f"{i:04}.jpg" for i in range(20)), "~.jpg"], root="/no/such/folder")
        assert store.plan(more, 8) == Plan(22, 14, 2, 0, 0)
        assert [(n, p.tolist()) for n, p in store.batches()] == [(1, list(range(9, 17))), (2, list(range(17, 21))), (3, [0, 21])]
        assert store.counts() == (22, 7, 1)


def test_a_planned_batch_that_lost_a_file_is_planned_anew_and_others_stay(path: Path) -> None:
    with PredictionStore(path, IDENTITY, ranks=2) as store:
        fill(store, index_of(32), most=1)
        fewer = ImageIndex.from_paths([f"{i:04}.jpg" for i in range(32) if i not in (1, 9)], root="/no/such/folder")
        assert store.plan(fewer, 8) == Plan(30, 23, 0, 0, 2)
        assert [(n, p.tolist()) for n, p in store.batches()] == [
            (2, list(range(14, 22))),
            (3, list(range(22, 30))),
            (4, list(range(7, 14))),
        ]


def test_a_plan_that_is_interrupted_was_never_made(path: Path) -> None:
    with PredictionStore(path, IDENTITY, ranks=2) as store:
        fill(store, index_of(20))

        def interrupt(done: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            store.plan(index_of(50, "other"), 8, progress=interrupt)
        assert labels(store) == expected(20)
        assert store.plan(index_of(20), 8) == Plan(20, 0, 0, 0, 0)


def test_a_batch_that_cannot_be_recorded_whole_is_not_recorded(path: Path) -> None:
    with PredictionStore(path, IDENTITY, ranks=2) as store:
        store.plan(index_of(8), 8)
        with pytest.raises(ValueError, match="zip"):
            store.record(0, [(0, BadImage("corrupt", "broken"))], np.arange(1, 8), ranks_of(np.arange(1, 7)))
        assert store.counts() == (8, 0, 0)


@pytest.mark.slow
def test_a_list_with_a_path_very_many_times_is_planned(path: Path) -> None:
    """Each repetition is a row, and they are not compared with each other one by one: that would take hours."""
    with PredictionStore(path, IDENTITY, ranks=2) as store:
        assert store.plan(ImageIndex.from_paths([b"same.jpg"] * 60_000), 128).added == 60_000
        assert store.plan(ImageIndex.from_paths([b"same.jpg"] * 59_999), 128).removed == 1


def test_a_store_that_was_deleted_begins_anew(filled: Path) -> None:
    filled.unlink()
    with PredictionStore(filled, IDENTITY, ranks=2) as store:
        assert fill(store, index_of(300)) == Plan(300, 300, 300, 0, 0)


_KILLED = """
import os, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_store import IDENTITY, PredictionStore, fill, index_of
store = PredictionStore(Path({path!r}), IDENTITY, ranks=2)
fill(store, index_of(20), most=1)
os.kill(os.getpid(), 9)
"""


def test_a_store_that_was_deleted_after_a_kill_is_not_haunted_by_its_log(path: Path) -> None:
    code = _KILLED.format(tests=str(Path(__file__).parent), path=str(path))
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert Path(f"{path}-wal").stat().st_size > 0
    path.unlink()
    with PredictionStore(path, IDENTITY, ranks=2) as store:
        assert store.counts() == (0, 0, 0)
        fill(store, index_of(30))
        assert labels(store) == expected(30)


@pytest.mark.parametrize("journal", ["WAL", "DELETE"])
def test_a_process_that_was_killed_before_there_were_tables_left_nothing_in_the_way(path: Path, journal: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA journal_mode = {journal}")
    with PredictionStore(path, IDENTITY, ranks=2) as store:
        fill(store, index_of(10))
        assert labels(store) == expected(10)


def damaged(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "not a database":
        data = bytearray(b"hello, world. " * 1000)
    elif how == "half of it":
        del data[len(data) // 2 :]
    elif how == "its end":
        del data[-1000:]
    elif how == "zeros inside":
        data[4096 : 4096 * 4] = bytes(4096 * 3)
    elif how == "its head":
        data[:16] = bytes(16)
    path.write_bytes(data)


@pytest.mark.parametrize("how", ["not a database", "half of it", "its end", "zeros inside", "its head"])
def test_a_damaged_store_is_told_and_left_and_fresh_begins_anew(filled: Path, how: str) -> None:
    damaged(filled, how)
    left = filled.read_bytes()
    with pytest.raises(RunError, match=r"out\.csv\.store is damaged .*--fresh starts anew") as told:
        PredictionStore(filled, IDENTITY, ranks=2)
    assert "\n" not in str(told.value)
    with pytest.raises(RunError, match="is damaged"):
        described(filled)
    assert filled.read_bytes() == left
    with PredictionStore(filled, IDENTITY, ranks=2, fresh=True) as store:
        assert fill(store, index_of(20)).added == 20
        assert labels(store) == expected(20)


@pytest.mark.parametrize("seed", range(8))
def test_a_store_with_some_flipped_bits_gives_an_error_or_what_is_right(filled: Path, tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    whole, index = filled.read_bytes(), index_of(300)
    for _ in range(12):
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        filled.write_bytes(data)
        for suffix in ("-wal", "-shm"):
            Path(f"{filled}{suffix}").unlink(missing_ok=True)
        with contextlib.suppress(ImgstreamError), PredictionStore(filled, IDENTITY, ranks=2) as store:
            fill(store, index)
            rows = list(store.results(CLASSES))
            assert [row.path_bytes for row in rows] == [index.relative_bytes(i) for i in range(300)]
            assert [row.ranked for row in rows] == [
                [] if i % 10 == 0 else [(CLASSES[i % 3], 0.75), (CLASSES[(i + 1) % 3], 0.25)] for i in range(300)
            ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("UPDATE meta SET value = '2' WHERE key = 'format'", "has format 2; this imgstream reads format 1. --fresh starts anew"),
        ("DELETE FROM meta WHERE key = 'format'", "has format None"),
        ("UPDATE meta SET value = '{' WHERE key = 'identity'", "is damaged .a value that is no JSON"),
        ("UPDATE meta SET value = '[]' WHERE key = 'identity'", "holds predictions of something else: it does not say of what"),
        ("DELETE FROM meta WHERE key = 'ranks'", "keeps the 0 best classes"),
        ("DROP TABLE meta", "is damaged .no such table: meta"),
    ],
)
def test_a_store_that_is_not_understood_says_why(filled: Path, change: str, words: str) -> None:
    with contextlib.closing(sqlite3.connect(filled)) as database, database:
        database.execute(change)
    with pytest.raises(RunError, match=words) as told:
        PredictionStore(filled, IDENTITY, ranks=2)
    assert "--fresh" in str(told.value)


def test_another_database_is_not_taken_for_a_store(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE places (url TEXT)")
    with pytest.raises(RunError, match="is damaged"):
        PredictionStore(path, IDENTITY, ranks=2)


@pytest.mark.parametrize("local", [True, False])
def test_a_store_is_one_process_own(path: Path, monkeypatch: pytest.MonkeyPatch, local: bool) -> None:
    monkeypatch.setattr(store_module, "is_local", lambda _: local)
    with PredictionStore(path, IDENTITY, ranks=2) as store:
        store.plan(index_of(10), 8)
        for attempt in (
            lambda: PredictionStore(path, IDENTITY, ranks=2),
            lambda: PredictionStore(path, IDENTITY, ranks=2, fresh=True),
            lambda: described(path),
            lambda: merge_stores([path], path.with_name("all.csv.store")),
        ):
            with pytest.raises(OutputError, match=r"is in use: another process predicts into it. Wait for it, or choose another -o"):
                attempt()
        fill(store, index_of(10))
    with PredictionStore(path, IDENTITY, ranks=2) as store:
        assert labels(store) == expected(10)


@pytest.mark.parametrize(("local", "journal"), [(True, "wal"), (False, "delete")])
def test_a_network_disk_gets_a_rollback_journal(path: Path, monkeypatch: pytest.MonkeyPatch, local: bool, journal: str) -> None:
    monkeypatch.setattr(store_module, "is_local", lambda _: local)
    with PredictionStore(path, IDENTITY, ranks=2) as store:
        fill(store, index_of(100), most=3)
        assert Path(f"{path}-wal").exists() == local
    with contextlib.closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == (journal,)
    with PredictionStore(path, IDENTITY, ranks=2) as store:
        fill(store, index_of(100))
        assert labels(store) == expected(100)
    monkeypatch.setattr(store_module, "is_local", lambda _: not local)  # it was copied to the other kind of disk
    with PredictionStore(path, IDENTITY, ranks=2) as store:
        assert labels(store) == expected(100)


def test_a_closed_store_is_one_file(filled: Path) -> None:
    assert os.listdir(filled.parent) == [filled.name]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", folder], check=False).returncode:
        pytest.skip("only root can mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill_up(file: Path) -> None:
    """Until there is no space left."""
    with contextlib.suppress(OSError), file.open("wb", 0) as other:
        while other.write(bytes(4096)):
            pass


@pytest.mark.parametrize("local", [True, False])
def test_on_a_full_disk_what_was_recorded_stays_and_with_space_it_goes_on(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch, local: bool
) -> None:
    monkeypatch.setattr(store_module, "is_local", lambda _: local)
    path, index = small_disk / "out.csv.store", index_of(800)
    with PredictionStore(path, IDENTITY, ranks=2) as store:
        fill(store, index, most=3)
        fill_up(small_disk / "other")
        with pytest.raises(OutputError, match=r"cannot write .*: the disk is full. Free some space; the same command then goes on"):
            fill(store, index)
        rows, good, bad = store.counts()
        assert rows == 800
        assert good + bad >= 24
    (small_disk / "other").unlink()
    with PredictionStore(path, IDENTITY, ranks=2) as store:
        assert store.counts() == (rows, good, bad)
        assert fill(store, index).planned == 800 - good - bad
        assert labels(store) == expected(800)


def test_a_disk_that_is_full_from_the_start_is_told(small_disk: Path) -> None:
    fill_up(small_disk / "other")
    with pytest.raises(OutputError, match="the disk is full"):
        PredictionStore(small_disk / "out.csv.store", IDENTITY, ranks=2)
    (small_disk / "other").unlink()
    with PredictionStore(small_disk / "out.csv.store", IDENTITY, ranks=2) as store:
        fill(store, index_of(10))
        assert labels(store) == expected(10)


def test_on_a_disk_that_may_only_be_read_it_says_so_and_after_mending_goes_on(small_disk: Path) -> None:
    path = small_disk / "out.csv.store"
    with PredictionStore(path, IDENTITY, ranks=2) as store:
        fill(store, index_of(20), most=1)
    left = path.read_bytes()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    for attempt in (path, small_disk / "new.csv.store"):
        for fresh in (False, True):
            with pytest.raises(OutputError, match=r"cannot (write|remove)") as told:
                PredictionStore(attempt, IDENTITY, ranks=2, fresh=fresh)
            assert "choose another -o" in str(told.value)
    assert path.read_bytes() == left
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    with PredictionStore(path, IDENTITY, ranks=2) as store:
        assert fill(store, index_of(20)).planned == 12
        assert labels(store) == expected(20)


def test_words_in_a_path_are_not_taken_for_the_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "full of locked"

    def refused(_: object) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied", str(folder))

    folder.mkdir()
    monkeypatch.setattr(store_module, "is_local", refused)
    with pytest.raises(OutputError, match=r"Permission denied.*Make its folder writable"):
        PredictionStore(folder / "out.csv.store", IDENTITY, ranks=2)


def test_a_folder_in_the_way_is_told(path: Path) -> None:
    path.mkdir()
    with pytest.raises(OutputError, match="unable to open"):
        PredictionStore(path, IDENTITY, ranks=2)
    with pytest.raises(OutputError, match="cannot remove"):
        PredictionStore(path, IDENTITY, ranks=2, fresh=True)


def test_the_store_stands_beside_the_output() -> None:
    assert store_path("folder/out.csv") == Path("folder/out.csv.store")


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TRIGGER t AFTER UPDATE ON rows BEGIN UPDATE rows SET error = NULL; END",
        "CREATE VIEW more AS SELECT * FROM rows",
        "CREATE TABLE more (x)",
    ],
)
def test_a_store_from_somebody_else_with_sql_of_its_own_is_refused(filled: Path, sql: str) -> None:
    with contextlib.closing(sqlite3.connect(filled)) as database:
        database.execute(sql)
    for open_it in (lambda: PredictionStore(filled, IDENTITY, ranks=2), lambda: described(filled)):
        with pytest.raises(RunError, match="which imgstream does not make"):
            open_it()
