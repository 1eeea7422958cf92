"""Where imgstream keeps what it can make again: tables of folders, caches of decoded images."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from imgstream.errors import OutputError


def cache_folder() -> Path:
    """The user's cache folder, absolute; it is not created here.

    IMGSTREAM_CACHE if set, else %LOCALAPPDATA%/imgstream/Cache (Windows), ~/Library/Caches/imgstream (macOS), $XDG_CACHE_HOME/imgstream or
    ~/.cache/imgstream (elsewhere). Raises OutputError when there is no home folder.
    """
    chosen = os.environ.get("IMGSTREAM_CACHE")
    if chosen:
        return Path(os.path.abspath(os.path.expanduser(chosen)))
    try:
        if sys.platform == "win32":
            local = os.environ.get("LOCALAPPDATA")
            return (Path(local) if local else Path.home() / "AppData" / "Local") / "imgstream" / "Cache"
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "imgstream"
        xdg = os.environ.get("XDG_CACHE_HOME", "")
        return (Path(xdg) if os.path.isabs(xdg) else Path.home() / ".cache") / "imgstream"  # the standard ignores relative values
    except RuntimeError as error:
        raise OutputError(f"there is no home folder to keep a cache in ({error}); set IMGSTREAM_CACHE to a folder") from None
