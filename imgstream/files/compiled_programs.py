"""Keeps what a backend compiles in the user's cache folder, so that the next process starts in seconds.

These files are machine code that is run: they are used only where nobody else could have written them (docs/security.md).
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import os
import platform
import re
import stat
from pathlib import Path

from imgstream.errors import OutputError
from imgstream.files.locations import cache_folder

MOST_BYTES = 2 << 30
"""When there is more, the oldest programs are removed. The programs of one training take 1 to 20 MB."""


def keep_programs() -> None:
    """Have Keras' backend keep its programs from now on, and take those that were kept: JAX's, and on a GPU XLA's of TensorFlow.

    What the user has set for that stands. Nothing is kept where there is no cache folder, or where others may write into it. To be called
    before a model is built: on JAX every initializer is a program, small ones by the dozen, which take longer than the step's.
    """
    import keras

    backend = keras.backend.backend()
    if backend == "jax":
        jax = importlib.import_module("jax")  # no dependency of ours
        if jax.config.jax_compilation_cache_dir is None and (folder := _folder()) is not None:
            jax.config.update("jax_compilation_cache_dir", folder)
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    elif backend == "tensorflow" and any("gpu" in name.lower() for name in keras.distribution.list_devices()):
        given = os.environ.get("TF_XLA_FLAGS", "")  # read when XLA first compiles
        if "tf_xla_persistent_cache" not in given and (folder := _folder()) is not None and " " not in folder:
            os.environ["TF_XLA_FLAGS"] = f"{given} --tf_xla_persistent_cache_directory={folder}".strip()


@functools.cache
def _folder() -> str | None:
    """The folder for the programs of this kind of processor, with room in it; None if there is none that is only the user's."""
    try:
        folder = cache_folder() / "programs" / _processor()
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not all(_is_ours(each) for each in (folder, folder.parent, folder.parent.parent)):
            return None
        _remove_oldest(folder)
        return str(folder)
    except (OSError, OutputError):
        return None


def _processor() -> str:
    """Names the instructions that this machine has: a program may use any of them, and home folders are shared between machines."""
    try:
        found = re.search(r"^(?:flags|Features)\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:  # not Linux
        found = None
    flags = " ".join(sorted(found[1].split())) if found else platform.processor()
    return f"{platform.machine()}-{hashlib.sha256(flags.encode()).hexdigest()[:12]}"


def _is_ours(folder: Path) -> bool:
    if not hasattr(os, "geteuid"):  # Windows: a user's folders are the user's
        return True
    status = folder.stat()
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _remove_oldest(folder: Path) -> None:
    files = sorted((each.stat().st_mtime, each.stat().st_size, each) for each in folder.rglob("*") if each.is_file())
    excess = sum(size for _, size, _ in files) - MOST_BYTES
    for _, size, file in files:
        if excess <= 0:
            return
        file.unlink(missing_ok=True)
        excess -= size
