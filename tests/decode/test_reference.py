"""The reference decoder by value: against Pillow's own pixels, against means and turns worked out with NumPy, and on damaged files."""

from __future__ import annotations

import io
import os
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from imgstream.decode import pillow
from imgstream.decode.reference import Decoder, shrink
from imgstream.errors import BadImage
from imgstream.files.reader import FileReader
from imgstream.formats.header import read_header

ODD = Path(__file__).resolve().parents[2] / "../shared/data/odd"
needs_odd = pytest.mark.skipif(not ODD.is_dir(), reason="the shared odd files are not here")

KINDS: dict[str, tuple[str, dict[str, object]]] = {
    "jpeg": ("JPEG", {"quality": 90}),
    "progressive": ("JPEG", {"progressive": True}),
    "png": ("PNG", {}),
    "gif": ("GIF", {}),
    "bmp": ("BMP", {}),
    "webp": ("WEBP", {}),
    "webp-lossless": ("WEBP", {"lossless": True}),
    "tiff": ("TIFF", {}),
    "tiff-lzw": ("TIFF", {"compression": "tiff_lzw"}),
    "tiff-jpeg": ("TIFF", {"compression": "jpeg"}),
    "avif": ("AVIF", {}),
}


def drawing(width: int = 53, height: int = 37) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(3).integers(0, 30, (height, width, 3))
    return (np.stack([x * 200 // width, y * 200 // height, (x + y) % 200], -1) + noise).astype(np.uint8)


def encode(kind: str, pixels: np.ndarray | Image.Image | None = None, **options: object) -> bytes:
    format_, defaults = KINDS[kind]
    if not isinstance(pixels, Image.Image):
        pixels = Image.fromarray(drawing() if pixels is None else pixels)
    buffer = io.BytesIO()
    pixels.save(buffer, format_, **{**defaults, **options})
    return buffer.getvalue()


def decode(data: bytes, reduction: int = 1, channels: int = 3) -> np.ndarray:
    return Decoder().decode(memoryview(data), read_header(data), reduction, channels)


def pixels_or_reason(decoder: Decoder, data: bytes | memoryview, reduction: int = 1, channels: int = 3) -> np.ndarray | BadImage:
    try:
        return decoder.decode(memoryview(data), read_header(data), reduction, channels)
    except BadImage as error:
        return error


def by_pillow(data: bytes, mode: str = "RGB") -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert(mode))


def bad(data: bytes) -> BadImage:
    with pytest.raises(BadImage) as caught:
        decode(data)
    return caught.value


def mean_of_blocks(pixels: np.ndarray, r: int) -> np.ndarray:
    rows, columns = range(0, pixels.shape[0], r), range(0, pixels.shape[1], r)
    return np.array([[pixels[y : y + r, x : x + r].mean((0, 1)) for x in columns] for y in rows])


# ---- pixels


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_the_pixels_that_pillow_gives(kind: str) -> None:
    data = encode(kind)
    pixels = decode(data)
    assert pixels.shape == (37, 53, 3)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, by_pillow(data))


@pytest.mark.parametrize("kind", ["png", "bmp", "webp-lossless", "tiff", "tiff-lzw"])
def test_lossless_kinds_give_the_pixels_that_went_in(kind: str) -> None:
    np.testing.assert_array_equal(decode(encode(kind)), drawing())


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
@pytest.mark.parametrize("kind", ["png", "tiff", "jpeg", "webp"])
def test_every_mode_becomes_rgb(kind: str, mode: str) -> None:
    image = Image.fromarray(drawing()).convert(mode)
    try:
        data = encode(kind, image)
    except OSError:
        pytest.skip(f"Pillow writes no {mode} as {kind}")
    np.testing.assert_allclose(decode(data).astype(int), by_pillow(data), atol=2 if mode == "CMYK" else 0)


@pytest.mark.parametrize("kind", ["png", "webp-lossless", "tiff"])
def test_alpha_is_dropped_not_blended(kind: str) -> None:
    rgba = np.dstack([drawing(), np.linspace(0, 255, 37 * 53).reshape(37, 53).astype(np.uint8)])
    np.testing.assert_array_equal(decode(encode(kind, rgba, **({"exact": True} if kind == "webp-lossless" else {}))), drawing())


@pytest.mark.parametrize("kind", ["png", "tiff", "tiff-lzw"])
def test_16_bits_become_their_high_byte(kind: str) -> None:
    values = np.linspace(0, 65535, 37 * 53).reshape(37, 53).astype(np.uint16)
    expected = (values >> 8).astype(np.uint8)
    data = encode(kind, values)
    np.testing.assert_array_equal(decode(data), np.repeat(expected[..., None], 3, 2))
    np.testing.assert_array_equal(decode(data, channels=1)[..., 0], expected)


def test_16_bit_rgb_becomes_its_high_bytes() -> None:
    values = np.random.default_rng(0).integers(0, 65536, (7, 5, 3)).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in values)
    data = png(struct.pack(">IIBBBBB", 5, 7, 16, 2, 0, 0, 0), (b"IDAT", zlib.compress(rows)))
    np.testing.assert_array_equal(decode(data), (values >> 8).astype(np.uint8))


@pytest.mark.parametrize(
    ("bits", "white_is_zero", "samples"),
    [(12, False, b"\xab\xc1\x23"), (16, False, b"\x34\xab\x56\x12"), (16, True, b"\xcb\x54\xa9\xed")],
)
def test_the_high_byte_follows_the_bits_and_the_sense_of_a_tiff(bits: int, white_is_zero: bool, samples: bytes) -> None:
    tags = [(256, 2), (257, 1), (258, bits), (259, 1), (262, int(not white_is_zero)), (273, 122), (277, 1), (278, 1), (279, len(samples))]
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", tag, 3, 1, value) for tag, value in tags) + b"\0\0\0\0"
    np.testing.assert_array_equal(decode(b"II*\0\x08\0\0\0" + directory + samples, channels=1)[..., 0], [[0xAB, 0x12]])


def test_float_samples_are_unsupported_because_their_range_is_unknown() -> None:
    assert bad(encode("tiff", Image.fromarray(np.ones((4, 4), np.float32)))).reason == "unsupported"


@pytest.mark.parametrize("kind", ["gif", "webp", "webp-lossless", "png", "tiff"])
def test_an_animation_is_its_first_frame(kind: str) -> None:
    frames = [Image.fromarray(drawing()), Image.fromarray(255 - drawing())]
    data = encode(kind, frames[0], save_all=True, append_images=frames[1:])
    np.testing.assert_allclose(decode(data).astype(int), by_pillow(data), atol=0)


def test_a_gif_frame_smaller_than_its_canvas_keeps_its_place() -> None:
    image = Image.new("P", (40, 30), 0)
    image.putpalette([10, 20, 30, 200, 100, 50] + [0] * 762)
    data = bytearray(encode("gif", image.crop((0, 0, 8, 6)).point(lambda _: 1)))
    struct.pack_into("<HH", data, 6, 40, 30)
    at = data.index(b",\0\0\0\0\x08\0\x06\0")
    struct.pack_into("<HH", data, at + 1, 5, 7)
    pixels = decode(bytes(data))
    assert pixels.shape == (30, 40, 3)
    assert len(np.unique(pixels[7:13, 5:13].reshape(-1, 3), axis=0)) == 1
    np.testing.assert_array_equal(pixels, by_pillow(bytes(data)))


def test_grey_of_a_jpeg_is_its_own_luma() -> None:
    data = encode("jpeg")
    luma = decode(data, channels=1)
    assert luma.shape == (37, 53, 1)
    with Image.open(io.BytesIO(data)) as image:
        image.draft("L", None)
        np.testing.assert_array_equal(luma[..., 0], np.asarray(image))


@pytest.mark.parametrize("kind", ["png", "webp-lossless", "bmp"])
def test_grey_of_other_kinds_is_rec_601_luma(kind: str) -> None:
    expected = drawing() @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(decode(encode(kind), channels=1)[..., 0], expected, atol=0.51)


def test_grey_of_a_cmyk_jpeg_goes_by_rgb() -> None:
    data = encode("jpeg", Image.fromarray(drawing()).convert("CMYK"))
    expected = by_pillow(data) @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(decode(data, channels=1)[..., 0], expected, atol=2)


@needs_odd
def test_the_odd_files_that_pillow_reads_have_its_pixels() -> None:
    """Apart from Pillow's clipping of 16 bits, and animated or damaged PNG extras, which are no part of the picture here."""
    decoder, reader, compared = Decoder(), FileReader(), 0
    for path in sorted(ODD.glob("*/*")):
        try:
            data, header = reader.read(os.fsencode(path), 2_000_000)
            with Image.open(path) as image:
                image.load()
                if image.mode in ("F", "I;16", "I;16B") or (image.format != "TIFF" and header.orientation != 1):
                    continue
                expected = np.asarray(image.convert("RGB"))
        except Exception:
            continue
        pixels = decoder.decode(data, header, 1, 3)
        assert pixels.shape == expected.shape, path.name
        assert np.abs(pixels.astype(int) - expected).max() <= (2 if "cmyk" in path.parent.name else 0), path.name
        compared += 1
    assert compared > 80


@needs_odd
def test_heic_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    data = (ODD / "heif/pillow_heif__heif__zPug_3.heic").read_bytes()
    pillow._plugin.cache_clear()
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "pillow_heif.as_plugin", None)
        assert str(bad(data)) == "unsupported: HEIC needs pillow-heif: pip install 'imgstream[heic]'"
    pytest.importorskip("pillow_heif")
    assert decode(data).shape == (64, 64, 3)


# ---- reduction and orientation


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("reduction", [2, 4, 8])
@pytest.mark.parametrize("kind", ["jpeg", "progressive"])
def test_a_jpeg_is_reduced_as_libjpeg_does_it(kind: str, reduction: int, channels: int) -> None:
    for width, height in ((64, 48), (53, 37), (9, 17), (500, 8)):
        data = encode(kind, drawing(width, height))
        pixels = decode(data, reduction, channels)
        assert pixels.shape == (-(-height // reduction), -(-width // reduction), channels)
        with Image.open(io.BytesIO(data)) as image:
            image.draft("L" if channels == 1 else "RGB", (width // reduction, height // reduction))
            if image.size == (pixels.shape[1], pixels.shape[0]):
                np.testing.assert_array_equal(pixels.squeeze(2) if channels == 1 else pixels, np.asarray(image))


@pytest.mark.parametrize("reduction", [2, 4, 8])
@pytest.mark.parametrize("size", [(64, 48), (53, 37), (8, 41), (3, 5), (1, 1), (1, 30)])
def test_other_kinds_are_reduced_to_the_mean_of_what_is_there(size: tuple[int, int], reduction: int) -> None:
    pixels = drawing(*size)
    for channels in (pixels, pixels[..., 0]):
        small = shrink(channels, reduction)
        assert small.shape[:2] == (-(-size[1] // reduction), -(-size[0] // reduction))
        np.testing.assert_allclose(small, mean_of_blocks(channels, reduction), atol=0.5)
    np.testing.assert_array_equal(decode(encode("png", pixels), reduction), shrink(pixels, reduction))


TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "tiff", "tiff-lzw", "avif"])
def test_stored_pixels_are_reduced_then_turned(kind: str, orientation: int, channels: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    plain, tagged = encode(kind), encode(kind, exif=exif)
    for reduction in (1, 2, 8):
        expected = TURNS[orientation](decode(plain, reduction, channels))
        np.testing.assert_array_equal(decode(tagged, reduction, channels), expected)


@needs_odd
@pytest.mark.parametrize("path", sorted((ODD / "exif_orientation").glob("*")), ids=lambda p: p.stem)
def test_tagged_photographs_stand_upright(path: Path) -> None:
    data = path.read_bytes()
    with Image.open(path) as image:
        expected = TURNS[image.getexif()[0x0112]](np.asarray(image))
    np.testing.assert_array_equal(decode(data), expected)


def test_one_decoder_serves_any_sequence_of_files() -> None:
    decoder = Decoder()
    for size in ((40, 30), (1200, 900), (7, 5)):
        for kind in ("jpeg", "png"):
            data = encode(kind, drawing(*size))
            np.testing.assert_array_equal(decoder.decode(memoryview(data), read_header(data), 1, 3), by_pillow(data))


# ---- damage


def test_junk_before_the_end_of_a_jpeg_is_accepted() -> None:
    data = encode("jpeg")
    for damaged in (data[:-2] + b"junkjunk" + data[-2:], data[:20] + b"junk" + data[20:], data + b"more behind"):
        np.testing.assert_array_equal(decode(damaged), by_pillow(data))
        np.testing.assert_array_equal(decode(damaged, 2), decode(data, 2))
        np.testing.assert_array_equal(decode(damaged, 2, 1), decode(data, 2, 1))


def test_a_jpeg_without_its_end_is_truncated_even_behind_junk() -> None:
    data = encode("jpeg")
    assert bad(data[:-2]).reason == "truncated"
    middle = len(data) - 300
    assert bad(data[:20] + b"junk" + data[20:middle]).reason == "truncated"


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_cut_anywhere_is_bad_or_has_all_its_pixels(kind: str) -> None:
    data = encode(kind, drawing(12, 9))
    whole, decoder = decode(data).copy(), Decoder()
    for length in range(len(data)):
        result = pixels_or_reason(decoder, memoryview(data)[:length])
        if isinstance(result, BadImage):
            lenient = length <= 40 or kind == "avif"  # an AVIF cut between two boxes shows no cut
            allowed = ("empty", "truncated", "wrong kind", "corrupt") if lenient else ("truncated",)
            assert result.reason in allowed, (length, result)
        else:
            np.testing.assert_array_equal(result, whole)
            assert len(data) - length < 8, "so much may only be padding or an end mark"


@settings(max_examples=3 * settings.default.max_examples)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    changes=st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), min_size=1, max_size=5),
    reduction=st.sampled_from([1, 2, 4, 8]),
    channels=st.sampled_from([1, 3]),
)
def test_damage_gives_pixels_or_a_reason_and_nothing_else(kind: str, changes: list[tuple[int, int]], reduction: int, channels: int) -> None:
    data = bytearray(SMALL[kind])
    for at, value in changes:
        data[at % len(data)] = value
    try:
        header = read_header(data)
    except BadImage:
        return
    if header.width * header.height > 1_000_000:
        return
    result = pixels_or_reason(Decoder(), data, reduction, channels)
    if isinstance(result, BadImage):
        assert result.detail
        assert "\n" not in result.detail
    else:
        width, height = header.oriented
        assert result.shape == (-(-height // reduction), -(-width // reduction), channels)
        assert result.dtype == np.uint8


SMALL = {kind: encode(kind, drawing(16, 12)) for kind in KINDS}


def png(header: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    data = b"\x89PNG\r\n\x1a\n"
    for name, body in ((b"IHDR", header), *chunks, (b"IEND", b"")):
        data += struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    return data


def test_bombs_and_damage_in_a_pngs_extras_do_not_matter() -> None:
    header, pixels = struct.pack(">IIBBBBB", 2, 1, 8, 0, 0, 0, 0), (b"IDAT", zlib.compress(b"\0\x10\x20"))
    bomb = (b"zTXt", b"name\0\0" + zlib.compress(b"\0" * 50_000_000))
    np.testing.assert_array_equal(decode(png(header, bomb, pixels), channels=1)[..., 0], [[0x10, 0x20]])
    np.testing.assert_array_equal(decode(png(header, (b"acTL", b"nonsense"), (b"iCCP", b"?"), pixels), channels=1)[..., 0], [[0x10, 0x20]])


def test_a_png_that_declares_two_sizes_is_corrupt() -> None:
    small, large = (struct.pack(">IIBBBBB", n, n, 8, 0, 0, 0, 0) for n in (1, 9999))
    assert bad(png(small, (b"IHDR", large), (b"IDAT", zlib.compress(b"\0\0")))).reason == "corrupt"


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_of_another_size_than_declared_are_corrupt(kind: str) -> None:
    data = encode(kind)
    for change in ({"width": 52}, {"height": 99}):
        with pytest.raises(BadImage, match="declares") as caught:
            Decoder().decode(memoryview(data), read_header(data)._replace(**change), 1, 3)
        assert caught.value.reason == "corrupt"


def test_a_wrong_check_sum_in_a_png_is_corrupt() -> None:
    data = bytearray(encode("png"))
    data[data.index(b"IDAT") + 30] ^= 1
    assert bad(bytes(data)).reason == "corrupt"


@needs_odd
def test_nothing_is_printed_about_the_odd_files(capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder) -> None:
    decoder, reader, bad_files = Decoder(), FileReader(), 0
    for path in sorted(ODD.glob("*/*")):
        try:
            decoder.decode(*reader.read(os.fsencode(path), 20_000_000), 8, 3)  # the reader keeps the bombs away
        except BadImage:
            bad_files += 1
    assert bad_files > 50
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err == ""


@needs_odd
def test_a_lossless_rgb_jpeg_has_the_luma_of_its_colours() -> None:
    data = (ODD / "jpeg_lossless" / "sharp__testimgl.jpg").read_bytes()
    grey, colour = (Decoder().decode(memoryview(data), read_header(data), 1, channels).astype(float) for channels in (1, 3))
    assert np.abs(grey[..., 0] - colour @ [0.299, 0.587, 0.114]).max() <= 0.51
