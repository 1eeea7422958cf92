"""imgstream predict."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from imgstream.cli import options

if TYPE_CHECKING:
    from imgstream.index import ImageIndex
    from imgstream.prediction.rows import Prediction


def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder that train wrote.")],
    sources: Annotated[
        list[str], typer.Argument(metavar="DIR|FILE…|-", help="A folder, files, a manifest, or - for paths on stdin, one a line.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="OUT", help="Where to: .csv, .jsonl or .parquet.")],
    top_k: Annotated[int, typer.Option("--top-k", min=1, help="How many classes to write for each image.")] = 1,
    exclude: options.Exclude = None,
    root: options.Root = None,
    columns: options.Columns = None,
    allow_outside: options.AllowOutside = False,
    pipeline: options.Pipeline = "auto",
    workers: options.Workers = None,
) -> None:
    """Name the class of every image: one row a file, in index order, bad files with their reason.

    [bold]Examples[/bold]

      imgstream predict runs/pets new_photos/ -o predictions.csv

      imgstream predict runs/pets a.jpg b.png -o two.jsonl --top-k 3

      find . -name '*.jpg' | imgstream predict runs/pets - -o found.parquet
    """
    from imgstream.prediction.writers import check_output, open_writer
    from imgstream.report.progress import counting
    from imgstream.report.terminal import MOST_ROWS, Reasons, prediction_table, printable
    from imgstream.runs import load_run

    check_output(output)
    opened = load_run(run)
    index = _index(sources, exclude=exclude, root=root, columns=columns, allow_outside=allow_outside)
    chosen = options.choose(opened.stream(index, workers=workers), pipeline)
    first: list[Prediction] = []
    bad, total = Reasons(), 0
    with counting("Predicting", len(index)) as done, open_writer(output, opened.class_names, top_k) as writer:
        for prediction in opened.predict(index, workers=workers, pipeline=chosen.pipeline):
            writer.write(prediction)
            total += 1
            if len(first) < MOST_ROWS:
                first.append(prediction)
            if prediction.error is not None:
                bad.add(prediction.path, prediction.error)
            done(total)
    console = Console(highlight=False)
    options.tell_changed(index)
    console.print(prediction_table(first, total))
    if bad:
        console.print(bad.table())
    console.print(
        f"{total:,} images: {total - len(bad):,} predicted, {len(bad):,} bad. Pipeline: {chosen.pipeline} ({chosen.why}).", soft_wrap=True
    )
    console.print(f"Predictions: {printable(str(output))}    Model: {printable(opened.path)}", markup=False, soft_wrap=True)


def _index(sources: list[str], **of_index: Any) -> ImageIndex:
    folders = [source for source in sources if os.path.isdir(source)]
    if folders and len(sources) > 1:
        raise typer.BadParameter(f"give one folder, or files; got the folder {folders[0]!r} among {len(sources)} paths")
    source = _stdin_paths() if sources == ["-"] else sources[0] if len(sources) == 1 and os.path.exists(sources[0]) else sources
    return options.open_images(source, **of_index)


def _stdin_paths() -> Iterator[bytes]:
    """The lines of stdin, as bytes: names need not be UTF-8."""
    for line in sys.stdin.buffer:
        if path := line.rstrip(b"\r\n"):
            yield path
