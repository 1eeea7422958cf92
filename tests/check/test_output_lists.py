from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

import imgstream as ims
from imgstream.check import examine, write_groups, write_quarantine
from imgstream.errors import OutputError


def test_the_quarantine_holds_broken_files_conflicts_and_all_copies_but_the_first(folder: Path, tmp_path: Path) -> None:
    (folder / "a" / "line\nend.jpg").write_bytes(b"")
    shutil.copy(folder / "a" / "1.jpg", folder / "a" / "1 copy.jpg")
    shutil.copy(folder / "a" / "1.jpg", folder / "a" / "2 copy.jpg")
    shutil.copy(folder / "a" / "2.jpg", folder / "b" / os.fsdecode(b"\xff.jpg"))
    Image.open(folder / "b" / "3.jpg").save(folder / "b" / "3 again.png")
    assert write_quarantine(examine(ims.scan(folder), decode=True), tmp_path / "bad.csv") == 5
    assert (tmp_path / "bad.csv").read_bytes().decode() == (
        "path,reason,detail,path_b64\n"
        '"a/line\nend.jpg",empty,0 bytes,\n'
        'a/2.jpg,conflicting labels,"the same image as b/\ufffd.jpg, which is b",\n'
        'b/\ufffd.jpg,conflicting labels,"the same image as a/2.jpg, which is a",Yi//LmpwZw==\n'
        "a/1.jpg,duplicate,a copy of a/1 copy.jpg,\n"
        "a/2 copy.jpg,duplicate,a copy of a/1 copy.jpg,\n"
    )


def test_the_groups_are_the_clusters_named_by_their_first_files(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "a" / "2.jpg", folder / "a" / os.fsdecode(b"1\xff.jpg"))
    Image.open(folder / "b" / "3.jpg").save(folder / "b" / "3, again.png")
    assert write_groups(examine(ims.scan(folder), decode=True), tmp_path / "groups.csv") == 2
    assert (tmp_path / "groups.csv").read_bytes().decode() == (
        "path,group,path_b64\n"
        "a/1\ufffd.jpg,YS8x/y5qcGc=,YS8x/y5qcGc=\n"
        "a/2.jpg,YS8x/y5qcGc=,\n"
        '"b/3, again.png","b/3, again.png",\n'
        'b/3.jpg,"b/3, again.png",\n'
    )


def test_lists_of_a_clean_folder_have_a_header_only(folder: Path, tmp_path: Path) -> None:
    findings = examine(ims.scan(folder))
    assert write_quarantine(findings, tmp_path / "bad.csv") == write_groups(findings, tmp_path / "groups.csv") == 0
    assert (tmp_path / "bad.csv").read_text() == "path,reason,detail,path_b64\n"
    assert (tmp_path / "groups.csv").read_text() == "path,group,path_b64\n"


def test_a_list_that_cannot_be_written_says_so(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="does not exist"):
        write_groups(examine(ims.scan(folder)), tmp_path / "nowhere" / "groups.csv")
