"""imgstream shrink."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from imgstream.cli import options
from imgstream.cli.clock import STARTED
from imgstream.cli.help import MODEL, OUTPUT, TRAINING
from imgstream.terminal.console import output_console


def shrink(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder that train wrote, whose images are still there.")],
    out: Annotated[Path, typer.Option(*options.OUT, metavar="RUN2", help="The run folder to write.", rich_help_panel=OUTPUT)],
    keep: Annotated[
        float, typer.Option("--keep", metavar="SHARE", help="The share of each layer's channels that stays.", rich_help_panel=MODEL)
    ] = 0.5,
    epochs: Annotated[
        int | None,
        typer.Option("--epochs", metavar="N", min=1, help="Number of passes over the images (default: 20).", rich_help_panel=TRAINING),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            "--minutes", metavar="M", help="Instead of --epochs: how many minutes the whole command takes.", rich_help_panel=TRAINING
        ),
    ] = None,
    teacher: options.Teacher = None,
    augment: Annotated[
        str | None,
        typer.Option("--augment", metavar="NAME|FILE", help="Another augmentation than that of RUN.", rich_help_panel=TRAINING),
    ] = None,
    workers: options.Workers = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in RUN2, or start it if there is none.", rich_help_panel=TRAINING)
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Make a run's model smaller and faster: cut whole channels out of it, and train what is left.

    Examples:
        imgstream shrink runs/pets --keep 0.5 --minutes 5 -o runs/pets-half
        imgstream shrink runs/pets --keep 0.5 --minutes 5 --teacher runs/pets -o runs/pets-half
        imgstream evaluate runs/pets-half holdout/

    Half of the channels have a quarter of the weights. It learns from the images of RUN, with the same ones held out.
    """
    if epochs is not None and minutes is not None:
        raise typer.BadParameter("--epochs fixes the work and --minutes the time: give one of them")

    from imgstream.progress import duration
    from imgstream.runs import load_run
    from imgstream.shrinking import shrink_run
    from imgstream.terminal.tables import printable

    before = load_run(run)
    how: dict[str, Any] = {"epochs": epochs, "minutes": minutes, "teacher": teacher, "workers": workers, "started": STARTED}
    found = shrink_run(before, keep=keep, out=out, augment=augment, resume=resume, **how)
    was, now = before.model.count_params(), found.model.count_params()
    sizes = [each.folder.model.stat().st_size for each in (before, found)]
    told: dict[str, Any] = {"run": found.path, "weights_before": was, "weights": now, "bytes_before": sizes[0], "bytes": sizes[1]}
    told |= {"accuracy_before": before.metrics.get("accuracy"), "accuracy": found.metrics.get("accuracy")}
    told |= {"images": found.metrics.get("images"), "seconds": found.state["seconds"]}
    if as_json:
        print(json.dumps(told))
        return
    console = output_console()
    console.print(
        f"{was:,} weights before, {now:,} now: {sizes[0] / 1e6:.2f} and {sizes[1] / 1e6:.2f} MB. Trained {duration(told['seconds'])}.",
        soft_wrap=True,
    )
    if told["accuracy"] is not None and told["accuracy_before"] is not None:
        console.print(
            f"Validation accuracy {100 * told['accuracy_before']:.2f} % before, {100 * told['accuracy']:.2f} % now.", soft_wrap=True
        )
    console.print(f"The run is in {printable(found.path)}", soft_wrap=True, markup=False)
