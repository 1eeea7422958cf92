"""Places the files of a predictions file, block by block, in folders by label."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from imgstream.errors import BadImage, DatasetError, OutputError
from imgstream.files.atomic import sync_folder, translated
from imgstream.files.reader import read_digest
from imgstream.index.shards.files import is_shards
from imgstream.prediction.readers import PredictedRow, read_predictions
from imgstream.sorting import files
from imgstream.sorting.files import Unplaceable
from imgstream.sorting.journal import Journal, Line, inside, text
from imgstream.sorting.names import UNREADABLE, UNSURE, folder_name
from imgstream.sorting.plan import Action, Intent, Planner, failure
from imgstream.sorting.undoing import undo

BLOCK = 1024
"""Rows that are planned, and synced, at a time. A resumed sort must use the same number as the one that was killed."""
MOST_LISTED = 100
"""Files that a report names."""


@dataclass
class SortReport:
    """The outcome of a sort; each file counts once in linked, copied, moved, in_place or failed."""

    rows: int
    linked: int
    symbolic: int
    """Files among the linked ones that got symbolic links."""
    copied: int
    moved: int
    in_place: int
    """Files that were in their place already."""
    unsure: int
    """Files that were placed in unsure/."""
    unreadable: int
    """Files that were placed in unreadable/."""
    renamed: int
    """Files that were placed under another name, because theirs was taken."""
    failed: int
    reasons: dict[str, int]
    """Number of failed files by reason."""
    first_failed: list[tuple[str, str]]
    """(path, reason: detail) of at most MOST_LISTED."""
    undo: Path
    """The undo file."""


class Preview(NamedTuple):
    """What a sort would do."""

    rows: int
    done: int
    """Rows that an interrupted sort with the same arguments has done."""
    folders: dict[str, int]
    """Number of files by folder, in the order in which the folders occur."""
    first: list[tuple[str, str]]
    """(path, name below the target folder, or "reason: detail") of the next files."""


def stored_root(predictions: str | os.PathLike[str]) -> str | None:
    """The folder that was predicted, according to the store beside the predictions; None when there is none or it does not say."""
    store = os.path.abspath(os.fspath(predictions) + ".store")
    if not os.path.isfile(store):
        return None
    try:
        connection = sqlite3.connect(f"file:{quote(os.fsencode(store))}?mode=ro", uri=True)
        try:
            connection.execute("PRAGMA trusted_schema = OFF")
            found = connection.execute("SELECT value FROM meta WHERE key = 'root'").fetchone()
        finally:
            connection.close()
        root = None if found is None else json.loads(found[0])
    except (sqlite3.Error, ValueError):
        return None
    return root if isinstance(root, str) and root else None


def preview(predictions: Path, root: str, into: Path, action: Action, most: int = 20) -> Preview:
    """What sort would do with the same arguments; writes nothing. Raises DatasetError and OutputError as it does."""
    planner, name, _ = _prepared(predictions, root, into, action)
    done = 0
    if (into / name).exists():
        with Journal(into / name, look_only=True) as journal:
            done = journal.done.get("done", 0)
    folders: Counter[str] = Counter()
    first: list[PredictedRow] = []
    rows = 0
    for rows, row in enumerate(_placements(predictions, action), 1):
        folders[text(_folder(row))] += 1
        if done < rows <= done + most:
            first.append(row)
    lines = [line for line in planner.plan(first, done) if "from" in line]
    return Preview(rows, done, dict(folders), [(line["from"], line.get("to") or line["failed"]) for line in lines])


def sort(predictions: Path, root: str, into: Path, action: Action, progress: Callable[[int, int], None] | None = None) -> SortReport:
    """Sort the files of `predictions`, whose paths are relative to `root`, into folders by label in `into`, which is created if need be.

    The same call resumes a sort that was killed, and does nothing after one that has ended. `progress` is called with the rows done and all
    rows. Raises DatasetError: the predictions or the root cannot be read, or no file could be placed; OutputError: `into` cannot be
    written.
    """
    planner, name, header = _prepared(predictions, root, into, action)
    rows = sum(1 for _ in _placements(predictions, action))  # fails before anything is touched if a row cannot be read
    if not into.is_dir():
        with translated(into):
            into.mkdir()
        header["made"] = True
    with Journal(into / name, header) as journal:
        if journal.undoing:
            again = f"imgstream sort --undo {str(journal.path)!r}"
            raise OutputError(f"this was done and then undone in part: run {again} again, or delete that file to begin anew")
        work = _Sorting(planner, journal)
        if journal.pending:
            work.finish(journal.pending, resumed=True)
        remaining = itertools.islice(_placements(predictions, action), work.done, None)
        while block := list(itertools.islice(remaining, BLOCK)):
            lines = planner.plan(block, work.done)
            journal.add(lines)
            work.finish(lines)
            if progress is not None:
                progress(work.done, rows)
        report = work.report(rows)
    if rows and report.failed == rows:
        undo(report.undo)  # nothing was placed: the same command may be tried again
        path, why = report.first_failed[0]
        raise DatasetError(
            f"none of the {rows:,} files could be sorted; {path!r}: {why}. They were looked for under {root!r}: if they are elsewhere, "
            "give --from"
        )
    return report


class _Sorting:
    """Carries out what was planned, and counts it."""

    def __init__(self, planner: Planner, journal: Journal) -> None:
        self._planner, self._journal = planner, journal
        self._action = planner.action
        self.done: int = journal.done.get("done", 0)
        self._counts: Counter[str] = Counter(journal.done.get("counts", {}))
        self._reasons: Counter[str] = Counter(journal.done.get("reasons", {}))

    def finish(self, lines: list[Line], *, resumed: bool = False) -> None:
        """Carry out a planned block, whose lines are in the journal; `resumed`: part of it may have been done."""
        intents: dict[int, Intent] = {}
        failed: list[Line] = []
        planned: Line = {}
        placed = False
        for line in lines:
            if "failed" in line:
                failed.append(line)
                if line["row"] in intents:
                    intents[line["row"]].failed = True
            elif "from" in line:
                intents[line["row"]] = Intent.of(line)
            elif "to" in line:
                intents[line["row"]].target = inside(line["to"])
            elif "digest" in line:
                intents[line["row"]].digest = line["digest"]
            elif "folder" in line:
                self._make_folder(inside(line["folder"]))
            planned = line if "planned" in line else planned
            placed = placed or "placed" in line
        if not placed:
            self._place_all(intents, failed, resumed)
        if self._action == "move":
            self._remove_all(intents, failed)
        self._count(intents, failed, planned)

    def report(self, rows: int) -> SortReport:
        """The counts of all blocks."""
        failed = self._reasons.total()
        first = [(line["from"], line["failed"]) for line in itertools.islice(self._journal.failures(), MOST_LISTED)] if failed else []
        names = ("linked", "symbolic", "copied", "moved", "in_place", "unsure", "unreadable", "renamed")
        counts = {name: self._counts[name] for name in names}
        return SortReport(rows, **counts, failed=failed, reasons=dict(self._reasons), first_failed=first, undo=self._journal.path)

    def _place_all(self, intents: dict[int, Intent], failed: list[Line], resumed: bool) -> None:
        results: list[Line] = []
        for intent in intents.values():
            if intent.failed or intent.digest is not None:
                continue
            try:
                with translated(os.fsdecode(self._paths(intent)[1])):
                    if not (resumed and self._is_placed(intent)):
                        self._place(intent)
                    if intent.digest is not None:
                        inode = os.lstat(self._paths(intent)[1]).st_ino
                        results.append({"row": intent.row, "digest": intent.digest, "inode": inode})
            except Unplaceable as error:
                intent.failed = True
                failed.append(failure(intent.row, intent.source, error))
                results.append(failed[-1])
        if self._action == "move":
            for folder in {os.path.dirname(intent.target) for intent in intents.values() if not intent.failed}:
                with translated(os.fsdecode(folder)):
                    sync_folder(os.path.join(self._planner.into, folder))
        self._journal.add([*results, {"placed": True}], sync=self._action == "move")

    def _place(self, intent: Intent) -> None:
        """Place one file. Raises Unplaceable; OutputError for what the next file would meet too."""
        while True:
            source, target = self._paths(intent)
            try:
                with _translated_except_taken(target):
                    if intent.text is not None:
                        files.symbolic_link(files.moved_link(source, intent.text), target)
                    elif self._action == "link":
                        leads_to = files.linked_to(source)
                        if not files.hard_link(leads_to, target):
                            files.symbolic_link(leads_to, target)
                    elif self._action == "copy" or not files.hard_link(source, target):
                        temporary = self._temporary(intent)
                        intent.digest = files.copy(source, target, temporary, durable=self._action == "move")
                return
            except FileExistsError:
                intent.target = self._planner.another_name(intent)
                self._journal.add([{"row": intent.row, "to": text(intent.target)}])

    def _is_placed(self, intent: Intent) -> bool:
        """Whether a process that was killed placed this file; anything incomplete that it left is removed."""
        source, target = self._paths(intent)
        try:
            os.unlink(self._temporary(intent))
        except OSError:
            pass
        try:
            there = os.lstat(target)
        except OSError:
            return False
        if intent.text is not None or os.path.islink(target):
            expected = files.linked_to(source) if intent.text is None else files.moved_link(source, intent.text)
            return os.path.islink(target) and os.readlink(target) == expected
        if self._action != "copy" and there.st_ino == intent.inode and _is_same(source, there, intent):
            return True
        if self._action != "link" and files.is_beginning(target, source):
            os.unlink(target)  # a copy, perhaps in part, or still without its times
        return False

    def _remove_all(self, intents: dict[int, Intent], failed: list[Line]) -> None:
        kept: list[Line] = []
        for intent in intents.values():
            if intent.failed:
                continue
            try:
                self._remove(intent)
            except Unplaceable as error:
                intent.failed = True
                kept.append(failure(intent.row, intent.source, error))
        failed += kept
        if kept:
            self._journal.add(kept, sync=False)

    def _remove(self, intent: Intent) -> None:
        """Remove the original, if it is what was placed. Raises Unplaceable, and then leaves the original where it is."""
        source, target = self._paths(intent)
        try:
            original = os.lstat(source)
        except OSError:
            return  # it was removed before the kill
        try:
            placed = os.lstat(target)
        except OSError:
            raise Unplaceable("not placed", "its new place was removed at once") from None
        if intent.text is not None:
            same = os.path.islink(source) and os.readlink(source) == intent.text
        elif intent.digest is None:
            same = os.path.samestat(original, placed)
        else:
            same = (original.st_size, original.st_mtime_ns, placed.st_size) == (intent.size, intent.mtime, intent.size)
        if not same:
            raise Unplaceable("read error", "it changed while it was moved: both are kept")
        try:
            os.unlink(source)
        except FileNotFoundError:
            return
        except OSError as error:
            os.unlink(target)
            raise Unplaceable("no permission", f"it cannot be moved away: {error.strerror}") from None

    def _count(self, intents: dict[int, Intent], failed: list[Line], planned: Line) -> None:
        done_as = {"link": "linked", "copy": "copied", "move": "moved"}[self._action]
        for intent in intents.values():
            if intent.failed:
                continue
            folder, name = os.path.split(intent.target)
            self._counts[done_as] += 1
            self._counts["symbolic"] += self._action == "link" and os.path.islink(self._paths(intent)[1])
            self._counts["unsure"] += folder == UNSURE
            self._counts["unreadable"] += folder == UNREADABLE
            self._counts["renamed"] += name != os.path.basename(intent.source)
        self._counts["in_place"] += planned["in_place"]
        self._reasons.update(line["failed"].partition(":")[0] for line in failed)
        self.done = planned["planned"]
        self._journal.add([{"done": self.done, "counts": dict(self._counts), "reasons": dict(self._reasons)}], sync=False)

    def _make_folder(self, name: bytes) -> None:
        path = os.path.join(self._planner.into, name)
        with translated(os.fsdecode(path)):
            try:
                os.mkdir(path)
            except FileExistsError:
                pass

    def _paths(self, intent: Intent) -> tuple[bytes, bytes]:
        return os.path.join(self._planner.root, intent.source), os.path.join(self._planner.into, intent.target)

    def _temporary(self, intent: Intent) -> bytes:
        return files.temporary_name(self._paths(intent)[1], self._journal.path, intent.row)


class _translated_except_taken:  # noqa: N801  # used as a function
    """Turns an OSError of the block into an OutputError, except FileExistsError."""

    def __init__(self, target: bytes) -> None:
        self._translated = translated(os.fsdecode(target))

    def __enter__(self) -> None:
        self._translated.__enter__()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, FileExistsError):
            self._translated.__exit__(kind, error, trace)  # type: ignore[arg-type]


def _is_same(source: bytes, there: os.stat_result, intent: Intent) -> bool:
    """Whether the file with the status `there` is the source itself, or was before somebody removed the source."""
    try:
        return os.path.samestat(os.stat(source), there)
    except OSError:
        return (there.st_size, there.st_mtime_ns) == (intent.size, intent.mtime)


def _placements(predictions: Path, action: Action) -> Iterator[PredictedRow]:
    """The rows of the predictions; where an image may have several labels, one for each of its labels, or one labelled UNSURE."""
    for row in read_predictions(predictions):
        if row.labels is None:
            yield row
            continue
        if action == "move" and len(row.labels) > 1:
            raise DatasetError(
                f"{row.path.decode(errors='replace')!r} has several labels, and can be moved into one folder alone: sort with --link or "
                "--copy"
            )
        for label in row.labels or (UNSURE.decode(),):
            yield row._replace(label=label, labels=(label,))


def _folder(row: PredictedRow) -> bytes:
    return UNREADABLE if row.error is not None else folder_name(row.label or "")


def _prepared(predictions: Path, root: str, into: Path, action: Action) -> tuple[Planner, str, Line]:
    """The planner, and name and first line of the undo file. Raises DatasetError, OutputError."""
    if is_shards(root):
        raise DatasetError(
            f"the images of {root!r} lie inside archives or shards: there are no files to link, copy or move. Unpack them, predict on that "
            "folder, and sort its predictions"
        )
    if not os.path.isdir(root):
        raise DatasetError(f"there is no folder {root!r}: give the one that was predicted with --from")
    real_root, real_into = os.path.realpath(root), os.path.realpath(into)
    if into.is_dir():
        if not os.access(into, os.W_OK | os.X_OK):
            raise OutputError(f"cannot write in {str(into)!r}: no permission. Choose another folder with --into")
    elif os.path.lexists(into) or not Path(real_into).parent.is_dir():
        found = "it is no folder" if os.path.lexists(into) else "the folder above it does not exist"
        raise OutputError(f"cannot sort into {str(into)!r}: {found}. Choose another with --into")
    if action != "move" and Path(real_into).is_relative_to(real_root):
        raise OutputError(
            f"{str(into)!r} lies in {root!r}, the folder that was predicted: with --{action} the next predict would find every file twice. "
            "Choose a folder outside with --into, or --move"
        )
    try:
        digest = read_digest(os.fsencode(predictions))
    except BadImage as error:
        raise DatasetError(f"{str(predictions)!r} cannot be read: {error.detail}") from None
    planner = Planner(os.fsencode(os.path.abspath(root)), os.fsencode(real_into), action)
    command = hashlib.blake2b(digest_size=6)
    for part in (digest, os.fsencode(real_root), planner.into, action.encode()):
        command.update(hashlib.blake2b(part, digest_size=16).digest())
    header: Line = {
        "action": action,
        "predictions": text(os.fsencode(os.path.abspath(predictions))),
        "from": text(planner.root),
        "into": text(planner.into),
        "made": False,
    }
    return planner, f"imgstream-undo-{command.hexdigest()}.jsonl", header
