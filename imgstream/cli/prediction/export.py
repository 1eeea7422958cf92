"""imgstream export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from imgstream.cli import options
from imgstream.cli.help import MODEL, OUTPUT
from imgstream.terminal.console import output_console
from imgstream.wording import quantity

if TYPE_CHECKING:
    from imgstream.export import Exported


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder that train wrote.")],
    output: Annotated[
        Path,
        typer.Option(
            *options.OUT, metavar="FILE|DIR", help="The model to write: .tflite, .onnx or .xml, or a folder.", rich_help_panel=OUTPUT
        ),
    ],
    file_format: Annotated[
        Literal["savedmodel", "litert", "onnx", "openvino"] | None,
        typer.Option(
            "--format",
            metavar="savedmodel|litert|onnx|openvino",
            help="The format of the model (default: from the ending of FILE; for a folder, savedmodel).",
            rich_help_panel=MODEL,
        ),
    ] = None,
    precision: Annotated[
        Literal["float32", "float16", "int8"],
        typer.Option(
            "--precision",
            metavar="float32|float16|int8",
            help="float16: weights of half the size; int8: a quarter, and faster on many processors, if accuracy allows it.",
            rich_help_panel=MODEL,
        ),
    ] = "float32",
    calibrate: Annotated[
        Path | None,
        typer.Option(
            "--calibrate",
            metavar="DIR",
            help="Labelled images that int8 takes its ranges from (default: those that the run was trained on).",
            rich_help_panel=MODEL,
        ),
    ] = None,
    raw: Annotated[
        bool,
        typer.Option(
            "--raw", help="Leave out the preprocessing: the model takes float32 and gives logits, as Keras has it.", rich_help_panel=MODEL
        ),
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Write the model of a run as a file for other programs: uint8 RGB images in, calibrated probabilities out.

    Examples:
        imgstream export runs/pets -o pets.tflite
        imgstream export runs/pets -o pets.onnx --precision float16
        imgstream export runs/pets -o small.tflite --precision int8
        imgstream export runs/pets -o served/pets/1
        imgstream evaluate pets.tflite holdout/

    The model does its own scaling. Its classes and its image size are inside of it, and beside it in labels.txt and imgstream.json. It is
    put in place only after its own runtime gave with it what the run gives.
    """
    from imgstream.export import export_run
    from imgstream.progress import error_console
    from imgstream.runs import load_run

    opened = load_run(run)
    with error_console().status("Exporting"):
        exported = export_run(opened, output, format=file_format, precision=precision, calibrate=calibrate, raw=raw)
    if as_json:
        print(json.dumps(exported.to_json()))
    else:
        _print(exported)


def _print(exported: Exported) -> None:
    from imgstream.terminal.tables import printable

    console, told = output_console(), exported.description
    height, width, channels = told.spec.shape
    low, high = told.spec.levels or (0, 255)
    stored = "uint8" if told.spec.levels is None else f"float32, from {low:g}, black, to {high:g}, white"
    scaled = f"float32, scale {told.spec.scale}" if told.raw else stored
    colours = "grey" if channels == 1 else "BGR" if told.raw and told.spec.bgr else "RGB"
    gives = "logits" if told.raw else "probabilities"
    console.print(
        f"{printable(str(exported.path))}: {exported.bytes / 1e6:.2f} MB, {told.precision}. Takes {colours} images of "
        f"{height}x{width} ({scaled}), gives {gives} of {quantity(len(told.class_names), 'class', 'classes')}.",
        markup=False,
        soft_wrap=True,
    )
    console.print(f"Golden samples differ by {exported.difference:.0e} of the largest logit from what the run gives.", soft_wrap=True)
    if (lost := told.report.get("int8")) is not None:
        from imgstream.export import before_and_after

        measure, before, after = before_and_after(lost)
        console.print(
            f"{measure.capitalize() if measure.islower() else measure} {100 * after:.2f} %, {100 * before:.2f} % before, on "
            f"{quantity(lost['measured_on'], 'image')}; ranges from {lost['calibrated_on']:,} others.",
            soft_wrap=True,
        )
        if "parts_in_float32" in lost:
            left = len(lost["parts_in_float32"])
            console.print(f"In int8 throughout it lost more than a point: {left} of {lost['parts']} parts stay in float32.", soft_wrap=True)
    console.print(f"Beside it: {', '.join(printable(str(file)) for file in exported.files[-2:])}", markup=False, soft_wrap=True)
