"""Trackers that people use, without a server. MLflow and Weights & Biases are tested where they are installed: pip install mlflow wandb."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import imgstream as ims
from imgstream.runs.folder import RunFolder
from imgstream.runs.tensorboard import write_pictures

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("small_cnn")]

SMALL: dict[str, Any] = {"size": (32, 32), "batch_size": 8, "epochs": 2, "augment": "light"}


def test_tensorboard_has_the_options_and_pictures_of_a_run(trained: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(trained / "tensorboard")).Reload()
    assert {"val_accuracy", "loss"} <= {*found.Tags()["scalars"], *found.Tags()["tensors"]}
    content = found.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    assert b"label_smoothing" in content
    assert b"standard" in content
    folder = RunFolder(tmp_path)
    write_pictures(folder, {"confusion": ims.load_run(trained).plot_history().png()}, 7)  # type: ignore[attr-defined]
    (event,) = EventAccumulator(str(folder.tensorboard)).Reload().Tensors("confusion")
    assert event.step == 7


@pytest.mark.filterwarnings("ignore")  # of MLflow's own
def test_mlflow_records_every_epoch_in_a_folder(two_classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow = pytest.importorskip("mlflow", reason="MLflow is not installed")
    pytest.importorskip("pandas", reason="MLflow's Keras callback needs pandas")
    from mlflow.keras import MlflowCallback

    mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
    with mlflow.start_run() as active:
        run = ims.train(two_classes, out=tmp_path / "run", **SMALL, callbacks=[MlflowCallback()])
        mlflow.log_artifact(run.report())
    client = mlflow.MlflowClient()
    history = client.get_metric_history(active.info.run_id, "val_accuracy")
    assert history[-1].value == pytest.approx(
        float((tmp_path / "run" / "history.csv").read_text().splitlines()[-1].split(",")[5]), abs=1e-4
    )
    assert [file.path for file in client.list_artifacts(active.info.run_id) if file.path.endswith(".html")] == ["report.html"]


@pytest.mark.filterwarnings("ignore")  # of W&B's own
def test_weights_and_biases_records_offline(two_classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("WANDB_MODE", "offline"), ("WANDB_SILENT", "true"), ("WANDB_DIR", str(tmp_path))):
        monkeypatch.setenv(name, value)
    wandb = pytest.importorskip("wandb", reason="Weights & Biases is not installed")
    from wandb.integration.keras import WandbMetricsLogger

    with wandb.init(project="pets") as tracked:
        ims.train(two_classes, out=tmp_path / "run", **SMALL, callbacks=[WandbMetricsLogger()])
        assert tracked.summary["epoch/val_accuracy"] == pytest.approx(
            float((tmp_path / "run" / "history.csv").read_text().splitlines()[-1].split(",")[5]), abs=1e-4
        )
    assert list((tmp_path / "wandb").glob("offline-run-*"))
