"""One read a file, and a reason for everything that cannot be read."""

from __future__ import annotations

import io
import os
import socket
from pathlib import Path

import pytest
from PIL import Image

from imgstream.errors import BadImage
from imgstream.source import FileReader

LIMIT = 1_000_000


def picture(path: Path, size: tuple[int, int] = (8, 6), kind: str = "PNG") -> bytes:
    Image.new("RGB", size, (9, 8, 7)).save(path, kind)
    return path.read_bytes()


def reason(path: Path | bytes | str, limit: int = LIMIT) -> BadImage:
    with pytest.raises(BadImage) as caught:
        FileReader().read(os.fspath(path), limit)
    return caught.value


def test_the_bytes_and_the_header_of_a_file(tmp_path: Path) -> None:
    data = picture(tmp_path / "a.png")
    read, header = FileReader().read(str(tmp_path / "a.png"), LIMIT)
    assert bytes(read) == data
    assert header == ("png", 8, 6, 1, 0)
    assert read.readonly


def test_a_reader_reads_files_of_any_size_one_after_another(tmp_path: Path) -> None:
    reader = FileReader()
    for size in ((5, 5), (900, 700), (3, 3), (600, 600)):
        data = picture(tmp_path / "a.bmp", size, "BMP")
        assert bytes(reader.read(str(tmp_path / "a.bmp"), LIMIT)[0]) == data


def test_names_may_be_any_bytes(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/a\xff\n'\".png"
    with open(path, "wb") as file:
        file.write(picture(tmp_path / "a.png"))
    assert FileReader().read(path, LIMIT)[1].width == 8
    assert FileReader().read(os.fsdecode(path), LIMIT)[1].width == 8


def test_what_is_not_there_is_missing(tmp_path: Path) -> None:
    assert reason(tmp_path / "no.jpg").reason == "missing"
    assert reason(picture_under_a_file(tmp_path)).reason == "missing"
    assert reason(b"a\0b.jpg").reason == "missing"
    assert reason("x" * 5000).reason == "missing"
    (tmp_path / "dangling.jpg").symlink_to("nowhere")
    assert reason(tmp_path / "dangling.jpg").detail == "a link that leads nowhere"
    (tmp_path / "circle.jpg").symlink_to("circle.jpg")
    assert reason(tmp_path / "circle.jpg").reason == "missing"


def picture_under_a_file(folder: Path) -> Path:
    (folder / "file").write_text("x")
    return folder / "file" / "a.jpg"


def test_only_regular_files_are_read_and_nothing_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    assert str(reason(tmp_path / "pipe.jpg")) == "not a regular file: a pipe"
    assert str(reason(tmp_path)) == "not a regular file: a folder"
    assert str(reason(os.devnull)) == "not a regular file: a device"
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s.jpg")
        assert reason("s.jpg").reason == "not a regular file"


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_that_may_not_be_read_says_so(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "a.png").chmod(0)
    assert reason(tmp_path / "a.png").reason == "no permission"


def test_an_error_of_the_file_system_is_a_read_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path / "a.png")

    def fail(self: io.FileIO, buffer: object) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("imgstream.source.io.FileIO", type("Broken", (io.FileIO,), {"readinto": fail}))
    assert str(reason(tmp_path / "a.png")) == "read error: Input/output error"


def test_an_empty_file_is_empty(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    assert str(reason(tmp_path / "a.jpg")) == "empty: 0 bytes"


def test_more_pixels_than_allowed_are_refused_by_declaration(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", (400, 300))
    assert FileReader().read(str(tmp_path / "a.png"), 120_000)[1].width == 400
    assert str(reason(tmp_path / "a.png", 119_999)) == "too large: declares 400×300 = 120,000 pixels; the limit is 119,999 pixels"


def test_a_large_file_is_judged_by_its_first_part(tmp_path: Path) -> None:
    huge = 50 << 30  # sparse: reading it would take more memory than there is
    (tmp_path / "zeros.jpg").touch()
    os.truncate(tmp_path / "zeros.jpg", huge)
    assert reason(tmp_path / "zeros.jpg").reason == "wrong kind"
    picture(tmp_path / "wide.png", (2000, 1000))
    os.truncate(tmp_path / "wide.png", huge)
    assert "declares" in reason(tmp_path / "wide.png").detail
    picture(tmp_path / "small.jpg", (20, 10), "JPEG")
    os.truncate(tmp_path / "small.jpg", huge)
    assert "a file of 53,687 MB" in reason(tmp_path / "small.jpg").detail


def test_a_large_file_is_read_when_its_pixels_are_allowed(tmp_path: Path) -> None:
    picture(tmp_path / "big.bmp", (4000, 3000), "BMP")
    reader = FileReader()
    data, header = reader.read(str(tmp_path / "big.bmp"), 12_000_000)
    assert (len(data), header.width) == ((tmp_path / "big.bmp").stat().st_size, 4000)
