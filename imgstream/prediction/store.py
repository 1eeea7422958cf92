"""The prediction store: the result of every file, batch by batch, in a transactional database that survives a crash at any moment.

A SQLite database. `rows` has a row for every image of the index, done or planned; a row is planned while it has neither error
nor scores. Batches are planned once, and each is recorded whole or done again: the last digits of a model's scores may depend on which
images share a batch, and so must not depend on interruptions.

table meta       key, value (JSON): what the predictions depend on, and where they come from
table rows       path (BLOB, relative to the root), copy (0; n for the n-th repetition of a path in a list), position (in the index), size,
                 mtime (-1: unknown), batch, place (in the batch), error ("reason: detail"), scores (BLOB: `ranks` times uint32 class and
                 float32 score, best first; then their CRC-32, as SQLite has none; all little-endian)
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sqlite3
import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from imgstream.errors import BadImage, OutputError, RunError
from imgstream.files.reader import file_version
from imgstream.index import ImageIndex
from imgstream.prediction.local_disks import is_local
from imgstream.prediction.rows import StoredPrediction

FORMAT_VERSION = 1
RANK = np.dtype([("label", "<u4"), ("score", "<f4")])
"""One class of a row's scores."""

_RETRIED = ("missing", "no permission", "read error")
"""Reasons that lie outside of the file, and may be gone although the file has not changed."""
_CHUNK = 1 << 14
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE rows (
    path BLOB NOT NULL, copy INTEGER NOT NULL, position INTEGER NOT NULL, size INTEGER NOT NULL, mtime INTEGER NOT NULL,
    batch INTEGER, place INTEGER, error TEXT, scores BLOB, PRIMARY KEY (path, copy)
);
CREATE INDEX rows_in_order ON rows (position);
CREATE INDEX rows_planned ON rows (batch, place) WHERE error IS NULL AND scores IS NULL;
"""
_SCHEMA_HAS = (("table", "meta"), ("table", "rows"), ("index", "rows_in_order"), ("index", "rows_planned"))
_LISTING = """
CREATE TEMP TABLE listing (
    position INTEGER PRIMARY KEY, path BLOB NOT NULL, copy INTEGER NOT NULL DEFAULT 0, size INTEGER NOT NULL, mtime INTEGER NOT NULL
)
"""
_PLANNED = "error IS NULL AND scores IS NULL"


class Plan(NamedTuple):
    """The number of rows, and of those that are to be predicted."""

    rows: int
    """Rows of the store now."""
    planned: int
    """Rows to be predicted."""
    added: int
    """Rows that are new since the last time."""
    changed: int
    """Rows whose file has changed since the last time."""
    removed: int


class PredictionStore:
    """The store at `path`, for one process at a time. Use it in a with statement.

    `identity`: what predictions depend on, as values that JSON can hold. Raises OutputError when it cannot be written or another process
    uses it; RunError when it is damaged, of another format, or holds predictions of something else: `fresh` then starts anew.
    """

    def __init__(self, path: Path, identity: dict[str, Any], *, ranks: int, fresh: bool = False) -> None:
        self.path, self.ranks = path, ranks
        with _sqlite_errors(path):
            if fresh:
                _remove(path)
            self._database = _connect(path)
            try:
                if not self._database.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]:  # new, or killed before it had tables
                    with self._transaction():
                        for statement in _SCHEMA.split(";\n"):
                            self._database.execute(statement)
                        self._set("format", FORMAT_VERSION)
                        self._set("identity", identity)
                        self._set("ranks", ranks)
                self._check(identity)
            except BaseException:
                self._database.close()
                raise

    def __enter__(self) -> PredictionStore:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._database.close()

    def get(self, key: str) -> Any:
        """The value that was set for `key`, or None."""
        with _sqlite_errors(self.path):
            found = self._database.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
            return None if found is None else _parsed(found[0])

    def set(self, key: str, value: Any) -> None:
        """Store a value that JSON can hold."""
        with _sqlite_errors(self.path), self._transaction():
            self._set(key, value)

    def plan(
        self, index: ImageIndex, batch_size: int, shard: tuple[int, int] = (0, 1), progress: Callable[[int], None] | None = None
    ) -> Plan:
        """Compare the store with the files that are there now, and plan batches for those without a prediction; all in one transaction.

        A shard (k, n) has every n-th batch of the whole plan, so that its batches are those of one run. Raises RunError when a shard's
        folder has changed since it was planned, or when no file is one of the store's.
        """
        if (before := self.get("shard")) not in (None, list(shard)):
            raise RunError(f"{self.path} is of shard {before[0] + 1}/{before[1]}, not of {shard[0] + 1}/{shard[1]}: choose another -o")
        if shard != (0, 1) and self.get("planned") not in (None, index.fingerprint):
            raise RunError(
                f"the files under {index.root} are others than when {self.path} was planned, and the other shards' batches would not fit: "
                "begin all shards anew with --fresh"
            )
        execute = self._database.execute
        with _sqlite_errors(self.path):
            execute("PRAGMA temp_store = FILE")
            execute("DROP TABLE IF EXISTS temp.listing")
            execute(_LISTING)
            with self._transaction():
                self._list(index, batch_size, shard, progress)
                execute("CREATE INDEX temp.listing_paths ON listing (path, copy)")
                if execute("SELECT 1 FROM listing GROUP BY path HAVING COUNT(*) > 1 LIMIT 1").fetchone():
                    numbered = "SELECT position AS id, ROW_NUMBER() OVER (PARTITION BY path ORDER BY position) - 1 AS number FROM listing"
                    execute(f"UPDATE listing SET copy = n.number FROM ({numbered}) AS n WHERE n.id = listing.position AND n.number > 0")
                plan = self._plan(batch_size, shard)
                root = os.path.abspath(index.root) if index.root else ""
                if (other := self.get("root")) not in (None, root) and plan.removed and plan.added == plan.rows:
                    raise RunError(
                        f"{self.path} holds predictions of {other or 'other files'}, none of which is in {root or 'what was given now'}: "
                        "choose another -o, or forget them with --fresh"
                    )
                for key, value in (("planned", index.fingerprint), ("shard", shard), ("root", root)):
                    self._set(key, value)
            execute("DROP TABLE temp.listing")
        return plan

    def batches(self) -> Iterator[tuple[int, np.ndarray]]:
        """(number, positions in the index) of every planned batch, in order; int64 (B,)."""
        last = -1
        while True:  # an open read transaction would keep the log from being emptied
            with _sqlite_errors(self.path):
                found = self._database.execute(
                    f"SELECT batch, position FROM rows WHERE {_PLANNED} AND batch > ? ORDER BY batch, place LIMIT ?", (last, _CHUNK)
                ).fetchall()
            if not found:
                return
            numbers, positions = np.array(found, np.int64).T
            edges = np.flatnonzero(np.diff(numbers, prepend=-1, append=-1))
            if len(found) == _CHUNK and len(edges) > 2:
                edges = edges[:-1]  # the last batch may be incomplete
            for start, stop in pairwise(edges.tolist()):
                yield int(numbers[start]), positions[start:stop]
            last = int(numbers[edges[-1] - 1])

    def record(self, batch: int, bad: Sequence[tuple[int, BadImage]], positions: np.ndarray, ranks: np.ndarray) -> None:
        """Record a whole batch: its bad files by position, and the ranks, RANK (B, ranks), of those at `positions`. Raises OutputError."""
        done: list[tuple[str | None, bytes | None, int, int]] = [
            (f"{error.reason}: {error.detail}", None, batch, position) for position, error in bad
        ]
        done += [(None, _packed(rank), batch, position) for rank, position in zip(ranks, positions.tolist(), strict=True)]
        with _sqlite_errors(self.path), self._transaction():
            self._database.executemany("UPDATE rows SET error = ?, scores = ? WHERE batch = ? AND position = ?", done)

    def counts(self) -> tuple[int, int, int]:
        """Number of rows, and of the good and the bad ones among them; the others are planned."""
        query = "SELECT COUNT(*), COUNT(scores), COUNT(error) FROM rows"
        with _sqlite_errors(self.path):
            rows, good, bad = self._database.execute(query).fetchone()
        return int(rows), int(good), int(bad)

    def results(
        self, class_names: Sequence[str], min_score: float = 0.0, thresholds: np.ndarray | None = None
    ) -> Iterator[StoredPrediction]:
        """Every row in index order. `thresholds`: see StoredPrediction.of."""
        with _sqlite_errors(self.path):
            for path, error, scores in self._database.execute("SELECT path, error, scores FROM rows ORDER BY position"):
                yield StoredPrediction.of(path, error, _unpacked(scores), class_names, min_score, thresholds)

    def merge(self, others: Sequence[Path]) -> None:
        """Add the rows of other stores, which must be finished shards of the same prediction."""
        missing = "NOT EXISTS (SELECT 1 FROM rows AS r WHERE r.path = o.path AND r.copy = o.copy AND r.position = o.position)"
        execute = self._database.execute
        with _sqlite_errors(self.path):
            for other in others:
                execute("ATTACH ? AS other", (os.fsencode(other),))  # as bytes: a name need not be UTF-8
                try:
                    with self._transaction():
                        taken = execute("INSERT OR IGNORE INTO rows SELECT * FROM other.rows").rowcount
                        if taken < execute("SELECT COUNT(*) FROM other.rows").fetchone()[0]:  # the same path is in several shards
                            execute(
                                "INSERT INTO rows SELECT path, -1 - position, position, size, mtime, batch, place, error, scores "
                                f"FROM other.rows AS o WHERE {missing}"
                            )
                finally:
                    execute("DETACH other")
            with self._transaction():
                execute("UPDATE rows SET copy = -1 - position WHERE path IN (SELECT path FROM rows WHERE copy < 0)")
                numbered = (
                    "SELECT rowid AS id, ROW_NUMBER() OVER (PARTITION BY path ORDER BY position) - 1 AS number FROM rows WHERE copy < 0"
                )
                execute(f"UPDATE rows SET copy = n.number FROM ({numbered}) AS n WHERE n.id = rows.rowid")

    # ---- inside

    def _list(self, index: ImageIndex, batch_size: int, shard: tuple[int, int], progress: Callable[[int], None] | None) -> None:
        k, n = shard

        def listed() -> Iterator[tuple[int, bytes, int, int]]:
            for at in index.chunks():
                for position in at[(at // batch_size) % n == k].tolist():
                    size, mtime = file_version(index.path_bytes(position)) or (-1, -1)
                    yield position, index.relative_bytes(position), size, mtime
                if progress is not None:
                    progress(int(at[-1]) + 1)

        self._database.executemany("INSERT INTO listing (position, path, size, mtime) VALUES (?, ?, ?, ?)", listed())

    def _plan(self, batch_size: int, shard: tuple[int, int]) -> Plan:
        execute = self._database.execute
        is_there = "EXISTS (SELECT 1 FROM listing AS l WHERE l.path = rows.path AND l.copy = rows.copy)"
        # A planned batch that has lost a file is no longer what it was: its other files are planned anew.
        broken = f"SELECT batch FROM rows WHERE {_PLANNED} AND NOT {is_there}"
        execute(f"UPDATE rows SET batch = NULL WHERE batch IN ({broken}) AND {_PLANNED}")
        removed = execute(f"DELETE FROM rows WHERE NOT {is_there}").rowcount
        retried = " OR ".join(f"error LIKE '{reason}:%'" for reason in _RETRIED)
        # Planned files are predicted as they are now; predicted files that have changed are planned anew.
        execute(
            "UPDATE rows SET size = l.size, mtime = l.mtime FROM listing AS l "
            f"WHERE l.path = rows.path AND l.copy = rows.copy AND {_PLANNED}"
        )
        changed = execute(
            "UPDATE rows SET error = NULL, scores = NULL, batch = NULL, size = l.size, mtime = l.mtime FROM listing AS l "
            f"WHERE l.path = rows.path AND l.copy = rows.copy AND NOT ({_PLANNED}) AND (l.size != rows.size OR l.mtime != rows.mtime)"
        ).rowcount
        execute(f"UPDATE rows SET error = NULL, scores = NULL, batch = NULL WHERE {retried}")
        # Positions change where files were added or removed before them.
        execute(
            "UPDATE rows SET position = l.position FROM listing AS l "
            "WHERE l.path = rows.path AND l.copy = rows.copy AND l.position != rows.position"
        )
        is_empty = execute("SELECT 1 FROM rows LIMIT 1").fetchone() is None
        slot = f"position / {batch_size}, position % {batch_size}" if is_empty or shard != (0, 1) else "NULL, NULL"
        added = execute(
            "INSERT OR IGNORE INTO rows (path, copy, position, size, mtime, batch, place) "
            f"SELECT path, copy, position, size, mtime, {slot} FROM listing"
        ).rowcount
        if shard == (0, 1):
            (first,) = execute("SELECT COALESCE(MAX(batch), -1) + 1 FROM rows").fetchone()
            numbered = (
                f"SELECT rowid AS id, ROW_NUMBER() OVER (ORDER BY position) - 1 AS number FROM rows WHERE batch IS NULL AND {_PLANNED}"
            )
            execute(
                f"UPDATE rows SET batch = {first} + n.number / {batch_size}, place = n.number % {batch_size} "
                f"FROM ({numbered}) AS n WHERE n.id = rows.rowid"
            )
        else:
            execute(f"UPDATE rows SET batch = position / {batch_size}, place = position % {batch_size} WHERE batch IS NULL")
        rows, planned = execute(f"SELECT COUNT(*), COUNT(*) FILTER (WHERE {_PLANNED}) FROM rows").fetchone()
        return Plan(int(rows), int(planned), int(added), int(changed), int(removed))

    def _check(self, identity: dict[str, Any]) -> None:
        _check_pages(self._database)
        if self.get("format") != FORMAT_VERSION:
            raise RunError(
                f"{self.path} has format {self.get('format')!r}; this imgstream reads format {FORMAT_VERSION}. --fresh starts anew"
            )
        before = self.get("identity")
        if before != identity:
            raise RunError(f"{self.path} holds predictions of something else: {_difference(before, identity)}. --fresh starts anew")
        if (kept := int(self.get("ranks") or 0)) < self.ranks:
            raise RunError(f"{self.path} keeps the {kept} best classes of each image, and {self.ranks} are asked for. --fresh starts anew")
        self.ranks = kept

    def _set(self, key: str, value: Any) -> None:
        self._database.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, json.dumps(value)))

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise


def store_path(output: str | os.PathLike[str]) -> Path:
    """The path of the store for predictions that are written to `output`."""
    return Path(os.fspath(output) + ".store")


def described(path: Path) -> dict[str, Any]:
    """The meta table of a store, and the number of its rows that are not done ("open"). Raises RunError when it is no store, or in use."""
    with _sqlite_errors(path):
        if not path.is_file():
            raise RunError(f"{path} is no prediction store: there is no such file. Give what imgstream predict --shard wrote, OUT.store")
        with contextlib.closing(_connect(path)) as database:
            _check_pages(database)
            found = {key: _parsed(value) for key, value in database.execute("SELECT key, value FROM meta")}
            (found["open"],) = database.execute(f"SELECT COUNT(*) FROM rows WHERE {_PLANNED}").fetchone()
    if found.get("format") != FORMAT_VERSION:
        raise RunError(f"{path} has format {found.get('format')!r}; this imgstream reads format {FORMAT_VERSION}")
    return found


def _connect(path: Path) -> sqlite3.Connection:
    """An exclusive connection: a second prediction into the same store would wait for the first, or undo it."""
    database = sqlite3.connect(path, timeout=0, isolation_level=None)
    try:
        database.execute("PRAGMA trusted_schema = OFF")  # the file may come from somebody else
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        # A write-ahead log needs shared memory, which network disks lack; a rollback journal does not.
        if is_local(path):
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
        else:
            database.execute("PRAGMA journal_mode = DELETE")
            database.execute("PRAGMA synchronous = FULL")
        database.execute("BEGIN IMMEDIATE")  # takes the lock
        database.execute("COMMIT")
    except BaseException:
        database.close()
        raise
    return database


def _check_pages(database: sqlite3.Connection) -> None:
    """Raise sqlite3.DatabaseError for a damaged file, and for one with more than our tables: triggers and views would run SQL of their
    own.
    """
    for kind, name in database.execute("SELECT type, name FROM sqlite_master"):
        if (kind, name) not in _SCHEMA_HAS and not (kind == "index" and name.startswith("sqlite_autoindex_")):
            raise sqlite3.DatabaseError(f"it has a {kind} {name[:100]!r}, which imgstream does not make")
    damage = database.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if damage != "ok":
        raise sqlite3.DatabaseError(" ".join(damage.split()))


def _parsed(value: str) -> Any:
    try:
        return json.loads(value)
    except ValueError as error:
        raise sqlite3.DatabaseError("a value that is no JSON") from error


def _packed(ranks: np.ndarray) -> bytes:
    data = ranks.tobytes()
    return data + zlib.crc32(data).to_bytes(4, "little")


def _unpacked(scores: bytes | None) -> np.ndarray:
    if scores is None:
        return np.zeros(0, RANK)
    if len(scores) % RANK.itemsize != 4 or zlib.crc32(scores[:-4]) != int.from_bytes(scores[-4:], "little"):
        raise sqlite3.DatabaseError("scores that do not add up")
    return np.frombuffer(scores[:-4], RANK)


@contextlib.contextmanager
def _sqlite_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        text, code = str(error), getattr(error, "sqlite_errorname", "")
        if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            raise OutputError(f"{path} is in use: another process predicts into it. Wait for it, or choose another -o") from error
        if code == "SQLITE_FULL" or (isinstance(error, OSError) and error.errno == errno.ENOSPC):
            raise OutputError(f"cannot write {path}: the disk is full. Free some space; the same command then goes on") from error
        if isinstance(error, OSError) or code.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_IOERR", "SQLITE_PERM")):
            raise OutputError(f"cannot write {path}: {text}. Make its folder writable, or choose another -o") from error
        raise RunError(f"{path} is damaged ({text}). --fresh starts anew") from error


def _difference(before: Any, now: dict[str, Any]) -> str:
    if not isinstance(before, dict):
        return "it does not say of what"
    if before.get("runs") != now.get("runs"):
        return "another run, or a run that was trained again"
    return ", ".join(
        f"{key} was {before.get(key)!r} and is {now.get(key)!r}" for key in {**before, **now} if before.get(key) != now.get(key)
    )


def _remove(path: Path) -> None:
    try:
        if path.exists():
            _connect(path).close()
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY"):  # another process predicts into it
            raise
    for suffix in ("", "-wal", "-shm", "-journal"):
        try:
            os.unlink(f"{path}{suffix}")
        except FileNotFoundError:
            continue
        except OSError as error:
            raise OutputError(f"cannot remove {path}{suffix}: {error.strerror}. Remove it, or choose another -o") from error
