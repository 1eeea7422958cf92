"""Whatever happens to the bytes of an archive or shard, listing and reading it ends, in rows or in one of our errors."""

from __future__ import annotations

import contextlib
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shard_files import WRITERS, Members

import imgstream as ims
from imgstream.errors import DatasetWarning, ImgstreamError
from imgstream.files.reader import FileReader, read_declared, read_digest

LIMIT = 10**6
CHANGES = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True), st.sampled_from([b"\0", b"\x7f", b"\xff", b"\1", 4 * b"\xff", 8 * b"\0", b"\xff\xff\xff\x7f"])
    ),
    min_size=1,
    max_size=4,
)
"""(where, as a share of the file; what is written there)."""


def write_npz(path: Path, members: Members) -> Path:
    np.savez(path, x=np.zeros((5, 8, 8, 3), np.uint8), y=np.arange(5))
    return path


FORMS = {**WRITERS, "npz": ("p.npz", write_npz)}


@pytest.mark.quick("tfrecord", "tar", "zip", "parquet", "npz")
@pytest.mark.parametrize("form", FORMS)
def test_damage_is_rows_or_an_error_of_ours(form: str, two_classes: Path, tmp_path: Path) -> None:
    name, write = FORMS[form]
    members = {path.relative_to(two_classes).as_posix(): path.read_bytes() for path in sorted(two_classes.rglob("*2.jpg"))}
    whole = write(tmp_path / name, members).read_bytes()
    times = iter(range(1, 10_000))

    @given(CHANGES, st.floats(0, 1), st.booleans())
    def damage(changes: list[tuple[float, bytes]], length: float, is_cut: bool) -> None:
        data = bytearray(whole)
        for at, value in changes:
            data[int(at * len(data)) : int(at * len(data)) + len(value)] = value
        path = tmp_path / name
        path.write_bytes(data[: int(length * len(data))] if is_cut else data)
        os.utime(path, (next(times), 0))  # another version each time
        with contextlib.suppress(ImgstreamError), warnings.catch_warnings():
            warnings.simplefilter("ignore", DatasetWarning)
            index = ims.scan(path)
            for row in range(len(index)):
                for read in (lambda place: FileReader().read(place, LIMIT), lambda place: read_declared(place, LIMIT), read_digest):
                    with contextlib.suppress(ims.BadImage):
                        read(index.path_bytes(row))

    damage()
