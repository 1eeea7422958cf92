"""imgstream check."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imgstream.cli import options
from imgstream.cli.help import CHECKS, OUTPUT, PREPROCESSING
from imgstream.terminal.console import output_console
from imgstream.wording import quantity

if TYPE_CHECKING:
    import numpy as np

    from imgstream.runs import Run

FOUND = 3
"""Exit code when the check found something."""


def check(
    directory: options.Images,
    decode: Annotated[
        bool, typer.Option("--decode", help="Decode every file: finds all broken files, and near duplicates.", rich_help_panel=CHECKS)
    ] = False,
    quarantine: Annotated[
        Path | None,
        typer.Option(
            "--quarantine",
            metavar="FILE.csv",
            help="Write the list of files to leave out, for --exclude of train and predict.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    groups: Annotated[
        Path | None,
        typer.Option(
            "--groups", metavar="FILE.csv", help="Write which files are duplicates, for --group of train.", rich_help_panel=OUTPUT
        ),
    ] = None,
    label_pattern: options.LabelPattern = None,
    corrections: options.Corrections = None,
    exclude: options.Exclude = None,
    root: options.Root = None,
    columns: options.Columns = None,
    allow_outside: options.AllowOutside = False,
    as_json: options.Json = False,
    workers: options.Workers = None,
    parity: Annotated[
        bool,
        typer.Option("--parity", help="Instead: compare the python and the tf pipeline, value by value.", rich_help_panel=CHECKS),
    ] = False,
    run: Annotated[
        Path | None,
        typer.Option(
            "--run",
            metavar="RUN",
            help="With --parity: read images as this run does, and list the predictions that differ.",
            rich_help_panel=CHECKS,
        ),
    ] = None,
    size: options.Size = None,
    fit: Annotated[
        str | None,
        typer.Option(
            "--fit",
            metavar="crop|pad|stretch",
            help="With --parity: how an image of another aspect is fitted into the size.",
            rich_help_panel=PREPROCESSING,
        ),
    ] = None,
    channels: Annotated[
        int | None,
        typer.Option("--channels", metavar="3|1", help="With --parity: 3 for RGB, 1 for grey.", rich_help_panel=PREPROCESSING),
    ] = None,
    augment: Annotated[
        list[str] | None,
        typer.Option(
            "--augment",
            metavar="NAME|FILE",
            help="With --parity: an augmentation to compare; may be given several times.",
            rich_help_panel=PREPROCESSING,
        ),
    ] = None,
) -> None:
    """Look for broken files, duplicates, contradicting labels and other faults in a folder of images, and count classes, kinds and sizes.

    Examples:
        imgstream check photos/
        imgstream check photos/ --decode --quarantine bad.csv --groups copies.csv
        imgstream train photos/ --out runs/pets --exclude bad.csv --group copies.csv
        imgstream check photos/ --decode --json
        imgstream check photos/ --parity --run runs/pets
        imgstream check photos/ --parity --size 180x299 --fit pad --augment none --augment strong --json

    Also found: duplicates on both sides of a split, extreme aspects, and classes whose names look alike. No image is changed.

    Without --decode only headers are read, which takes seconds. With it every file is decoded as train would decode it, and images are
    compared, so that re-encoded and resized copies are found too.

    The exit code is 0 when nothing was found and 3 when something was. With --parity these are found: pixels that differ by more than 1/255
    without augmentation, or by more than 3/255, or 0.1/255 on average, with a preset; files that only one pipeline skips; labels that
    differ.
    """
    if parity and (decode or quarantine is not None or groups is not None):
        raise typer.BadParameter("--parity is a check of its own: leave out --decode, --quarantine and --groups")
    if parity:
        _compare_pipelines(directory, label_pattern, run, size, fit, channels, augment, as_json, workers)
        return
    if run is not None or size is not None or fit is not None or channels is not None or augment is not None:
        raise typer.BadParameter("--run, --size, --fit, --channels and --augment go with --parity")
    if quarantine is not None and quarantine == groups:
        raise typer.BadParameter("--quarantine and --groups need a file each")

    from imgstream.check import examine, write_groups, write_quarantine
    from imgstream.errors import OutputError
    from imgstream.files.atomic import check_target
    from imgstream.index import IMAGE_EXTENSIONS, look_alikes
    from imgstream.progress import counting
    from imgstream.terminal.check_report import check_report
    from imgstream.terminal.tables import printable

    for target in (quarantine, groups):
        if target is not None:
            if target.suffix.lower() in IMAGE_EXTENSIONS:
                raise OutputError(f"{str(target)!r} is named as an image is, and images are never written to. End the name in .csv")
            check_target(target)
            options.check_keeps_inputs(target, directory, exclude, corrections)
    index = options.open_images(
        directory, label_pattern, corrections=corrections, exclude=exclude, root=root, columns=columns, allow_outside=allow_outside
    )
    findings = examine(index, decode=decode, workers=workers, stage=counting)
    console, written = output_console(), []
    if quarantine is not None:
        count = write_quarantine(findings, quarantine)
        written.append(f"{printable(str(quarantine))}: {quantity(count, 'file')} to leave out, for --exclude")
    if groups is not None:
        count = write_groups(findings, groups)
        written.append(f"{printable(str(groups))}: {quantity(count, 'group')} to keep together, for --group")
    if as_json:
        print(json.dumps(findings.to_json()))
    else:
        for part in check_report(findings):
            console.print(part)
        for line in written:
            console.print(line, markup=False, soft_wrap=True)
        if advice := look_alikes.warning(index, directory, label_pattern, columns):
            console.print(printable(advice), markup=False, soft_wrap=True)
    if not findings.clean:
        raise typer.Exit(FOUND)


def _compare_pipelines(
    directory: str,
    label_pattern: str | None,
    run: Path | None,
    size: tuple[int, int] | None,
    fit: str | None,
    channels: int | None,
    augment: list[str] | None,
    as_json: bool,
    workers: int | None,
) -> None:
    """Run --parity."""
    if run is not None and (size is not None or fit is not None or channels is not None):
        raise typer.BadParameter("--run brings its own size, fit and channels")

    from imgstream.errors import NoImagesError
    from imgstream.progress import counting
    from imgstream.runs import load_run
    from imgstream.spec import SampleSpec
    from imgstream.stream import Stream
    from imgstream.stream.parity import ParityResult, compare
    from imgstream.terminal.parity_report import parity_report

    opened = load_run(run) if run is not None else None
    spec = opened.spec if opened is not None else SampleSpec(size=size or (224, 224), fit=fit or "crop", channels=channels or 3)  # type: ignore[arg-type]
    index = options.open_images(directory, label_pattern)
    comparisons: list[ParityResult] = []
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
            output_console().print(part, soft_wrap=True)
    if not agree:
        raise typer.Exit(FOUND)


def _scores(run: Run) -> Callable[[np.ndarray], np.ndarray]:
    from imgstream.evaluation.metrics import softmax
    from imgstream.models.forward import Forward
    from imgstream.runs.run import BATCH_SIZE

    forward = Forward(run.program, BATCH_SIZE)
    return lambda images: softmax(forward(images))
