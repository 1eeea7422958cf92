"""Undoes a sort: puts every file back, the last one first. Nothing is overwritten, and the last copy of a file is never removed."""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from imgstream.errors import DatasetError
from imgstream.files.atomic import sync_folder, translated
from imgstream.sorting import files
from imgstream.sorting.files import Unplaceable
from imgstream.sorting.journal import Journal, Line, exact, inside, text
from imgstream.sorting.plan import Intent

_MOST_LISTED = 100


@dataclass
class UndoReport:
    """The outcome of an undo."""

    back: int = 0
    """Moved files that are back where they were, and links and copies that are removed."""
    left: int = 0
    """Files that could not be undone, and are left where they are."""
    first_left: list[tuple[str, str]] = field(default_factory=list)
    """(path below the target folder, reason) of at most 100."""


class _CannotUndo(Exception):
    """Why a file is left where it is."""


def undo(path: Path, progress: Callable[[int], None] | None = None) -> UndoReport:
    """Undo what the undo file at `path` lists, also when the sort or an earlier undo was killed. `progress` is called with the files done
    so far.

    When nothing is left, the undo file is removed, and with it the created folders that are empty. Raises DatasetError when it is no undo
    file, OutputError when it cannot be read, is in use, or the disk refuses.
    """
    with Journal(path) as journal:
        back, report = _Undoing(journal), UndoReport()
        if not journal.undoing:
            journal.add([{"undo": True}])
        first_undone, tried_again = _undone(journal)
        results: dict[int, Line] = {}  # of a block: a file's result comes after its intent
        rows: list[int] = []
        left: list[int] = []
        for line in itertools.chain(journal.backwards(), [{"done": 0}]):
            if "done" in line:
                if rows:
                    journal.add([{"undone": [min(rows), max(rows)], "left": left}], sync=False)
                results, rows, left = {}, [], []
            elif "folder" in line:
                with contextlib.suppress(OSError):
                    os.rmdir(os.path.join(back.into, inside(line["folder"])))
            elif "size" in line:
                if line["row"] >= first_undone and line["row"] not in tried_again:
                    continue
                rows.append(line["row"])
                intent, result = Intent.of(line), results.get(line["row"], {})
                intent.target = inside(result["to"]) if "to" in result else intent.target
                try:
                    report.back += back.bring(intent, result)
                except _CannotUndo as reason:
                    left.append(intent.row)
                    report.left += 1
                    if report.left <= _MOST_LISTED:
                        report.first_left.append((text(intent.target), str(reason)))
                if progress is not None:
                    progress(report.back + report.left)
            elif "row" in line:
                results[line["row"]] = {**line, **results.get(line["row"], {})}
    if not report.left:
        with translated(path):
            os.unlink(path)
        if journal.header.get("made"):
            with contextlib.suppress(OSError):
                os.rmdir(back.into)
    return report


def _undone(journal: Journal) -> tuple[int, set[int]]:
    """The row from which on an earlier undo went through all, and the rows among them that it left."""
    first, left = sys.maxsize, set[int]()
    for line in journal.undone:
        low, high = line["undone"]
        first = min(first, low)
        left = {row for row in left if not low <= row <= high} | set(line["left"])
    return first, left


class _Undoing:
    """Puts single files back. It goes by what is on the disk, not by what was recorded, so that it can be repeated after a crash."""

    def __init__(self, journal: Journal) -> None:
        self.root, self.into = exact(journal.header["from"]), exact(journal.header["into"])
        self._action, self._journal = journal.header["action"], journal.path
        lies_in = os.path.dirname(os.path.realpath(os.fsencode(journal.path)))
        if self.into != lies_in:  # it comes from another machine, or was moved: its paths do not apply here
            raise DatasetError(
                f"{str(journal.path)!r} was made in {text(self.into)!r}, and lies in {text(lies_in)!r}: put it back where it was made. "
                "An undo file moves files to where it says: undo only what you have sorted yourself"
            )

    def bring(self, intent: Intent, result: Line) -> bool:
        """Undo one file; False if there was nothing to undo. `result`: its outcome according to the journal. Raises _CannotUndo, and
        OutputError for what the other files would meet too.
        """
        source, target = os.path.join(self.root, intent.source), os.path.join(self.into, intent.target)
        intent.failed, intent.digest = "failed" in result, result.get("digest")
        try:
            self._remove(files.temporary_name(target, self._journal, intent.row))
            if self._action != "move":
                return not intent.failed and self._unlink_copy(intent, source, target)
            self._remove(files.temporary_name(source, self._journal, intent.row))
            if intent.text is not None:
                return self._link(intent, source, target)
            return self._move(intent, result.get("inode", intent.inode), source, target)
        except Unplaceable as error:
            raise _CannotUndo(f"{error.detail} ({text(source)})") from None
        except OSError as error:
            if error.errno in files.FATAL:
                with translated(os.fsdecode(target)):
                    raise
            raise _CannotUndo(error.strerror or type(error).__name__) from None

    def _unlink_copy(self, intent: Intent, source: bytes, target: bytes) -> bool:
        """Remove a link or a copy."""
        if not os.path.lexists(target):
            return True  # removed by an earlier undo, or by the user
        if os.path.islink(target):
            if self._action != "link" or os.readlink(target) not in (source, files.linked_to(source)):
                raise _CannotUndo("it is another link now")
        elif not os.path.isfile(target):
            raise _CannotUndo("it is no file any more")
        elif not os.path.exists(source):
            raise _CannotUndo("its original has gone: this is the last of it")
        elif self._action == "link":
            if not os.path.samefile(target, source):
                raise _CannotUndo("it is another file than its original now")
        elif intent.digest is None:
            if not files.is_beginning(target, source):  # the sort was killed in the middle of it
                raise _CannotUndo("it is another file now")
        elif files.digest_of(target) != intent.digest:
            raise _CannotUndo("it was changed since")
        os.unlink(target)
        return True

    def _link(self, intent: Intent, source: bytes, target: bytes) -> bool:
        """Put a symbolic link back as it was."""
        said = intent.text or b""
        is_there = os.path.islink(target) and os.readlink(target) == files.moved_link(source, said)
        if os.path.islink(source) and os.readlink(source) == said:
            if is_there:
                os.unlink(target)
            return not intent.failed
        if not is_there:
            raise _CannotUndo("it is another file now" if os.path.lexists(target) else "it has gone")
        self._make_folder(source)
        try:
            files.symbolic_link(said, source)
        except FileExistsError:
            raise _CannotUndo(f"something else is at its old place, {text(source)}") from None
        os.unlink(target)
        return True

    def _move(self, intent: Intent, inode: int, source: bytes, target: bytes) -> bool:
        """Move a file back; `inode`: that of the file in its new place."""
        if not os.path.lexists(target):
            if intent.failed or os.path.lexists(source):
                return not intent.failed
            raise _CannotUndo("it has gone, and is not at its old place")
        if os.path.lexists(source):
            self._settle(intent, source, target)
            return True
        if os.path.islink(target) or not os.path.isfile(target):
            raise _CannotUndo("it is no file any more")
        there = os.lstat(target)
        if there.st_ino not in (intent.inode, inode) and (there.st_size, there.st_mtime_ns) != (intent.size, intent.mtime):
            raise _CannotUndo("it is another file now")
        self._make_folder(source)
        try:
            if not files.hard_link(target, source):
                temporary = files.temporary_name(source, self._journal, intent.row)
                files.copy(target, source, temporary, durable=True)
                sync_folder(os.path.dirname(source))
        except FileExistsError:
            raise _CannotUndo(f"something else is at its old place, {text(source)}") from None
        os.unlink(target)
        return True

    def _settle(self, intent: Intent, source: bytes, target: bytes) -> None:
        """Both files exist: remove one if it is the other, or an incomplete copy of it."""
        there, back = os.lstat(target), os.lstat(source)
        if os.path.samestat(there, back):
            os.unlink(target)
        elif (back.st_size, back.st_mtime_ns) == (intent.size, intent.mtime) and files.is_beginning(target, source):
            os.unlink(target)  # the sort was killed while it copied: the original never left
        elif os.path.isfile(target) and not os.path.islink(source) and files.same_contents(source, target):
            files.copy_times(target, source, there)  # an undo was killed while it copied
            os.unlink(target)
        elif 0 < back.st_size < there.st_size and not os.path.islink(source) and files.is_beginning(source, target):
            os.unlink(source)  # an undo was killed while it copied, on a disk without links
            files.copy(target, source, files.temporary_name(source, self._journal, intent.row), durable=True)
            os.unlink(target)
        else:
            raise _CannotUndo(f"something else is at its old place, {text(source)}")

    def _make_folder(self, source: bytes) -> None:
        os.makedirs(os.path.dirname(source), exist_ok=True)

    @staticmethod
    def _remove(path: bytes) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
