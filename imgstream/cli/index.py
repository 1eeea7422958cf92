"""imgstream index."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from imgstream.cli import options


def index(
    directory: Annotated[str, typer.Argument(metavar="DIR", help="A folder of images.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Save the table (Arrow) here.")] = None,
    label_pattern: options.LabelPattern = None,
) -> None:
    """List what a folder holds, by class, without reading a pixel.

    [bold]Examples[/bold]

      imgstream index photos/

      imgstream index photos/ -o photos.arrow
    """
    from imgstream.atomic import check_target
    from imgstream.index import scan
    from imgstream.report.progress import counting
    from imgstream.report.terminal import printable

    if output is not None:
        check_target(output)
    with counting("Listing images") as scanned:
        found = scan(directory, label_pattern, progress=scanned)
    labels = found.labels
    counts = np.bincount(labels[labels >= 0], minlength=len(found.class_names))
    table = Table("class")
    table.add_column("images", justify="right")
    for name, count in zip(found.class_names, counts, strict=True):
        table.add_row(Text(printable(name)), f"{count:,}")
    if unlabelled := int((labels < 0).sum()):
        table.add_row(Text("(no class)", "dim"), f"{unlabelled:,}")
    console = Console(highlight=False)
    console.print(table)
    others = ", ".join(f"{count:,} {printable(extension) or '(none)'}" for extension, count in found.skipped_extensions.items())
    console.print(f"{len(found):,} images{f'; other files: {others}' if others else ''}", markup=False, soft_wrap=True)
    if found.unreadable_count:
        console.print(
            f"{found.unreadable_count:,} folders could not be read, such as {printable(found.unreadable_folders[0])}", markup=False
        )
    if output is not None:
        found.save(output)
        console.print(f"Table: {printable(str(output))}", markup=False)
