"""Every example of README.md and of the pages under docs/ is run, page by page, as a reader would from top to bottom.

What is not run says so in the page's source: see tools/check_docs.py.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import check_docs
import imgstream as ims
from imgstream.cli import main

ROOT = Path(__file__).parents[2]
EXAMPLES = {
    page.relative_to(ROOT).as_posix(): found
    for page in check_docs.documents(ROOT)
    if (
        found := [
            block
            for block in check_docs.blocks(page.read_text("utf-8"))
            if block.info[:1] in (["python"], ["console"]) or block.mark == "file"
        ]
    )
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that pages speak of: photos/, photos.zip, scans/, holdout/, new_photos/, flat/, list.csv, runs pets, a and b."""
    folder = tmp_path_factory.mktemp("reader")
    shutil.copytree(ROOT / "sample_data", folder / "sample_data")
    shutil.copytree(ROOT / "sample_data" / "new", folder / "new_photos")
    (folder / "flat").mkdir()
    listed = ["img,species"]
    for name in ("cats", "dogs"):
        images = sorted((ROOT / "sample_data" / name).iterdir())
        for part, chosen in (("photos", images[:16]), ("holdout", images[16:20])):
            (folder / part / name).mkdir(parents=True)
            for image in chosen:
                shutil.copy(image, folder / part / name)
        for image in images[:3]:
            shutil.copy(image, folder / "flat" / f"{name[:-1]}.{image.name}")
        listed += [f"{name}/{image.name},{name}" for image in images[:16]]
    for number in range(8):
        (folder / "scans" / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        values = np.full((24, 24), 400 * number, np.uint16)
        Image.fromarray(values).save(folder / "scans" / "ab"[number % 2] / f"{number}.png")
    (folder / "list.csv").write_text("\n".join(listed) + "\n")
    shutil.make_archive(str(folder / "photos"), "zip", folder / "photos")
    ims.train(folder / "photos", out=folder / "runs" / "pets", epochs=1, size=32, batch_size=8, augment="none")
    for other in ("a", "b"):
        shutil.copytree(folder / "runs" / "pets", folder / "runs" / other)
    return folder


@pytest.fixture
def reader(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, for one page, in which the page's commands are given."""
    shutil.copytree(prepared, tmp_path / "reader")
    monkeypatch.chdir(tmp_path / "reader")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "reader")])
    # As in a new process: this one is full of what other tests have left.
    monkeypatch.setattr("imgstream.training.memory.plan.anonymous_bytes", lambda: 500 * 10**6)
    return tmp_path / "reader"


def run_command(words: Sequence[str], *, train: bool) -> None:
    """Run a command of imgstream to its good end. Other programs, and trainings unless `train`, are left alone: check_docs.py looks at
    their arguments.
    """
    arguments = check_docs.as_imgstream(words)
    if arguments is None or (arguments[0] == "train" and not train):
        return
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    found_something = 3 if arguments[0] == "check" else 0
    assert ended.value.code in (0, found_something), " ".join(words)


@pytest.mark.slow
@pytest.mark.parametrize("page", EXAMPLES)
def test_the_examples_of_a_page_work_from_top_to_bottom(page: str, reader: Path) -> None:
    names: dict[str, object] = {}  # one for all: a later example may go on from an earlier one, as a reader would
    for block in EXAMPLES[page]:
        if block.mark == "before":
            exec(block.said, names)
        if block.mark == "file":
            (reader / block.said).write_text(block.body)
        if block.mark == "parsed only":
            continue
        if block.info[0] == "console":
            for words in check_docs.commands_of(block.body):
                run_command(words, train=block.mark != "not trained")
        elif block.info[0] == "python":
            code = compile("\n" * (block.line - 1) + block.body, page, "exec")
            exec(code, names)


def test_pages_of_the_guide_have_examples() -> None:
    assert {"README.md", "docs/index.md", "docs/guide/train.md", "docs/guide/predict.md", "docs/guide/keras.md"} <= set(EXAMPLES)


def test_what_is_not_run_says_why() -> None:
    silent = [(page, block.line) for page, found in EXAMPLES.items() for block in found if block.mark and not block.said]
    assert silent == []
