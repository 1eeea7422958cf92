"""One read a file, and a reason for everything that cannot be read."""

from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from imgstream.errors import BadImage
from imgstream.files.reader import FileReader, read_declared, read_digest
from imgstream.formats.header import Header

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
    assert header[:5] == ("png", 8, 6, 1, 0)
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

    def fail(descriptor: int, data: list[memoryview], at: int, flags: int = 0) -> int:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "preadv", fail)
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


# ---- JPEGs alone


def read_jpeg(path: Path | bytes | str, limit: int = LIMIT) -> tuple[bytes, Header] | None:
    read = FileReader().read_jpeg(path if isinstance(path, bytes) else os.fspath(path), limit)
    return None if read is None else (bytes(read[0]), read[1])


def jpeg_reason(path: Path | bytes | str, limit: int = LIMIT) -> BadImage:
    with pytest.raises(BadImage) as caught:
        read_jpeg(path, limit)
    return caught.value


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"comment": b"x" * 60_000}, {"icc_profile": b"p" * 500_000}])
@pytest.mark.parametrize(("mode", "components"), [("L", 1), ("RGB", 3), ("CMYK", 4)])
def test_a_jpeg_is_read_as_every_kind_is(tmp_path: Path, mode: str, components: int, options: dict[str, Any]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new(mode, (30, 20)).save(tmp_path / "a.jpg", exif=exif, **options)
    data, header = read_jpeg(tmp_path / "a.jpg") or (b"", None)
    assert data == (tmp_path / "a.jpg").read_bytes()
    assert header is not None
    assert header[:5] == ("jpeg", 30, 20, 6, components)
    assert header == FileReader().read(str(tmp_path / "a.jpg"), LIMIT)[1]


def test_a_jpeg_that_ends_within_its_header_is_truncated(tmp_path: Path) -> None:
    data = picture(tmp_path / "b.jpg", kind="JPEG")
    for size in (3, 100, len(data) // 2):
        (tmp_path / "a.jpg").write_bytes(data[:size])
        assert str(jpeg_reason(tmp_path / "a.jpg")) == str(reason(tmp_path / "a.jpg"))
        assert jpeg_reason(tmp_path / "a.jpg").reason == "truncated"


def test_other_kinds_are_no_jpegs(tmp_path: Path) -> None:
    for kind in ("PNG", "GIF", "BMP", "WEBP", "TIFF"):
        picture(tmp_path / "a", kind=kind)
        assert read_jpeg(tmp_path / "a", 1) is None
    for data in (b"", b"\xff", b"\xff\xd8", b"<html>", bytes(20_000)):
        (tmp_path / "a").write_bytes(data)
        assert read_jpeg(tmp_path / "a") is None


def test_what_cannot_be_opened_has_the_same_reason_when_only_jpegs_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "dangling.jpg").symlink_to("nowhere")
    paths: list[Path | bytes | str] = [
        tmp_path / "no.jpg",
        tmp_path / "pipe.jpg",
        tmp_path,
        tmp_path / "dangling.jpg",
        os.devnull,
        b"a\0b",
        "x" * 5000,
    ]
    for path in paths:
        assert str(jpeg_reason(path)) == str(reason(path))
    assert jpeg_reason(tmp_path / "pipe.jpg").reason == "not a regular file"


def test_a_jpeg_that_declares_too_much_is_refused(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg", (400, 300), "JPEG")
    assert (read_jpeg(tmp_path / "a.jpg", 120_000) or (b"", None))[1] is not None
    assert str(jpeg_reason(tmp_path / "a.jpg", 119_999)) == str(reason(tmp_path / "a.jpg", 119_999))
    assert jpeg_reason(tmp_path / "a.jpg", 119_999).reason == "too large"


def test_a_jpeg_of_very_many_bytes_is_left_to_the_other_reader(tmp_path: Path) -> None:
    picture(tmp_path / "small.jpg", (20, 10), "JPEG")
    os.truncate(tmp_path / "small.jpg", 64 << 20)
    assert reason(tmp_path / "small.jpg").reason == "too large"
    assert read_jpeg(tmp_path / "small.jpg") is None


def test_an_error_while_a_header_is_read_is_a_read_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path / "a.jpg", kind="JPEG")

    def fail(descriptor: int, count: int) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("imgstream.files.reader.os.read", fail)
    assert str(jpeg_reason(tmp_path / "a.jpg")) == "read error: Input/output error"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF"])
def test_a_header_of_any_kind_is_told_from_the_first_bytes(tmp_path: Path, kind: str) -> None:
    data = picture(tmp_path / "a.jpg", (300, 200), kind)
    header, size = read_declared(tmp_path / "a.jpg", LIMIT)
    assert header == FileReader().read(str(tmp_path / "a.jpg"), LIMIT)[1]
    assert size == len(data)


def test_a_header_behind_the_first_megabyte_is_found(tmp_path: Path) -> None:
    Image.effect_noise((1100, 1000), 50).save(tmp_path / "a.tif")  # Pillow writes what a TIFF declares behind its pixels
    header, size = read_declared(tmp_path / "a.tif", 2 * LIMIT)
    assert (header.kind, header.width, header.height) == ("tiff", 1100, 1000)
    assert size > 1 << 20


def test_what_cannot_be_read_has_no_header_and_no_digest(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "cut.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    os.mkfifo(tmp_path / "pipe.jpg")
    for name, expected in (("empty", "empty"), ("cut", "truncated"), ("pipe", "not a regular file"), ("gone", "missing")):
        with pytest.raises(BadImage) as caught:
            read_declared(tmp_path / f"{name}.jpg", LIMIT)
        assert caught.value.reason == expected
    for name in ("pipe", "gone"):
        with pytest.raises(BadImage):
            read_digest(tmp_path / f"{name}.jpg")
    picture(tmp_path / "large.png", (20, 20))
    with pytest.raises(BadImage, match="too large"):
        read_declared(tmp_path / "large.png", 399)


def test_a_digest_is_of_the_contents_from_a_place_on(tmp_path: Path) -> None:
    data = os.urandom(3 << 20)
    (tmp_path / "a.jpg").write_bytes(data)
    for start in (0, 1, 1 << 20, (3 << 20) - 1, 3 << 20):
        assert read_digest(tmp_path / "a.jpg", start) == hashlib.blake2b(data[start:], digest_size=16).digest()
