"""Plans a block of rows: which file gets which name. Changes nothing."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from imgstream.prediction.readers import PredictedRow
from imgstream.sorting.files import Unplaceable, status, unreadable
from imgstream.sorting.journal import Line, exact, inside, text
from imgstream.sorting.names import UNREADABLE, folder_name, numbered

Action = Literal["link", "copy", "move"]
_MOST_HINTS = 100_000
"""Names whose last number is kept; for other names the search starts from 2."""


@dataclass(slots=True)
class Intent:
    """One file that is to be placed."""

    row: int
    source: bytes
    """As in the predictions: relative to the root, or absolute."""
    target: bytes
    """Relative to the target folder."""
    size: int
    mtime: int
    """Nanoseconds since 1970."""
    inode: int
    text: bytes | None = None
    """The contents of a symbolic link that is to be moved."""
    digest: str | None = None
    """BLAKE2b of the contents, if they were copied."""
    failed: bool = False

    def line(self) -> Line:
        """The intent as a line of the journal."""
        line: Line = {"row": self.row, "from": text(self.source), "to": text(self.target), "size": self.size, "mtime": self.mtime}
        line["inode"] = self.inode
        return line if self.text is None else {**line, "text": text(self.text)}

    @classmethod
    def of(cls, line: Line) -> Intent:
        """The intent from a line of the journal."""
        said = exact(line["text"]) if "text" in line else None
        return cls(line["row"], exact(line["from"]), inside(line["to"]), line["size"], line["mtime"], line["inode"], said)


class Planner:
    """Finds names for files, row after row. Paths are absolute bytes."""

    def __init__(self, root: bytes, into: bytes, action: Action) -> None:
        self.root, self.into, self.action = root, into, action
        self._numbers: dict[bytes, int] = {}
        self._claimed: dict[bytes, tuple[int, int]] = {}
        self._folders: set[bytes] = set()
        self._sources: set[bytes] = set()
        self._writable: tuple[bytes, bool] = (b"", True)

    def plan(self, rows: Iterable[PredictedRow], first: int) -> list[Line]:
        """Lines of the journal for `rows`, the first of which has the number `first`; the last line is the mark "planned".

        Earlier blocks must have been carried out.
        """
        self._claimed.clear()
        self._sources.clear()
        lines: list[Line] = []
        in_place, number = 0, first
        for number, row in enumerate(rows, first):
            folder = UNREADABLE if row.error is not None else folder_name(row.label or "")
            try:
                intent = self._intent(number, row.path, folder)
            except Unplaceable as error:
                lines.append(failure(number, row.path, error))
                continue
            if intent is None:
                in_place += 1
                continue
            if folder not in self._folders:
                self._folders.add(folder)
                if not os.path.lexists(os.path.join(self.into, folder)):
                    lines.append({"folder": text(folder)})
            lines.append(intent.line())
        lines.append({"planned": number + 1, "in_place": in_place})
        return lines

    def another_name(self, intent: Intent) -> bytes:
        """A free name for a file whose planned name was taken in the meantime."""
        folder = os.path.dirname(intent.target)
        return self._free(folder, os.path.basename(intent.source), (-1, -1), intent.source) or intent.target

    def _intent(self, row: int, path: bytes, folder: bytes) -> Intent | None:
        """The intent for a file; None for a file that is in its place already."""
        source = os.path.join(self.root, path)
        found = status(source, follow=False)
        is_link = stat.S_ISLNK(found.st_mode)
        if is_link and not (self.action == "move" and not os.path.exists(source)):  # a broken link can still be moved
            led_to = status(source, follow=True)
        else:
            led_to = found
        if not (stat.S_ISREG(led_to.st_mode) or stat.S_ISLNK(led_to.st_mode)):
            raise Unplaceable("not a regular file", "a folder" if stat.S_ISDIR(led_to.st_mode) else "a pipe, socket or device")
        as_link = is_link and self.action == "move"
        if not as_link:
            found = led_to
        if self.action == "move":
            self._check_movable(path, source)
        target = self._free(folder, os.path.basename(path), (found.st_dev, found.st_ino), source)
        if target is None:
            return None
        try:
            said = os.readlink(source) if as_link else None
        except OSError as error:  # it has just gone
            unreadable(error)
        return Intent(row, path, target, found.st_size, found.st_mtime_ns, found.st_ino, said)

    def _check_movable(self, path: bytes, source: bytes) -> None:
        if path in self._sources:
            raise Unplaceable("missing", "the predictions have it twice")
        self._sources.add(path)
        folder = os.path.dirname(source)
        if folder != self._writable[0]:
            self._writable = (folder, os.access(folder, os.W_OK | os.X_OK))
        if not self._writable[1]:
            raise Unplaceable("no permission", "its folder is write-protected: it cannot be moved out of it")

    def _free(self, folder: bytes, name: bytes, identity: tuple[int, int], source: bytes) -> bytes | None:
        """A free name in `folder`, relative to `into`; None when the file itself has the name."""
        key = os.path.join(folder, name)
        number = 1
        while True:
            target = os.path.join(folder, numbered(name, number))
            taken_by = self._taken_by(target)
            if taken_by is None:
                self._claimed[target] = identity
                return target
            if taken_by == identity and self._is_it(target, source):
                return None
            number = self._numbers.get(key, 1) + 1 if number == 1 else number + 1
            if len(self._numbers) > _MOST_HINTS:
                self._numbers.clear()
            self._numbers[key] = number

    def _taken_by(self, target: bytes) -> tuple[int, int] | None:
        if target in self._claimed:
            return self._claimed[target]
        path = os.path.join(self.into, target)
        try:
            found = os.lstat(path)
            if self.action == "link" and stat.S_ISLNK(found.st_mode):
                found = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None if not os.path.islink(path) else (-2, -2)
        except OSError as error:
            raise Unplaceable("not placed", error.strerror or type(error).__name__) from None
        return found.st_dev, found.st_ino

    def _is_it(self, target: bytes, source: bytes) -> bool:
        """Whether the file with that name is the one to place: for links its contents count, else the very entry of the folder."""
        if self.action == "link":
            return True
        folder = os.path.dirname(os.path.join(self.into, target))
        try:
            return os.path.basename(target) == os.path.basename(source) and os.path.samefile(folder, os.path.dirname(source))
        except OSError:
            return False


def failure(row: int, path: bytes, error: Unplaceable) -> Line:
    """The journal's line for a file that stays where it is."""
    return {"row": row, "from": text(path), "failed": str(error)}
