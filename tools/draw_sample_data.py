"""Draws sample_data/: cats and dogs to learn from, and a folder of new pictures, three of them broken.

    python tools/draw_sample_data.py [FOLDER]        (default: sample_data)

Every file depends on SEED and its own name alone: redrawing gives the same pictures, and adding one changes no other.
"""

from __future__ import annotations

import io
import random
import sys
from pathlib import Path

from PIL import Image

from cartoons import draw

SEED = 2024
PER_CLASS = 70
NEW = 20  # in new/, odd numbers are cats and even numbers dogs
SIDEWAYS, TRUNCATED, NOT_AN_IMAGE, EMPTY = 4, 7, 12, 18  # numbers in new/ that are not as they should be

SIZES = (
    (120, 90),
    (160, 120),
    (180, 180),
    (200, 150),
    (240, 180),
    (180, 240),
    (256, 256),
    (320, 240),
    (240, 320),
    (400, 300),
    (480, 360),
    (640, 480),
)
COMMON_FIRST = (3, 4, 3, 4, 4, 3, 3, 4, 3, 2, 1, 1)  # large files are few: the whole folder stays under 3 MB

HTML = b"""<!DOCTYPE html>
<html><head><title>404 Not Found</title></head>
<body><h1>Not Found</h1><p>The picture that you asked for is not here. It was saved under its name all the same.</p></body></html>
"""


def main(folder: str = "sample_data") -> None:
    """Write every file of sample_data() under `folder`."""
    for name, data in sample_data().items():
        path = Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def sample_data() -> dict[str, bytes]:
    """{relative path: contents} of the whole folder."""
    files = {}
    for animal in ("cat", "dog"):
        for number in range(1, PER_CLASS + 1):
            extension, data = _picture(animal, number)
            files[f"{animal}s/{animal}-{number:02}{extension}"] = data
    for number in range(1, NEW + 1):
        extension, data = _new_picture(number)
        files[f"new/holiday-{number:02}{extension}"] = data
    return files


def _picture(animal: str, number: int) -> tuple[str, bytes]:
    rng = random.Random(f"{SEED}/{animal}/{number}")
    width, height = rng.choices(SIZES, COMMON_FIRST)[0]
    picture = Image.fromarray(draw(animal, width, height, rng))
    small = width * height <= 160 * 120
    kind = rng.choices(("jpeg", "png", "webp"), (8, 2 if small else 0, 1))[0]
    return _encode(picture, kind, rng)


def _new_picture(number: int) -> tuple[str, bytes]:
    if number == NOT_AN_IMAGE:
        return ".jpg", HTML
    if number == EMPTY:
        return ".jpg", b""
    animal = "cat" if number % 2 else "dog"
    rng = random.Random(f"{SEED}/new/{number}")
    if number == SIDEWAYS:
        upright = Image.fromarray(draw(animal, 240, 320, rng))
        exif = Image.Exif()
        exif[0x0112] = 6  # Orientation: turn by 90° clockwise to see it upright
        return ".jpg", _save(upright.transpose(Image.Transpose.ROTATE_90), "JPEG", quality=85, exif=exif)
    picture = Image.fromarray(draw(animal, *rng.choice(((240, 180), (240, 320), (320, 240))), rng))
    if number == TRUNCATED:
        data = _save(picture, "JPEG", quality=85)
        return ".jpg", data[: len(data) * 55 // 100]
    return _encode(picture, rng.choices(("jpeg", "webp"), (5, 1))[0], rng)


def _encode(picture: Image.Image, kind: str, rng: random.Random) -> tuple[str, bytes]:
    """(extension, file) of one of the kinds that folders of photographs hold."""
    if kind == "png":
        mode = rng.choice(("RGB", "RGBA", "P"))
        return ".png", _save(picture.convert(mode), "PNG", optimize=True)
    if kind == "webp":
        return ".webp", _save(picture, "WEBP", quality=rng.randint(60, 90))
    if rng.random() < 0.06:
        picture = picture.convert("L")
    quality, subsampling = rng.randint(45, 92), rng.choice(("4:4:4", "4:2:2", "4:2:0", "4:2:0"))
    return ".jpg", _save(picture, "JPEG", quality=quality, subsampling=subsampling, progressive=rng.random() < 0.15)


def _save(picture: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


if __name__ == "__main__":
    main(*sys.argv[1:])
