"""imgstream report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from imgstream.cli import options
from imgstream.cli.help import DATA, OUTPUT
from imgstream.terminal.console import output_console

DEFAULT = "report.html"


def report(
    subject: Annotated[str, typer.Argument(metavar="RUN|DIR|MANIFEST", help="A run folder, or images: a folder or a list of them.")],
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="[DIR|MANIFEST|PREDICTIONS]",
            help="With RUN: the images to measure it on, or what predict wrote (default: the images that the run was validated on).",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            *options.OUT,
            metavar="REPORT.html",
            help=f"The page to write (default: {DEFAULT} in the run folder, or for images here).",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    images: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="DIR",
            help="With PREDICTIONS: the folder that was predicted (default: the one that FILE.store names).",
            rich_help_panel=DATA,
        ),
    ] = None,
    projection: Annotated[
        Literal["pca", "tsne"],
        typer.Option(
            "--projection",
            metavar="pca|tsne",
            help="How the map is made: pca, at once, or tsne, which takes minutes and needs scikit-learn.",
            rich_help_panel=OUTPUT,
        ),
    ] = "pca",
    label_pattern: options.LabelPattern = None,
    corrections: options.Corrections = None,
    exclude: options.Exclude = None,
    root: options.Root = None,
    columns: options.Columns = None,
    allow_outside: options.AllowOutside = False,
    workers: options.Workers = None,
) -> None:
    """Write one page that shows what a folder, a run or a prediction is, and on which labels can be marked as wrong.

    Examples:
        imgstream report photos/
        imgstream report runs/pets
        imgstream report runs/pets holdout/ -o holdout.html
        imgstream report runs/pets predictions.csv -o predictions.html
        imgstream train photos/ --out runs/again --corrections corrections.csv

    The page is a single file that opens in any browser, also offline. The labels that one marks on it are downloaded as
    corrections.csv, which --corrections of train, check, evaluate and index applies. No image is changed.
    """
    from imgstream.prediction.readers import is_predictions
    from imgstream.progress import counting
    from imgstream.report.report import write_report
    from imgstream.runs import load_run
    from imgstream.runs.reporting import title
    from imgstream.sorting import stored_root
    from imgstream.terminal.tables import amount, printable

    of_index: dict[str, Any] = {"exclude": exclude, "root": root, "columns": columns, "allow_outside": allow_outside}
    if source is None and not (Path(subject) / "run.json").exists():
        target = Path(DEFAULT) if output is None else output
        _check(target, subject, exclude, corrections)
        index = options.open_images(subject, label_pattern, corrections=corrections, **of_index)
        write_report(target, index=index, name=title(subject), workers=workers, stage=counting)
    else:
        run = load_run(subject)
        target = run.folder.report if output is None else output
        _check(target, source, exclude, corrections)
        given: Any = source
        if source is not None and is_predictions(source):
            images = images if images is not None else stored_root(source)
        elif images is not None:
            raise typer.BadParameter("--from goes with PREDICTIONS")
        elif source is not None:
            several = run.thresholds is not None
            given = options.open_images(source, label_pattern, corrections=corrections, multi_label=several, **of_index)
        run.report(given, target, root=images, corrections=corrections, workers=workers, projection=projection)
    output_console().print(f"Report: {printable(str(target))}, {amount(target.stat().st_size)}", markup=False, soft_wrap=True)


def _check(target: Path, *inputs: str | Path | None) -> None:
    """Raise OutputError if the page plainly cannot be written, or would replace an input."""
    from imgstream.errors import OutputError
    from imgstream.files.atomic import check_target
    from imgstream.terminal.tables import printable

    if target.suffix.lower() not in (".html", ".htm"):
        raise OutputError(f"a report is a page of HTML, and {printable(str(target))} is not named as one: end the name in .html")
    check_target(target)
    options.check_keeps_inputs(target, *inputs)
