from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest

import imgstream as ims
from imgstream.errors import DatasetError, ModelError, NoImagesError, OptionError
from imgstream.export import calibration, export_run, open_model
from imgstream.export.calibration import CalibrationImages
from imgstream.export.logits import ExportedLogits, model_input
from imgstream.export.partly_int8 import leave_parts_out
from imgstream.export.serving import serving_model
from imgstream.models import build_model, features
from imgstream.models.forward import Forward, Program
from imgstream.runs import Run, load_run
from imgstream.runs.folder import RunFolder
from imgstream.runs.golden import write_golden
from imgstream.runs.run import device
from imgstream.runtimes import FORMATS
from imgstream.runtimes.packages import is_installed
from imgstream.spec import SampleSpec


def need(name: str) -> None:
    if not is_installed([*FORMATS[name].modules, *(["nncf"] if name == "openvino" else [])]):
        pytest.skip("needs pip install 'imgstream[export]'")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["litert", "onnx", "openvino"])
def test_an_int8_model_says_what_it_was_calibrated_on_and_what_it_loses(name: str, run: Run, two_classes: Path, tmp_path: Path) -> None:
    need(name)
    path = export_run(run, tmp_path / f"m{FORMATS[name].ending}", precision="int8", calibrate=two_classes).path
    opened = open_model(path)
    told = opened.description.report["int8"]
    assert (told["calibrated_on"], told["measured_on"], told["accuracy_before"]) == (20, 20, 1.0)
    assert told["accuracy_after"] >= 0.99
    assert opened.evaluate(two_classes).accuracy == 1.0


@pytest.mark.slow
def test_int8_that_loses_more_than_a_point_is_refused_with_the_figures(
    run: Run, two_classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("litert")

    class Blind(ExportedLogits):
        def __call__(self, images: np.ndarray) -> np.ndarray:
            return np.zeros((len(images), 2), np.float32)

    monkeypatch.setattr(calibration, "ExportedLogits", Blind)
    monkeypatch.setattr("imgstream.export.export.leave_parts_out", lambda *_: None)
    with pytest.raises(ModelError, match=r"loses 50\.0 points of accuracy: 100\.0 % before, 50\.0 % after, of 20 images"):
        export_run(run, tmp_path / "m.tflite", precision="int8", calibrate=two_classes)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("scale", "channels"), [("signed", 3), ("caffe", 3), ("imagenet", 3), ("unit", 1)])
def test_the_images_are_taken_as_an_exported_model_takes_them(scale: Any, channels: int, two_classes: Path) -> None:
    spec = SampleSpec(size=(12, 16), channels=channels, scale=scale)
    raw = SampleSpec(size=(12, 16), channels=channels, scale="raw")
    scaled, pixels = (CalibrationImages(of_spec(each), two_classes) for each in (spec, raw))
    assert scaled.pixels.dtype == np.uint8
    np.testing.assert_array_equal(scaled.pixels, model_input(pixels.pixels, raw, raw=True).astype(np.uint8))


def of_spec(spec: SampleSpec) -> Any:
    """What is looked at of a run."""
    return SimpleNamespace(spec=spec, class_names=["dark", "light"], thresholds=None)


def test_each_class_has_its_share_however_few_images_it_has(two_classes: Path, tmp_path: Path) -> None:
    for name, count in (("dark", 20), ("light", 4), ("other", 3)):
        (tmp_path / name).mkdir()
        for number in range(count):
            shutil.copy(two_classes / ("light" if name == "light" else "dark") / f"{number:02}.jpg", tmp_path / name)
    index = ims.scan(tmp_path)
    order = calibration._stratified(index, ["light", "dark"])
    labels = [index.class_names[label] for label in index.labels_at(order)]
    assert len(labels) == len(set(order.tolist())) == 24
    assert labels[:8].count("light") == 4
    assert "other" not in labels


def test_too_few_images_or_those_of_other_classes_are_refused(run: Run, two_classes: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "foreign" / "cats").mkdir(parents=True)
    (tmp_path / "few" / "dark").mkdir(parents=True)
    for number in range(4):
        shutil.copy(two_classes / "dark" / f"{number:02}.jpg", tmp_path / "foreign" / "cats")
        shutil.copy(two_classes / "dark" / f"{number:02}.jpg", tmp_path / "few" / "dark")
    with pytest.raises(NoImagesError):
        CalibrationImages(run, tmp_path / "empty")
    with pytest.raises(DatasetError, match=r"classes \(dark, light\).* only 0 images"):
        CalibrationImages(run, tmp_path / "foreign")
    with pytest.raises(DatasetError, match="only 2 images can be read; give 20 or more with --calibrate DIR"):
        CalibrationImages(run, tmp_path / "few")


def test_without_a_folder_the_images_of_the_training_are_taken(run: Run) -> None:
    assert CalibrationImages(run, None).pixels.shape == (20, 32, 32, 3)


def test_calibration_belongs_to_int8_which_a_saved_model_does_not_have(run: Run, two_classes: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="calibrate is for precision int8"):
        export_run(run, tmp_path / "m", calibrate=two_classes)
    with pytest.raises(OptionError, match="precision float32; got int8"):
        export_run(run, tmp_path / "m", precision="int8")


def with_a_useless_feature(trained: Path, path: Path, size: float) -> Run:
    """The run with one more feature that always is `size`, and that the head leaves out. Where 8 bits have to hold it, all others are 0."""
    model = load_run(shutil.copytree(trained, path)).model
    body, (kernel, bias) = features(model), model.get_layer("logits").get_weights()
    count = len(kernel)
    wider = keras.layers.Dense(count + 1)
    logits = keras.layers.Dense(len(bias), name="logits")
    model = keras.Model(body.inputs[0], logits(wider(body.outputs[0])))
    wider.set_weights([np.eye(count, count + 1), np.array([0] * count + [size])])
    logits.set_weights([np.concatenate([kernel, np.zeros((1, len(bias)))]), bias])
    folder, spec = RunFolder(path), load_run(trained).spec
    folder.save_model(model, spec.shape)
    write_golden(folder.golden, spec, Forward(Program(model, spec), 32), device())
    folder.write_state(folder.state())
    return load_run(path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_parts_of_a_model_stay_in_float32_where_int8_throughout_loses_more_than_a_point(
    name: str, trained: Path, two_classes: Path, tmp_path: Path
) -> None:
    need(name)
    run = with_a_useless_feature(trained, tmp_path / "run", size=1e5)
    path = export_run(run, tmp_path / f"m{FORMATS[name].ending}", precision="int8", calibrate=two_classes).path
    opened = open_model(path)
    told = opened.description.report["int8"]
    assert 1 <= len(told["parts_in_float32"]) <= told["parts"] / 2
    assert told["accuracy_before"] - told["accuracy_after"] <= 0.01
    assert opened.evaluate(two_classes).accuracy == pytest.approx(run.evaluate(two_classes).accuracy, abs=0.05)
    assert not list(tmp_path.glob(".imgstream-*"))


class Lossy:
    """Stands for a model of which some parts spoil the results in 8 bits."""

    def __init__(self, spoilt: set[int], parts: Collection[int]) -> None:
        self.wrong = len(spoilt - set(parts))

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return np.full((len(images), 2), 0.1 * self.wrong)


@pytest.mark.parametrize(("spoilt", "left_out"), [({3}, [3]), ({6, 7}, [6, 7]), ({2, 5}, [2, 3, 4, 5])])
def test_the_fewest_parts_that_follow_one_another_and_make_up_for_the_loss_are_left_out(spoilt: set[int], left_out: list[int]) -> None:
    found = leave_parts_out(
        lambda images, parts: Lossy(spoilt, parts),  # type: ignore[arg-type, return-value]
        np.zeros((40, 4, 4, 3), np.uint8),
        lambda images: np.zeros((len(images), 2)),
        lambda runtime: {"measure": "accuracy", "accuracy_before": 0.9, "accuracy_after": 0.9 - 0.02 * runtime.wrong},  # type: ignore[attr-defined]
    )
    assert found is not None
    assert found[1]["parts_in_float32"] == left_out


def test_nothing_is_left_out_where_half_of_the_model_is_not_enough() -> None:
    found = leave_parts_out(
        lambda images, parts: Lossy({0, 7}, parts),  # type: ignore[arg-type, return-value]
        np.zeros((40, 4, 4, 3), np.uint8),
        lambda images: np.zeros((len(images), 2)),
        lambda runtime: {"measure": "accuracy", "accuracy_before": 0.9, "accuracy_after": 0.9 - 0.02 * runtime.wrong},  # type: ignore[attr-defined]
    )
    assert found is None


@pytest.mark.slow
def test_parts_of_a_litert_model_in_float32_bring_its_results_nearer(tmp_path: Path, small_cnn: None) -> None:
    need("litert")
    keras.utils.set_random_seed(0)
    model, spec = build_model("cnn", (32, 32, 3), 2), SampleSpec(size=(32, 32), scale="signed")
    norm = next(layer for layer in reversed(model.layers) if isinstance(layer, keras.layers.BatchNormalization))
    gamma, beta, *rest = norm.get_weights()
    gamma[0], beta[0] = 0, 2000  # where 8 bits have to hold this channel, all others are 0
    norm.set_weights([gamma, beta, *rest])
    kernel, bias = model.get_layer("logits").get_weights()
    kernel[0] = 0
    model.get_layer("logits").set_weights([kernel, bias])
    served = serving_model(model, spec, 1.0)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3)).astype(np.uint8)
    pixels[::2] //= 4
    errors = []
    for parts in ((), (4, 5, 6, 7)):
        FORMATS["litert"].write(served, tmp_path / "m.tflite", "int8", pixels, parts)
        errors.append(np.abs(FORMATS["litert"].open(tmp_path / "m.tflite")(pixels) - np.asarray(served(pixels))).mean())
    assert errors[1] < errors[0] / 2
    assert [path.name for path in tmp_path.iterdir()] == ["m.tflite"]
