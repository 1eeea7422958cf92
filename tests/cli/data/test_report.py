from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import imgstream as ims
from imgstream.cli import main


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    with pytest.raises(SystemExit) as exit_:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return int(exit_.value.code or 0), out, err


def test_a_folder_has_a_report_of_its_own(two_classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "report", two_classes, "-o", tmp_path / "photos.html")
    assert (code, out.startswith(f"Report: {tmp_path / 'photos.html'}, ")) == (0, True)
    assert "40 images in 2 classes" in (tmp_path / "photos.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_run_is_reported_on_its_validation_on_images_and_on_predictions(
    trained: Path, two_classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(trained, tmp_path / "run")
    assert run(capsys, "report", tmp_path / "run")[0] == 0
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "of its own validation" in page
    assert ims.load_run(tmp_path / "run").state["state"] == "finished"  # the page is no part of what a run's digests cover
    shutil.copytree(two_classes / "light", tmp_path / "new")
    assert run(capsys, "predict", trained, tmp_path / "new", "-o", tmp_path / "new.csv")[0] == 0
    shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path / "new")
    assert run(capsys, "predict", trained, tmp_path / "packed.zip", "-o", tmp_path / "packed.csv")[0] == 0
    for source in ("new", "new.csv", "packed.csv"):  # the folder is found through the store of the predictions
        assert run(capsys, "report", trained, tmp_path / source, "-o", tmp_path / "page.html")[0] == 0
        page = (tmp_path / "page.html").read_text(encoding="utf-8")
        assert "20 images predicted; most often <strong><bdi>light</bdi></strong>" in page
        assert 'data-path="00.jpg"' in page
        assert "missing: " not in page


def test_predictions_have_a_report_without_their_run(two_classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    predictions, page = tmp_path / "predictions.csv", tmp_path / "page.html"
    predictions.write_text("path,label,score,error\nlight/00.jpg,light,0.9,\nbad.jpg,,,truncated: ends early\n")
    assert run(capsys, "report", predictions, "--from", two_classes, "-o", page)[0] == 0
    text = page.read_text(encoding="utf-8")
    assert "1 image predicted, 1 file bad; most often <strong><bdi>light</bdi></strong>" in text
    assert "missing: " not in text
    code, _, err = run(capsys, "report", predictions, "--exclude", predictions, "-o", page)
    assert (code, "for images alone" in err, "Traceback" in err) == (2, True, False)


def test_what_cannot_be_reported_is_told_in_one_line(
    trained: Path, two_classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corrections = tmp_path / "corrections.html"
    corrections.write_text("path,label\n")
    for arguments, words, expected in (
        (["report", two_classes, "-o", tmp_path / "page.png"], "end the name in .html", 1),
        (["report", two_classes, "-o", tmp_path / "gone" / "page.html"], "does not exist", 1),
        (["report", tmp_path / "gone"], "there is no such folder", 1),
        (["report", two_classes, "--corrections", corrections, "-o", corrections], "is an input of this command", 1),
        (["report", trained, two_classes, "--from", two_classes, "-o", tmp_path / "page.html"], "--from", 2),
    ):
        code, out, err = run(capsys, *arguments)
        assert (code, out) == (expected, "")
        assert words in err
        assert "Traceback" not in err
    assert list(tmp_path.glob("page*")) == []


def test_check_and_index_and_evaluate_put_labels_right(
    trained: Path, two_classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos"
    shutil.copytree(two_classes, photos)
    (photos / "dark" / "00.jpg").rename(photos / "light" / "moved.jpg")
    file = tmp_path / "corrections.csv"
    file.write_text("path,action,label,was,path_b64\nlight/moved.jpg,label,dark,light,\nlight/01.jpg,exclude,,light,\n")
    told = "Corrections, by " + str(file) + ": 1 label changed (light → dark 1), 1 image left out"
    code, out, err = run(capsys, "evaluate", trained, photos, "--corrections", file)
    assert (code, told in err) == (0, True)
    assert "Accuracy 100.00 % on 39 images" in out
    code, out, err = run(capsys, "check", photos, "--corrections", file)
    assert told in err
    code, out, _ = run(capsys, "index", photos, "--corrections", file, "-o", tmp_path / "list.csv")
    assert (code, told in out) == (0, True)
    assert "light/moved.jpg,dark" in (tmp_path / "list.csv").read_text(encoding="utf-8")
