from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from imgstream.cli import main
from imgstream.errors import ModelError
from imgstream.export import ConvertedModel, engines, select_engine
from imgstream.models.forward import Forward, Program
from imgstream.prediction import job
from imgstream.prediction.store import PredictionStore, described
from imgstream.runs import Run
from imgstream.runtimes import FORMATS
from imgstream.runtimes.litert import LiteRT
from imgstream.runtimes.packages import is_installed

FORMAT_OF = {"openvino": "openvino", "onnxruntime": "onnx", "litert": "litert"}
every_engine = pytest.mark.parametrize("name", FORMAT_OF)


def need(name: str) -> None:
    of = FORMATS[FORMAT_OF[name]]
    if not is_installed(of.modules):
        pytest.skip(f"needs pip install 'imgstream[{of.extra}]'")


def command(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return int(exit_.value.code or 0), out, err


@pytest.mark.quick("litert")
@every_engine
def test_an_engine_computes_what_keras_computes(name: Any, run: Run) -> None:
    need(name)
    converted = ConvertedModel(run.model, run.spec, name, 32)
    images = np.random.default_rng(0).integers(0, 256, (21, *run.spec.shape), np.uint8)
    np.testing.assert_allclose(converted(images), Forward(run.program, 32)(images), rtol=1e-4, atol=1e-4)
    assert converted.difference < 1e-4


def test_an_engine_that_computes_something_else_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    need("litert")
    opened = LiteRT.open

    def wrong(self: LiteRT, *arguments: Any) -> Callable[[np.ndarray], np.ndarray]:
        runtime = opened(self, *arguments)
        return lambda images: runtime(images) * 1.001

    monkeypatch.setattr(LiteRT, "open", wrong)
    with pytest.raises(ModelError, match="does not compute what Keras computes"):
        ConvertedModel(run.model, run.spec, "litert", 32)


def test_few_images_are_left_to_keras(run: Run) -> None:
    engine, chosen = select_engine(run.model, run.spec, "auto", images=1_999, batch_size=32)
    assert (type(engine), chosen.name) == (Program, "keras")
    assert "fewer than 2,000 images" in chosen.why


@pytest.mark.slow
def test_the_fastest_of_those_that_agree_is_taken(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    need("litert")
    monkeypatch.setattr(engines, "_rates", lambda forwards, batch: {name: {"keras": 1.0, "litert": 3.0}[name] for name in forwards})
    monkeypatch.setattr(engines, "is_installed", lambda modules: "ai_edge_litert" in modules)
    engine, chosen = select_engine(run.model, run.spec, "auto", images=5_000, batch_size=8)
    assert (type(engine), chosen.name) == (ConvertedModel, "litert")
    assert "litert 3, keras 1" in chosen.why
    monkeypatch.setattr(engines, "_rates", lambda forwards, batch: dict.fromkeys(forwards, 1.0))
    assert select_engine(run.model, run.spec, "auto", images=5_000, batch_size=8)[1].name == "keras"
    monkeypatch.setattr(engines, "FLOAT32_TOLERANCE", -1.0)
    assert select_engine(run.model, run.spec, "auto", images=5_000, batch_size=8)[1].name == "keras"


def test_an_engine_that_is_not_installed_names_its_extra(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ModelError, match=r"imgstream\[openvino\]"):
        select_engine(run.model, run.spec, "openvino", images=1, batch_size=8)


@pytest.mark.slow
@every_engine
def test_a_prediction_that_was_stopped_goes_on_with_its_engine(
    name: str, trained: Path, two_classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    need(name)
    monkeypatch.setattr(job, "batch_size_for", lambda shape: 8)
    code, _, err = command(capsys, "predict", trained, two_classes, "-o", tmp_path / "whole.csv", "--engine", name, "--json")
    assert code == 0, err
    record, left = PredictionStore.record, [2]

    def interrupted(self: PredictionStore, *arguments: Any) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        record(self, *arguments)

    again = ["predict", trained, two_classes, "-o", tmp_path / "part.csv", "--json"]
    with monkeypatch.context() as patch:
        patch.setattr(PredictionStore, "record", interrupted)
        assert command(capsys, *again, "--engine", name)[0] == 130
    code, _, err = command(capsys, *again, "--engine", "keras")
    assert (code, f"begun with --engine {name}" in " ".join(err.split())) == (2, True)
    code, out, err = command(capsys, *again)
    assert code == 0, err
    assert json.loads(out)["reused"] == 16
    assert (tmp_path / "part.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert described(tmp_path / "part.csv.store")["engine"][0] == name


@pytest.mark.slow
def test_evaluate_and_embed_take_an_engine(trained: Path, two_classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    need("litert")
    told = []
    for engine in ("keras", "litert"):
        code, out, err = command(capsys, "evaluate", trained, two_classes, "--engine", engine, "--json")
        assert code == 0, err
        told.append(json.loads(out))
        code, _, err = command(capsys, "embed", trained, two_classes, "-o", tmp_path / f"{engine}.parquet", "--engine", engine, "--json")
        assert code == 0, err
    assert [each["engine"] for each in told] == ["keras", "litert"]
    assert told[0]["confusion_matrix"] == told[1]["confusion_matrix"]
    one, two = (np.stack(pq.read_table(tmp_path / f"{engine}.parquet")["features"].to_numpy()) for engine in ("keras", "litert"))
    np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-4)
