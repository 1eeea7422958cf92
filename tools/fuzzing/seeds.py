"""The files that are damaged: small pictures of every kind that imgstream reads, drawn here, and those of folders that are given."""

from __future__ import annotations

import functools
import io
import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import simplejpeg
from PIL import Image, features

from fuzzing.damage import tiff

KINDS = ("jpeg", "png", "gif", "bmp", "webp", "tiff", "avif", "heic")
SUFFIXES = {"jpeg": ".jpg", "png": ".png", "gif": ".gif", "bmp": ".bmp", "webp": ".webp", "tiff": ".tif", "avif": ".avif", "heic": ".heic"}
_COMMON_BYTES = 20_000


class Seed(NamedTuple):
    """A file to be damaged."""

    name: str
    kind: str
    size: int
    path: Path | None
    """None: `data` holds it."""
    data: bytes = b""
    origin: str = "drawn"
    """The folder that it was found in."""

    def read(self) -> bytes:
        """Its bytes."""
        return self.data if self.path is None else self.path.read_bytes()

    @property
    def weight(self) -> float:
        """How often it is taken, beside others of its kind. Large files take long and hold no more structure than small ones."""
        return 1 / (1 + self.size / _COMMON_BYTES)


def kind_of(data: bytes) -> str | None:
    """What a file's first bytes say it is."""
    if data[:3] == b"\xff\xd8\xff":
        return "jpeg"
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "tiff"
    if data[4:8] == b"ftyp":
        return "avif" if b"avi" in data[8:32] else "heic"
    starts = {b"\x89PNG": "png", b"GIF8": "gif", b"BM": "bmp", b"RIFF": "webp"}
    return next((kind for start, kind in starts.items() if data.startswith(start)), None)


def found(folders: list[Path]) -> list[Seed]:
    """Every file of ours under some folders, in the order of their paths."""
    seeds = []
    for folder in folders:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            with open(path, "rb") as file:
                kind = kind_of(file.read(32))
            if kind is not None:
                name = os.fspath(path.relative_to(folder.parent))
                seeds.append(Seed(name, kind, path.stat().st_size, path, origin=os.fspath(folder)))
    return seeds


@functools.cache
def drawn() -> tuple[Seed, ...]:
    """Small pictures of every kind: the same for every call, given the same releases of the encoders."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks about odd modes
        files = [*_jpegs(), *_pngs(), *_gifs(), *_bmps(), *_webps(), *_tiffs(), *_iso()]
    return tuple(Seed(name, kind, len(data), None, data) for kind, name, data in files)


File = tuple[str, str, bytes]  # kind, name, contents


def _picture(width: int, height: int, channels: int = 3, bits: int = 8) -> np.ndarray:
    """Slopes, an edge and some noise: something to encode for each coder."""
    rng = np.random.default_rng([width, height, channels, bits])
    y, x = np.mgrid[:height, :width]
    planes = [127 + 90 * np.sin(x / (5 + c) + c) * np.cos(y / (9 - c)) + 30 * (x + y > width) for c in range(channels)]
    noisy = np.stack(planes, axis=-1) + rng.normal(0, 8, (height, width, channels))
    top = (1 << bits) - 1
    scaled = np.clip(noisy, 0, 255) / 255 * top
    return scaled.astype(np.uint16 if bits > 8 else np.uint8)


def _image(width: int, height: int, mode: str = "RGB") -> Image.Image:
    channels = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4}[mode]
    pixels = _picture(width, height, channels)
    return Image.fromarray(pixels[..., 0] if mode == "L" else pixels, mode=mode)


def _saved(image: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def _exif(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "a maker"
    return exif.tobytes()


def _jpegs() -> Iterator[File]:
    colour, grey = _image(61, 43), _image(40, 56, "L")
    yield "jpeg", "baseline", _saved(colour, "JPEG", quality=85)
    yield "jpeg", "large", _saved(_image(96, 80), "JPEG", quality=70)
    yield "jpeg", "tiny", _saved(_image(16, 16), "JPEG")
    yield "jpeg", "grey", _saved(grey, "JPEG")
    yield "jpeg", "progressive", _saved(colour, "JPEG", progressive=True, quality=80)
    yield "jpeg", "progressive large", _saved(_image(96, 96), "JPEG", progressive=True, quality=60)
    yield "jpeg", "progressive grey", _saved(grey, "JPEG", progressive=True)
    yield "jpeg", "optimised", _saved(colour, "JPEG", optimize=True, quality=40)
    yield "jpeg", "16-bit tables", _saved(colour, "JPEG", quality=1)
    yield "jpeg", "restarts by block", _saved(colour, "JPEG", restart_marker_blocks=2)
    yield "jpeg", "restarts by row", _saved(colour, "JPEG", restart_marker_rows=1, progressive=True)
    yield "jpeg", "cmyk", _saved(_image(32, 40, "CMYK"), "JPEG")
    yield "jpeg", "cmyk progressive", _saved(_image(32, 40, "CMYK"), "JPEG", progressive=True)
    yield "jpeg", "rgb", _saved(colour, "JPEG", keep_rgb=True)
    for orientation in (3, 6):
        yield "jpeg", f"exif {orientation}", _saved(colour, "JPEG", exif=_exif(orientation))
    for name in ("444", "422", "440", "411"):
        yield "jpeg", f"subsampling {name}", simplejpeg.encode_jpeg(_picture(50, 37), quality=75, colorsubsampling=name)


def _pngs() -> Iterator[File]:
    for mode in ("L", "LA", "RGB", "RGBA"):
        yield "png", mode, _saved(_image(45, 33, mode), "PNG")
    palette = _image(40, 40).quantize(32)
    yield "png", "palette", _saved(palette, "PNG")
    yield "png", "palette, transparent", _saved(palette, "PNG", transparency=3)
    yield "png", "4-bit palette", _saved(_image(33, 20).quantize(9), "PNG", bits=4)
    yield "png", "1-bit", _saved(_image(37, 30, "L").convert("1"), "PNG")
    yield "png", "exif", _saved(_image(30, 20), "PNG", exif=_exif(8))
    yield "png", "animated", _saved(_image(24, 24), "PNG", save_all=True, append_images=[_image(24, 24).rotate(90)], duration=50)
    for bits, channels, colour in ((16, 1, 0), (16, 3, 2), (16, 4, 6)):
        yield "png", f"{bits}-bit, {channels} channels", _png(_picture(21, 26, channels, bits), bits, colour)
    yield "png", "interlaced", _png(_picture(27, 22), 8, 2, interlaced=True)
    yield "png", "interlaced, 16-bit grey", _png(_picture(18, 30, 1, 16), 16, 0, interlaced=True)


def chunk(name: bytes, body: bytes) -> bytes:
    """A PNG chunk with its check sum."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))  # x, y, step across, down


def _png(pixels: np.ndarray, bits: int, colour: int, interlaced: bool = False) -> bytes:
    """What Pillow does not write: 16-bit colour, and Adam7."""
    height, width = pixels.shape[:2]
    wide = pixels.astype(">u2" if bits == 16 else "u1")
    passes = [wide[y::down, x::across] for x, y, across, down in _ADAM7] if interlaced else [wide]
    rows = b"".join(b"\0" + row.tobytes() for part in passes if part.size for row in part)
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlaced)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def _gifs() -> Iterator[File]:
    first = _image(40, 30).quantize(64)
    yield "gif", "still", _saved(first, "GIF")
    yield "gif", "interlaced", _saved(first, "GIF", interlace=True)
    yield "gif", "transparent", _saved(_image(24, 24).quantize(8), "GIF", transparency=2)
    yield "gif", "grey", _saved(_image(33, 17, "L"), "GIF")
    others = [_image(40, 30).rotate(turn).quantize(64) for turn in (90, 180)]
    yield "gif", "animated", _saved(first, "GIF", save_all=True, append_images=others, duration=40, loop=0, disposal=2)


def _bmps() -> Iterator[File]:
    yield "bmp", "24 bits", _saved(_image(31, 22), "BMP")
    yield "bmp", "8 bits grey", _saved(_image(30, 23, "L"), "BMP")
    yield "bmp", "palette", _saved(_image(29, 18).quantize(16), "BMP")
    yield "bmp", "1 bit", _saved(_image(41, 18, "L").convert("1"), "BMP")
    pixels = _picture(26, 17, 4)
    top_down = struct.pack("<IiiHHIIiiII", 40, 26, -17, 1, 32, 0, 0, 2835, 2835, 0, 0)
    yield "bmp", "32 bits, top down", _bmp(top_down, pixels.tobytes())
    masks = struct.pack("<IiiHHIIiiIIIII", 52, 16, 18, 1, 16, 3, 0, 2835, 2835, 0, 0, 0xF800, 0x7E0, 0x1F)
    yield "bmp", "16 bits, masks", _bmp(masks, _picture(16, 18, 1, 16).tobytes())
    palette = bytes(range(256)) * 4
    runs = b"".join(bytes((20, level, 4, 255 - level, 0, 0)) for level in range(0, 240, 15)) + b"\0\1"
    head = struct.pack("<IiiHHIIiiII", 40, 24, 16, 1, 8, 1, len(runs), 2835, 2835, 256, 0)
    yield "bmp", "run lengths", _bmp(head + palette, runs)
    yield "bmp", "old header", _bmp(struct.pack("<IHHHH", 12, 20, 16, 1, 24), _picture(20, 16).tobytes())


def _bmp(head: bytes, pixels: bytes) -> bytes:
    return b"BM" + struct.pack("<IHHI", 14 + len(head) + len(pixels), 0, 0, 14 + len(head)) + head + pixels


def _webps() -> Iterator[File]:
    yield "webp", "lossy", _saved(_image(48, 36), "WEBP", quality=70)
    yield "webp", "lossless", _saved(_image(33, 29), "WEBP", lossless=True)
    yield "webp", "alpha", _saved(_image(32, 24, "RGBA"), "WEBP", quality=60)
    yield "webp", "lossless alpha", _saved(_image(24, 32, "RGBA"), "WEBP", lossless=True)
    yield "webp", "exif", _saved(_image(30, 44), "WEBP", exif=_exif(6))
    turned = _image(32, 32).rotate(90)
    yield "webp", "animated", _saved(_image(32, 32), "WEBP", save_all=True, append_images=[turned], duration=40)


def _tiffs() -> Iterator[File]:
    colour, grey = _image(41, 30), _image(36, 28, "L")
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits", "lzma", "zstd"):
        yield "tiff", compression, _saved(colour, "TIFF", compression=compression)
    yield "tiff", "grey, lzw", _saved(grey, "TIFF", compression="tiff_lzw")
    yield "tiff", "predictor", _saved(colour, "TIFF", compression="tiff_lzw", tiffinfo={317: 2})
    yield "tiff", "1 bit", _saved(grey.convert("1"), "TIFF", compression="group4")
    yield "tiff", "palette", _saved(colour.quantize(16), "TIFF")
    yield "tiff", "alpha", _saved(_image(20, 30, "RGBA"), "TIFF", compression="tiff_lzw")
    yield "tiff", "cmyk", _saved(_image(22, 18, "CMYK"), "TIFF")
    yield "tiff", "16 bits", _saved(Image.fromarray(_picture(25, 20, 1, 16)[..., 0]), "TIFF")
    yield "tiff", "turned", _saved(colour, "TIFF", tiffinfo={274: 6})
    yield "tiff", "pages", _saved(grey, "TIFF", save_all=True, append_images=[grey.rotate(180)])
    for order, big in (("<", False), (">", False), ("<", True), (">", True)):
        name = f"{'big ' if big else ''}{'little' if order == '<' else 'big'}-endian"
        yield "tiff", f"{name} strips", _strips(order, big)
        yield "tiff", f"{name} tiles", _tiles(order, big)


def _tags(width: int, height: int) -> dict[int, list[int]]:
    return {256: [width], 257: [height], 258: [8, 8, 8], 259: [8], 262: [2], 277: [3], 284: [1], 339: [1, 1, 1]}


def _strips(order: str, big: bool) -> bytes:
    pixels = _picture(38, 27)
    parts = [zlib.compress(pixels[at : at + 9].tobytes()) for at in range(0, 27, 9)]
    return tiff.encode({**_tags(38, 27), 278: [9]}, parts, order, big)


def _tiles(order: str, big: bool) -> bytes:
    pixels = _picture(48, 32)
    parts = [zlib.compress(pixels[y : y + 16, x : x + 16].tobytes()) for y in (0, 16) for x in (0, 16, 32)]
    return tiff.encode({**_tags(48, 32), 322: [16], 323: [16]}, parts, order, big, tiles=True)


def _iso() -> Iterator[File]:
    if features.check("avif"):
        yield "avif", "colour", _saved(_image(32, 24), "AVIF", quality=60, speed=10)
        yield "avif", "alpha", _saved(_image(24, 24, "RGBA"), "AVIF", quality=60, speed=10)
        yield "avif", "turned", _saved(_image(32, 20), "AVIF", quality=60, speed=10, exif=_exif(6))
        turned = _image(24, 20).rotate(180)
        yield "avif", "animated", _saved(_image(24, 20), "AVIF", speed=10, save_all=True, append_images=[turned], duration=50)
    try:
        import pillow_heif
    except ImportError:
        return
    pillow_heif.register_heif_opener()
    yield "heic", "colour", _saved(_image(40, 32), "HEIF", quality=50)
    yield "heic", "grey", _saved(_image(32, 32, "L"), "HEIF", quality=50)
    yield "heic", "turned", _saved(_image(48, 32), "HEIF", quality=50, exif=_exif(3))
