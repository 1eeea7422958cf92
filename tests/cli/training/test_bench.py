from __future__ import annotations

import json
from pathlib import Path

import pytest

from imgstream.cli import main

pytestmark = pytest.mark.usefixtures("small_cnn")


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of imgstream bench."""
    with pytest.raises(SystemExit) as exit_:
        main(["bench", *map(str, arguments)])
    out, err = capsys.readouterr()
    return int(exit_.value.code or 0), out, err


@pytest.mark.slow
def test_json_is_one_object_with_the_documented_fields(two_classes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seconds in (2, 15, 75):  # on a busy machine little time may be too short to try every file
        code, out, err = run(capsys, two_classes, "--json", "--size", "24x32", "--batch-size", 8, "--seconds", seconds)
        result = json.loads(out)
        if result["bad"]["files_tried"] == 40:
            break
    assert (code, err) == (0, "")
    assert out.count("\n") == 1
    assert set(result) == {
        *("format", "directory", "files", "classes", "folder_bytes_estimated", "settings", "memory_bytes", "seconds"),
        *("read", "decode", "augment", "loader", "transfer", "step", "together", "bad", "advice"),
    }
    assert (result["format"], result["directory"], result["files"], result["classes"]) == (1, str(two_classes), 40, 2)
    settings = result["settings"]
    assert (settings["height_pixels"], settings["width_pixels"], settings["model"], settings["augment"]) == (24, 32, "cnn", "standard")
    assert set(result["read"]) == {"one_thread_first", "one_thread_again", "all_threads_first", "all_threads_again"}
    assert set(result["read"]["one_thread_first"]) == {"files", "files_per_second", "megabytes_per_second"}
    for rate in (
        *(result[name] for name in ("loader", "transfer", "step")),
        result["decode"]["one_thread"],
        result["decode"]["all_threads"],
    ):
        assert set(rate) == {"images", "images_per_second"}
        assert rate["images_per_second"] > 0
    assert set(result["augment"]) == {"name", "microseconds_per_image", "parts"}
    assert set(result["augment"]["parts"][0]) == {"name", "microseconds_per_image", "share"}
    assert result["decode"]["median_stored_pixels"] == 40 * 48
    assert result["bad"] == {"files_tried": 40, "files": 0, "first": []}
    assert set(result["advice"]) == {"binding", "upper_bound_images_per_second", "minutes_per_epoch", "sentences"}
    assert result["advice"]["binding"] in ("read", "decode", "augment", "transfer", "step")


def test_the_table_names_the_stages_what_binds_and_the_bad_files(
    two_classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "[red]odd"
    folder.mkdir()
    for i in range(4):
        (folder / f"{i}.jpg").write_bytes((two_classes / "dark" / f"{i:02}.jpg").read_bytes())
    (folder / "bad\x1b.jpg").write_bytes(b"")
    code, out, err = run(capsys, folder, "--size", 32, "--batch-size", 4, "--seconds", 2)
    assert (code, err) == (0, "")
    assert "[red]odd: 5 images, 0 classes" in out
    for words in ("read, 1 thread, first time", "decode and resize", "augment standard", "loader", "training step of cnn", "← binds"):
        assert words in out
    assert out.count("← binds") == 1
    assert "2 outputs" in out
    assert r"bad\x1b.jpg" in out
    assert "empty: 0 bytes" in out


@pytest.mark.slow
def test_what_cannot_be_done_exits_with_1_and_one_line(two_classes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.jpg").write_text("no image")
    for arguments, words in (
        ([tmp_path / "gone"], "gone"),
        ([tmp_path, "--seconds", 1, "--size", 32], "none of 1 images"),
        ([two_classes, "--model", "nonesuch"], "no model named"),
        ([two_classes, "--augment", "nonesuch"], "no augmentation named"),
        ([two_classes, "--model", "MobileNetV2", "--size", 16], "32 pixels"),
    ):
        code, out, err = run(capsys, *arguments)
        assert (code, out) == (1, "")
        assert words in err
        assert err.startswith("imgstream: ")
        assert err.count("\n") == 1


def test_wrong_arguments_exit_with_2_and_say_which(two_classes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, words in (
        ([two_classes, "--size", "big"], "HxW"),
        ([two_classes, "--seconds", "0"], "seconds"),
        ([two_classes, "--batch-size", "0"], "batch-size"),
        ([], "DIR"),
    ):
        code, _, err = run(capsys, *arguments)
        assert code == 2
        assert words in err


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "--help")
    assert code == 0
    assert "Examples" in out
    assert "imgstream bench photos/" in out
