from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from imgstream.check.file_records import BadFile, FileRecords, mapped
from imgstream.errors import BadImage


def test_a_large_array_is_zeros_and_leaves_no_file_behind() -> None:
    array = mapped((70 << 10, 1 << 10), np.dtype(np.uint8))
    assert not array[-1].any()
    array[-1] = 7
    assert array[-1].all()
    assert list(Path(os.environ["IMGSTREAM_CACHE"]).iterdir()) == []


def test_bad_files_come_back_as_they_were_noted_as_often_as_asked() -> None:
    facts = FileRecords(3, thumbnails=False)
    facts.note_bad(0, BadImage("empty", "0 bytes"))
    facts.note_bad(2, BadImage("corrupt", "a line\nend and \udcff"))
    for _ in range(2):
        assert list(facts.bad()) == [BadFile(0, "empty", "0 bytes"), BadFile(2, "corrupt", "a line\nend and \udcff")]
