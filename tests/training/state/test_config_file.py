"""train.yaml: what a run writes repeats it, and what --config reads is checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import albumentations as A  # noqa: N812 - as its own documentation has it
import numpy as np
import pytest
import yaml

import imgstream as ims
from imgstream.augment import resolve, to_json
from imgstream.cli import main
from imgstream.runs.folder import RunFolder
from imgstream.training.settings import TrainSettings
from imgstream.training.state.config_file import write_config


def written(folder: Path, **options: Any) -> dict[str, Any]:
    """The options in the file that a run with these options writes."""
    settings = TrainSettings(**options)
    write_config(RunFolder(folder), "photos", settings.to_json(to_json(resolve(settings.augment))))
    return dict(yaml.safe_load((folder / "train.yaml").read_text(encoding="utf-8")))


def dry_run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, Any], str]:
    with pytest.raises(SystemExit) as ended:
        main(["train", *map(str, arguments), "--dry-run", "--json"])
    out, err = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, json.loads(out) if out else {}, err


def test_a_file_has_what_differs_from_nothing_as_the_command_line_takes_it(tmp_path: Path) -> None:
    options = written(tmp_path, size=(24, 32), epochs=3, columns={"path": "img", "label": "kind"}, head_only=True, weights="imagenet")
    assert {
        "size": "24x32",
        "epochs": 3,
        "columns": "path=img,label=kind",
        "head_only": True,
        "weights": "imagenet",
    }.items() <= options.items()
    assert (options["seed"], options["augment"], options["directory"]) == (0, "standard", str(Path("photos").absolute()))
    assert not {"minutes", "format", "cache_limit", "balance", "val"} & options.keys()


def test_keywords_may_be_given_as_python_has_them(tmp_path: Path) -> None:
    (tmp_path / "bad.csv").touch()
    options = written(tmp_path, size=32, exclude=tmp_path / "bad.csv")
    assert (options["size"], options["exclude"]) == (32, str(tmp_path / "bad.csv"))


def test_an_augmentation_of_ones_own_lies_beside_it(tmp_path: Path) -> None:
    policy = A.Compose([A.HorizontalFlip(p=0.5)])
    file = written(tmp_path, augment=policy)["augment"]
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    for seed in range(4):
        found, expected = (resolve(each).apply(image, np.random.default_rng(seed)) for each in (file, policy))  # type: ignore[union-attr]
        assert np.array_equal(found, expected)


@pytest.mark.slow
@pytest.mark.usefixtures("small_cnn")
def test_a_run_is_repeated_by_its_own_file_to_the_bit(two_classes: Path, tmp_path: Path) -> None:
    first = ims.train(two_classes, out=tmp_path / "one", size=(16, 16), epochs=1, batch_size=8, seed=5, label_smoothing=0.2)
    with pytest.raises(SystemExit) as ended:
        main(["train", "--config", str(tmp_path / "one" / "train.yaml"), "--out", str(tmp_path / "two")])
    assert ended.value.code == 0
    again = ims.load_run(tmp_path / "two")
    assert json.loads((tmp_path / "two" / "settings.json").read_text())["label_smoothing"] == 0.2
    assert again.metrics == first.metrics
    for a, b in zip(first.model.get_weights(), again.model.get_weights(), strict=True):
        assert np.array_equal(a, b)


@pytest.mark.slow
def test_what_the_command_line_says_wins(two_classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "options.yaml"
    file.write_text(f"directory: {two_classes}\nsize: 24\nbatch-size: 8\naugment: none\nepochs: 2\n")
    code, plan, _ = dry_run(capsys, "--config", file, "--out", tmp_path / "run", "--size", "32x16")
    assert (code, plan["size"], plan["epochs"], plan["augment"]["kind"]) == (0, [32, 16], 2, "none")
    assert plan["batch_size"] == 8
    code, plan, _ = dry_run(capsys, "--config", file, "--out", tmp_path / "run", "--minutes", "0.5")  # of two that exclude each other too
    assert (code, plan["epochs"], plan["minutes"]) == (0, None, 0.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sise: 24\n", "has sise, which is no option of train"),
        ("- size\n", "an option on each line"),
        ("size: [\n", "is no YAML"),
        ("size: big\n", "big"),
        (None, "No such file"),
    ],
)
def test_a_wrong_file_ends_with_2_and_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None, message: str
) -> None:
    if text is not None:
        (tmp_path / "options.yaml").write_text(text)
    code, _, err = dry_run(capsys, tmp_path, "--config", tmp_path / "options.yaml", "--out", tmp_path / "run")
    assert code == 2
    assert message in err


def test_a_function_is_run_only_where_the_command_line_names_it(
    two_classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\ndef same(image, rng): return image\n")
    (tmp_path / "options.yaml").write_text(f"augment: {tmp_path / 'mine.py'}:same\nsize: 16\nepochs: 1\n")
    code, _, err = dry_run(capsys, two_classes, "--config", tmp_path / "options.yaml", "--out", tmp_path / "run")
    assert code == 2
    assert "code is run only where the command line names it" in err
    assert not (tmp_path / "ran").exists()


def test_teachers_are_named_by_their_whole_paths_and_their_share_only_where_there_are_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = written(tmp_path, teacher="runs/a,runs/b", teacher_weight=0.5)
    assert (options["teacher"], options["teacher_weight"]) == (f"{tmp_path}/runs/a,{tmp_path}/runs/b", 0.5)
    (tmp_path / "one,run").mkdir()
    assert written(tmp_path, teacher=Path("one,run"))["teacher"] == str(tmp_path / "one,run")
    assert not {"teacher", "teacher_weight", "teacher_temperature"} & written(tmp_path).keys()


def test_a_list_beside_the_reader_is_named_by_its_whole_path(two_classes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "corrections.csv").write_text("path,label\n")
    (tmp_path / "cnn").mkdir()  # a model's name stays one
    options = written(tmp_path, corrections="corrections.csv", model="cnn")
    assert (options["corrections"], options["model"]) == (str(tmp_path / "corrections.csv"), "cnn")
