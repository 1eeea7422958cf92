from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import imgstream as ims
from imgstream.errors import RunError
from imgstream.index import ImageIndex
from imgstream.training.data import labelled
from imgstream.training.settings import TrainSettings


@pytest.fixture
def photos(two_classes: Path, tmp_path: Path) -> Path:
    """two_classes with one image of dark/ under light/."""
    shutil.copytree(two_classes, tmp_path / "photos")
    (tmp_path / "photos" / "dark" / "00.jpg").rename(tmp_path / "photos" / "light" / "moved.jpg")
    return tmp_path / "photos"


@pytest.fixture
def corrections(tmp_path: Path) -> str:
    file = tmp_path / "corrections.csv"
    file.write_text("path,action,label\nlight/moved.jpg,label,dark\nlight/03.jpg,exclude,\n")
    return str(file)


def test_what_is_trained_on_has_the_corrected_labels_and_is_told(photos: Path, corrections: str) -> None:
    told: list[str] = []
    index = labelled(photos, TrainSettings(corrections=corrections), None, told.append)
    assert index.class_counts().tolist() == [20, 19]
    assert f"Corrections, by {corrections}: 1 label changed (light → dark 1), 1 image left out" in told


@pytest.mark.slow
@pytest.mark.usefixtures("small_cnn")
def test_a_run_keeps_its_corrected_labels_and_is_resumed_with_the_same_alone(photos: Path, corrections: str, tmp_path: Path) -> None:
    out, how = tmp_path / "run", {"size": (32, 32), "batch_size": 8, "epochs": 1}
    ims.train(photos, out=out, corrections=corrections, **how)
    index = ImageIndex.load(out / "index.arrow")
    labels = {index.relative_bytes(i): index.class_names[index.labels[i]] for i in range(len(index))}
    assert (len(labels), labels[b"light/moved.jpg"]) == (39, "dark")
    assert (photos / "light" / "moved.jpg").exists()
    with pytest.raises(RunError, match="corrections="):
        ims.train(photos, out=out, resume=True, **how)
