"""imgstream pack."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from imgstream.cli import options
from imgstream.cli.help import OUTPUT, PREPROCESSING
from imgstream.terminal.console import output_console
from imgstream.wording import quantity


def pack(
    source: options.Images,
    out: Annotated[
        Path, typer.Option(*options.OUT, metavar="DIR", help="The folder to make; it must not be there.", rich_help_panel=OUTPUT)
    ],
    format_: Annotated[
        Literal["tfrecord", "webdataset", "parquet"],
        typer.Option("--format", metavar="tfrecord|webdataset|parquet", help="What the shards are.", rich_help_panel=OUTPUT),
    ] = "tfrecord",
    shard_size: Annotated[
        Any,
        typer.Option(
            "--shard-size",
            metavar="SIZE",
            parser=options.parse_bytes,
            help="Begin another shard after so much, such as 256MB.",
            rich_help_panel=OUTPUT,
        ),
    ] = "256MB",
    resize: Annotated[
        int | None,
        typer.Option(
            "--resize",
            metavar="N",
            min=1,
            max=8192,
            help="Write larger images with a shorter side of N pixels, as JPEGs (default: copy the bytes as they are).",
            rich_help_panel=PREPROCESSING,
        ),
    ] = None,
    quality: Annotated[
        int, typer.Option("--quality", metavar="Q", min=1, max=100, help="Quality of resized JPEGs.", rich_help_panel=PREPROCESSING)
    ] = 90,
    split: Annotated[
        bool,
        typer.Option(
            "--split",
            help="Write shards train-… and val-…, split by hash as train does; a split that the source gives is kept in any case.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    label_pattern: options.LabelPattern = None,
    exclude: options.Exclude = None,
    root: options.Root = None,
    columns: options.Columns = None,
    allow_outside: options.AllowOutside = False,
    workers: options.Workers = None,
    as_json: options.Json = False,
) -> None:
    """Write images as shards: TFRecord, WebDataset or Parquet, which every command here takes, and other tools read.

    Examples:
        imgstream pack photos/ -o shards/
        imgstream pack photos/ -o shards/ --format webdataset --resize 256 --quality 90 --split
        imgstream pack list.csv --root photos/ -o shards/ --format parquet --shard-size 500MB
        imgstream train shards/ --out runs/pets

    Every image is decoded to see whether it is whole; bad ones are left out and listed in DIR/skipped.csv. DIR appears when all is there. A
    pack that was stopped, in whatever way, goes on with the same command. The same images give the same bytes.
    """
    from imgstream.packing import pack as write_shards
    from imgstream.progress import counting
    from imgstream.terminal.tables import amount, printable

    index = options.open_images(source, label_pattern, exclude=exclude, root=root, columns=columns, allow_outside=allow_outside)
    with counting("Packing", len(index)) as done:
        report = write_shards(
            index,
            out,
            format_,
            shard_size=shard_size,
            resize=resize,
            quality=quality,
            split=split,
            workers=workers,
            progress=done,
        )
    if as_json:
        print(json.dumps({**report._asdict(), "out": str(out)}))
        return
    was = "was there already: " if report.was_done else ""
    bad = f" {quantity(report.skipped, 'bad file is', 'bad files are')} in skipped.csv and in no shard." if report.skipped else ""
    output_console().print(
        f"{printable(str(out))}: {was}{quantity(report.rows, 'image')} in {quantity(report.shards, 'shard')}, {amount(report.bytes)}.{bad}",
        markup=False,
        soft_wrap=True,
    )
