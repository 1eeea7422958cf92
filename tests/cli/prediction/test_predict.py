from __future__ import annotations

import contextlib
import csv
import io
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import imgstream as ims
from imgstream.cli import main
from imgstream.prediction import job
from imgstream.prediction.store import PredictionStore
from imgstream.runs.folder import RunFolder
from imgstream.runtimes import FORMATS
from imgstream.runtimes.packages import is_installed

BATCH = 8
StoppedAfter = Callable[[int], contextlib.AbstractContextManager[None]]


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    with pytest.raises(SystemExit) as exit_:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return int(exit_.value.code or 0), out, err


def summary_of(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    code, out, err = run(capsys, "predict", *arguments, "--json")
    assert code == 0, err
    return json.loads(out)


def rows_of(output: Path) -> list[dict[str, str]]:
    with open(output, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def second(two_classes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "second"
    ims.train(two_classes, out=out, size=(24, 32), batch_size=8, epochs=1, seed=3)
    return out


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "batch_size_for", lambda shape: BATCH)


@pytest.fixture
def photos(two_classes: Path, tmp_path: Path) -> Path:
    """30 good images and a bad one, in a flat folder."""
    folder = tmp_path / "new photos"
    folder.mkdir()
    for i in range(30):
        shutil.copy(two_classes / ("dark" if i % 3 else "light") / f"{i % 20:02}.jpg", folder / f"{i:02}.jpg")
    (folder / "07a.jpg").write_bytes(b"")
    return folder


def test_the_same_command_predicts_only_what_is_new_or_has_changed(
    trained: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.csv"
    first = summary_of(capsys, trained, photos, "-o", output)
    assert set(first) >= {"rows", "ok", "bad", "decoded", "reused", "seconds", "images_per_second"}
    assert [first[name] for name in ("rows", "ok", "bad", "decoded", "reused")] == [31, 30, 1, 31, 0]
    assert first["seconds"] > 0
    assert first["images_per_second"] > 0
    before = output.read_bytes()
    output.unlink()  # the store has all of it
    again = summary_of(capsys, trained, photos, "-o", output)
    assert [again[name] for name in ("rows", "decoded", "reused", "images_per_second")] == [31, 0, 31, 0.0]
    assert output.read_bytes() == before
    shutil.copy(photos / "00.jpg", photos / "00 new.jpg")
    shutil.copy(photos / "00.jpg", photos / "07a.jpg")
    (photos / "05.jpg").unlink()
    third = summary_of(capsys, trained, photos, "-o", output)
    assert [third[name] for name in ("rows", "ok", "bad", "decoded", "reused")] == [31, 31, 0, 2, 29]
    assert [row["path"] for row in rows_of(output)] == sorted(os.listdir(photos))
    code, out, err = run(capsys, "predict", trained, photos, "-o", output)
    assert (code, err) == (0, "")
    assert "31 images: 31 predicted, 0 bad. 31 of them from before, 0 now." in out


def test_ctrl_c_says_what_is_kept_and_the_same_command_gives_the_same_bytes(
    trained: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], stopped_after: StoppedAfter
) -> None:
    assert run(capsys, "predict", trained, photos, "-o", tmp_path / "calm.csv")[0] == 0
    output = tmp_path / "out.csv"
    for kept in (8, 24):
        with stopped_after(1 if kept == 8 else 2):
            code, out, err = run(capsys, "predict", trained, photos, "-o", output)
        assert (code, out) == (130, "")
        assert f"{kept} of 31 images predicted and kept; the same command goes on from there." in err
        assert not output.exists()
    assert run(capsys, "predict", trained, photos, "-o", output)[0] == 0
    assert output.read_bytes() == (tmp_path / "calm.csv").read_bytes()


_KILLED = """
import os, sys
from imgstream.cli import main
from imgstream.prediction import job
from imgstream.prediction.store import PredictionStore
from imgstream.runs.folder import RunFolder
job.batch_size_for = lambda shape: 8
record, left = PredictionStore.record, [2]
def killed(self, *arguments):
    if not left[0]:
        os.kill(os.getpid(), 9)
    left[0] -= 1
    record(self, *arguments)
PredictionStore.record = killed
main(sys.argv[1:])
"""


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "name"), [("keras", None), ("openvino", "openvino"), ("onnxruntime", "onnx"), ("litert", "litert")])
def test_a_command_that_is_killed_goes_on_to_the_same_bytes(
    engine: str, name: str | None, trained: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if name is not None and not is_installed(FORMATS[name].modules):
        pytest.skip("needs pip install 'imgstream[export]'")
    how = ["--engine", engine]
    assert run(capsys, "predict", trained, photos, "-o", tmp_path / "calm.csv", *how)[0] == 0
    output = tmp_path / "out.csv"
    command = [sys.executable, "-c", _KILLED, "predict", trained, photos, "-o", output, *how]
    done = subprocess.run(command, check=False, capture_output=True)
    assert (done.returncode, done.stdout) == (-9, b"")
    assert engine != "keras" or done.stderr == b""  # converting for another engine may be told of
    assert not output.exists()
    code, out, err = run(capsys, "predict", trained, photos, "-o", output)
    assert code == 0
    assert "16 of 31 images predicted before; 15 left\n" in err
    assert "16 of them from before, 15 now" in out
    assert output.read_bytes() == (tmp_path / "calm.csv").read_bytes()


def test_without_anything_new_no_model_is_loaded(trained: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "predict", trained, photos, "-o", tmp_path / "out.csv")[0] == 0
    shutil.copy(tmp_path / "out.csv.store", tmp_path / "out.jsonl.store")
    code = "import sys, imgstream.cli as c\ntry: c.main(sys.argv[1:])\nfinally: print({'keras', 'tensorflow', 'jax'} & set(sys.modules))"
    command = [sys.executable, "-c", code, "predict", trained, photos, "-o", tmp_path / "out.jsonl", "--min-score", "0.9", "--top-k", "2"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.endswith("\nset()\n")
    assert done.stderr == ""
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 31


def test_predictions_of_another_run_are_not_mixed_with_those_that_are_there(
    trained: Path, second: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.csv"
    assert run(capsys, "predict", trained, photos, "-o", output)[0] == 0
    before = output.read_bytes()
    for arguments, words in (
        ([second], "another run, or a run that was trained again"),
        ([f"{trained},{second}"], "another run"),
        ([trained, "--tta", "flip"], "tta was None and is 'flip'"),
        ([trained, "--shard", "1/2"], "is of shard 1/1, not of 1/2: choose another -o"),
    ):
        code, out, err = run(capsys, "predict", arguments[0], photos, "-o", output, *arguments[1:])
        assert (code, out) == (1, "")
        assert words in err
        assert err.startswith("imgstream: ")
        assert err.count("\n") == 1
        assert "--fresh" in err or "--shard" in arguments
        assert output.read_bytes() == before
    assert summary_of(capsys, trained, photos, "-o", output)["decoded"] == 0
    assert summary_of(capsys, second, photos, "-o", output, "--fresh")["decoded"] == 31
    assert output.read_bytes() != before


@pytest.mark.slow
def test_together_and_mirrored_scores_are_the_mean(
    trained: Path, second: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def scores(name: str, runs: object, *arguments: object) -> np.ndarray:
        assert run(capsys, "predict", runs, photos, "-o", tmp_path / name, "--top-k", 2, *arguments)[0] == 0
        found = [{row["label"]: row["score"], row["label_2"]: row["score_2"]} for row in rows_of(tmp_path / name)]
        return np.array([[float(row["dark"]), float(row["light"])] for row in found if "" not in row])

    one, two = scores("one.csv", trained), scores("two.csv", second)
    assert np.abs(one - two).max() > 0.001
    np.testing.assert_allclose(scores("both.csv", f"{trained},{second}"), (one + two) / 2, atol=2e-6)
    opened = ims.load_run(trained)
    images = [image.copy() for batch, _ in ims.Stream(ims.scan(photos), opened.spec).batches() for image in batch]
    logits = np.asarray(opened.model.predict_on_batch(np.stack(images)[:, :, ::-1]))
    powers = np.exp((logits - logits.max(axis=1, keepdims=True)) / opened.temperature)
    flipped = powers / powers.sum(axis=1, keepdims=True)
    found = scores("flip.csv", trained, "--tta", "flip")
    np.testing.assert_allclose(found, (one + flipped) / 2, atol=1e-4)


def test_runs_of_other_classes_cannot_predict_together(
    trained: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Path(shutil.copytree(trained, tmp_path / "other"))
    named = json.loads((other / "class_names.json").read_text())
    (other / "class_names.json").write_text(json.dumps({**named, "class_names": ["dark", "heavy"]}))
    RunFolder(other).write_state(json.loads((other / "run.json").read_text()))
    code, out, err = run(capsys, "predict", f"{trained},{other}", photos, "-o", tmp_path / "out.csv")
    assert (code, out) == (1, "")
    assert "the runs have different classes (dark, light … and dark, heavy …)" in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out.csv").exists()


def test_an_image_below_the_least_score_is_unsure(trained: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out.csv"
    assert run(capsys, "predict", trained, photos, "-o", output)[0] == 0
    sure = rows_of(output)
    least = sorted(float(row["score"]) for row in sure if row["score"])[15] - 5e-7
    assert summary_of(capsys, trained, photos, "-o", output, "--min-score", least)["decoded"] == 0
    labels = [row["label"] for row in rows_of(output)]
    assert labels == ["unsure" if row["score"] and float(row["score"]) < least else row["label"] for row in sure]
    assert labels.count("unsure") >= 1


def test_paths_on_stdin_may_have_any_name_and_stand_twice(
    trained: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = bytes(photos) + b'/\xff\xfe, "quoted".jpg'
    shutil.copy(photos / "00.jpg", os.fsdecode(odd))
    given = [odd, bytes(photos / "01.jpg"), odd, b"/no/such/file.jpg"]
    for reused in (0, 3):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\n".join(given))))
        found = summary_of(capsys, trained, "-", "-o", tmp_path / "out.csv")
        assert [found[name] for name in ("rows", "ok", "bad", "reused")] == [4, 3, 1, reused]  # what was missing is looked for again
    rows = rows_of(tmp_path / "out.csv")
    assert [row["path"] for row in rows] == [path.decode("utf-8", "replace") for path in given]
    assert rows[0]["score"] == rows[2]["score"] != ""
    assert rows[3]["error"].startswith("missing: ")


def test_a_damaged_store_is_told_in_one_line_and_fresh_mends_it(
    trained: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, store = tmp_path / "out.csv", tmp_path / "out.csv.store"
    assert run(capsys, "predict", trained, photos, "-o", output)[0] == 0
    before = output.read_bytes()
    store.write_bytes(store.read_bytes()[:5000])
    code, out, err = run(capsys, "predict", trained, photos, "-o", output)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert f"{store} is damaged" in err
    assert "--fresh starts anew" in err
    assert output.read_bytes() == before
    assert summary_of(capsys, trained, photos, "-o", output, "--fresh")["decoded"] == 31
    assert output.read_bytes() == before
    store.unlink()
    assert summary_of(capsys, trained, photos, "-o", output)["decoded"] == 31
    assert output.read_bytes() == before


def test_a_store_that_another_process_holds_is_told(
    trained: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    identity = {"runs": [ims.load_run(trained).fingerprint], "tta": None}
    with PredictionStore(tmp_path / "out.csv.store", identity, ranks=2):
        for more in ([], ["--fresh"]):
            code, out, err = run(capsys, "predict", trained, photos, "-o", tmp_path / "out.csv", *more)
            assert (code, out, err.count("\n")) == (1, "", 1)
            assert "is in use: another process predicts into it" in err
    assert run(capsys, "predict", trained, photos, "-o", tmp_path / "out.csv")[0] == 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], check=False).returncode:
        pytest.skip("only root can mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_disk_that_fills_up_is_told_in_one_line_and_with_space_it_goes_on(
    trained: Path, photos: Path, tmp_path: Path, disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, "predict", trained, photos, "-o", tmp_path / "calm.csv")[0] == 0
    numbers, record = itertools.count(), PredictionStore.record

    def filling(self: PredictionStore, *arguments: Any) -> None:
        if next(numbers) == 2:
            (disk / "other").write_bytes(bytes(os.statvfs(disk).f_bavail * os.statvfs(disk).f_bsize))
        record(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PredictionStore, "record", filling)
        code, out, err = run(capsys, "predict", trained, photos, "-o", disk / "out.csv")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "the disk is full. Free some space; the same command then goes on" in err
    assert sorted(name for name in os.listdir(disk) if not name.startswith("out.csv.store")) == ["other"]
    (disk / "other").unlink()
    found = summary_of(capsys, trained, photos, "-o", disk / "out.csv")
    assert (found["rows"], found["reused"]) == (31, 16)
    assert (disk / "out.csv").read_bytes() == (tmp_path / "calm.csv").read_bytes()


def test_a_disk_that_may_only_be_read_is_told_in_one_line_and_afterwards_it_goes_on(
    trained: Path, photos: Path, disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, "predict", trained, photos, "-o", disk / "out.csv")[0] == 0
    before = (disk / "out.csv").read_bytes(), (disk / "out.csv.store").read_bytes()
    shutil.copy(photos / "00.jpg", photos / "zzz.jpg")
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    for more in ([], ["--fresh"]):
        code, out, err = run(capsys, "predict", trained, photos, "-o", disk / "out.csv", *more)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert "cannot write" in err
    assert ((disk / "out.csv").read_bytes(), (disk / "out.csv.store").read_bytes()) == before
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    found = summary_of(capsys, trained, photos, "-o", disk / "out.csv")
    assert [found[name] for name in ("rows", "decoded", "reused")] == [32, 1, 31]


def test_another_pipeline_in_the_middle_is_refused(
    trained: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], stopped_after: StoppedAfter
) -> None:
    with stopped_after(1):
        assert run(capsys, "predict", trained, photos, "-o", tmp_path / "out.csv")[0] == 130
    code, _, err = run(capsys, "predict", trained, photos, "-o", tmp_path / "out.csv", "--pipeline", "tf")
    assert code == 2
    assert "--pipeline" in err
    assert run(capsys, "predict", trained, photos, "-o", tmp_path / "out.csv", "--pipeline", "python")[0] == 0


def test_a_run_that_is_none_is_told_in_one_line(trained: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("", ",", tmp_path / "gone", f"{trained},{tmp_path / 'gone'}", photos):
        code, out, err = run(capsys, "predict", name, photos, "-o", tmp_path / "out.csv")
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert "no run folder" in err
    assert not (tmp_path / "out.csv.store").exists()


def test_a_folder_whose_name_holds_a_comma_is_one_run(
    trained: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = Path(shutil.copytree(trained, tmp_path / "one,two"))
    assert summary_of(capsys, both, photos, "-o", tmp_path / "out.csv")["ok"] == 30
    assert summary_of(capsys, f"{trained},", photos, "-o", tmp_path / "out.csv")["decoded"] == 0  # the same run


def test_a_name_where_nothing_lies_and_what_is_not_read_are_told_before_any_output_is_touched(
    trained: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.csv"
    output.write_text("kept")
    (tmp_path / "photos.zip").touch()
    for sources, words in (
        ([tmp_path / "nwe photos"], f"nwe photos: there is no such folder or file (there is {photos}). Check the path"),
        ([photos / "00.jpg", tmp_path / "nwe"], "nwe: there is no such folder or file"),
        (["ftp://host/photos"], "ftp://host/photos is a URL"),
        (["ftp://host/cat.jpg", photos / "00.jpg"], "ftp://host/cat.jpg is a URL"),
        ([tmp_path / "photos.zip"], "is no zip file, or was cut off"),
        ([tmp_path / "photos.rar", photos / "00.jpg"], "is an archive that is not read"),
        (["train.tfrecord"], "train.tfrecord: there is no such folder or file"),
        (["train.h5"], "is a file of packed samples"),
    ):
        code, out, err = run(capsys, "predict", trained, *sources, "-o", output)
        assert (code, out, err.count("\n")) == (1, "", 1), sources
        assert words in err
        assert output.read_text() == "kept"
        assert not (tmp_path / "out.csv.store").exists()
    code, out, err = run(capsys, "predict", trained, photos / "00.jpg", tmp_path / "gone.jpg", "-o", output)
    assert code == 0
    assert [row["error"].partition(":")[0] for row in rows_of(output)] == ["", "missing"]


def test_one_missing_file_that_is_named_as_an_image_is_a_row(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = summary_of(capsys, trained, tmp_path / "gone.jpg", "-o", tmp_path / "out.csv")
    assert (found["rows"], found["bad"]) == (1, 1)


def test_paths_on_stdin_are_rows_whatever_they_are(
    trained: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"0f3a\n" + bytes(photos / "00.jpg") + b"\n")))
    found = summary_of(capsys, trained, "-", "-o", tmp_path / "out.csv")
    assert (found["rows"], found["ok"], found["bad"]) == (2, 1, 1)


def test_a_list_of_images_among_files_is_refused(trained: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "list.csv").write_text("path\n00.jpg\n")
    code, _, err = run(capsys, "predict", trained, photos / "00.jpg", tmp_path / "list.csv", "-o", tmp_path / "o.csv")
    assert code == 2
    assert "manifest" in err


def test_wrong_arguments_exit_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, words in (
        (["--shard", "0/3"], "0/3"),
        (["--shard", "4/3"], "4/3"),
        (["--shard", "3"], "K/N"),
        (["--shard", "a/b"], "K/N"),
        (["--tta", "rotate"], "flip"),
        (["--min-score", "1.5"], "min-score"),
        (["--min-score", "high"], "min-score"),
        (["--top-k", "0"], "top-k"),
    ):
        code, out, err = run(capsys, "predict", "run", tmp_path, "-o", tmp_path / "out.csv", *arguments)
        assert (code, out) == (2, "")
        assert words in err
    assert os.listdir(tmp_path) == []
