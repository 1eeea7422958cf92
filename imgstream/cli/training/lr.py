"""imgstream lr."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from imgstream.cli import options
from imgstream.cli.help import MODEL, OUTPUT, TRAINING
from imgstream.terminal.console import output_console

MOST_STEPS = 10_000


def lr(
    directory: options.LabelledImages,
    out: Annotated[
        Path | None,
        typer.Option(*options.OUT, metavar="lr.png", help="Draw the loss over the rates: .png, .svg or .pdf.", rich_help_panel=OUTPUT),
    ] = None,
    steps: Annotated[
        int,
        typer.Option(
            "--steps", metavar="N", min=20, max=MOST_STEPS, help="Steps to train, each at a higher rate.", rich_help_panel=TRAINING
        ),
    ] = 120,
    model: options.Model = None,
    weights: Annotated[
        str,
        typer.Option(
            "--weights", metavar="none|imagenet|FILE", help="Pretrained weights to start from, as in train.", rich_help_panel=MODEL
        ),
    ] = "none",
    size: options.Size = None,
    levels: options.Levels = None,
    augment: options.Augment = "standard",
    batch_size: options.BatchSize = "auto",
    precision: options.Precision = "auto",
    exclude: options.Exclude = None,
    root: options.Root = None,
    columns: options.Columns = None,
    allow_outside: options.AllowOutside = False,
    multi_label: options.MultiLabel = False,
    label_pattern: options.LabelPattern = None,
    workers: options.Workers = None,
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", help="Seed of the order, the augmentation and the weights.", rich_help_panel=TRAINING)
    ] = 0,
    as_json: options.Json = False,
) -> None:
    """Suggest a learning rate: train some steps at growing rates, find the rate at which the loss rises, and take half of it.

    Examples:
        imgstream lr photos/
        imgstream lr photos/ -o lr.png --model MobileNetV2 --weights imagenet
        imgstream lr photos/ --json | jq .learning_rate
    """
    from imgstream.pictures.rate_curve import check_picture, draw_rates
    from imgstream.progress import counting
    from imgstream.terminal.tables import printable
    from imgstream.training.rate_finder import find_rate

    if out is not None:
        check_picture(out)
        options.check_keeps_inputs(out, directory, exclude)
    with counting("Steps", steps) as done:
        curve = find_rate(
            directory,
            steps=steps,
            progress=done,
            model=model,
            weights=weights,
            size=size,
            levels=levels,
            augment=augment,
            batch_size=batch_size,
            precision=precision,
            exclude=None if exclude is None else str(exclude),
            root=root,
            columns=columns,
            allow_outside=allow_outside,
            multi_label=multi_label,
            label_pattern=label_pattern,
            workers=workers,
            seed=seed,
        )
    if out is not None:
        draw_rates(curve, out)
    if as_json:
        print(json.dumps(curve.to_json()))
        return
    console = output_console()
    if curve.suggestion is None:
        finding = (
            f"In {len(curve.rates)} steps nothing was learnt at any rate: the loss fell to {min(curve.losses):.3g}, and chance is "
            f"{curve.chance:.3g}. Look longer, with --steps {min(4 * steps, MOST_STEPS)}; or leave the rate to training, which takes "
            f"{curve.usual:g}."
        )
    else:
        finding = (
            f"With batches of {curve.batch_size} the loss was lowest at a learning rate of {curve.lowest:.2g}, and rose again from "
            f"{curve.limit:.2g} on. Half of that is a peak to try: --learning-rate {curve.suggestion:g}. "
            f"By itself training takes {curve.usual:g}; so short a look is rough, and best compared with that in whole runs."
        )
    console.print(finding, soft_wrap=True)
    if out is not None:
        console.print(f"The curve is in {printable(str(out))}", soft_wrap=True, markup=False)
