from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imgstream.cli import main
from imgstream.errors import ModelError, RunError
from imgstream.export import ExportedModel, open_model
from imgstream.runs import Run
from imgstream.runtimes import FORMATS

every_format = pytest.mark.parametrize("name", FORMATS)


def copied(path: Path, folder: Path, name: str) -> Path:
    """The model alone, without what lies beside it."""
    folder.mkdir(exist_ok=True)
    if path.is_dir():
        shutil.copytree(path, folder / path.name)
        (folder / path.name / "imgstream.json").unlink()
    else:
        for file in FORMATS[name].files(path):
            shutil.copy(file, folder)
    return folder / path.name


@pytest.mark.quick("savedmodel")
@every_format
def test_it_evaluates_as_its_run_does(name: str, run: Run, exported: Callable[[str], Path], two_classes: Path) -> None:
    ours, theirs = run.evaluate(two_classes), open_model(exported(name)).evaluate(two_classes)
    assert theirs.confusion.counts.tolist() == ours.confusion.counts.tolist()
    assert theirs.loss == pytest.approx(ours.loss, abs=1e-5)
    assert theirs.ece == pytest.approx(ours.ece, abs=1e-4)


@pytest.mark.quick("savedmodel")
@every_format
def test_a_model_alone_knows_its_classes_and_samples(name: str, exported: Callable[[str], Path], tmp_path: Path) -> None:
    opened = ExportedModel(copied(exported(name), tmp_path / "alone", name))
    assert opened.class_names == ["dark", "light"]
    assert opened.spec.size == (32, 32)


@pytest.mark.quick("savedmodel")
@every_format
def test_a_changed_byte_is_found(name: str, exported: Callable[[str], Path], tmp_path: Path) -> None:
    path = exported(name)
    where = tmp_path / "copy"
    shutil.copytree(FORMATS[name].home(path), where)
    weights = max((file for file in where.rglob("*") if file.is_file()), key=lambda file: file.stat().st_size)
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 0x40
    weights.write_bytes(data)
    with pytest.raises(ModelError, match="damaged, missing, or was changed"):
        ExportedModel(where if path.is_dir() else where / path.name)


@pytest.mark.quick("savedmodel")
@every_format
def test_a_file_that_was_cut_is_refused(name: str, exported: Callable[[str], Path], tmp_path: Path) -> None:
    path = copied(exported(name), tmp_path / "cut", name)
    first = FORMATS[name].files(path)[0]
    first.write_bytes(first.read_bytes()[: first.stat().st_size // 3])
    with pytest.raises(ModelError):
        ExportedModel(path)


def test_other_weights_under_the_same_description_are_found(exported: Callable[[str], Path], tmp_path: Path) -> None:
    path = copied(exported("savedmodel"), tmp_path / "other", "savedmodel")
    description = path / "assets.extra" / "imgstream.json"
    said = json.loads(description.read_text())
    description.write_text(json.dumps({**said, "patterns": [[0.4, 0.6], [0.6, 0.4]]}))
    with pytest.raises(ModelError, match="does not give what it gave"):
        ExportedModel(path)


def test_a_saved_model_that_writes_files_is_not_loaded(exported: Callable[[str], Path], tmp_path: Path) -> None:
    import tensorflow as tf

    class Writes(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((None, 32, 32, 3), tf.uint8)])
        def serve(self, image: Any) -> Any:
            with tf.control_dependencies([tf.io.write_file(str(tmp_path / "ran"), "ran")]):
                return tf.cast(image[:, 0, 0, :2], tf.float32)

    module = Writes()
    tf.saved_model.save(module, str(tmp_path / "bad"), signatures={"serving_default": module.serve})
    shutil.copytree(exported("savedmodel") / "assets.extra", tmp_path / "bad" / "assets.extra")
    with pytest.raises(ModelError, match="WriteFile"):
        ExportedModel(tmp_path / "bad")
    assert not (tmp_path / "ran").exists()


def test_paths_that_hold_no_exported_model_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.tflite").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ModelError):
        open_model(tmp_path / "empty.tflite")
    with pytest.raises(ModelError, match="there is no"):
        open_model(tmp_path / "none.tflite")
    with pytest.raises(RunError, match="no run folder"):
        open_model(tmp_path / "folder")


# ---- on the command line


def run_command(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return int(exit_.value.code or 0), out, err


@pytest.mark.slow
def test_commands_export_a_run_and_take_the_model_in_its_place(
    trained: Path, two_classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run_command(capsys, "export", trained, "-o", tmp_path / "served", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert told["format"] == "savedmodel"
    assert told["difference"] <= 1e-4
    assert all(Path(file).exists() for file in told["files"])
    results = []
    for model in (trained, tmp_path / "served"):
        code, out, err = run_command(capsys, "evaluate", model, two_classes, "--json")
        assert code == 0, err
        results.append(json.loads(out)["confusion_matrix"])
        code, _, err = run_command(capsys, "predict", model, two_classes, "-o", tmp_path / f"{len(results)}.csv", "--json")
        assert code == 0, err
    assert results[0] == results[1]
    one, two = ((tmp_path / f"{i}.csv").read_text().splitlines() for i in (1, 2))
    assert [line.split(",")[:2] for line in one] == [line.split(",")[:2] for line in two]
    scores = [[float(line.split(",")[2]) for line in lines[1:]] for lines in (one, two)]
    np.testing.assert_allclose(scores[0], scores[1], atol=2e-6)


@pytest.mark.slow
def test_what_export_did_is_said_in_words(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run_command(capsys, "export", trained, "-o", tmp_path / "served")
    assert code == 0
    assert "Takes RGB images of 32x32 (uint8), gives probabilities of 2 classes." in " ".join(out.split())


def test_options_of_export_that_contradict_each_other_exit_with_2(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run_command(capsys, "export", trained, "-o", tmp_path / "m.onnx", "--format", "litert")
    assert (code, "--format" in err) == (2, True)
