"""Writes history.csv, skipped.csv and TensorBoard's events of a run while it trains."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable
from typing import Any

from imgstream.errors import BadImage
from imgstream.files.atomic import write_text
from imgstream.runs.folder import RunFolder


class Records:
    """The history and the list of bad files of one run folder."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self.bad: dict[str, BadImage] = {}
        """By path, as skipped.csv has it: bytes that are no UTF-8 are escaped."""

    def read_skipped(self) -> None:
        """Read the bad files that the run's earlier part recorded; none when the list is missing or damaged."""
        try:
            with self._folder.skipped.open(encoding="utf-8", newline="") as file:
                self.bad = {row["path"]: BadImage(row["reason"], row["detail"]) for row in csv.DictReader(file)}
        except (OSError, ValueError, KeyError, csv.Error):
            return

    def add_bad(self, path: str, error: BadImage) -> None:
        """Record a bad file at `path`, as index.path gives it; the first finding about a file stays."""
        text = os.fsencode(path).decode("utf-8", "surrogateescape")  # é is é even where file names are said to be ASCII
        self.bad.setdefault(text.encode("utf-8", "backslashreplace").decode(), error)

    def write_skipped(self) -> None:
        """Write skipped.csv. Raises OutputError, as write_history does."""
        self._write(self._folder.skipped, ("path", "reason", "detail"), ((path, e.reason, e.detail) for path, e in self.bad.items()))

    def write_history(self, rows: list[dict[str, Any]]) -> None:
        """Write history.csv, one line for each validation, and add the last to TensorBoard's events."""
        self._write(self._folder.history, rows[0], (row.values() for row in rows))
        _write_tensorboard(os.fspath(self._folder.tensorboard), rows[-1])

    def _write(self, path: os.PathLike[str], names: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(rows)
        write_text(path, buffer.getvalue())


def _write_tensorboard(folder: str, row: dict[str, Any]) -> None:
    import keras

    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    with tf.summary.create_file_writer(folder).as_default():
        for name, value in row.items():
            if name not in ("epoch", "step"):
                tf.summary.scalar(name, value, step=row["step"])
