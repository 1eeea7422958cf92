"""imgstream train."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgstream.cli import options
from imgstream.cli.clock import STARTED
from imgstream.cli.help import DATA, MODEL, OUTPUT, PREPROCESSING, SPEED, TRAINING
from imgstream.cli.training.end_report import report_at_end, report_seconds
from imgstream.terminal.console import output_console
from imgstream.wording import quantity

if TYPE_CHECKING:
    from imgstream.runs import Run


def _take_config(context: typer.Context, file: Path | None) -> dict[str, Any] | None:
    """Make what stands in the file the default of each option; return those that only imgstream.train has. Raises OptionError."""
    if file is None or context.resilient_parsing:
        return None
    from imgstream.errors import OptionError
    from imgstream.training.settings import TrainSettings
    from imgstream.training.state.config_file import read_config

    given = read_config(file)
    here = {parameter.name for parameter in context.command.params} - {"config", "help"}
    only_there = {field.name for field in dataclasses.fields(TrainSettings)} - here
    if unknown := sorted(given.keys() - here - only_there):
        raise OptionError(f"config: {file} has {', '.join(unknown)}, which is no option of train; see imgstream train --help", "config")
    context.default_map = {name: value if isinstance(value, bool) else str(value) for name, value in given.items() if name in here}
    return {name: value for name, value in given.items() if name in only_there}


def _check_named_here(context: typer.Context, augment: str) -> None:
    """Raise OptionError where a function comes from the file: it may be somebody else's, and code is run only where the user names it."""
    from imgstream.errors import OptionError

    source = context.get_parameter_source("augment")
    if ".py:" in augment and source is not None and source.name == "DEFAULT_MAP":
        raise OptionError(
            f"config names the Python function {augment}: code is run only where the command line names it. Give --augment too"
        )


def _given_last(context: typer.Context, **values: Any) -> tuple[Any, Any]:
    """Two options that exclude each other: where one stands on the command line, the other of the file gives way."""
    (one, first), (other, second) = values.items()
    sources = [getattr(context.get_parameter_source(name), "name", "") for name in (one, other)]
    if sources == ["COMMANDLINE", "DEFAULT_MAP"]:
        return first, None
    if sources == ["DEFAULT_MAP", "COMMANDLINE"]:
        return None, second
    return first, second


def train(
    context: typer.Context,
    directory: options.LabelledImages,
    out: Annotated[Path, typer.Option(*options.OUT, metavar="RUN", help="The run folder to write.", rich_help_panel=OUTPUT)],
    val: Annotated[
        str | None,
        typer.Option("--val", metavar="DIR", help="Validate on this folder (default: a fifth of the images).", rich_help_panel=DATA),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(
            "--group",
            metavar="folder|column|FILE|REGEX",
            help="Keep the images of a group on one side of the split. A group is a folder, a value of a manifest's group column, a "
            "cluster in a file that imgstream check --groups wrote, or what (?P<group>...) matches in the path.",
            rich_help_panel=DATA,
        ),
    ] = None,
    fold: Annotated[
        str | None,
        typer.Option(
            "--fold",
            metavar="K/N|all",
            help="Cross-validation: validate on the K-th of N parts, or train once for each part.",
            rich_help_panel=DATA,
        ),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(
            "--folds",
            metavar="N",
            min=2,
            max=100,
            help="With --fold all: the number of parts, each with a run in RUN/fold-K (default: 5).",
            rich_help_panel=DATA,
        ),
    ] = None,
    corrections: options.Corrections = None,
    exclude: options.Exclude = None,
    root: options.Root = None,
    columns: options.Columns = None,
    allow_outside: options.AllowOutside = False,
    multi_label: options.MultiLabel = False,
    size: options.Size = None,
    fit: Annotated[
        str,
        typer.Option(
            "--fit",
            metavar="crop|pad|stretch",
            help="How an image of another aspect is fitted into the size.",
            rich_help_panel=PREPROCESSING,
        ),
    ] = "crop",
    channels: Annotated[int, typer.Option("--channels", metavar="3|1", help="3 for RGB, 1 for grey.", rich_help_panel=PREPROCESSING)] = 3,
    levels: options.Levels = None,
    model: options.Model = None,
    weights: Annotated[
        str,
        typer.Option(
            "--weights",
            metavar="none|imagenet|FILE",
            help="Pretrained weights to start from: the last layer is trained first, then the whole model at a lower learning rate.",
            rich_help_panel=MODEL,
        ),
    ] = "none",
    head_only: Annotated[
        bool,
        typer.Option(
            "--head-only", help="Train the last layer only, on the features that the given weights compute.", rich_help_panel=MODEL
        ),
    ] = False,
    features: Annotated[
        str | None,
        typer.Option(
            "--features", metavar="FILE", help="With --head-only: the features that imgstream embed wrote.", rich_help_panel=MODEL
        ),
    ] = None,
    teacher: options.Teacher = None,
    teacher_weight: options.TeacherWeight = 0.9,
    teacher_temperature: options.TeacherTemperature = 4.0,
    augment: options.Augment = "standard",
    augment_on: options.AugmentOn = "cpu",
    epochs: Annotated[
        int | None,
        typer.Option(
            "--epochs",
            metavar="N",
            min=1,
            help="Number of passes over the training images (default: 20; with --weights 5).",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            "--minutes", metavar="M", help="Instead of --epochs: how many minutes the whole command takes.", rich_help_panel=TRAINING
        ),
    ] = None,
    batch_size: options.BatchSize = "auto",
    memory: Annotated[
        Any,
        typer.Option(
            "--memory",
            metavar="2GB",
            parser=options.parse_bytes,
            help="The most memory that the process allocates (default: no limit).",
            rich_help_panel=SPEED,
        ),
    ] = None,
    gpu_memory: Annotated[
        Any,
        typer.Option(
            "--gpu-memory", metavar="4GB", parser=options.parse_bytes, help="The most memory to take of each GPU.", rich_help_panel=SPEED
        ),
    ] = None,
    precision: options.Precision = "auto",
    checkpoint_every: Annotated[
        str,
        typer.Option(
            "--checkpoint-every",
            metavar="2min|200steps",
            help="How often to write a checkpoint for --resume to go on from.",
            rich_help_panel=TRAINING,
        ),
    ] = "2min",
    learning_rate: Annotated[
        float | None,
        typer.Option(
            "--learning-rate",
            metavar="RATE",
            help="Peak of the one-cycle schedule; imgstream lr suggests one.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    balance: Annotated[
        bool, typer.Option("--balance", help="Give images of rare classes more weight in the loss.", rich_help_panel=TRAINING)
    ] = False,
    patience: Annotated[
        int | None,
        typer.Option(
            "--patience", metavar="N", min=1, help="Stop after N validations in a row without a better one.", rich_help_panel=TRAINING
        ),
    ] = None,
    pipeline: options.Pipeline = "auto",
    cache: options.Cache = "off",
    cache_limit: options.CacheLimit = None,
    seed: Annotated[
        int,
        typer.Option(
            "--seed", metavar="N", help="Seed of the split, the order, the augmentation and the weights.", rich_help_panel=TRAINING
        ),
    ] = 0,
    workers: options.Workers = None,
    on: options.On = None,
    replicas: options.Replicas = None,
    label_pattern: options.LabelPattern = None,
    max_bad: Annotated[
        float,
        typer.Option(
            "--max-bad",
            metavar="SHARE",
            help="Stop when more than 20 files, and more than this share of an epoch's files so far, are bad.",
            rich_help_panel=DATA,
        ),
    ] = 0.05,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in RUN, or start it if there is none.", rich_help_panel=TRAINING)
    ] = False,
    config: Annotated[
        Any,
        typer.Option(
            "--config",
            metavar="FILE",
            parser=Path,
            callback=_take_config,
            is_eager=True,
            help="Take options, and DIR, from a YAML file such as the train.yaml of a run; what the command line says wins.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only say what would be done and how long it would take; write nothing.", rich_help_panel=OUTPUT),
    ] = False,
    no_report: Annotated[
        bool, typer.Option("--no-report", help="Leave out report.html, the page that shows the run.", rich_help_panel=OUTPUT)
    ] = False,
    as_json: options.Json = False,
) -> None:
    r"""Train a classifier on a folder that has one folder of images for each class.

    Examples:
        imgstream train photos/ --out runs/pets --minutes 15
        imgstream train photos/ --out runs/pets --epochs 40 --size 128 --augment strong
        imgstream train photos/ --out runs/gpu --augment layers.keras --augment-on device
        imgstream train flat/ --out runs/flat --label-pattern '(?P<label>cat|dog)\.'
        imgstream train camera/ --out runs/camera --cache auto --cache-limit 50GB
        imgstream train photos/ --out runs/calm --exclude quarantine.csv --group duplicates.csv
        imgstream train photos/ --out runs/corrected --corrections corrections.csv
        imgstream train list.csv --root photos/ --columns path=img,label=species --out runs/listed
        imgstream train tags.csv --multi-label --out runs/tags
        imgstream train photos/ --out runs/mobile --model MobileNetV2 --weights imagenet
        imgstream train photos/ --out runs/quick --weights squeezenet.h5 --head-only
        imgstream train photos/ --out runs/small --model cnn-small --teacher runs/pets --minutes 15
        imgstream train photos/ --out runs/frugal --minutes 60 --memory 1500MB --checkpoint-every 5min --resume
        imgstream train photos/ --out runs/pets --minutes 15 --dry-run
        imgstream train photos/ --out runs/folds --fold all --folds 5 --minutes 50
        imgstream train --config runs/pets/train.yaml --out runs/longer --minutes 60
        imgstream train /shared/photos/ --out /shared/runs/pets --epochs 40 --on ray --replicas 4
    """
    if config is not None:
        _check_named_here(context, augment)
        epochs, minutes = _given_last(context, epochs=epochs, minutes=minutes)
        val, fold = _given_last(context, val=val, fold=fold)
    if epochs is not None and minutes is not None:
        raise typer.BadParameter("--epochs fixes the work and --minutes the time: give one of them")
    if cache_limit is not None and cache == "off":
        raise typer.BadParameter("--cache-limit limits a cache, and there is none: give --cache auto or --cache DIR with it")
    if replicas is not None and on is None:
        raise typer.BadParameter("--replicas is the number of processes on a cluster: give it with --on ray")
    if on is not None and (dry_run or fold == "all"):
        raise typer.BadParameter("--on starts the processes of one training: leave out --dry-run, and give --fold 1/5 and not all")
    if on is not None:
        _train_on(context, on, replicas)
        return

    from imgstream.cache import PixelCache
    from imgstream.index.split.validation import SplitReport
    from imgstream.progress import duration, error_console
    from imgstream.terminal.plan_report import plan_lines
    from imgstream.terminal.tables import amount, printable
    from imgstream.training import dry_run as run_dry
    from imgstream.training import train as run_training
    from imgstream.training.processes.group import joined

    asked: dict[str, Any] = {
        "val": val,
        "group": group,
        "fold": fold,
        **({} if corrections is None else {"corrections": str(corrections)}),
        "exclude": None if exclude is None else str(exclude),
        "root": root,
        "columns": columns,
        "allow_outside": allow_outside,
        "multi_label": multi_label,
        "size": size,
        "fit": fit,
        "channels": channels,
        "levels": levels,
        "model": model,
        "weights": weights,
        "head_only": head_only,
        "features": features,
        "teacher": teacher,
        "teacher_weight": teacher_weight,
        "teacher_temperature": teacher_temperature,
        "augment": augment,
        "augment_on": augment_on,
        "epochs": epochs,
        "minutes": minutes,
        "batch_size": batch_size,
        "memory": memory,
        "gpu_memory": gpu_memory,
        "precision": precision,
        "checkpoint_every": checkpoint_every,
        "learning_rate": learning_rate,
        "balance": balance,
        "patience": patience,
        "pipeline": pipeline,
        "cache": cache,
        **({} if cache_limit is None else {"cache_limit": cache_limit}),
        "seed": seed,
        "workers": workers,
        "label_pattern": label_pattern,
        "max_bad": max_bad,
        **(config or {}),
    }
    if folds is not None and fold != "all":
        raise typer.BadParameter("--folds is the number of parts of --fold all: give both")
    if fold == "all":
        if dry_run:
            raise typer.BadParameter("--dry-run looks at one training: give --fold 1/5 with it")
        _train_folds(directory, out, resume, folds or 5, asked, as_json)
        return
    was_finished = resume and is_finished(out)
    if dry_run and not was_finished:
        plan = run_dry(directory, out=out, resume=resume, started=STARTED, **asked)
        assert plan is not None, "a finished run was told of before"
        print(json.dumps(plan.to_json()) if as_json else "\n".join(plan_lines(plan)))
        return
    with_report = not (no_report or was_finished)
    if with_report and memory is not None:
        with_report = False
        error_console().print("No report is made, so that --memory holds: imgstream report makes it afterwards", soft_wrap=True)
    reserve = report_seconds(minutes) if with_report and minutes is not None else 0.0
    try:
        how: dict[str, Any] = {"started": STARTED, "reserve": reserve, "repeated": {"no_report": no_report}}
        run = run_training(directory, out=out, resume=resume, **how, **asked)
    except KeyboardInterrupt:
        if joined().is_first and (out / "model.keras").exists():
            print(f"Interrupted. What was learnt is kept in {printable(str(out))}; the same command with --resume goes on from there.")
        raise
    if not joined().is_first:  # of several processes, one speaks
        return
    page = report_at_end(run, minutes) if with_report else None
    console, state = output_console(), run.state
    metrics = run.metrics
    if as_json:
        print(json.dumps(summary(run, was_finished) | {"report": page}))
        return
    if was_finished:
        console.print("This run was finished before: there is nothing left to do.")
    console.print(
        f"Trained {quantity(state['steps'], 'step')} in {duration(state['seconds'])} at {state['images_per_second']:,.0f} images/s. "
        f"Best validation {best(metrics)} on {quantity(metrics['images'], 'image')}.",
        soft_wrap=True,
    )
    if "split" in state:
        console.print(printable(str(SplitReport(**state["split"]))), soft_wrap=True, markup=False)
    if run.spec.levels is not None:
        low, high = run.spec.levels
        console.print(f"Levels: {low:g} is black, {high:g} is white")
    if "pipeline" in state:  # older runs lack it
        console.print(f"Pipeline: {state['pipeline']} ({state['pipeline_why']})", soft_wrap=True)
    if cache != "off":
        kept = PixelCache(None if cache == "auto" else cache)
        console.print(
            f"Cache: {amount(sum(shelf.bytes for shelf in kept.held()))} in {printable(str(kept.folder))}", soft_wrap=True, markup=False
        )
    with run.folder.skipped.open(encoding="utf-8", newline="") as file:
        skipped = sum(1 for _ in csv.reader(file)) - 1
    if skipped:
        console.print(
            f"Left out as bad: {quantity(skipped, 'file')}, listed in {printable(str(run.folder.skipped))}", soft_wrap=True, markup=False
        )
    console.print(f"The run is in {printable(run.path)}: model.keras, history.csv, settings.json and more", soft_wrap=True, markup=False)
    if page is not None:
        console.print(f"Report: {printable(page)}", soft_wrap=True, markup=False)


def _train_on(context: typer.Context, on: str, replicas: int | None) -> None:
    """Run this command on a cluster: its processes say the rest."""
    from imgstream.cluster.connection import connected
    from imgstream.cluster.training import train_on
    from imgstream.progress import error_console

    console = error_console()
    with contextlib.ExitStack() as stack:
        with console.status("Starting the cluster") if console.is_terminal else contextlib.nullcontext():
            cluster = stack.enter_context(connected(on, replicas))
        console.print(f"Ray: {cluster}", soft_wrap=True)
        code = train_on(cluster, context.find_root().obj, replicas)
    if code:
        raise typer.Exit(code)


def _train_folds(directory: str, out: Path, resume: bool, folds: int, asked: dict[str, Any], as_json: bool) -> None:
    """Train once for each part, and tell what all of them reached."""
    from imgstream.terminal.tables import printable
    from imgstream.training.folds import train_folds

    options = {name: value for name, value in asked.items() if name != "fold"}
    found = train_folds(directory, out=out, folds=folds, resume=resume, started=STARTED, **options)
    if as_json:
        print(json.dumps(found.to_json()))
        return
    console, spread = output_console(), found.spread()
    for run in found.runs:
        text = f"{printable(Path(run.path).name)}: {best(run.metrics)} on {quantity(run.metrics['images'], 'image')}"
        console.print(text, markup=False, soft_wrap=True)
    console.print(
        f"Validation {found.measure} {100 * spread['mean']:.2f} ± {100 * spread['deviation']:.2f} % "
        f"({100 * spread['least']:.2f} to {100 * spread['most']:.2f}) over {folds} parts",
        soft_wrap=True,
    )
    together = ",".join(printable(run.path) for run in found.runs)
    console.print(f"All of them together: imgstream predict {together} DIR -o OUT.csv", markup=False, soft_wrap=True)


def best(metrics: dict[str, Any]) -> str:
    """What a run reached on its validation images."""
    if "mAP" in metrics:
        f1 = f"F1 {100 * metrics['f1_micro']:.2f} % of all labels, {100 * metrics['f1_macro']:.2f} % of the mean class"
        return f"mAP {100 * metrics['mAP']:.2f} %, {f1}"
    return f"accuracy {100 * metrics['accuracy']:.2f} %"


def is_finished(out: Path) -> bool:
    """Whether there is a finished run in `out`."""
    from imgstream.runs.folder import RunFolder

    return (out / "run.json").exists() and RunFolder(out).state()["state"] == "finished"


def summary(run: Run, was_finished: bool) -> dict[str, Any]:
    """What --json prints: steps_run and resumed_from_step refer to this command, everything else to the whole run."""
    state, metrics = run.state, run.metrics
    return {
        "run": run.path,
        "steps_run": 0 if was_finished else state.get("steps_run", state["steps"]),
        "resumed_from_step": state["steps"] if was_finished else state.get("resumed_from_step"),
        "steps": state["steps"],
        "epochs": state["epochs"],
        "accuracy": metrics.get("accuracy"),
        **{name: metrics[name] for name in ("mAP", "f1_micro", "f1_macro") if name in metrics},
        "loss": metrics.get("loss"),
        "images": metrics.get("images"),
        "seconds": state["seconds"],
        "images_per_second": state["images_per_second"],
        **{name: state[name] for name in ("model", "precision", "batch_size", "pipeline", "checkpoints", "memory") if name in state},
    }
