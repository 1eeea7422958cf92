import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from imgstream import atomic
from imgstream.index import scan, table, table_writer

Tree = Callable[..., Path]


def test_a_scan_keeps_its_own_rows_when_another_process_writes_the_same_table_in_between(
    tree: Tree, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tree("c/new.jpg")
    scan(root)
    (other,) = (cache / "index").glob("*.arrow")
    shutil.copy(other, tmp_path / "other.arrow")

    @contextlib.contextmanager
    def overtaken(path: Path) -> Iterator[IO[Any]]:
        with atomic.atomic_file(path) as file:
            yield file
        shutil.copy(tmp_path / "other.arrow", tmp_path / "copy.arrow")
        (tmp_path / "copy.arrow").replace(path)

    monkeypatch.setattr(table_writer, "atomic_file", overtaken)
    (root / "c" / "new.jpg").rename(root / "c" / "old.jpg")
    assert scan(root).relative_bytes(0) == b"c/old.jpg"


def test_a_kill_while_the_table_is_written_leaves_the_one_before(tree: Tree, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree("c/1.jpg")
    scan(root)
    (file,) = (cache / "index").glob("*.arrow")
    before = file.read_bytes()

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    (root / "c" / "2.jpg").touch()
    monkeypatch.setattr(table.pa.ipc, "new_file", killed)
    with pytest.raises(KeyboardInterrupt):
        scan(root)
    assert [entry.name for entry in (cache / "index").glob("*.arrow")] == [file.name]
    assert file.read_bytes() == before
