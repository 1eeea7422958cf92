"""The contact sheet of `imgstream show`: one row for each image, as it is and augmented."""

from __future__ import annotations

import bisect
import unicodedata

import numpy as np
from PIL import Image, ImageDraw, ImageFont

_MARGIN = 16
_GAP = 4
_AFTER_PLAIN = 16  # wider: the plain sample is what the draws beside it are compared with
_SMALLEST, _LARGEST = 96, 320  # long side of a tile, pixels: tiny samples are enlarged by a whole factor, huge ones reduced
_NARROWEST = 640  # room for a title, pixels
_TITLE_SIZE, _LABEL_SIZE = 24, 15  # font sizes, pixels
_BLACK, _GREY, _WHITE = (0, 0, 0), (96, 96, 96), (255, 255, 255)


def contact_sheet(rows: list[tuple[np.ndarray, list[np.ndarray], str]], title: str) -> Image.Image:
    """Draw an RGB page: `title`, then for each row its caption, the plain sample and its augmented versions.

    A row is (plain, draws, caption): uint8 (H, W, 3) or (H, W, 1), any number of augmented samples of the same shape, and a file name that
    may hold any characters: those that the built-in font lacks lose their accents or become "?".
    """
    title_font, font = ImageFont.load_default(_TITLE_SIZE), ImageFont.load_default(_LABEL_SIZE)
    title_height, line = _line_height(title_font), _line_height(font)
    tiles = [([_tile(plain), *map(_tile, draws)], caption) for plain, draws, caption in rows]
    cell_width = max((tile.width for row, _ in tiles for tile in row), default=_SMALLEST)
    lefts = [_left(column, cell_width) for column in range(max((len(row) for row, _ in tiles), default=1))]
    inner = max(lefts[-1] + cell_width - _MARGIN, _NARROWEST)
    width = inner + 2 * _MARGIN
    top = _MARGIN + title_height + line
    height = top + sum(line + max(tile.height for tile in row) + 2 * _GAP for row, _ in tiles) + _MARGIN

    sheet = Image.new("RGB", (width, height), _WHITE)
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, _MARGIN), _shortened(_drawable(title), title_font, inner), _BLACK, title_font)
    for column, left in enumerate(lefts):
        draw.text((left, _MARGIN + title_height), "plain" if column == 0 else f"draw {column}", _GREY, font)
    for row, caption in tiles:
        draw.text((_MARGIN, top), _shortened(_drawable(caption), font, inner), _BLACK, font)
        for left, tile in zip(lefts, row, strict=False):
            sheet.paste(tile, (left, top + line))
        top += line + max(tile.height for tile in row) + 2 * _GAP
    return sheet


def _left(column: int, cell_width: int) -> int:
    return _MARGIN + column * (cell_width + _GAP) + (_AFTER_PLAIN - _GAP if column else 0)


def _tile(sample: np.ndarray) -> Image.Image:
    """The sample as RGB, pixel for pixel unless it is too small to see or too large for a page."""
    image = Image.fromarray(sample.squeeze(-1) if sample.shape[-1] == 1 else sample).convert("RGB")
    long_side = max(image.size)
    if long_side < _SMALLEST:
        factor = -(-_SMALLEST // long_side)
        return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    image.thumbnail((_LARGEST, _LARGEST), Image.Resampling.LANCZOS)  # leaves smaller ones as they are
    return image


def _line_height(font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> int:
    return int(font.getbbox("Ag|")[3]) + 6


def _drawable(text: str) -> str:
    """One line of ASCII, which Pillow's built-in font is sure to have."""
    plain = (c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return "".join(c if " " <= c <= "~" else "?" for c in plain)


def _shortened(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """`text` cut to `width` pixels; its end stays, because that is the name of the file."""
    if font.getlength(text) <= width:
        return text
    start = bisect.bisect_left(range(len(text)), True, key=lambda start: font.getlength("..." + text[start:]) <= width)
    return "..." + text[start:]
