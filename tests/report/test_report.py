from __future__ import annotations

import base64
import json
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import imgstream as ims
from imgstream.prediction.readers import PredictedRow
from imgstream.report.report import report_page
from imgstream.runs.reporting import report_run

HOSTILE = "<script>alert(1)</script> & \"quotes' \u202e"


class Seen(HTMLParser):
    """What a browser would make of a page: its elements with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.raw = ""
        self.page = page
        self.feed(page)
        self.text = re.sub(r"\s+", " ", " ".join(self.texts))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.raw = tag if tag in ("script", "style") else ""

    def handle_endtag(self, tag: str) -> None:
        self.raw = ""

    def handle_data(self, data: str) -> None:
        if not self.raw:
            self.texts.append(data)

    def all(self, tag: str, name: str = "") -> list[dict[str, str | None]]:
        """The attributes of the elements with this tag and class."""
        return [a for t, a in self.elements if t == tag and name in [*(a.get("class") or "").split(), ""]]


@pytest.fixture(scope="module")
def page(trained: Path, two_classes: Path, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """The report of a run on images of which one has the wrong label, one another class, and one is broken."""
    folder = tmp_path_factory.mktemp("seen") / "holdout"
    shutil.copytree(two_classes, folder)
    (folder / "dark" / "00.jpg").rename(folder / "light" / "moved.jpg")
    (folder / "dark" / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    (folder / HOSTILE.replace("/", "")).mkdir()
    shutil.copy(folder / "light" / "01.jpg", folder / HOSTILE.replace("/", "") / os.fsdecode(b"name \xff\n<b>.jpg"))
    out = ims.load_run(trained).report(folder, folder.parent / "page.html")
    return Seen(Path(out).read_text(encoding="utf-8"))


def test_a_page_asks_for_nothing_and_forbids_to(page: Seen) -> None:
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert {a["src"][:5] for a in page.all("img") if a.get("src")} == {"data:"}  # type: ignore[index]
    assert page.all("link") == []
    assert [a for a in page.all("a") if not (a.get("href") or "").startswith("#")] == []
    assert all(a.get("type") == "application/json" or not a for a in page.all("script"))


def test_the_quality_of_a_run_is_what_evaluate_measures(page: Seen) -> None:
    assert "Right on 97.5 % of 40 images" in page.text
    assert "could not be read" in page.text
    assert "truncated" in page.text
    assert "light taken for dark" in page.text
    assert "1 without a label of the model's left out" in page.text


def test_the_accuracy_of_the_whole_validation_stands_before_that_of_a_sample(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgstream.report.measure._BATCH_SIZE", 4)
    run = ims.load_run(trained)
    told = Seen(report_run(run, run.folder, None, tmp_path / "page.html", most=4).read_text(encoding="utf-8")).text
    assert f"{100 * run.metrics['accuracy']:.1f} % when it was trained, of {run.metrics['images']} images" in told
    assert "images in the sample 4" in told


def test_the_wrong_label_is_suggested_with_where_the_model_looked(page: Seen) -> None:
    wrong = page.all("figure", "wrong")
    assert [(a["data-path"], a["data-label"], a["data-predicted"]) for a in wrong] == [("light/moved.jpg", "light", "dark")] * 2
    assert "Likely label errors 1" in page.text  # beside its cell of the confusion matrix
    assert len(page.all("img", "looked")) == len([a for a in page.all("figure", "tile") if "data-predicted" in a])


def test_names_are_text_whatever_they_hold(page: Seen) -> None:
    assert page.page.count("alert(1)") == page.page.count("&lt;script&gt;alert(1)") + page.page.count("\\u003cscript\\u003ealert(1)")
    assert "<script>alert(1)<script> & \"quotes' \\u202e" in page.text  # the mark that turns text round is shown, and has no effect
    exact = [base64.b64decode(a["data-exact"] or "") for a in page.all("figure", "tile") if "data-exact" in a]
    assert set(exact) == {os.fsencode(HOSTILE.replace("/", "")) + b"/name \xff\n<b>.jpg"}


def test_what_a_page_holds_for_its_script_is_json(page: Seen) -> None:
    blocks = re.findall(r'<script type="application/json" id="([\w-]+)">(.*?)</script>', page.page, re.DOTALL)
    data = {name: json.loads(body) for name, body in blocks}
    assert set(data) == {"about", "coverage-data", "map-data"}
    labels = np.frombuffer(base64.b64decode(data["map-data"]["label"]), "<i4")
    assert len(data["map-data"]["paths"]) == len(data["map-data"]["thumbnails"]) == len(labels) == 41
    assert sorted(labels.tolist()) == [-1] + [0] * 19 + [1] * 21
    assert data["coverage-data"][0] == {"at": 0.0, "kept": 1.0, "accuracy": 0.975}


def test_the_training_shows_where_its_time_went(trained: Path, page: Seen) -> None:
    state = ims.load_run(trained).state
    assert set(state["phases"]) == {"starting", "compiling", "steps", "validating", "writing"}
    assert min(state["phases"].values()) >= 0
    assert sum(state["phases"].values()) <= state["seconds"] + 0.3  # each is rounded
    assert re.search(r"Where the time went .* compiling, with the first step of each size [\d.]+ s", page.text)


def test_images_that_the_run_was_trained_on_are_told_apart(trained: Path, two_classes: Path, tmp_path: Path) -> None:
    run = ims.load_run(trained)
    (tmp_path / "link").symlink_to(two_classes)
    page = Seen(Path(run.report(tmp_path / "link", tmp_path / "page.html")).read_text(encoding="utf-8"))
    n = len(ims.scan(two_classes).split(val=0.2)[0])
    assert f"The run was trained on {n} of these images." in page.text
    assert f"of the {40 - n} others." in page.text
    shutil.copytree(two_classes, tmp_path / "others")
    page = Seen(Path(run.report(tmp_path / "others", tmp_path / "page.html")).read_text(encoding="utf-8"))
    assert "The run was trained on" not in page.text


def test_a_folder_alone_has_a_page_of_its_data(two_classes: Path, tmp_path: Path) -> None:
    shutil.copytree(two_classes, tmp_path / "photos")
    shutil.copy(two_classes / "dark" / "00.jpg", tmp_path / "photos" / "light" / "copy.jpg")
    (tmp_path / "photos" / "dark" / "empty.jpg").touch()
    page = Seen(report_page(index=ims.scan(tmp_path / "photos"), name="photos"))
    assert "42 images in 2 classes; the largest has 21, the smallest 21." in page.text
    assert "Copies with different labels 1 group, 2 files" in page.text
    assert "empty" in page.text
    assert "Quality" not in page.text
    assert "What the augmentation" in page.text


def test_predictions_are_counted_and_missing_originals_are_told(two_classes: Path) -> None:
    rows = [
        PredictedRow(b"light/00.jpg", "light", None, 0.9),
        PredictedRow(b"gone.jpg", "dark", None, 0.4),
        PredictedRow(b"dark/01.jpg", "dark", None, None),
        PredictedRow(b"bad.jpg", None, "truncated: Premature end", None),
    ]
    page = Seen(report_page(rows=rows, root=str(two_classes), name="predictions.csv"))
    assert "3 images predicted, 1 file bad; most often dark . 1 score is no number." in page.text
    assert "Bad: truncated" in page.text
    assert [a["data-path"] for a in page.all("figure", "gone")] == ["gone.jpg", "bad.jpg", "gone.jpg"]  # as least sure, and as dark
    assert page.text.count("missing: ") == 2


@pytest.mark.parametrize("root", ["gone", "gone.zip", "gone-*.tar"])
def test_predictions_of_a_folder_or_archive_that_is_gone_are_reported_without_images(root: str, tmp_path: Path) -> None:
    page = Seen(report_page(rows=[PredictedRow(b"00.jpg", "light", None, 0.9)], root=str(tmp_path / root), name="predictions.csv"))
    assert "1 image predicted" in page.text
    assert [a["data-path"] for a in page.all("figure", "gone")] == ["00.jpg"] * 2
    assert "missing: " in page.text


def test_no_predictions_and_a_run_without_history_have_pages_too(trained: Path, tmp_path: Path) -> None:
    assert "There are no predictions here." in Seen(report_page(rows=[], name="empty")).text
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    for name in ("history.csv", "memory.csv", "index.arrow"):
        (run / name).unlink()
    page = Seen(Path(ims.load_run(run).report()).read_text(encoding="utf-8"))
    assert "The run has no history." in page.text
    assert "The run's own images cannot all be listed" in page.text
