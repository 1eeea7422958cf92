from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import imgstream as ims
from imgstream.cli import main
from imgstream.index.split.groups import groups
from imgstream.training.loop import Status

pytestmark = pytest.mark.usefixtures("small_cnn")


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    with pytest.raises(SystemExit) as exit_:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return int(exit_.value.code or 0), out, err


@pytest.mark.slow
def test_train_py_is_imgstream_train(two_classes: Path, tmp_path: Path) -> None:
    script = Path(__file__).parents[2] / "train.py"
    command = [sys.executable, script, two_classes, "--out", tmp_path / "run", "--epochs", "1", "--size", "32"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Best validation accuracy" in done.stdout
    assert done.stderr == ""  # no terminal: no progress, and no chatter of TensorFlow's
    assert ims.load_run(tmp_path / "run").state["state"] == "finished"


def test_wrong_arguments_exit_with_2_and_say_which(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, words in (
        (["train", tmp_path], "--out"),
        (["train", tmp_path, "--out", "r", "--size", "big"], "HxW"),
        (["train", tmp_path, "--out", "r", "--epochs", "1", "--minutes", "1"], "--minutes"),
        (["fly"], "fly"),
        (["predict", "run", tmp_path, "a.jpg", "-o", "o.csv", "--top-k", "0"], "top-k"),
    ):
        code, _, err = run(capsys, *arguments)
        assert code == 2
        assert words in err


def test_what_cannot_be_done_exits_with_1_and_one_line(tmp_path: Path, trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    documents = tmp_path / "documents"
    documents.mkdir()
    (documents / "notes.txt").write_text("x")
    for arguments, words in (
        (["train", documents, "--out", tmp_path / "r"], "found 1 .txt"),
        (["train", documents, "--out", documents / "r"], "lies in the folder of images"),
        (["train", tmp_path / "gone", "--out", tmp_path / "r"], "gone"),
        (["predict", tmp_path, tmp_path, "-o", tmp_path / "o.csv"], "no run folder"),
        (["predict", trained, tmp_path, "-o", tmp_path / "o.xls"], ".parquet"),
        (["predict", trained, tmp_path, "-o", tmp_path / "gone" / "o.csv"], "does not exist"),
        (["evaluate", trained, tmp_path], "No images"),
        (["show", tmp_path, "--augment", "light", "-o", tmp_path / "s.gif"], ".png"),
    ):
        code, out, err = run(capsys, *arguments)
        assert (code, out) == (1, "")
        assert words in err
        assert err.startswith("imgstream: ")
        assert err.count("\n") == 1
        assert "Traceback" not in err


def test_predict_writes_one_row_for_every_file_and_tells_the_reasons(
    trained: Path, two_classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = tmp_path / "new"
    new.mkdir()
    (new / "1.jpg").write_bytes((two_classes / "light" / "00.jpg").read_bytes())
    (new / "2 \n[red].jpg").write_bytes(b"")
    os.mkfifo(new / "3.jpg")
    (new / "loop").symlink_to(new)
    (tmp_path / "new" / os.fsdecode(b"4\xff.png")).write_bytes(b"<html></html>")
    code, out, _ = run(capsys, "predict", trained, new, "-o", tmp_path / "out.csv")
    assert code == 0
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text(encoding="utf-8"), newline="")))
    assert [row["path"] for row in rows] == ["1.jpg", "2 \n[red].jpg", "3.jpg", "4\ufffd.png"]
    assert [row["error"].partition(":")[0] for row in rows] == ["", "empty", "not a regular file", "wrong kind"]
    assert rows[0]["label"] == "light"
    assert rows[1]["label"] == rows[1]["score"] == ""
    assert "4 images: 1 predicted, 3 bad." in out
    assert r"2 \n[red].jpg" in out  # never raw: no line break, no markup


def test_predict_takes_files_and_paths_on_stdin(
    trained: Path, two_classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [two_classes / "light" / "00.jpg", two_classes / "dark" / "00.jpg"]
    assert run(capsys, "predict", trained, *files, "-o", tmp_path / "a.jsonl", "--top-k", 2)[0] == 0
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\n".join(map(bytes, files)) + b"\n\n")))
    assert run(capsys, "predict", trained, "-", "-o", tmp_path / "b.jsonl", "--top-k", 2)[0] == 0
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [row["label"] for row in rows] == ["light", "dark"]
    assert [len(row["top_k"]) for row in rows] == [2, 2]
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


def test_a_folder_among_files_is_refused(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "predict", trained, tmp_path, "a.jpg", "-o", tmp_path / "o.csv")
    assert code == 2
    assert "one folder, or files" in err


def test_evaluate_json_is_one_object_and_nothing_else(trained: Path, two_classes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "evaluate", trained, two_classes, "--json")
    assert code == 0
    report = json.loads(out)
    assert {"accuracy", "images", "skipped", "class_names", "per_class", "confusion_matrix"} <= set(report)
    assert report["images"] == 40
    assert report["confusion_matrix"] == [[20, 0], [0, 20]]
    assert report["per_class"]["dark"] == {"precision": 1.0, "recall": 1.0, "f1": 1.0, "n": 20}
    assert 0 <= report["ece"] <= 1
    assert report["ece"] == report["ece_uncalibrated"]  # the few images of this run's validation gave no temperature
    assert report["temperature"] == 1.0
    assert report["unknown_classes"] == report["missing_classes"] == []


def test_evaluate_of_two_classes_tells_the_threshold_for_a_wanted_precision(
    trained: Path, two_classes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(
        capsys, "evaluate", trained, two_classes, "--positive", "dark", "--at-precision", "0.9", "--at-recall", "1", "--json"
    )
    binary = json.loads(out)["binary"]
    assert (code, binary["positive"], binary["roc_auc"]) == (0, "dark", 1.0)
    assert (binary["at_precision"]["precision"], binary["at_recall"]["recall"]) == (1.0, 1.0)
    code, out, _ = run(capsys, "evaluate", trained, two_classes, "--at-recall", "0.5")
    assert "Finding light: ROC AUC 1.0000, average precision 1.0000\nFor a recall of 0.5, take scores of light from " in out
    code, _, error = run(capsys, "evaluate", trained, two_classes, "--positive", "grey")
    assert (code, error.count("\n")) == (2, 1)
    assert "--positive must be one of the model's classes, dark and light; got 'grey'" in error


def test_evaluate_tells_the_calibration_and_which_classes_are_extra_or_missing(
    trained: Path, two_classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(two_classes / "light", tmp_path / "light")
    shutil.copytree(two_classes / "dark", tmp_path / "[red]stranger")
    (tmp_path / "[red]stranger" / "bad.jpg").touch()
    (tmp_path / "dark").mkdir()
    shutil.copy(two_classes / "dark" / "00.jpg", tmp_path)
    code, out, _ = run(capsys, "evaluate", trained, tmp_path)
    assert code == 0
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in out.splitlines() if line.startswith("│")]
    assert rows[0] == ["dark", "–", "–", "–", "0"]
    assert rows[2][0] == "(mean of 1)"
    assert rows[1][1:] == rows[2][1:]
    assert "Calibration error (ECE) " in out
    assert "temperature" not in out  # it is 1, and would say nothing
    assert "Left out, as no class of the model: [red]stranger (20 images)" in out
    assert "No image here of the model's: dark" in out
    assert "Left out, without a class: 1 image\n" in out
    report = json.loads(run(capsys, "evaluate", trained, tmp_path, "--json")[1])
    assert report["per_class"]["dark"] == {"precision": None, "recall": None, "f1": None, "n": 0}
    assert report["macro_average"] == {**{key: report["per_class"]["light"][key] for key in ("precision", "recall", "f1")}, "classes": 1}
    assert [report[name] for name in ("images", "skipped", "unknown_images", "unlabelled")] == [20, 1, 20, 1]


def test_evaluate_of_broken_files_alone_says_that_nothing_was_measured(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dark").mkdir()
    (tmp_path / "dark" / "empty.jpg").touch()
    code, out, _ = run(capsys, "evaluate", trained, tmp_path)
    assert code == 0
    assert "Nothing was measured: no image of the model's classes could be read" in out
    assert "Accuracy" not in out
    report = json.loads(run(capsys, "evaluate", trained, tmp_path, "--json")[1])
    assert [report[name] for name in ("accuracy", "loss", "ece", "ece_uncalibrated", "images", "skipped")] == [None] * 4 + [0, 1]


def test_show_draws_a_sheet(two_classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    code, out, _ = run(capsys, "show", two_classes, "--augment", "strong", "-o", tmp_path / "sheet.png", "--size", "64x48", "--rows", 3)
    assert code == 0
    assert "µs an image" in out
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 9 * 48
        assert sheet.height > 3 * 64


def test_index_counts_by_class_and_saves_the_table(two_classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "index", two_classes, "-o", tmp_path / "t.arrow")
    assert code == 0
    assert "40 images" in out
    assert ims.ImageIndex.load(tmp_path / "t.arrow").class_names == ["dark", "light"]


def test_a_fold_that_cannot_be_is_told_in_one_line(two_classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for fold, expected, words in (
        (["0/3"], 2, "--fold is k/n, the k-th of n parts"),
        (["4/3"], 2, "got '4/3'"),
        (["1/1"], 2, "got '1/1'"),
        (["1/101"], 2, "got '1/101'"),
        (["half"], 2, "such as 1/5"),
        (["1/3", "--val", two_classes], 2, "either --val, a folder to validate on, or --fold"),
        (["1/3", "--group", "column"], 1, "no group column"),
        (["1/3", "--group", "patients"], 1, "(?P<group>patient[0-9]+)"),
        (["1/3", "--exclude", tmp_path / "gone.csv"], 1, "gone.csv cannot be read"),
    ):
        code, out, err = run(capsys, "train", two_classes, "--out", tmp_path / "run", "--fold", *fold)
        assert (code, out, err.count("\n")) == (expected, "", 1)
        assert err.startswith("imgstream: ")
        assert words in err
        assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_fold_in_groups_without_some_files_is_resumed_with_the_same_options_alone(
    two_classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, bad, out = tmp_path / "photos", tmp_path / "bad.csv", tmp_path / "run"
    for file in two_classes.glob("*/*.jpg"):
        shots = photos / file.parent.name / f"s{int(file.stem) // 3}"
        shots.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, shots)
    bad.write_text("path,reason,detail,path_b64\ndark/s0/00.jpg,empty,,\nlight/s6/19.jpg,empty,,\n")

    def interrupt(status: Status) -> None:
        signal.raise_signal(signal.SIGINT)

    options = {"group": "folder", "fold": "1/3", "exclude": str(bad)}
    with pytest.raises(KeyboardInterrupt):
        ims.train(photos, out=out, report=interrupt, size=(16, 16), batch_size=8, epochs=1, **options)
    index = ims.scan(photos).without(["dark/s0/00.jpg", "light/s6/19.jpg"])
    train, val = index.folds(3, 0, group=groups("folder"))[0]
    folders = [{Path(side.path(i)).parent for i in range(len(side))} for side in (train, val)]
    assert not folders[0] & folders[1]
    split = {"how": "fold 1/3, groups by folder", "train": len(train), "val": len(val), "crossing": 0, "without_validation": []}
    assert ims.load_run(out).state["split"] == split
    assert [len(ims.ImageIndex.load(out / "index.arrow")), len(train) + len(val)] == [38, 38]

    command = ["train", photos, "--out", out, "--size", 16, "--batch-size", 8, "--epochs", 1, "--resume", "--no-report"]
    for other, words in (
        (["--group", "folder", "--fold", "2/3", "--exclude", bad], "fold='1/3'"),
        (["--group", r"(?P<group>s\d)", "--fold", "1/3", "--exclude", bad], "group='folder'"),
        (["--group", "folder", "--fold", "1/3"], f"exclude={str(bad)!r}"),
        (["--group", "folder", "--exclude", bad], "fold='1/3'"),
    ):
        code, text, err = run(capsys, *command, *other)
        assert (code, text, err.count("\n")) == (1, "", 1)
        assert f"started with other options ({words})" in err
    code, text, err = run(capsys, *command, "--group", "folder", "--fold", "1/3", "--exclude", bad)
    assert (code, err) == (0, "")
    assert f"Split (fold 1/3, groups by folder): {len(train)} images to train on, {len(val)} (" in text
    finished = ims.load_run(out)
    assert (finished.state["state"], finished.state["split"], finished.metrics["images"]) == ("finished", split, len(val))


def test_predict_and_evaluate_leave_out_what_is_excluded_and_say_how_many(
    trained: Path, two_classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.txt"
    bad.write_text("dark/00.jpg\n./light/07.jpg\n")
    code, _, err = run(capsys, "predict", trained, two_classes, "-o", tmp_path / "p.csv", "--exclude", bad)
    assert (code, err) == (0, f"Left out: 2 images, by the 2 paths in {bad}\n")
    with (tmp_path / "p.csv").open(newline="") as file:
        paths = [row["path"] for row in csv.DictReader(file)]
    assert len(paths) == 38
    assert not {"dark/00.jpg", "light/07.jpg"} & set(paths)
    code, out, err = run(capsys, "evaluate", trained, two_classes, "--json", "--exclude", bad)
    assert (code, json.loads(out)["images"]) == (0, 38)


def test_bad_rows_of_a_manifest_are_a_line_on_stderr_and_the_command_goes_on(
    trained: Path, two_classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "list.csv").write_text("path,label\ndark/00.jpg,dark\n../x.jpg,dark\nlight/00.jpg,light\n")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        code, out, err = run(capsys, "evaluate", trained, tmp_path / "list.csv", "--root", two_classes, "--json")
    assert (code, json.loads(out)["images"]) == (0, 2)
    assert err == (
        f"imgstream: {tmp_path}/list.csv: Bad rows: 1 of 3 (outside the root 1), line 3: outside the root: ../x.jpg; "
        "imgstream index lists them\n"
    )


@pytest.mark.slow
def test_train_json_is_one_object_of_this_command_and_of_the_whole_run(
    two_classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("train", two_classes, "--out", tmp_path / "run", "--size", 32, "--epochs", 2, "--batch-size", 8, "--json", "--no-report")
    code, out, _ = run(capsys, *command)
    assert code == 0
    first = json.loads(out)
    assert {"steps_run", "resumed_from_step", "epochs", "accuracy", "seconds", "images_per_second", "memory"} <= set(first)
    assert (first["steps_run"], first["resumed_from_step"], first["epochs"], first["batch_size"]) == (first["steps"], None, 2, 8)
    code, out, _ = run(capsys, *command, "--resume")
    again = json.loads(out)
    assert (code, again["steps_run"], again["resumed_from_step"]) == (0, 0, first["steps"])
    assert again["accuracy"] == first["accuracy"]
    code, _, err = run(capsys, *command)
    assert code == 1
    assert "--resume" in err


def test_options_of_training_that_cannot_be_are_told_in_one_line(
    two_classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, code, words in (
        (["--batch-size", "many"], 2, "auto"),
        (["--memory", "2 apples"], 2, "500MB"),
        (["--memory", "10MB"], 1, "the least that would do"),
        (["--checkpoint-every", "often"], 2, "200steps"),
        (["--precision", "double"], 2, "float32"),
        (["--head-only"], 1, "--weights"),
        (["--gpu-memory", "4GB"], 1, "no GPU here"),
        (["--weights", tmp_path / "gone.h5"], 1, "gone.h5"),
    ):
        found, _, err = run(capsys, "train", two_classes, "--out", tmp_path / "run", "--size", 32, "--epochs", 1, "--no-report", *arguments)
        assert found == code, arguments
        assert words in err
        assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_lr_suggests_a_rate_and_draws_the_curve(two_classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("lr", two_classes, "--size", 32, "--batch-size", 8, "--steps", 20, "-o", tmp_path / "lr.png")
    code, out, _ = run(capsys, *command)
    assert code == 0
    assert "--learning-rate" in out
    assert "By itself training takes 0.00353" in out  # of Muon, with batches of 8
    assert (tmp_path / "lr.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads(run(capsys, *command, "--json")[1])["learning_rate"] > 0


@pytest.mark.slow
def test_lr_says_where_nothing_was_learnt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    for i in range(40):  # one kind of noise under two names
        path = tmp_path / "photos" / ("heads", "tails")[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(path)
    command = ("lr", tmp_path / "photos", "--size", 32, "--batch-size", 32, "--steps", 20)
    code, out, _ = run(capsys, *command)
    assert code == 0
    assert "In 20 steps nothing was learnt at any rate" in out
    assert "--steps 80" in out
    assert json.loads(run(capsys, *command, "--json")[1])["learning_rate"] is None


def test_evaluate_with_tta_averages_an_image_and_its_mirror_image(
    trained: Path, two_classes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain, flipped = (json.loads(run(capsys, "evaluate", trained, two_classes, "--json", *tta)[1]) for tta in ((), ("--tta", "flip")))
    assert (plain["tta"], flipped["tta"]) == (None, "flip")
    assert plain["loss"] != flipped["loss"]
    assert plain["images"] == flipped["images"] == 40


def test_one_ctrl_c_ends_a_command_whose_thread_hangs(two_classes: Path, tmp_path: Path) -> None:
    function = f"""
import time

def hangs(image, rng):
    open({str(tmp_path / "begun")!r}, "w").close()
    time.sleep(600)
"""
    (tmp_path / "hanging.py").write_text(function)
    code = (
        "import signal, imgstream.cli.entry_point as cli; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "cli._GRACE = 0.2; cli.main()"
    )
    options = ["--augment", f"{tmp_path / 'hanging.py'}:hangs", "-o", tmp_path / "sheet.png"]
    command = [sys.executable, "-c", code, "show", two_classes, *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            end = time.monotonic() + 60
            while not (tmp_path / "begun").exists() and time.monotonic() < end:
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, err) == (130, "Stopped.\n")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--max-bad", "7"], "--max-bad must be from 0 to 1; got 7.0"),
        (["--checkpoint-every", "often"], "--checkpoint-every is a time or a number of steps"),
        (["--features", "f.parquet"], "features are what a head alone is trained on: give --head-only with them"),
        (["--allow-outside"], "--allow-outside can be given for a manifest alone"),
        (["--cache-limit", "5GB"], "--cache-limit limits a cache, and there is none"),
        (["--size", "99999999"], "height and width are from 1 to 8192 pixels"),
    ],
)
def test_impossible_options_are_called_by_their_names_and_exit_with_2(
    options: list[str], says: str, two_classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["train", str(two_classes), "--out", str(tmp_path / "run"), *options])
    assert ended.value.code == 2
    assert says in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert not (tmp_path / "run").exists()
