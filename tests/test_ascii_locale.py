"""Under an ASCII locale, as bare containers and cron have it, a file name is bytes still, and what files hold is UTF-8."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

NAME = "café/é😀.jpg"
PROGRAM = """
import json, sys
import imgstream as ims
from imgstream.check import examine, write_quarantine
from imgstream.index.path_lists import read_paths

spec = ims.SampleSpec(size=(8, 8))
found = {"encoding": sys.getfilesystemencoding()}
for name in ("list.csv", "list.txt", "list.jsonl", "photos"):
    index = ims.scan(name, root=None if name == "photos" else "photos")
    stream = ims.Stream(index, spec)
    images = sum(len(images) for images, _ in stream.batches())
    found[name] = [images, len(stream.skipped), index.relative_bytes(0).decode(), index.class_names]
write_quarantine(examine(index), "bad.csv")
found["excluded"] = [path.decode() for path in read_paths("bad.csv")]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A folder of two images, one of them empty, and lists of them; what a process whose file names are ASCII finds there."""
    folder = tmp_path_factory.mktemp("ascii")
    for at, data in ((NAME, cv2.imencode(".jpg", np.zeros((9, 9, 3), np.uint8))[1].tobytes()), (f"{NAME}.jpg", b"")):
        path = os.fsencode(folder / "photos") + b"/" + at.encode()
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Path(os.fsdecode(path)).write_bytes(data)
    names = [NAME, f"{NAME}.jpg"]
    (folder / "list.txt").write_text("\n".join(names), "utf-8")
    (folder / "list.csv").write_text("path,label\n" + "".join(f"{name},café\n" for name in names), "utf-8")
    (folder / "list.jsonl").write_text(
        "".join(json.dumps({"path": name, "label": "café"}, ensure_ascii=False) + "\n" for name in names), "utf-8"
    )
    environment = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], check=False, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    if result["encoding"] != "ascii":
        pytest.skip(f"file names are {result['encoding']} here in any locale")
    return folder, result


@pytest.mark.parametrize("source", ["list.csv", "list.txt", "list.jsonl", "photos"])
def test_names_in_a_list_are_found_as_those_of_a_folder_are(source: str, found: tuple[Path, dict[str, Any]]) -> None:
    classes = [] if source == "list.txt" else ["café"]
    assert found[1][source] == [1, 1, NAME, classes]


def test_what_check_lists_is_left_out(found: tuple[Path, dict[str, Any]]) -> None:
    folder, result = found
    assert result["excluded"] == [f"{NAME}.jpg"]
    assert (folder / "bad.csv").read_text("utf-8").splitlines()[1].startswith(f"{NAME}.jpg,empty,")
