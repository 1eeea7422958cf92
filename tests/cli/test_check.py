from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import imgstream as ims
from imgstream.cli import main
from imgstream.stream import Batch
from imgstream.stream.tfdata import TfPipeline


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
    two_classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ims.train(two_classes, out=tmp_path / "run", size=(32, 32), batch_size=8, epochs=1)
    code, out, _ = run(capsys, two_classes, "--parity", "--run", tmp_path / "run", "--augment", "none", "--json")
    result = json.loads(out)
    assert code == 0
    assert result["spec"]["size"] == [32, 32]
    assert result["run"]["path"] == str(tmp_path / "run")
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
    assert "1 images differ by more than 1/255" in out
    assert "light/05.jpg" in out.replace("\n", "")
    assert "disagree" in out


def test_wrong_use_exits_with_2(two_classes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, two_classes)[0] == 2
    assert run(capsys, two_classes, "--parity", "--run", "r", "--size", "16")[0] == 2


def test_a_folder_without_a_readable_image_exits_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.jpg").write_text("no image")
    code, _, err = run(capsys, tmp_path, "--parity")
    assert code == 1
    assert "none of the 1 images" in err
