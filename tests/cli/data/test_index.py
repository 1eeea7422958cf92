"""imgstream index, and what takes the table that it writes."""

from __future__ import annotations

import csv
import json
import os
import shlex
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import imgstream as ims
from imgstream.cli import main

TINY = ("--size", "16", "--batch-size", "8", "--epochs", "1", "--no-report")


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    with pytest.raises(SystemExit) as exit_:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return int(exit_.value.code or 0), out, err


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What imgstream index says when all is well."""
    code, out, err = run(capsys, "index", *arguments)
    assert (code, err) == (0, "")
    return out


@pytest.fixture
def photos(two_classes: Path, tmp_path: Path) -> Path:
    return shutil.copytree(two_classes, tmp_path / "photos")


@pytest.fixture
def manifest(photos: Path) -> Path:
    """A list of six rows, three of which are bad."""
    file = photos / "list.csv"
    file.write_text("path,label\ndark/00.jpg,night\nlight/00.jpg,day\n../up.jpg,day\nlight/gone.jpg,day\n,day\ndark/01.jpg,night\n")
    return file


def test_a_folder_is_counted_by_class_and_the_second_time_tells_what_changed(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos / "notes.txt").touch()
    (photos / "loose.jpg").touch()
    first = said(capsys, photos)
    assert [line.strip("│").split("│") for line in first.splitlines() if "│" in line] == [
        [" dark       ", "     20 "],
        [" light      ", "     20 "],
        [" (no class) ", "      1 "],
    ]
    assert "41 images; other files: 1 .txt\n" in first
    assert "Since the last time" not in first
    assert "Since the last time no image was added or removed\n" in said(capsys, photos)
    (photos / "loose.jpg").unlink()
    (photos / "light" / "new\x1b.jpg").touch()
    third = said(capsys, photos)
    assert r"Since the last time: 1 new image (such as 'light/new\x1b.jpg'), 1 gone (such as loose.jpg)" in third
    assert "\x1b" not in third


def test_the_rows_of_a_manifest_that_are_bad_are_listed_with_their_lines(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = said(capsys, manifest, "-o", tmp_path / "list.arrow")
    assert "4 images\n" in out
    assert "Bad rows: 3 of 6 (no path 1, outside the root 1, missing file 1)\n" in out
    assert [line for line in out.splitlines() if line.startswith("  line")] == [
        "  line 4: outside the root: ../up.jpg",
        "  line 5: missing file: light/gone.jpg",
        "  line 6: no path: ",
    ]
    index = ims.ImageIndex.load(tmp_path / "list.arrow")
    assert (index.class_names, index.labels.tolist()) == (["day", "night"], [1, 0, 0, 1])
    assert index.path(0) == str(manifest.parent / "dark/00.jpg")


def test_json_is_one_object_with_the_documented_fields(photos: Path, manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def result(*arguments: object) -> Any:
        out = said(capsys, *arguments, "--json")
        assert out.count("\n") == 1
        return json.loads(out)

    (photos / "loose.jpg").touch()
    expected = {
        "images": 41,
        "classes": {"dark": 20, "light": 20},
        "unlabelled": 1,
        "other_files": {".csv": 1},
        "unreadable_folders": 0,
        "look_alike_classes": [],
        "added": None,
        "removed": None,
        "changed": 0,
        "bad_rows": None,
        "table": None,
    }
    assert result(photos) == expected
    (photos / "dark" / "19.jpg").unlink()
    table = photos.parent / "t.arrow"
    expected |= {"images": 40, "classes": {"dark": 19, "light": 20}, "added": 0, "removed": 1}
    assert result(photos) == expected
    assert result(photos, "-o", table) == {**expected, "added": None, "removed": None, "table": str(table)}
    assert result(photos, "-o", table) == {**expected, "removed": 0, "table": str(table)}
    listed = result(manifest)
    assert (listed["images"], listed["classes"], listed["added"]) == (4, {"day": 2, "night": 2}, None)
    rows = listed["bad_rows"]
    assert (rows["rows_read"], rows["rows_kept"]) == (6, 4)
    assert rows["bad_counts"] == {"no path": 1, "outside the root": 1, "missing file": 1}
    assert [(row["line"], row["reason"], row["detail"]) for row in rows["bad"]] == [
        (4, "outside the root", "../up.jpg"),
        (5, "missing file", "light/gone.jpg"),
        (6, "no path", ""),
    ]


def test_full_opens_every_file_tells_what_had_changed_and_keeps_it_in_the_table(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "photos.arrow"
    (photos / "dark" / "bad.jpg").write_text("<html>")
    assert "Opened all of them: 0 had changed since they were opened before\n" in said(capsys, photos, "--full", "-o", table)
    shutil.copy(photos / "light" / "00.jpg", photos / "dark" / "00.jpg")
    changed = said(capsys, photos, "--full", "-o", table)
    assert f"Opened all of them: 1 had changed since they were opened before, such as {photos}/dark/00.jpg\n" in changed
    assert "Since the last time no image was added or removed\n" in changed
    facts = ims.ImageIndex.load(table).facts_at(np.arange(41))
    assert facts["height"].tolist() == [40] * 20 + [0] + [40] * 20
    assert facts["size"][0] == (photos / "dark" / "00.jpg").stat().st_size
    other_time = (photos / "light" / "03.jpg").stat().st_mtime + 100  # other tests may have set a time of theirs
    os.utime(photos / "light" / "03.jpg", (other_time, other_time))
    assert json.loads(said(capsys, photos, "--full", "--json"))["changed"] == 0  # of the table in the cache folder: first opened
    assert json.loads(said(capsys, photos, "--full", "--json", "-o", table))["changed"] == 1


def test_classes_are_the_only_labels_that_a_manifest_may_have(manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = said(capsys, manifest, "--classes", "night,dusk", "-o", tmp_path / "list.arrow")
    assert "unknown label 2" in out
    assert "  line 3: unknown label: day of light/00.jpg\n" in out
    index = ims.ImageIndex.load(tmp_path / "list.arrow")
    assert (index.class_names, index.class_counts().tolist()) == (["dusk", "night"], [0, 2])


def test_columns_root_and_patterns_are_heeded(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "list.tsv").write_text("00.jpg\tx\n01.jpg\ty\n")
    counts = json.loads(said(capsys, tmp_path / "list.tsv", "--root", photos / "dark", "--columns", "path=0,label=1", "--json"))
    assert (counts["classes"], counts["bad_rows"]["bad"]) == ({"x": 1, "y": 1}, [])
    by_number = json.loads(said(capsys, photos, "--label-pattern", r"(?P<label>\d)\d\.jpg", "--json"))
    assert by_number["classes"] == {"0": 20, "1": 20}


@pytest.mark.slow
@pytest.mark.usefixtures("small_cnn")
def test_the_table_stands_for_the_folder_or_the_list_in_every_command(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"{name}/{i:02}.jpg,{label}\n" for name, label in (("dark", "night"), ("light", "day")) for i in range(10)]
    manifest.write_text("path,label\n" + "".join(rows))
    table, out = tmp_path / "list.arrow", tmp_path / "run"
    said(capsys, manifest, "--full", "-o", table)
    code, text, err = run(capsys, "train", table, "--out", out, *TINY)
    assert (code, err) == (0, "")
    assert "Split (by hash of the path): " in text
    assert ims.load_run(out).class_names == ["day", "night"]
    code, _, err = run(capsys, "predict", out, table, "-o", tmp_path / "p.csv")
    assert (code, err) == (0, "")
    with (tmp_path / "p.csv").open(newline="") as file:
        assert [row["path"] for row in csv.DictReader(file)] == [row.partition(",")[0] for row in rows]
    code, text, err = run(capsys, "evaluate", out, table, "--json")
    assert (code, err) == (0, "")
    result = json.loads(text)
    assert (result["images"], result["class_names"], result["skipped"]) == (20, ["day", "night"], 0)
    assert [sum(row) for row in result["confusion_matrix"]] == [10, 10]


@pytest.mark.parametrize(
    "arguments",
    [["--root", "x"], ["--columns", "path=a"], ["--classes", "a,b"], ["--allow-outside"]],
)
def test_options_of_manifests_are_wrong_with_a_folder(arguments: list[str], photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "index", photos, *arguments)
    assert (code, out) == (2, "")
    assert "are for manifests" in err


def test_columns_that_are_none_are_wrong_arguments(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for columns in ("img", "picture=img", "path=", "path=img,"):
        code, _, err = run(capsys, "index", manifest, "--columns", columns)
        assert code == 2
        assert "path=img,label=species" in err


def test_what_cannot_be_listed_or_written_exits_with_1_and_one_line(
    photos: Path, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.csv").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "junk.parquet").write_text("no parquet")
    for arguments, words in (
        ([tmp_path / "gone.csv"], "there is no such folder or file"),
        ([tmp_path / "photso"], "there is no such folder or file (there is " + str(photos) + ")"),
        (["ftp://host/photos"], "is a URL of a kind that is not read"),
        (
            [tmp_path / "photos.rar"],
            "is an archive that is not read: unpack it, and give the folder. imgstream reads a folder",
        ),
        ([tmp_path / "photos.zip"], "there is no such folder or file (there is " + str(photos) + ")"),
        ([tmp_path / "empty.csv"], "No images"),
        ([tmp_path / "empty"], "No images"),
        ([tmp_path / "junk.parquet"], "cannot be read"),
        ([manifest, "--columns", "path=img"], "img"),
        ([photos, "--label-pattern", "("], "no regular expression"),
        ([photos, "-o", tmp_path / "gone" / "t.arrow"], "does not exist"),
        ([photos, "-o", photos], str(photos)),
    ):
        code, out, err = run(capsys, "index", *arguments)
        assert (code, out, err.count("\n")) == (1, "", 1), arguments
        assert err.startswith("imgstream: ")
        assert words in err


def test_the_table_is_never_written_over_an_image_or_a_list(photos: Path, manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for target in (photos / "dark" / "00.jpg", photos / "dark" / "new.PNG", manifest):
        before = target.read_bytes() if target.exists() else None
        for source in (photos, manifest):
            code, out, err = run(capsys, "index", source, "-o", target)
            assert (code, out, err.count("\n")) == (1, "", 1)
            assert "never written to" in err
            assert (target.read_bytes() if target.exists() else None) == before


@pytest.fixture
def alike(photos: Path) -> Path:
    """Four classes that are meant to be two."""
    for name, other in (("dark", "Dark"), ("light", "light ")):
        (photos / other).mkdir()
        for i in range(5):
            (photos / name / f"{i:02}.jpg").rename(photos / other / f"{i:02}.jpg")
    return photos


def test_classes_that_look_alike_are_told_with_the_command_that_joins_them(
    alike: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(alike.parent)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        code, out, err = run(capsys, "index", "photos", "--json")
        assert (code, json.loads(out)["look_alike_classes"]) == (0, [["Dark", "dark"], ["light", "light "]])
        assert err.startswith(
            "imgstream: These classes look alike and are not one, with so many images: 'Dark' (5) and 'dark' (15); 'light' (15)"
        )
        code, _, of_train = run(capsys, "train", "photos", "--out", "run", "--group", "(?P<group>x)(")  # which ends it
        assert (code, of_train.count("\n")) == (1, 2)
        assert of_train.startswith(err)
    command, _, rest = err.strip().partition("To join them: ")[2].partition(" ; then give ")
    out = said(capsys, *shlex.split(command)[2:])
    assert "Joined: 'Dark' is 'dark' now\n" in out
    assert "Joined: 'light ' is 'light' now\n" in out
    given = shlex.split(rest.partition(" in place of ")[0])
    assert given == ["photos-joined.csv", "--root", "photos"]
    assert json.loads(said(capsys, *given, "--json"))["classes"] == {"dark": 20, "light": 20}
    code, _, err = run(capsys, *shlex.split(command)[1:])  # lists are never written over
    assert code == 1
    assert "there already" in err


def test_joining_needs_a_manifest_to_write(alike: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for output in ([], ["-o", tmp_path / "t.arrow"]):
        code, _, err = run(capsys, "index", alike, "--join-classes", *output)
        assert code == 2
        assert "FILE.csv" in err
    for name in ("t.jsonl", "t.parquet", "t.txt"):
        code, _, err = run(capsys, "index", alike, "-o", tmp_path / name)
        assert (code, err.count("\n")) == (1, 1)
        assert "a manifest is written as .csv, a table as .arrow" in err
        assert not (tmp_path / name).exists()


def test_a_manifest_of_a_folder_keeps_its_classes_as_they_are(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"Manifest: {tmp_path}/list.csv, for --root {photos}\n" in said(capsys, photos, "-o", tmp_path / "list.csv")
    index = ims.scan(tmp_path / "list.csv", root=photos)
    assert (index.class_names, index.class_counts().tolist()) == (["dark", "light"], [20, 20])
    assert [index.path(i) for i in range(40)] == [ims.scan(photos).path(i) for i in range(40)]


def test_show_takes_a_list_with_weights(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos / "list.csv").write_text("path,label,weight\n" + "".join(f"dark/{i:02}.jpg,x,2\nlight/{i:02}.jpg,y,\n" for i in range(8)))
    code, out, _ = run(capsys, "show", photos / "list.csv", "--augment", "light", "-o", tmp_path / "s.png", "--size", 16, "--rows", 2)
    assert code == 0
    assert "µs an image" in out


def test_where_stdout_is_no_utf_8_what_it_lacks_is_escaped(two_classes: Path, tmp_path: Path) -> None:
    shutil.copytree(two_classes / "dark", tmp_path / "größe →")
    command = [sys.executable, "-m", "imgstream", "index", tmp_path]
    done = subprocess.run(command, env=os.environ | {"PYTHONIOENCODING": "latin-1"}, capture_output=True, encoding="latin-1", check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "größe \\u2192" in done.stdout
    assert "20 images" in done.stdout
