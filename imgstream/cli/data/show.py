"""imgstream show."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from imgstream.cli import options
from imgstream.cli.help import OUTPUT, PREPROCESSING
from imgstream.terminal.console import output_console

if TYPE_CHECKING:
    from imgstream.stream import Stream

DRAWS = 8


def show(
    directory: Annotated[str, typer.Argument(metavar="DIR", help="A folder of images.")],
    augment: options.Augment,
    output: Annotated[
        Path,
        typer.Option(*options.OUT, metavar="SHEET.png", help="The contact sheet to write: .png, .jpg or .webp.", rich_help_panel=OUTPUT),
    ],
    size: options.Size = "128",
    levels: options.Levels = None,
    rows: Annotated[int, typer.Option("--rows", metavar="N", min=1, max=50, help="How many images to show.", rich_help_panel=OUTPUT)] = 6,
    seed: Annotated[
        int,
        typer.Option("--seed", metavar="N", help="Seed of the choice of images and of the augmentation.", rich_help_panel=PREPROCESSING),
    ] = 0,
) -> None:
    """Show what an augmentation does and what it costs: a contact sheet whose rows are an image and eight augmented versions of it.

    Examples:
        imgstream show photos/ --augment standard -o sheet.png
        imgstream show photos/ --augment my_augment.py:blur -o sheet.png --size 224
    """
    from imgstream.decode.depth import choose_levels
    from imgstream.errors import NoImagesError, OutputError
    from imgstream.files.atomic import atomic_file, check_target
    from imgstream.order import permute
    from imgstream.pictures.contact_sheet import contact_sheet
    from imgstream.spec import SampleSpec
    from imgstream.stream import Stream
    from imgstream.terminal.tables import printable

    if output.suffix.lower() not in (".png", ".jpg", ".jpeg", ".webp"):
        raise OutputError(f"cannot tell the format of {str(output)!r}: end the name in .png, .jpg or .webp")
    check_target(output)
    options.check_keeps_inputs(output, directory)
    index = options.open_images(directory)
    shuffled = permute(np.arange(min(len(index), 4 * rows)), len(index), seed, 0)  # a few to spare, for bad files
    index = index.take(shuffled)
    spec = SampleSpec(size=size, scale="raw", levels=choose_levels(levels, index))
    plain = Stream(index, spec, batch_size=rows, workers=1, seed=seed)
    augmented = plain.replace(augment=augment)

    sheet_rows = []
    for batch in plain.traced_batches():
        draws = [_read(augmented, draw, batch.number) for draw in range(DRAWS)]
        for position, image in zip(batch.positions, batch.images, strict=True):
            copies = [draw[int(position)] for draw in draws]
            sheet_rows.append((image.astype(np.uint8), copies, index.relative_bytes(int(position)).decode("utf-8", "replace")))
    if not sheet_rows:
        raise NoImagesError(f"none of the {len(index)} images tried under {directory} could be read: {plain.skipped[0][1]}")
    sheet_rows = sheet_rows[:rows]
    sheet = contact_sheet(sheet_rows, f"{augment}: the image as it is, and {DRAWS} draws (seed {seed})")
    with atomic_file(output) as file:
        sheet.save(file, {".png": "PNG", ".webp": "WEBP"}.get(output.suffix.lower(), "JPEG"))

    without, with_ = _cost(plain), _cost(augmented)
    console = output_console()
    console.print(
        f"{printable(augment)}: {1e6 * max(0.0, with_ - without):,.0f} µs an image, on top of {1e6 * without:,.0f} µs for reading, "
        f"decoding and resizing to {plain.spec.size[0]}x{plain.spec.size[1]} (one thread)",
        markup=False,
        soft_wrap=True,
    )
    console.print(f"Sheet: {printable(str(output))}", markup=False)


def _read(stream: Stream, epoch: int, start: int) -> dict[int, np.ndarray]:
    """One batch of an epoch, uint8 by index position; another epoch augments the images differently."""
    batch = next(stream.traced_batches(epoch, start))
    return {int(position): np.clip(image, 0, 255).astype(np.uint8) for position, image in zip(batch.positions, batch.images, strict=True)}


def _cost(stream: Stream) -> float:
    """Seconds an image: the best of several passes over the few files, which are in the page cache by now."""
    best = float("inf")
    for epoch in range(5):
        began, images = time.perf_counter(), 0
        for batch, *_ in stream.batches(epoch):
            images += len(batch)
        best = min(best, (time.perf_counter() - began) / max(1, images))
    return best
