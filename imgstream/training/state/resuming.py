"""Checks that a run is resumed with the same options, and reports what has changed since."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from imgstream.errors import DatasetError, NoImagesError, RunError
from imgstream.index import ImageIndex
from imgstream.index.changes import changes_between
from imgstream.runs.folder import RunFolder

_FREE = ("workers", "cache_limit", "memory", "gpu_memory", "checkpoint_every", "precision", "pipeline", "batch_size")
"""Options that do not change the weights, or that are taken from the run's record."""


def check_same(folder: RunFolder, recorded: dict[str, Any]) -> None:
    """Raise RunError, which names them, when options differ from those that the run was started with: that would be another run."""
    before = folder.read_json("settings.json")
    now = {**recorded, "size": list(recorded["size"]) if recorded["size"] else None}
    for options in (before, now):
        options["cache"] = options.get("cache", "off") != "off"  # its place and limit do not change any pixel
    different = [name for name in now if name in before and name not in _FREE and now[name] != before[name]]
    if now["batch_size"] not in (None, before["batch_size"]):
        different.append("batch_size")
    if different:
        was = ", ".join(f"{name}={before.get(name)!r}" for name in different)
        raise RunError(f"{folder.path} was started with other options ({was}): resume with the same, or choose another --out")


def tell_changes(index: ImageIndex, listed: Callable[[], ImageIndex], tell: Callable[[str], None]) -> None:
    """Report which images of the folder are new or gone since the run's own `index` was made. The run goes on with its own."""
    try:
        changes = changes_between(index, listed())
    except (DatasetError, NoImagesError) as error:
        tell(f"The run goes on with its own list of {len(index):,} images, though now {error}")
        return
    if changes:
        tell(f"{changes}. The run goes on with its own list of {len(index):,}; new ones are for a new run")
