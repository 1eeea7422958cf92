"""imgstream evaluate."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from imgstream.cli import options
from imgstream.terminal.console import output_console
from imgstream.wording import quantity

if TYPE_CHECKING:
    from imgstream.export import EngineSelection


def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN|FILE", help="A run folder that train wrote, or a model that export wrote.")],
    directory: options.LabelledImages,
    tta: options.Tta = None,
    as_json: options.Json = False,
    label_pattern: options.LabelPattern = None,
    exclude: options.Exclude = None,
    root: options.Root = None,
    columns: options.Columns = None,
    allow_outside: options.AllowOutside = False,
    pipeline: options.Pipeline = "auto",
    workers: options.Workers = None,
    engine: options.Engine = "auto",
) -> None:
    """Measure a run on labelled images: accuracy, calibration, and precision, recall and F1 of each class.

    Examples:
        imgstream evaluate runs/pets holdout/
        imgstream evaluate runs/pets holdout/ --tta flip --json > metrics.json
        imgstream evaluate runs/pets test.csv --columns path=img,label=species
        imgstream evaluate pets.tflite holdout/
    """
    from imgstream.evaluation.metrics import FIGURES
    from imgstream.export import open_model
    from imgstream.models.forward import Engine
    from imgstream.progress import counting
    from imgstream.runs.run import BATCH_SIZE, Run
    from imgstream.terminal.tables import Reasons, printable

    opened = open_model(run)
    index = options.open_images(directory, label_pattern, exclude=exclude, root=root, columns=columns, allow_outside=allow_outside)
    chosen = options.choose(opened.stream(index, workers=workers), pipeline)
    how: dict[str, Any] = {"workers": workers, "pipeline": chosen.pipeline, "flip": tta == "flip"}
    computed: EngineSelection | None = None
    if isinstance(opened, Run):
        model, computed = options.choose_engine(opened.model, opened.spec, engine, images=len(index), batch_size=BATCH_SIZE)
        how["engine"] = model if isinstance(model, Engine) else None
    elif engine != "auto":
        raise typer.BadParameter(f"{run} is an exported model, which its own runtime computes: leave out --engine")
    with counting("Evaluating", len(index)) as done:
        result = opened.evaluate(index, progress=done, **how)
    options.tell_changed(index)
    if as_json:
        print(
            json.dumps(
                {**result.report(), "tta": tta, "pipeline": chosen.pipeline, "engine": computed.name if computed is not None else None}
            )
        )
        return
    console = output_console()
    table = Table("class")
    for name in (*FIGURES, "images"):
        table.add_column(name, justify="right")
    report = result.report()
    for name, scores in report["per_class"].items():
        table.add_row(Text(printable(name)), *_figures(scores), f"{scores['n']:,}")
    average = report["macro_average"]
    table.add_section()
    table.add_row(Text(f"(mean of {average['classes']:,})", "dim"), *_figures(average), f"{report['images']:,}")
    console.print(table)
    if report["images"]:
        console.print(f"Accuracy {100 * result.accuracy:.2f} % on {quantity(report['images'], 'image')}, loss {result.loss:.4f}")
        error = f"Calibration error (ECE) {100 * result.ece:.2f} %"
        if result.temperature != 1:
            error += f", {100 * result.ece_uncalibrated:.2f} % without the run's temperature of {result.temperature:.3f}"
        console.print(error, soft_wrap=True)
    else:
        console.print("Nothing was measured: no image of the model's classes could be read")
    console.print(f"Pipeline: {chosen.pipeline} ({chosen.why})", soft_wrap=True)
    if computed is not None:
        console.print(f"Engine: {computed.name} ({computed.why})", soft_wrap=True)
    for what, classes, count in (
        ("Left out, as no class of the model", result.unknown_classes, f" ({quantity(result.unknown_images, 'image')})"),
        ("No image here of the model's", result.missing_classes, ""),
    ):
        if classes:
            more = f" and {len(classes) - 10:,} more" if len(classes) > 10 else ""
            console.print(f"{what}: {', '.join(printable(n) for n in classes[:10])}{more}{count}", markup=False, soft_wrap=True)
    if result.unlabelled:
        console.print(f"Left out, without a class: {quantity(result.unlabelled, 'image')}")
    if result.skipped:
        console.print(Reasons(result.skipped).table())


def _figures(scores: dict[str, Any]) -> Iterator[str]:
    """Precision, recall and F1, or dashes where they were not measured."""
    from imgstream.evaluation.metrics import FIGURES

    return ("–" if scores[key] is None else f"{scores[key]:.3f}" for key in FIGURES)
