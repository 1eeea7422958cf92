from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from imgstream.errors import ModelError, OptionError, OutputError
from imgstream.evaluation.metrics import softmax
from imgstream.export import export_run, open_model
from imgstream.export.description import Description, check_beside, digests_beside, labels_text, write_beside
from imgstream.export.serving import raw_model, serving_model
from imgstream.runs import Run
from imgstream.runtimes import FORMATS
from imgstream.runtimes.packages import is_installed
from imgstream.spec import SampleSpec

every_format = pytest.mark.parametrize("name", FORMATS)


@pytest.mark.quick("savedmodel", "litert")
@every_format
def test_an_exported_model_gives_the_scores_of_its_run(name: str, run: Run, exported: Callable[[str], Path], two_classes: Path) -> None:
    ours = [p.scores for p in run.predict(two_classes)]
    theirs = [p.scores for p in open_model(exported(name)).predict(two_classes)]
    np.testing.assert_allclose(np.array(theirs), np.array(ours), atol=1e-5)


@pytest.mark.quick("savedmodel")
@every_format
def test_what_is_needed_to_use_it_lies_inside_and_beside(name: str, run: Run, exported: Callable[[str], Path]) -> None:
    path = exported(name)
    home = FORMATS[name].home(path)
    assert (home / "labels.txt").read_text() == "dark\nlight\n"
    beside = json.loads((home / "imgstream.json").read_text())
    inside = json.loads(FORMATS[name].open(path).metadata["imgstream.json"])
    for said in (beside, inside):
        assert said["class_names"] == ["dark", "light"]
        assert SampleSpec.from_json(said["spec"]) == run.spec
        assert said["run"] == run.fingerprint
    assert next(iter(beside["models"].values()))["precision"] == "float32"


@pytest.mark.slow
@every_format
def test_a_raw_model_takes_scaled_floats_and_gives_logits(name: str, run: Run, exported: Callable[[str], Path], tmp_path: Path) -> None:
    exported(name)
    path = export_run(run, tmp_path / f"raw{FORMATS[name].ending}", format=name, raw=True).path
    rng = np.random.default_rng(0)
    images = rng.uniform(-1, 1, (5, *run.spec.shape)).astype(np.float32)
    np.testing.assert_allclose(FORMATS[name].open(path, 2)(images), run.model.predict_on_batch(images), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scale", ["unit", "signed", "imagenet", "caffe", "raw"])
def test_the_served_model_scales_as_the_spec_says_and_is_calibrated(scale: Any) -> None:
    spec = SampleSpec(size=(4, 6), scale=scale)
    model = tiny(spec)
    pixels = np.random.default_rng(1).integers(0, 256, (3, *spec.shape)).astype(np.uint8)
    samples = np.empty(pixels.shape, np.float32)
    spec.to_float(pixels, samples)
    logits = model.predict_on_batch(samples)
    np.testing.assert_allclose(serving_model(model, spec, 1.7).predict_on_batch(pixels), softmax(logits / 1.7), atol=1e-5)
    np.testing.assert_allclose(raw_model(model, spec).predict_on_batch(samples), logits, rtol=1e-6)


def test_grey_images_stay_grey() -> None:
    spec = SampleSpec(size=(4, 6), channels=1, scale="signed")
    pixels = np.random.default_rng(1).integers(0, 256, (3, *spec.shape)).astype(np.uint8)
    samples = np.empty(pixels.shape, np.float32)
    spec.to_float(pixels, samples)
    found = serving_model(tiny(spec), spec, 1.0).predict_on_batch(pixels)
    assert found.shape == (3, 3)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)


def test_layers_of_mixed_precision_are_exported_in_float32() -> None:
    spec = SampleSpec(size=(4, 6))
    inputs = keras.Input(spec.shape)
    x = keras.layers.Conv2D(2, 3, dtype="mixed_bfloat16")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(3, dtype="float32")(keras.layers.GlobalAveragePooling2D()(x)))
    raw = raw_model(model, spec)
    assert {layer.compute_dtype for layer in raw._flatten_layers() if layer.weights} == {"float32"}
    samples = np.random.default_rng(1).uniform(0, 1, (3, *spec.shape)).astype(np.float32)
    np.testing.assert_allclose(raw.predict_on_batch(samples), model.predict_on_batch(samples), atol=0.02)


def tiny(spec: SampleSpec) -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input(spec.shape)
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(inputs)))


# ---- whole or absent


def contents(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_model_that_gives_something_else_is_not_put_in_place(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "imgstream.export.export.serving_model",
        lambda model, spec, temperature, **how: serving_model(model, spec, 3 * temperature, **how),
    )
    with pytest.raises(ModelError, match="golden samples differ"):
        export_run(run, tmp_path / "m", format="savedmodel")
    assert contents(tmp_path) == {}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["savedmodel", "openvino"])  # a folder, and more files than one
def test_stopped_at_any_moment_there_is_no_model_or_a_whole_one(
    name: str, run: Run, exported: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported(name)
    target = export_run(run, tmp_path / f"m{FORMATS[name].ending}", format=name).path
    replace = os.replace
    for calls in range(5):
        left = [calls]

        def stopped(source: Any, place: Any, left: list[int] = left) -> None:
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            replace(source, place)

        monkeypatch.setattr(os, "replace", stopped)
        try:
            export_run(run, target, format=name)
        except KeyboardInterrupt:
            pass
        monkeypatch.setattr(os, "replace", replace)
        if FORMATS[name].files(target)[0].exists():
            assert open_model(target).class_names == ["dark", "light"]
        assert not list(tmp_path.glob(".imgstream-*"))


def test_a_model_of_another_run_in_the_same_folder_is_refused_because_labels_would_be_wrong(tmp_path: Path) -> None:
    ours = described(SampleSpec(size=(4, 6)), class_names=["a", "b"])
    write_beside(tmp_path, "a.onnx", ours, {"a.onnx": "0"})
    (tmp_path / "a.onnx").write_bytes(b"a model")
    write_beside(tmp_path, "a.tflite", ours, {"a.tflite": "1"})
    check_beside(tmp_path, "b.tflite", ours)
    check_beside(tmp_path, "a.onnx", dataclasses.replace(ours, run="another"))  # it is replaced
    with pytest.raises(OutputError, match=r"a\.onnx, a model of another run"):
        check_beside(tmp_path, "b.tflite", dataclasses.replace(ours, run="another"))
    assert digests_beside(tmp_path, "a.onnx") == {"a.onnx": "0"}


def test_labels_that_somebody_else_wrote_are_kept(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("mine")
    with pytest.raises(OutputError, match="not by imgstream"):
        check_beside(tmp_path, "a.onnx", described(SampleSpec()))


def described(spec: SampleSpec, **fields: Any) -> Description:
    how = {"run": "r", "class_names": ["a"], "temperature": 1.0, "format": "onnx", "precision": "float32", "raw": False, "patterns": []}
    return Description(spec=spec, versions={}, report={}, **{**how, **fields})


def test_what_lies_in_the_way_is_kept(run: Run, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(OutputError, match="neither empty nor a SavedModel"):
        export_run(run, tmp_path / "mine")
    assert contents(tmp_path) == {"mine/letter.txt": b"dear"}


# ---- options


def test_the_ending_tells_the_format_and_contradictions_are_refused(run: Run, tmp_path: Path) -> None:
    for output, options, words in (
        ("m.onnx", {"format": "litert"}, "leave out one of them"),
        ("m.pb", {}, "tells no format"),
        ("m", {"format": "coreml"}, "savedmodel, litert, onnx or openvino"),
        ("m", {"precision": "float16"}, "precision float32"),
    ):
        with pytest.raises(OptionError, match=words):
            export_run(run, tmp_path / output, **options)
    assert contents(tmp_path) == {}


def test_a_package_that_is_missing_is_named_with_its_extra(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    with pytest.raises(ModelError, match=r"imgstream\[openvino\]"):
        export_run(run, tmp_path / "m.xml")


def test_another_backend_is_refused_before_anything_is_written(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ModelError, match="KERAS_BACKEND=tensorflow"):
        export_run(run, tmp_path / "m")
    assert contents(tmp_path) == {}


def test_labels_are_one_a_line_whatever_the_classes_are_called() -> None:
    assert labels_text(["a", "b\nc", "é", "\u2028"]) == "a\nb\\nc\né\n\\u2028\n"


def test_a_description_of_another_version_or_of_nothing_is_refused(exported: Callable[[str], Path]) -> None:
    good = open_model(exported("savedmodel")).description
    assert Description.parse(good.text(), Path("m")) == good
    for text, words in (
        (None, "no model that imgstream export wrote"),
        ("{", "cannot be read"),
        ("[1]", "cannot be read"),
        (json.dumps({**good.to_json(), "imgstream_export": 9}), "export format 9"),
        (json.dumps({**good.to_json(), "class_names": []}), "cannot be read"),
        (json.dumps({**good.to_json(), "temperature": -1}), "cannot be read"),
        (dataclasses.replace(good, patterns=[[0.0], [1.0]]).text(), "cannot be read"),
    ):
        with pytest.raises(ModelError, match=words):
            Description.parse(text, Path("m"))


_KILLED = """
import os, sys
from imgstream.cli import main
from imgstream.export import export
left, replace = int(sys.argv.pop(1)), os.replace
def put(*arguments):
    def killed(source, place):
        global left
        if not left:
            os.kill(os.getpid(), 9)
        left -= 1
        replace(source, place)
    os.replace = killed
    return original(*arguments)
original, export._put = export._put, put
main(sys.argv[1:])
"""


@pytest.mark.slow
@pytest.mark.parametrize(("target", "left"), [("m.tflite", 2), ("m.xml", 3), ("saved", 2)])
def test_an_export_that_is_killed_while_it_puts_its_files_in_place_leaves_no_model_and_is_made_whole_by_the_same_command(
    target: str, left: int, run: Run, two_classes: Path, tmp_path: Path
) -> None:
    name = {"m.tflite": "litert", "m.xml": "openvino", "saved": "savedmodel"}[target]
    if not is_installed(FORMATS[name].modules):
        pytest.skip("needs pip install 'imgstream[export]'")
    command = [sys.executable, "-c", _KILLED, str(left), "export", run.path, "-o", tmp_path / target]
    done = subprocess.run(command, check=False, capture_output=True)
    assert (done.returncode, done.stdout) == (-9, b"")
    assert not (tmp_path / target).exists()
    export_run(run, tmp_path / target)
    assert open_model(tmp_path / target).evaluate(two_classes).accuracy == run.evaluate(two_classes).accuracy
