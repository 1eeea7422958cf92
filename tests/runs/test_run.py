from __future__ import annotations

import json
import shutil
import zipfile
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

import imgstream as ims
from imgstream.cli import main
from imgstream.errors import DatasetError, ImgstreamError, ModelError, NoImagesError, RunError
from imgstream.evaluation.calibration import expected_calibration_error
from imgstream.index import ImageIndex
from imgstream.models import model_info
from imgstream.runs.folder import RunFolder
from imgstream.training.state.checkpoint import restore

SMALL = {"size": (32, 32), "batch_size": 8, "epochs": 1}


@pytest.fixture
def copy(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "copy"))


def signed(folder: Path, **change: object) -> Path:
    """The folder as if its run.json had been written with its files as they are now."""
    state = json.loads((folder / "run.json").read_text())
    RunFolder(folder).write_state({**state, **change})
    return folder


def without_digests(folder: Path) -> Path:
    """The folder as it was written before there were digests."""
    state = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({name: value for name, value in state.items() if name not in ("checksum", "files")}))
    return folder


def test_a_model_whose_weights_were_changed_is_not_used(copy: Path) -> None:
    model = keras.saving.load_model(copy / "model.keras", compile=False)
    head = model.get_layer("logits")
    head.set_weights([w + 0.01 for w in head.get_weights()])
    model.save(copy / "model.keras")
    with pytest.raises(RunError, match=r"model\.keras is not what it was"):
        _ = ims.load_run(copy).model
    with pytest.raises(RunError, match="golden samples differ"):
        _ = ims.load_run(signed(copy)).model


def test_a_spec_of_another_run_is_noticed(copy: Path) -> None:
    spec = json.loads((copy / "spec.json").read_text())
    (copy / "spec.json").write_text(json.dumps({**spec, "scale": "unit"}))
    with pytest.raises(RunError, match=r"spec\.json is not what it was"):
        ims.load_run(copy)
    with pytest.raises(RunError, match="golden samples differ"):
        _ = ims.load_run(signed(copy)).model


@pytest.mark.parametrize("name", ["model.keras", "golden.npz", "spec.json", "class_names.json", "run.json"])
def test_a_run_folder_with_a_file_missing_or_damaged_says_which(copy: Path, name: str) -> None:
    (copy / name).write_bytes(b"\x00garbage")
    with pytest.raises(RunError, match=name.partition(".")[0]):
        _ = ims.load_run(copy).model
    (copy / name).unlink()
    with pytest.raises(RunError):
        _ = ims.load_run(copy).model


def test_a_folder_that_is_no_run_says_what_one_is(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="imgstream train"):
        ims.load_run(tmp_path)


def test_predicting_gives_one_row_a_file_in_index_order_bad_ones_with_their_reason(
    trained: Path, two_classes: Path, tmp_path: Path
) -> None:
    good = (two_classes / "dark" / "00.jpg").read_bytes()
    for i in range(70):  # over two batches, of which one is all bad
        (tmp_path / f"{i:02}.jpg").write_bytes(b"" if 30 <= i < 66 else good)
    rows = list(ims.load_run(trained).predict(tmp_path))
    assert [row.path for row in rows] == [f"{i:02}.jpg" for i in range(70)]
    assert [row.error for row in rows] == [None] * 30 + ["empty: 0 bytes"] * 36 + [None] * 4
    assert all(row.label is None and row.score is None and row.scores is None for row in rows[30:66])
    assert len({row.scores.tobytes() for row in rows if row.scores is not None}) == 1  # the same file, whatever its batch


def test_single_files_and_lists_of_paths_can_be_predicted(trained: Path, two_classes: Path) -> None:
    run = ims.load_run(trained)
    files = [two_classes / "light" / "03.jpg", two_classes / "dark" / "05.jpg", "gone.jpg"]
    rows = list(run.predict(files))
    assert [row.path for row in rows] == [str(f) for f in files]
    assert rows[2].error is not None
    assert rows[2].error.startswith("missing: ")
    assert next(iter(run.predict(files[0]))).path_bytes == bytes(files[0])


def test_a_name_where_nothing_lies_is_an_error_of_predict_embed_and_evaluate(trained: Path, two_classes: Path) -> None:
    run = ims.load_run(trained)
    for call in (run.predict, run.embed, run.evaluate):
        for source in ("nwe_photos", [two_classes / "dark" / "00.jpg", "nwe_photos"]):
            with pytest.raises(NoImagesError, match="nwe_photos: there is no such folder or file"):
                call(source)
        with pytest.raises(DatasetError, match="is a URL"):
            call("ftp://host/photos")


def test_evaluation_matches_classes_by_name_and_tells_folders_that_are_none(trained: Path, two_classes: Path, tmp_path: Path) -> None:
    run = ims.load_run(trained)
    shutil.copytree(two_classes / "light", tmp_path / "light")
    shutil.copytree(two_classes / "dark", tmp_path / "a-stranger")
    result = run.evaluate(tmp_path)
    assert result.unknown_classes == ["a-stranger"]
    assert result.missing_classes == ["dark"]
    whole = run.evaluate(two_classes)
    assert whole.missing_classes == []
    assert result.confusion.counts[1].tolist() == whole.confusion.counts[1].tolist()
    assert result.confusion.counts[0].tolist() == [0, 0]
    shutil.rmtree(tmp_path / "light")
    with pytest.raises(DatasetError, match="a-stranger"):
        run.evaluate(tmp_path)


def with_temperature(folder: Path, temperature: object) -> Path:
    return signed(folder, temperature=temperature)


def test_the_temperature_divides_the_logits_of_predict_and_evaluate_and_changes_no_label(
    trained: Path, copy: Path, two_classes: Path
) -> None:
    run, warm = ims.load_run(trained), ims.load_run(with_temperature(copy, 2.5))
    assert (run.temperature, warm.temperature) == (1.0, 2.5)  # eight images of validation are too few to fit one
    for cold, row in zip(run.predict(two_classes), warm.predict(two_classes), strict=True):
        assert cold.scores is not None
        assert row.scores is not None
        np.testing.assert_allclose(np.log(row.scores[0] / row.scores[1]), np.log(cold.scores[0] / cold.scores[1]) / 2.5, atol=1e-4)
        assert row.label == cold.label
    before, after = run.evaluate(two_classes), warm.evaluate(two_classes)
    assert before.ece == before.ece_uncalibrated == after.ece_uncalibrated != after.ece
    assert after.temperature == 2.5
    assert after.confusion.counts.tolist() == before.confusion.counts.tolist()
    truth = [row.label == row.path.partition("/")[0] for row in warm.predict(two_classes)]
    scores = [row.score or 0.0 for row in warm.predict(two_classes)]
    assert after.ece == pytest.approx(expected_calibration_error(np.array(scores), np.array(truth)), abs=1e-6)
    assert after.loss == pytest.approx(-np.mean([np.log(s if t else 1 - s) for s, t in zip(scores, truth, strict=True)]), abs=1e-4)


def test_the_fingerprint_covers_the_temperature_and_that_of_a_run_without_is_as_it_was(trained: Path, copy: Path) -> None:
    run = ims.load_run(trained)
    assert run.fingerprint == run.state["fingerprint"]
    files = (trained / name for name in ("model.keras", "spec.json", "class_names.json"))
    assert run.fingerprint == sha256(b"".join(sha256(file.read_bytes()).digest() for file in files)).hexdigest()[:16]
    warm, warmer = (ims.load_run(with_temperature(copy, t)).fingerprint for t in (2.5, 2.6))
    assert len({run.fingerprint, warm, warmer}) == 3


def test_a_run_of_before_has_no_temperature_and_no_profile(copy: Path, two_classes: Path) -> None:
    state = json.loads((copy / "run.json").read_text())
    for name in ("temperature", "calibration", "files", "checksum"):
        del state[name]
    (copy / "run.json").write_text(json.dumps(state))
    (copy / "profile.json").unlink()
    run = ims.load_run(copy)
    assert run.temperature == 1.0
    assert run.profile is None
    result = run.evaluate(two_classes)
    assert result.ece == result.ece_uncalibrated


@pytest.mark.parametrize("wrong", [0, -1.0, "2", None, float("nan"), float("inf")])
def test_a_temperature_that_is_none_is_refused(copy: Path, wrong: object) -> None:
    with pytest.raises(RunError, match="temperature"):
        ims.load_run(with_temperature(copy, wrong))


def test_a_damaged_profile_says_so_when_it_is_asked_for(copy: Path) -> None:
    (copy / "profile.json").write_text("{}")
    with pytest.raises(RunError, match=r"profile\.json is not what it was"):
        _ = ims.load_run(copy).profile
    run = ims.load_run(signed(copy))
    with pytest.raises(RunError, match=r"profile\.json"):
        _ = run.profile


@pytest.mark.parametrize("text", [b"[]", b"3", b'{"class_names": 3}', b'{"class_names": [1]}', b'{"class_names": []}', b"[" * 100_000])
def test_names_that_are_none_are_refused(copy: Path, text: bytes) -> None:
    (copy / "class_names.json").write_bytes(text)
    with pytest.raises(RunError, match=r"class_names\.json"):
        ims.load_run(signed(copy))


# ---- damage


def test_a_run_of_before_there_were_digests_is_checked_by_its_fingerprint(copy: Path) -> None:
    assert ims.load_run(without_digests(copy)).model is not None
    names = copy / "class_names.json"
    names.write_text(names.read_text().replace("dark", "bark"))
    with pytest.raises(RunError, match="not what it was when it was written"):
        _ = ims.load_run(copy).model


class Held:
    """A variable that a checkpoint is put back into."""

    def __init__(self, array: np.ndarray) -> None:
        self.shape, self.value = array.shape, array

    def assign(self, value: np.ndarray) -> None:
        self.value = value


def held_in(checkpoint: Path) -> tuple[list[Held], int]:
    """Variables as the checkpoint has them, and the number of averages."""
    with np.load(checkpoint) as data:
        names = [name for name in data.files if name.startswith("variable_")]
        return [Held(data[f"variable_{i}"]) for i in range(len(names))], sum(name.startswith("average_") for name in data.files)


def outcome(folder: Path, name: str, whole: tuple[list[Held], int]) -> object:
    """What comes of a run folder by the file `name`: equal for equal results."""
    if name.endswith(".arrow"):
        index = ImageIndex.load(folder / name)
        return index.root, index.class_names, [index.path_bytes(i) for i in range(len(index))], index.labels.tolist()
    if name.startswith("checkpoints"):
        variables, averages = whole
        model = SimpleNamespace(variables=variables, optimizer=SimpleNamespace(variables=[]))
        average = SimpleNamespace(values=[None] * averages, averages=[None] * averages)
        state, best = restore(folder / name, model, average)  # type: ignore[arg-type]
        arrays = [v.value for v in variables] + list(average.values) + [*(best or [])]
        return json.dumps(state), [np.asarray(array).tobytes() for array in arrays]
    run = ims.load_run(folder)
    if name in ("model.keras", "golden.npz"):
        _ = run.model
    kept = {key: value for key, value in run.state.items() if key not in ("checksum", "files")}
    return run.spec, run.class_names, run.temperature, run.fingerprint, run.profile, json.dumps(kept, sort_keys=True)


RECORDS = ("history.csv", "skipped.csv", "memory.csv", "tensorboard")
"""Nothing is made of them but what people read."""


def test_a_byte_that_turned_in_any_file_of_a_run_is_told_or_changes_nothing(trained: Path, copy: Path) -> None:
    rng = np.random.default_rng(7)
    names = [str(p.relative_to(trained)) for p in sorted(trained.rglob("*")) if p.is_file()]
    assert {"model.keras", "run.json", "golden.npz", "index.arrow", "settings.json"} <= set(names)
    whole = held_in(max(trained.glob("checkpoints/*.npz")))
    told = 0
    for name in (name for name in names if not name.startswith(RECORDS)):
        data, before = (trained / name).read_bytes(), outcome(trained, name, whole)
        for at in rng.integers(len(data), size=40).tolist():
            damaged = bytearray(data)
            damaged[at] ^= 1 << int(rng.integers(8))
            (copy / name).write_bytes(damaged)
            try:
                assert outcome(copy, name, whole) == before, (name, at)
            except ImgstreamError:
                told += 1
        (copy / name).write_bytes(data)
    assert told > 200


@pytest.mark.parametrize("name", ["checksum", "files", "temperature", "format"])
def test_a_name_that_turned_in_run_json_is_told(copy: Path, name: str) -> None:
    text = (copy / "run.json").read_text()
    (copy / "run.json").write_text(text.replace(f'"{name}"', f'"{name[:-1]}~"'))
    with pytest.raises(RunError, match=r"run\.json"):
        ims.load_run(copy)


def test_a_resumed_training_tells_that_its_settings_are_damaged(copy: Path, two_classes: Path) -> None:
    signed(copy, state="interrupted")
    for name in ("settings.json", "spec.json", "class_names.json"):
        data = (copy / name).read_bytes()
        (copy / name).write_bytes(data.replace(b"1", b"3", 1))
        with pytest.raises(RunError, match=f"{name} is not what it was"):
            ims.train(two_classes, out=copy, resume=True, **SMALL)
        (copy / name).write_bytes(data)


def test_a_backbones_spec_that_is_damaged_is_told(copy: Path) -> None:
    (copy / "spec.json").write_bytes((copy / "spec.json").read_bytes().replace(b"32", b"36"))
    with pytest.raises(ModelError, match=r"spec\.json is not what it was"):
        model_info(str(copy))


# ---- from somebody else


def test_a_run_whose_model_names_code_predicts_nothing_and_runs_nothing(
    copy: Path, two_classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with zipfile.ZipFile(copy / "model.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    config["config"]["layers"][1].update(class_name="TFSMLayer", config={"filepath": str(tmp_path), "call_endpoint": "serve"})
    with zipfile.ZipFile(copy / "model.keras", "w") as archive:
        for name, data in members.items():
            archive.writestr(name, json.dumps(config) if name == "config.json" else data)
    signed(copy)
    for command in (["predict", copy, two_classes, "-o", tmp_path / "out.csv"], ["evaluate", copy, two_classes]):
        with pytest.raises(SystemExit) as ended:
            main([str(part) for part in command])
        assert ended.value.code == 1
        told = capsys.readouterr()
        assert told.out == ""
        assert "TFSMLayer" in told.err
        assert told.err.count("\n") == 1
    assert not (tmp_path / "out.csv").exists()


def test_a_checkpoint_or_golden_sample_that_holds_a_pickle_is_refused_unopened(copy: Path, tmp_path: Path) -> None:
    class Runs:
        def __reduce__(self) -> object:
            return Path.touch, (tmp_path / "ran",)

    np.savez(copy / "golden.npz", format=1, logits=np.array([Runs()], object), device="x", input_jpeg=1, input_png=1, input_webp=1)
    with pytest.raises(RunError, match=r"golden\.npz is damaged"):
        _ = ims.load_run(signed(copy)).model
    checkpoint = max(copy.glob("checkpoints/*.npz"))
    np.savez(checkpoint, format=1, state=np.array([Runs()], object))
    with pytest.raises(RunError, match="cannot be used"):
        restore(checkpoint, SimpleNamespace(), SimpleNamespace())  # type: ignore[arg-type]
    assert not (tmp_path / "ran").exists()
