"""A run of deep images: trained, saved, loaded, predicted with and exported, always by its levels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from deep_images import by_pillow, png16

import imgstream as ims
from imgstream.cli import main
from imgstream.export import export_run, open_model
from imgstream.export.serving import serving_model
from imgstream.models.forward import Forward, Program
from imgstream.spec import SampleSpec


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12-bit scans whose classes differ by 100 of 65,536 levels: their high bytes are the same."""
    folder, rng = tmp_path_factory.mktemp("scans"), np.random.default_rng(0)
    for number in range(48):
        (folder / "ab"[number % 2]).mkdir(exist_ok=True)
        png16(folder / "ab"[number % 2] / f"{number:02}.png", rng.integers(0, 50, (24, 24)).astype(np.uint16) + 100 * (number % 2))
    return folder


@pytest.fixture(scope="module")
def run(scans: Path, tmp_path_factory: pytest.TempPathFactory, small_cnn: None) -> ims.Run:
    out = tmp_path_factory.mktemp("runs") / "deep"
    return ims.train(scans, out=out, size=(24, 24), channels=1, levels="auto", augment=None, batch_size=8, epochs=8, progress=False)


@pytest.mark.slow
def test_levels_are_taken_from_the_images_and_saved_with_the_run(run: ims.Run, scans: Path) -> None:
    assert run.spec.levels == (0, 255)
    assert ims.load_run(run.path).spec == run.spec
    assert json.loads((Path(run.path) / "settings.json").read_text())["levels"] == "auto"
    assert run.state["precision"] == "float32"
    assert run.evaluate(scans).accuracy > 0.9
    predictions = list(run.predict(scans))
    assert [p.error for p in predictions] == [None] * 48
    floats = scans.parent / "floats"
    floats.mkdir()
    by_pillow(np.float32)(floats / "one.tif", np.full((24, 24), 20))
    assert [p.label for p in run.predict(floats)] == ["a"]
    in_memory = run.predict([np.full((24, 24), value, dtype) for value, dtype in ((20, np.float64), (125, np.uint16))])
    assert [p.label for p in in_memory] == ["a", "b"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["model.tflite", "saved"])
def test_an_exported_model_takes_values_as_files_store_them(name: str, run: ims.Run, scans: Path, tmp_path: Path) -> None:
    exported = open_model(export_run(run, tmp_path / name).path)
    expected = np.array([p.scores for p in run.predict(scans)])
    np.testing.assert_allclose(np.array([p.scores for p in exported.predict(scans)]), expected, atol=1e-4)
    raw = open_model(export_run(run, tmp_path / f"raw-{name}", raw=True).path)
    np.testing.assert_allclose(np.array([p.scores for p in raw.predict(scans)]), expected, atol=1e-4)


def test_the_served_model_makes_black_and_white_itself(small_cnn: None) -> None:
    import keras

    for scale in ("unit", "caffe"):
        spec = SampleSpec(size=(6, 5), levels=(-100, 3995), scale=scale)  # type: ignore[arg-type]
        inputs = keras.Input(spec.shape)
        model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(inputs)))
        served = serving_model(model, spec, 2.0)
        values = np.random.default_rng(0).integers(-200, 4100, (4, *spec.shape)).astype(np.float32)
        pixels = np.rint((np.clip(values, -100, 3995) + 100) * (65_535 / 4095)).astype(np.uint16)
        logits = Forward(Program(model, spec), 4)(pixels) / 2
        expected = np.exp(logits - logits.max(1, keepdims=True))
        assert served.inputs[0].dtype == "float32"
        np.testing.assert_allclose(served.predict_on_batch(values), expected / expected.sum(1, keepdims=True), rtol=2e-3, atol=1e-5)


def test_check_tells_of_scans_that_need_levels(scans: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["check", str(scans), "--json"])
    assert exit_.value.code == 3
    found = json.loads(capsys.readouterr().out)["depth"]
    assert found == {"looked_at": 48, "types": {"uint16": 48}, "least": 0, "most": 149, "levels": [0, 255], "needs_levels": True}
    with pytest.raises(SystemExit):
        main(["check", str(scans)])
    assert "train with --levels auto" in capsys.readouterr().out


def test_impossible_levels_are_a_wrong_argument(scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["train", str(scans), "--out", str(tmp_path / "run"), "--levels", "4095"])
    assert exit_.value.code == 2
    assert "LOW:HIGH" in " ".join(capsys.readouterr().err.split())
