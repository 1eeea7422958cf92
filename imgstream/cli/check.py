"""imgstream check."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from imgstream.cli import options

if TYPE_CHECKING:
    import numpy as np

    from imgstream.runs import Run

FOUND = 3
"""Exit code: the check was made, and found something."""


def check(
    directory: Annotated[str, typer.Argument(metavar="DIR", help="A folder of images.")],
    parity: Annotated[bool, typer.Option("--parity", help="Compare the python and the tf pipeline, value by value.")] = False,
    run: Annotated[
        Path | None, typer.Option("--run", metavar="RUN", help="As this run reads images; tells the predictions that change.")
    ] = None,
    size: options.Size = None,
    fit: Annotated[str | None, typer.Option("--fit", help="How an image meets the size: crop, pad or stretch.")] = None,
    channels: Annotated[int | None, typer.Option("--channels", help="3 for RGB, 1 for grey.")] = None,
    augment: Annotated[list[str] | None, typer.Option("--augment", metavar="NAME|FILE", help="Repeat for several.")] = None,
    as_json: options.Json = False,
    workers: options.Workers = None,
) -> None:
    """Check a folder. So far: --parity, whether the two pipelines give the same samples of these files.

    Exit code 3 when something was found: pixels beyond 1/255 without augmentation, or beyond 3/255 or 0.1/255 on average with a preset;
    files that only one pipeline skips; labels that differ.

    [bold]Examples[/bold]

      imgstream check photos/ --parity

      imgstream check photos/ --parity --run runs/pets

      imgstream check photos/ --parity --size 180x299 --fit pad --augment none --augment strong --json
    """
    if not parity:
        raise typer.BadParameter("say what to check: --parity")
    if run is not None and (size is not None or fit is not None or channels is not None):
        raise typer.BadParameter("--run brings its own size, fit and channels")

    from imgstream.errors import NoImagesError
    from imgstream.index import scan
    from imgstream.report.parity import parity_report
    from imgstream.report.progress import counting
    from imgstream.runs import load_run
    from imgstream.spec import SampleSpec
    from imgstream.stream import Stream
    from imgstream.stream.parity import Comparison, compare

    opened = load_run(run) if run is not None else None
    spec = opened.spec if opened is not None else SampleSpec(size=size or (224, 224), fit=fit or "crop", channels=channels or 3)  # type: ignore[arg-type]
    with counting("Listing images") as scanned:
        index = scan(directory, progress=scanned)
    comparisons: list[Comparison] = []
    scores = _scores(opened) if opened is not None else None
    for name in augment or ["none", "light", "standard"]:
        stream = Stream(index, spec, augment=None if name == "none" else name, workers=workers)
        with counting(f"Comparing, augment {name}", len(index)) as done:
            comparisons.append(compare(stream, scores if not comparisons else None, done))
    if not any(comparison.images for comparison in comparisons):
        raise NoImagesError(f"none of the {len(index):,} images under {directory} could be read by both pipelines")
    agree = all(comparison.agrees for comparison in comparisons)
    names = opened.class_names if opened is not None else []
    if as_json:
        result = {"parity": agree, "files": len(index), "spec": spec.to_json(), "comparisons": [c.to_json() for c in comparisons]}
        if opened is not None:
            changed = [{**c._asdict(), "python": names[c.python], "tf": names[c.tf]} for c in comparisons[0].changed]
            result["run"] = {"path": opened.path, "predictions_that_change": changed, "largest_score_difference": comparisons[0].score}
        print(json.dumps(result))
    else:
        for part in parity_report(comparisons, len(index), spec, names):
            Console(highlight=False).print(part, soft_wrap=True)
    if not agree:
        raise typer.Exit(FOUND)


def _scores(run: Run) -> Callable[[np.ndarray], np.ndarray]:
    from imgstream.prediction.forward import Forward
    from imgstream.prediction.metrics import softmax
    from imgstream.runs.run import BATCH_SIZE

    forward = Forward(run.model, BATCH_SIZE)
    return lambda images: softmax(forward(images))
