from __future__ import annotations

import base64
import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import imgstream as ims
from imgstream.cli import main
from imgstream.index.split.groups import groups
from imgstream.stream import Batch
from imgstream.stream.tf.dataset import TfPipeline

TINY = ("--size", "16", "--batch-size", "8", "--epochs", "1", "--no-report")


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of imgstream check."""
    with pytest.raises(SystemExit) as exit_:
        main(["check", *map(str, arguments)])
    out, err = capsys.readouterr()
    return int(exit_.value.code or 0), out, err


def test_parity_of_a_clean_folder_exits_with_0_and_says_so(two_classes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, two_classes, "--parity", "--size", "24x32", "--augment", "none", "--augment", "light")
    assert code == 0
    assert "over 40 files, 24x32, crop, RGB" in out
    assert "The two pipelines agree" in out


def test_json_is_one_object_with_every_figure(two_classes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, two_classes, "--parity", "--size", "16", "--fit", "pad", "--channels", "1", "--json")
    result = json.loads(out)
    assert code == 0
    assert result["parity"] is True
    assert result["files"] == 40
    assert result["spec"]["fit"] == "pad"
    assert [c["augment"] for c in result["comparisons"]] == ["none", "light", "standard"]
    assert all(c["images"] == c["by_tensorflow"] == 40 for c in result["comparisons"])
    assert all(c["largest_difference"] <= c["largest_allowed"] + 1e-3 for c in result["comparisons"])


def test_a_run_brings_its_spec_and_tells_the_predictions_that_change(
    trained: Path, two_classes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(capsys, two_classes, "--parity", "--run", trained, "--augment", "none", "--json")
    result = json.loads(out)
    assert code == 0
    assert result["spec"]["size"] == [32, 32]
    assert result["run"]["path"] == str(trained)
    assert 0 <= result["run"]["largest_score_difference"] < 0.1
    assert isinstance(result["run"]["predictions_that_change"], list)


def test_pipelines_that_disagree_exit_with_3_and_name_the_files(
    two_classes: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    right = TfPipeline.traced_batches

    def wrong(self: TfPipeline, epoch: int = 0, start: int = 0) -> object:
        for batch in right(self, epoch, start):
            images = np.where(batch.positions[:, None, None, None] == 25, 0, batch.images)
            yield Batch(batch.number, images, batch.labels, batch.positions, batch.bad)

    monkeypatch.setattr(TfPipeline, "traced_batches", wrong)
    code, out, _ = run(capsys, two_classes, "--parity", "--size", "16", "--augment", "none")
    assert code == 3
    assert "1 image differs by more than 1/255" in out
    assert "light/05.jpg" in out
    assert "disagree" in out


def test_wrong_use_exits_with_2(two_classes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, words in (
        (["--parity", "--run", "r", "--size", "16"], "--run brings its own"),
        (["--parity", "--decode"], "a check of its own"),
        (["--size", "16"], "go with --parity"),
        (["--quarantine", "a.csv", "--groups", "a.csv"], "a file each"),
    ):
        code, _, err = run(capsys, two_classes, *arguments)
        assert code == 2
        assert words in err


def test_a_folder_without_a_readable_image_exits_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.jpg").write_text("no image")
    code, _, err = run(capsys, tmp_path, "--parity")
    assert code == 1
    assert "none of the 1 images" in err


@pytest.fixture
def planted(two_classes: Path, tmp_path: Path) -> Path:
    """The two classes, a copy in the same one, a copy in the other one, a smaller picture, and a page named as an image."""
    folder = tmp_path / "[red]photos"
    shutil.copytree(two_classes, folder)
    shutil.copy(folder / "dark" / "00.jpg", folder / "dark" / "copy.jpg")
    shutil.copy(folder / "dark" / "01.jpg", folder / "light" / "wrong.jpg")
    shutil.copy(folder / "light" / "02.jpg", folder / "light" / os.fsdecode(b"n\xff.jpg"))
    Image.open(folder / "light" / "03.jpg").save(folder / "light" / "again.png")
    (folder / "light" / "bad\x1b.jpg").write_text("<html>gone</html>")
    return folder


def test_a_clean_folder_exits_with_0(two_classes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, two_classes)
    assert (code, err) == (0, "")
    assert "40 files" in out
    assert "not looked for: --decode" in out
    assert "Nothing found in the headers" in out
    code, out, _ = run(capsys, two_classes, "--decode")
    assert code == 0
    assert "Nothing found." in out


def test_findings_exit_with_3_and_name_the_files(planted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, planted, "--decode")
    assert (code, err) == (3, "")
    assert "[red]photos: 45 files" in out
    for words in ("1 wrong kind", r"light/bad\x1b.jpg", "dark/copy.jpg", "light/wrong.jpg  light", r"light/n\udcff.jpg", "light/again.png"):
        assert words in out
    assert "\x1b.jpg" not in out


def test_check_json_is_one_object_with_the_documented_fields(planted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, planted, "--decode", "--json")
    result = json.loads(out)
    assert (code, err, out.count("\n")) == (3, "", 1)
    assert set(result) == {
        *("format", "directory", "files", "clean", "decoded", "seconds", "bytes", "classes", "other_files", "unreadable_folders", "kinds"),
        *(
            "look_alike_classes",
            "sizes",
            "broken",
            "exact_duplicates",
            "near_duplicates",
            "conflicting_labels",
            "across_splits",
            "depth",
            "extreme_aspects",
        ),
    }
    assert (result["format"], result["files"], result["clean"], result["decoded"]) == (1, 45, False, True)
    assert result["classes"] == [{"name": "dark", "files": 21, "bad": 0}, {"name": "light", "files": 24, "bad": 1}]
    assert result["kinds"] == {"jpeg": 43, "png": 1}
    assert result["sizes"]["width_pixels"] == {"least": 48, "median": 48, "most": 48}
    assert result["broken"] == {
        "files": 1,
        "reasons": {"wrong kind": 1},
        "first": [{"path": "light/bad\x1b.jpg", "reason": "wrong kind", "detail": "an HTML page"}],
    }
    exact = result["exact_duplicates"]
    assert (exact["clusters"], exact["files"]) == (3, 6)
    assert [[file["path"] for file in cluster] for cluster in exact["first"]] == [
        ["dark/00.jpg", "dark/copy.jpg"],
        ["dark/01.jpg", "light/wrong.jpg"],
        ["light/02.jpg", "light/n\udcff.jpg"],
    ]
    near = result["near_duplicates"]
    assert (near["clusters"], near["files"], near["too_plain"]) == (1, 2, 0)
    assert [file["path"] for file in near["first"][0]] == ["light/03.jpg", "light/again.png"]
    conflicts = result["conflicting_labels"]
    assert [[(file["path"], file["class"]) for file in cluster] for cluster in conflicts["first"]] == [
        [("dark/01.jpg", "dark"), ("light/wrong.jpg", "light")]
    ]
    assert result["across_splits"]["split_by"] == "hash"
    assert all(len({file["part"] for file in cluster}) == 2 for cluster in result["across_splits"]["first"])
    assert result["extreme_aspects"] == {"files": 0, "longer_side_over_shorter": 4, "first": []}


def test_what_is_left_out_and_kept_together_is_written(planted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad, copies = tmp_path / "bad.csv", tmp_path / "copies.csv"
    code, out, _ = run(capsys, planted, "--decode", "--quarantine", bad, "--groups", copies)
    assert code == 3
    assert "5 files to leave out" in out
    assert "4 groups to keep together" in out
    assert len(bad.read_text().splitlines()) == 6
    assert len(copies.read_text().splitlines()) == 9


def test_targets_are_refused_before_the_work_and_images_are_never_written_to(planted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = planted / "dark" / "00.jpg"
    before = image.read_bytes()
    for target, words in ((image, "never written to"), (planted / "none" / "a.csv", "does not exist")):
        for option in ("--quarantine", "--groups"):
            code, out, err = run(capsys, planted, option, target)
            assert (code, out, err.count("\n")) == (1, "", 1)
            assert words in err
    assert image.read_bytes() == before


def test_a_folder_that_is_not_there_exits_with_1_and_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, tmp_path / "gone")
    assert (code, out, err.count("\n")) == (1, "", 1)


def test_help_of_check_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--help")
    assert code == 0
    assert "imgstream check photos/ --decode --quarantine bad.csv" in out


@pytest.mark.slow
@pytest.mark.usefixtures("small_cnn")
def test_what_check_wrote_keeps_every_picture_on_one_side_of_training(
    planted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for i in range(4, 14):  # copies that are no equal files: they stay, and must stay together
        Image.open(planted / "dark" / f"{i:02}.jpg").save(planted / "dark" / f"x{i}.png")
    bad, copies, out = tmp_path / "bad.csv", tmp_path / "copies.csv", tmp_path / "run"
    assert run(capsys, planted, "--decode", "--quarantine", bad, "--groups", copies)[0] == 3
    with pytest.raises(SystemExit) as exit_:
        main(["train", str(planted), "--out", str(out), "--exclude", str(bad), "--group", str(copies), *TINY])
    assert not exit_.value.code
    assert "; nothing is on both sides\n" in capsys.readouterr().out
    with copies.open(newline="") as file:
        listed = list(csv.DictReader(file))
    cluster = {base64.b64decode(row["path_b64"]) if row["path_b64"] else row["path"].encode(): row["group"] for row in listed}
    index = ims.ImageIndex.load(out / "index.arrow")
    assert len(index) == 45 + 10 - 5

    def shared(train: ims.ImageIndex, val: ims.ImageIndex) -> set[str]:
        first, second = ({cluster.get(side.relative_bytes(i), "") for i in range(len(side))} - {""} for side in (train, val))
        return first & second

    train, val = index.split(0.2, 0, group=groups(copies))
    state = ims.load_run(out).state["split"]
    assert (state["how"], state["train"], state["val"], state["crossing"]) == (f"by hash, groups by {copies}", len(train), len(val), 0)
    assert shared(train, val) == set()
    assert shared(*index.split(0.2, 0)) != set()  # without the groups some would be validated on what was learnt from them


def test_classes_that_look_alike_are_a_finding(two_classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, name in enumerate(("caf\xe9", "cafe\u0301", "dogs")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        shutil.copy(two_classes / "dark" / f"{number:02}.jpg", tmp_path / "photos" / name)
    code, out, err = run(capsys, tmp_path / "photos")
    assert (code, err) == (3, "")
    assert r"'cafe\u0301' and 'caf\xe9'" in " ".join(out.replace("│", " ").split())
    assert "To join them: imgstream index" in out
    assert "--join-classes -o photos-joined.csv" in out
    code, out, _ = run(capsys, tmp_path / "photos", "--json")
    assert (code, json.loads(out)["clean"], json.loads(out)["look_alike_classes"]) == (3, False, [["cafe\u0301", "caf\xe9"]])
    shutil.rmtree(tmp_path / "photos" / "cafe\u0301")
    code, out, _ = run(capsys, tmp_path / "photos", "--json")
    assert (code, json.loads(out)["look_alike_classes"]) == (0, [])
