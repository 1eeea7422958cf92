from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import imgstream as ims
from imgstream.errors import DatasetError, ModelError, NoImagesError, OptionError
from imgstream.export import calibration, export_run, open_model
from imgstream.export.calibration import CalibrationImages
from imgstream.export.logits import ExportedLogits, model_input
from imgstream.runs import Run
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
