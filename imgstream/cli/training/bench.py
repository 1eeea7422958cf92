"""imgstream bench."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from imgstream.cli import options
from imgstream.terminal.console import output_console


def bench(
    directory: Annotated[str, typer.Argument(metavar="DIR", help="A folder of images.")],
    size: options.Size = None,
    model: Annotated[str, typer.Option("--model", metavar="NAME", help="cnn (ours), or one of keras.applications.")] = "cnn",
    augment: Annotated[str, typer.Option("--augment", metavar="NAME|FILE", help=options.AUGMENT_HELP + ".")] = "standard",
    batch_size: Annotated[int, typer.Option("--batch-size", min=1)] = 64,
    seconds: Annotated[float, typer.Option("--seconds", min=1, max=3600, help="About how long to measure.")] = 30.0,
    as_json: options.Json = False,
) -> None:
    """Find what limits training on a folder: what reading, decoding, augmenting, loading and training steps give, each on its own.

    Measured on a random sample, on this machine, as train would read it; ends with what binds, the upper bound, and what to set.

    [bold]Examples[/bold]

      imgstream bench photos/

      imgstream bench photos/ --model MobileNetV2 --size 224 --augment policy.yaml

      imgstream bench photos/ --json --seconds 60
    """
    from imgstream.profiling import advise, examine
    from imgstream.progress import error_console
    from imgstream.terminal.profile_report import bench_report

    index = options.open_images(directory)
    with error_console().status("Starting …") as status:
        figures = examine(
            index,
            size=size,
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
