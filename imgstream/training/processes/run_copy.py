"""The run folder of a training in several processes."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator

from imgstream.runs.folder import RunFolder
from imgstream.training.processes.group import Processes
from imgstream.training.state.checkpoint import latest

_FILES = ("run.json", "settings.json", "spec.json", "class_names.json", "index.arrow", "skipped.csv")


@contextlib.contextmanager
def run_folder(folder: RunFolder, processes: Processes) -> Iterator[RunFolder]:
    """The folder that this process works with: the run folder for the first, and for each other a temporary one that begins with what the
    first has, so that all resume from the same. Only the first has to reach the run folder.
    """
    if processes.count == 1:
        yield folder
        return
    held: dict[str, bytes] = {}
    if processes.is_first:
        paths = [folder.path / name for name in _FILES]
        if (checkpoint := latest(folder.checkpoints)) is not None:
            paths.append(checkpoint)
        held = {str(path.relative_to(folder.path)): path.read_bytes() for path in paths if path.exists()}
    held = processes.from_first(held)
    if processes.is_first:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="imgstream-run-") as name:
        copy = RunFolder(name)
        copy.checkpoints.mkdir()
        for path, data in held.items():
            (copy.path / path).write_bytes(data)
        yield copy
