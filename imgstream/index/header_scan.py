"""Opens every file of an index once and records what its header says."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from imgstream.errors import BadImage
from imgstream.files.objects import AT_ONCE
from imgstream.files.reader import file_version, read_declared
from imgstream.index.selection import RowSelection
from imgstream.index.table.file_facts import FileFacts
from imgstream.stalls import OpenFile, StallWatch

_THREADS = 8
_EXAMPLES = 5


def scan_headers(index: RowSelection, max_pixels: int, progress: Callable[[int], None] | None = None) -> tuple[int, list[str]]:
    """Read the header of every file and record its kind, size and orientation; files that cannot be read are left out.

    Returns how many files had changed since they were first opened, and the paths of the first few.
    """
    facts = FileFacts.of(index.table)
    if facts is None:
        return 0, []

    stall_watch = StallWatch()

    def look(i: int) -> bool:
        path = index.path_bytes(i)
        with stall_watch.watching(OpenFile()) as open_file:
            open_file.begin(path)
            version = file_version(path)
            try:
                header, _ = read_declared(path, max_pixels)
            except BadImage:
                return False
        return version is not None and facts.renew(index.row(i), version, header)

    changed = 0
    examples: list[str] = []
    with ThreadPoolExecutor(AT_ONCE if index.in_buckets else _THREADS, "imgstream-facts") as threads:
        for at in index.chunks():
            for i, has_changed in zip(at.tolist(), threads.map(look, at.tolist(), chunksize=256), strict=True):
                if has_changed:
                    changed += 1
                    if len(examples) < _EXAMPLES:
                        examples.append(index.path(i))
            if progress is not None:
                progress(int(at[-1]) + 1)
    return changed, examples
