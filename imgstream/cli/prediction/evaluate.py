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
from imgstream.cli.help import PREDICTION
from imgstream.terminal.console import output_console
from imgstream.wording import quantity

if TYPE_CHECKING:
    from imgstream.evaluation.binary import BinaryScores, OperatingPoint
    from imgstream.evaluation.evaluate import Evaluation
    from imgstream.evaluation.multi_label import LabelsEvaluation
    from imgstream.export import EngineSelection


def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN|FILE", help="A run folder that train wrote, or a model that export wrote.")],
    directory: options.LabelledImages,
    tta: options.Tta = None,
    positive: Annotated[
        str | None,
        typer.Option(
            "--positive",
            metavar="NAME",
            help="Of two classes, the one to be found: of it are ROC AUC, average precision and thresholds (default: the second).",
            rich_help_panel=PREDICTION,
        ),
    ] = None,
    at_precision: Annotated[
        float | None,
        typer.Option(
            "--at-precision",
            metavar="SHARE",
            min=0,
            max=1,
            help="Of two classes: the threshold with this precision, and the highest recall.",
            rich_help_panel=PREDICTION,
        ),
    ] = None,
    at_recall: Annotated[
        float | None,
        typer.Option(
            "--at-recall",
            metavar="SHARE",
            min=0,
            max=1,
            help="Of two classes: the threshold with this recall, and the highest precision.",
            rich_help_panel=PREDICTION,
        ),
    ] = None,
    as_json: options.Json = False,
    label_pattern: options.LabelPattern = None,
    corrections: options.Corrections = None,
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
        imgstream evaluate runs/pets holdout/ --corrections corrections.csv
        imgstream evaluate runs/pets holdout/ --positive dogs --at-precision 0.95 --at-recall 0.99
        imgstream evaluate pets.tflite holdout/
    """
    from imgstream.errors import OptionError
    from imgstream.evaluation.evaluate import Evaluation
    from imgstream.export import open_model
    from imgstream.progress import counting
    from imgstream.runs.run import BATCH_SIZE, Run
    from imgstream.terminal.tables import Reasons, printable

    opened = open_model(run)
    for name, wanted in (("at_precision", at_precision), ("at_recall", at_recall)):
        if wanted is not None and opened.thresholds is not None:
            raise OptionError(f"{name} is for a model of two classes of which an image has one; this one gives several labels", name)
        if wanted is not None and len(opened.class_names) != 2:
            raise OptionError(f"{name} is for a model of two classes; this one has {len(opened.class_names)}", name)
    index = options.open_images(
        directory,
        label_pattern,
        corrections=corrections,
        exclude=exclude,
        root=root,
        columns=columns,
        allow_outside=allow_outside,
        multi_label=opened.thresholds is not None,
    )
    chosen = options.choose(opened.stream(index, workers=workers), pipeline)
    how: dict[str, Any] = {"workers": workers, "pipeline": chosen.pipeline, "flip": tta == "flip", "positive": positive}
    computed: EngineSelection | None = None
    if isinstance(opened, Run):
        how["engine"], computed = options.choose_engine(opened.model, opened.spec, engine, images=len(index), batch_size=BATCH_SIZE)
    elif engine != "auto":
        raise typer.BadParameter(f"{run} is an exported model, which its own runtime computes: leave out --engine")
    with counting("Evaluating", len(index)) as done:
        result = opened.evaluate(index, progress=done, **how)
    options.tell_changed(index)
    binary = result.binary if isinstance(result, Evaluation) else None
    points = _points(binary, at_precision, at_recall)
    if as_json:
        report = result.report()
        if binary is not None:
            report["binary"] |= {name: point._asdict() if point is not None else None for name, _, point in points}
        print(json.dumps({**report, "tta": tta, "pipeline": chosen.pipeline, "engine": computed.name if computed is not None else None}))
        return
    console = output_console()
    if isinstance(result, Evaluation):
        _tell(result, points)
    else:
        _tell_labels(result)
    console.print(f"Pipeline: {chosen.pipeline} ({chosen.why})", soft_wrap=True)
    if computed is not None:
        console.print(f"Engine: {computed.name} ({computed.why})", soft_wrap=True)
    for what, classes, count in (
        ("Left out, as no class of the model", result.unknown_classes, _images_of(result)),
        ("No image here of the model's", result.missing_classes, ""),
    ):
        if classes:
            more = f" and {len(classes) - 10:,} more" if len(classes) > 10 else ""
            console.print(f"{what}: {', '.join(printable(n) for n in classes[:10])}{more}{count}", markup=False, soft_wrap=True)
    if result.unlabelled:
        console.print(f"Left out, without a class: {quantity(result.unlabelled, 'image')}")
    if result.skipped:
        console.print(Reasons(result.skipped).table())


def _tell(result: Evaluation, points: list[tuple[str, float, OperatingPoint | None]]) -> None:
    from imgstream.evaluation.metrics import FIGURES
    from imgstream.terminal.tables import printable

    console, table, report = output_console(), Table("class"), result.report()
    for name in (*FIGURES, "images"):
        table.add_column(name, justify="right")
    for name, scores in report["per_class"].items():
        table.add_row(Text(printable(name)), *_figures(scores), f"{scores['n']:,}")
    average = report["macro_average"]
    table.add_section()
    table.add_row(Text(f"(mean of {average['classes']:,})", "dim"), *_figures(average), f"{report['images']:,}")
    console.print(table)
    if not report["images"]:
        console.print("Nothing was measured: no image of the model's classes could be read")
        return
    console.print(f"Accuracy {100 * result.accuracy:.2f} % on {quantity(report['images'], 'image')}, loss {result.loss:.4f}")
    error = f"Calibration error (ECE) {100 * result.ece:.2f} %"
    if result.temperature != 1:
        error += f", {100 * result.ece_uncalibrated:.2f} % without the run's temperature of {result.temperature:.3f}"
    console.print(error, soft_wrap=True)
    if result.binary is not None:
        _tell_binary(result.binary, points)


def _tell_labels(result: LabelsEvaluation) -> None:
    from imgstream.evaluation.metrics import FIGURES
    from imgstream.terminal.tables import printable

    console, table, report = output_console(), Table("class"), result.report()
    for name in (*FIGURES, "average precision", "threshold", "images"):
        table.add_column(name, justify="right")
    for name, of in report["per_class"].items():
        precision = "–" if of["average_precision"] is None else f"{of['average_precision']:.3f}"
        table.add_row(Text(printable(name)), *_figures(of), precision, f"{of['threshold']:.3f}", f"{of['n']:,}")
    macro, micro, mean = report["macro_average"], report["micro_average"], report["mean_average_precision"]
    table.add_section()
    table.add_row(Text(f"(mean of {macro['classes']:,})", "dim"), *_figures(macro), "–" if mean is None else f"{mean:.3f}", "", "")
    table.add_row(Text("(all labels)", "dim"), *_figures(micro), "", "", f"{report['images']:,}")
    console.print(table)
    if not report["images"]:
        console.print("Nothing was measured: no image with labels could be read")
        return
    figures = result.figures
    console.print(
        f"mAP {100 * figures['mAP']:.2f} %, F1 {100 * figures['f1_micro']:.2f} % of all labels and {100 * figures['f1_macro']:.2f} % of "
        f"the mean class, on {quantity(report['images'], 'image')}, of which {100 * result.exact:.2f} % have exactly their labels",
        soft_wrap=True,
    )
    console.print(f"Loss {result.loss:.4f}, calibration error (ECE) {100 * result.ece:.2f} %")


def _images_of(result: Evaluation | LabelsEvaluation) -> str:
    unknown = getattr(result, "unknown_images", None)
    return "" if unknown is None else f" ({quantity(unknown, 'image')})"


def _points(
    binary: BinaryScores | None, at_precision: float | None, at_recall: float | None
) -> list[tuple[str, float, OperatingPoint | None]]:
    """(option, wanted value, point) of each that was asked for."""
    found: list[tuple[str, float, OperatingPoint | None]] = []
    if binary is not None and at_precision is not None:
        found.append(("at_precision", at_precision, binary.at_precision(at_precision)))
    if binary is not None and at_recall is not None:
        found.append(("at_recall", at_recall, binary.at_recall(at_recall)))
    return found


def _tell_binary(binary: BinaryScores, points: list[tuple[str, float, OperatingPoint | None]]) -> None:
    from imgstream.terminal.tables import printable

    console, name = output_console(), printable(binary.positive)
    if binary.roc_auc is not None and binary.average_precision is not None:
        console.print(
            f"Finding {name}: ROC AUC {binary.roc_auc:.4f}, average precision {binary.average_precision:.4f}", markup=False, soft_wrap=True
        )
    for option, wanted, point in points:
        what = option.removeprefix("at_")
        if point is None:
            line = f"No threshold for {name} has a {what} of {wanted:g}"
        else:
            reached = f"precision {point.precision:.4f}, recall {point.recall:.4f}"
            line = f"For a {what} of {wanted:g}, take scores of {name} from {point.threshold:.6f} on: {reached}"
        console.print(line, markup=False, soft_wrap=True)


def _figures(scores: dict[str, Any]) -> Iterator[str]:
    """Precision, recall and F1, or dashes where they were not measured."""
    from imgstream.evaluation.metrics import FIGURES

    return ("–" if scores[key] is None else f"{scores[key]:.3f}" for key in FIGURES)
