"""imgstream evaluate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from imgstream.cli import options


def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder that train wrote.")],
    directory: Annotated[
        str, typer.Argument(metavar="DIR|MANIFEST", help="A folder with one folder of images for each class, or a list of labelled images.")
    ],
    tta: options.Tta = None,
    as_json: options.Json = False,
    label_pattern: options.LabelPattern = None,
    exclude: options.Exclude = None,
    root: options.Root = None,
    columns: options.Columns = None,
    allow_outside: options.AllowOutside = False,
    pipeline: options.Pipeline = "auto",
    workers: options.Workers = None,
) -> None:
    """Measure a run on labelled images: accuracy, calibration, and precision, recall and F1 of each class.

    [bold]Examples[/bold]

      imgstream evaluate runs/pets holdout/

      imgstream evaluate runs/pets holdout/ --tta flip --json > metrics.json

      imgstream evaluate runs/pets test.csv --columns path=img,label=species
    """
    from imgstream.progress import counting
    from imgstream.report.terminal import Reasons, printable
    from imgstream.runs import load_run

    opened = load_run(run)
    index = options.open_images(directory, label_pattern, exclude=exclude, root=root, columns=columns, allow_outside=allow_outside)
    chosen = options.choose(opened.stream(index, workers=workers), pipeline)
    with counting("Evaluating", len(index)) as done:
        result = opened.evaluate(index, workers=workers, pipeline=chosen.pipeline, flip=tta == "flip", progress=done)
    options.tell_changed(index)
    if as_json:
        print(json.dumps({**result.report(), "tta": tta, "pipeline": chosen.pipeline}))
        return
    console = Console(highlight=False)
    table = Table("class")
    for name in ("precision", "recall", "f1", "images"):
        table.add_column(name, justify="right")
    report = result.report()
    for name, scores in report["per_class"].items():
        figures = (f"{scores[key]:.3f}" for key in ("precision", "recall", "f1"))
        table.add_row(Text(printable(name)), *figures, f"{scores['n']:,}")
    console.print(table)
    console.print(f"Accuracy {100 * result.accuracy:.2f} % on {report['images']:,} images, loss {result.loss:.4f}")
    console.print(
        f"Calibration error (ECE) {100 * result.ece:.2f} %, {100 * result.ece_uncalibrated:.2f} % without the run's temperature of "
        f"{result.temperature:.3f}",
        soft_wrap=True,
    )
    console.print(f"Pipeline: {chosen.pipeline} ({chosen.why})", soft_wrap=True)
    for what, classes in (
        ("Left out, as no class of the model", result.unknown_classes),
        ("No image here of the model's", result.missing_classes),
    ):
        if classes:
            more = f" and {len(classes) - 10:,} more" if len(classes) > 10 else ""
            console.print(f"{what}: {', '.join(printable(n) for n in classes[:10])}{more}", markup=False, soft_wrap=True)
    if result.skipped:
        console.print(Reasons(result.skipped).table())
