"""imgstream bench."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from imgstream.cli import options
from imgstream.cli.help import MODEL, SPEED, TRAINING
from imgstream.terminal.console import output_console


def bench(
    directory: Annotated[str, typer.Argument(metavar="DIR", help="A folder of images.")],
    size: options.Size = None,
    levels: options.Levels = None,
    model: Annotated[
        str, typer.Option("--model", metavar="NAME", help="cnn (ours), or one of keras.applications.", rich_help_panel=MODEL)
    ] = "cnn",
    augment: options.Augment = "standard",
    batch_size: Annotated[int, typer.Option("--batch-size", metavar="N", min=1, help="Images in a batch.", rich_help_panel=TRAINING)] = 64,
    seconds: Annotated[
        float,
        typer.Option("--seconds", metavar="S", min=1, max=3600, help="About how long to measure, in seconds.", rich_help_panel=SPEED),
    ] = 30.0,
    as_json: options.Json = False,
) -> None:
    """Measure what limits the speed of training: reading, decoding, augmenting, loading and training steps, each on its own.

    Examples:
        imgstream bench photos/
        imgstream bench photos/ --model MobileNetV2 --size 224 --augment policy.yaml
        imgstream bench photos/ --json --seconds 60

    A random sample of the images is measured on this machine, read as train would read it. The last lines say which part is the
    slowest, how fast training could be at most, and which options to set.
    """
    from imgstream.profiling import advise, examine
    from imgstream.progress import error_console
    from imgstream.terminal.profile_report import bench_report

    index = options.open_images(directory)
    with error_console().status("Starting …") as status:
        figures = examine(
            index,
            size=size,
            levels=levels,
            model=model,
            augment=augment,
            batch_size=batch_size,
            seconds=seconds,
            stage=lambda name: status.update(f"Measuring: {name} …"),
        )
    advice = advise(figures)
    if as_json:
        print(json.dumps({**figures.to_json(), "advice": advice.to_json()}))
        return
    console = output_console()
    for part in bench_report(figures, advice):
        console.print(part)
