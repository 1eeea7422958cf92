from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import imgstream as ims
from imgstream.cli import main
from imgstream.embedding import FeaturesFile, head_data
from imgstream.models import features


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    with pytest.raises(SystemExit) as exit_:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return int(exit_.value.code or 0), out, err


def report_of(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    code, out, err = run(capsys, "embed", *arguments, "--json")
    assert code == 0, err
    return json.loads(out)


@pytest.fixture
def photos(two_classes: Path, tmp_path: Path) -> Path:
    """Two classes, with hostile names and a bad file."""
    folder = tmp_path / "photos"
    names = (b"dark/a\n\xff.jpg", b"dark/b\x1b[31m.jpg", b"light/c.jpg")
    for number, name in enumerate(names):
        path = os.path.join(os.fsencode(folder), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        shutil.copy(two_classes / name.split(b"/")[0].decode() / f"{number:02}.jpg", path)
    (folder / "light" / "bad.jpg").write_bytes(b"")
    return folder


def test_a_run_gives_each_image_what_its_last_layer_takes(
    trained: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "features.parquet"
    report = report_of(capsys, trained, photos, "-o", output)
    assert set(report) == {"rows", "ok", "bad", "dimensions", "seconds", "images_per_second"}
    assert [report[name] for name in ("rows", "ok", "bad")] == [4, 3, 1]
    assert report["seconds"] > 0
    assert report["images_per_second"] > 0
    opened = ims.load_run(trained)
    file = FeaturesFile(output)
    assert (file.info.spec, file.info.model, file.info.dimensions) == (opened.spec, str(trained), report["dimensions"])
    rows = list(file)
    assert [row.path_bytes for row in rows] == [b"dark/a\n\xff.jpg", b"dark/b\x1b[31m.jpg", b"light/bad.jpg", b"light/c.jpg"]
    assert [row.label for row in rows] == ["dark", "dark", "light", "light"]
    assert [row.error for row in rows] == [None, None, "empty: 0 bytes", None]
    kernel, bias = opened.model.layers[-1].get_weights()
    index = ims.scan(photos)
    for row, images in zip([rows[0], rows[1], rows[3]], next(iter(ims.Stream(index, opened.spec).batches()))[0], strict=True):
        assert row.features is not None
        expected = opened.model.predict_on_batch(np.repeat(images[None], 32, axis=0))[0]
        assert np.allclose(row.features @ kernel + bias, expected, atol=1e-4)
    table = head_data(features(opened.model), ims.Stream(index, opened.spec), output)
    assert np.array_equal(table.features, np.stack([row.features for row in rows if row.features is not None]))


def test_the_library_gives_the_same_rows_and_takes_images_in_memory(
    trained: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report_of(capsys, trained, photos, "-o", tmp_path / "f.parquet")
    opened = ims.load_run(trained)
    for row, kept in zip(opened.embed(photos), FeaturesFile(tmp_path / "f.parquet"), strict=True):
        assert (row.path, row.path_bytes, row.label, row.error) == (kept.path, kept.path_bytes, kept.label, kept.error)
        if row.features is not None:
            assert kept.features is not None
            assert np.allclose(row.features, kept.features, atol=1e-5)  # batches of another size
    pixels = np.asarray(Image.open(photos / "light" / "c.jpg"))
    only = next(iter(opened.embed([pixels])))
    assert (only.path, only.label, only.error) == ("0", None, None)
    *_, last = opened.embed(photos)
    assert only.features is not None
    assert last.features is not None
    assert np.allclose(only.features, last.features, atol=0.05)


@pytest.mark.usefixtures("small_cnn")
def test_a_network_is_given_by_its_name_or_by_its_file(
    trained: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report_of(capsys, trained, photos, "-o", tmp_path / "run.parquet")
    report_of(capsys, "CNN", photos, "-o", tmp_path / "name.parquet", "--weights", trained / "model.keras", "--size", "32")
    by_run, by_name = FeaturesFile(tmp_path / "run.parquet"), FeaturesFile(tmp_path / "name.parquet")
    assert (by_name.info.model, by_name.info.fingerprint) == ("cnn", by_run.info.fingerprint)
    report_of(capsys, trained / "model.keras", photos, "-o", tmp_path / "file.parquet")
    assert FeaturesFile(tmp_path / "file.parquet").info.fingerprint == by_run.info.fingerprint


def test_what_was_written_and_what_was_bad_is_shown_harmlessly(
    trained: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.rename(photos / "light" / "bad.jpg", photos / "light" / "bad\x1b[31m.jpg")
    code, out, err = run(capsys, "embed", trained, photos, "-o", tmp_path / "f.parquet")
    assert (code, err) == (0, "")
    assert "4 images: 3 with" in out
    assert "features each, 1 bad." in out
    assert "Pipeline: python (fewer than" in out
    assert "\x1b" not in out
    assert "bad\\x1b[31m.jpg" in out


def test_labels_come_from_a_pattern_or_a_manifest(trained: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report_of(capsys, trained, photos, "-o", tmp_path / "f.parquet", "--label-pattern", r"(?P<label>c|bad)\.jpg")
    assert [row.label for row in FeaturesFile(tmp_path / "f.parquet")] == [None, None, "bad", "c"]
    (tmp_path / "list.csv").write_text("img,species\nlight/c.jpg,=cat\n")
    report = report_of(
        capsys, trained, tmp_path / "list.csv", "-o", tmp_path / "g.parquet", "--root", photos, "--columns", "path=img,label=species"
    )
    assert report["rows"] == 1
    assert [row.label for row in FeaturesFile(tmp_path / "g.parquet")] == ["=cat"]


def test_what_cannot_be_done_is_one_line_and_writes_nothing(
    trained: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for arguments, words in (
        ((trained, photos, "-o", out / "f.csv"), "in .parquet"),
        ((trained, photos, "-o", out / "none" / "f.parquet"), "does not exist"),
        ((photos, photos, "-o", out / "f.parquet"), "no run folder"),
        (("NoSuchNet", photos, "-o", out / "f.parquet", "--weights", "none"), "no model named"),
        ((tmp_path / "gone.keras", photos, "-o", out / "f.parquet"), "gone.keras"),
        ((trained, tmp_path / "nowhere", "-o", out / "f.parquet"), "nowhere"),
    ):
        code, printed, err = run(capsys, "embed", *arguments)
        assert (code, printed, err.count("\n")) == (1, "", 1), err
        assert words in err
    for arguments, words in (
        (("cnn", photos, "-o", out / "f.parquet"), "--weights"),
        ((trained, photos, "-o", out / "f.parquet", "--size", "64"), "--size"),
        ((trained, photos, "-o", out / "f.parquet", "--size", "big"), "no size"),
        ((trained, photos), "output"),
    ):
        code, printed, err = run(capsys, "embed", *arguments)
        assert (code, printed) == (2, "")
        assert words in err
    assert os.listdir(out) == []
