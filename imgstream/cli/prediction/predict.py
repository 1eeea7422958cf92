"""imgstream predict."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgstream.cli import options
from imgstream.cli.clock import STARTED
from imgstream.cli.help import OUTPUT, PREDICTION
from imgstream.terminal.console import output_console
from imgstream.wording import quantity

if TYPE_CHECKING:
    import numpy as np

    from imgstream.export import ExportedModel
    from imgstream.index import ImageIndex
    from imgstream.prediction.job import Summary
    from imgstream.prediction.rows import StoredPrediction
    from imgstream.prediction.scorer import Member, Scored
    from imgstream.prediction.store import PredictionStore
    from imgstream.runs import Run


def parse_shard(text: str | None) -> tuple[int, int] | None:
    """Read "3/16", the third of sixteen, as (2, 16). Raises typer.BadParameter."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text.strip())
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise typer.BadParameter(f"{text!r} is no shard; give K/N, from 1/N to N/N, such as 3/16")
    return int(match[1]) - 1, int(match[2])


def predict(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN|FILE[,RUN…]", help="A run folder that train wrote, or a model that export wrote; scores of several are averaged."
        ),
    ],
    sources: Annotated[
        list[str],
        typer.Argument(metavar="DIR|MANIFEST|FILE…|-", help="A folder, a manifest, files, or - for paths on stdin, one a line."),
    ],
    output: Annotated[
        Path,
        typer.Option(*options.OUT, metavar="FILE", help="The predictions to write: .csv, .jsonl or .parquet.", rich_help_panel=OUTPUT),
    ],
    top_k: options.TopK = None,
    min_score: options.MinScore = 0.0,
    tta: options.Tta = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start anew: forget what was predicted into FILE before.", rich_help_panel=PREDICTION)
    ] = False,
    shard: Annotated[
        Any,
        typer.Option(
            "--shard",
            metavar="K/N",
            parser=parse_shard,
            help="Predict only the K-th of N parts; imgstream merge joins them.",
            rich_help_panel=PREDICTION,
        ),
    ] = None,
    exclude: options.Exclude = None,
    root: options.Root = None,
    columns: options.Columns = None,
    allow_outside: options.AllowOutside = False,
    pipeline: options.Pipeline = "auto",
    workers: options.Workers = None,
    engine: options.Engine = "auto",
    as_json: options.Json = False,
) -> None:
    """Predict the class of every image: one row for each file, in the order of the index; a bad file's row says why it is bad.

    Examples:
        imgstream predict runs/pets new_photos/ -o predictions.csv
        imgstream predict runs/pets a.jpg b.png -o two.jsonl --top-k 3
        find . -name '*.jpg' | imgstream predict runs/pets - -o found.parquet
        imgstream predict runs/a,runs/b new_photos/ -o both.csv --tta flip --min-score 0.6
        imgstream predict runs/pets archive/ -o part3.csv --shard 3/16

    Where the run was trained with --multi-label, label has all labels whose score reaches the threshold of their class, as cat|dog, and
    the scores of all classes, or the best 20, are written too.

    Predictions are kept in FILE.store, batch by batch. The same command goes on where it stopped, even after a crash. Given again later, it
    predicts only images that are new or have changed, and writes FILE with all rows.
    """
    from imgstream.prediction.job import LEAST_RANKS, batch_size_for, usual_top_k, write_output
    from imgstream.prediction.store import PredictionStore, store_path
    from imgstream.prediction.writers import check_output
    from imgstream.progress import counting, error_console
    from imgstream.terminal.tables import MOST_ROWS, Reasons, printable

    check_output(output)
    options.check_keeps_inputs(output, *sources, exclude)
    runs = _runs(run)
    index = _index(sources, exclude=exclude, root=root, columns=columns, allow_outside=allow_outside)
    class_names, thresholds = runs[0].class_names, _thresholds(runs)
    top_k = top_k or usual_top_k(len(class_names), multi_label=thresholds is not None)
    identity = {"runs": [opened.fingerprint for opened in runs], "tta": tta}
    ranks = min(len(class_names), max(top_k, LEAST_RANKS)) if thresholds is None else len(class_names)  # any may reach its threshold
    with PredictionStore(store_path(output), identity, ranks=ranks, fresh=fresh) as store:
        if (batch_size := store.get("batch_size")) is None:
            batch_size = batch_size_for(runs[0].spec.shape)
            store.set("class_names", class_names)
            store.set("thresholds", None if thresholds is None else thresholds.astype(float).tolist())
            store.set("batch_size", batch_size)
        with counting("Looking for what is new", len(index)) as looked:
            plan = store.plan(index, batch_size, shard or (0, 1), looked)
        if plan.removed or plan.changed:
            text = f"Since the last time: {quantity(plan.added, 'new image')}, {plan.changed:,} changed, {plan.removed:,} gone"
            error_console().print(text, soft_wrap=True)
        drift = Drift(runs[0], alone=len(runs) == 1 and tta is None)
        summary = _predict(store, runs, index, plan, tta, pipeline, workers, engine, drift)
        for line in (warnings := drift.warnings(index) if summary.decoded else []):
            error_console().print(f"Unlike the training images: {printable(line)}", style="yellow", markup=False, soft_wrap=True)
        first: list[StoredPrediction] = []
        bad = Reasons()
        with counting("Writing", summary.rows) as wrote:
            for number, row in enumerate(write_output(store, output, class_names, top_k, min_score, thresholds), 1):
                if len(first) < MOST_ROWS:
                    first.append(row)
                if row.error is not None:
                    bad.add(row.path, row.error)
                if number % 1000 == 0:
                    wrote(number)
        used = store.get("pipeline"), store.get("engine")
    summary = dataclasses.replace(summary, seconds=time.monotonic() - STARTED)
    options.tell_changed(index)
    if as_json:
        print(json.dumps({**summary.to_json(), "drift": warnings}))
        return
    _print(first, bad, summary, used)
    output_console().print(
        f"Predictions: {printable(str(output))}    Model: {printable(', '.join(opened.path for opened in runs))}",
        markup=False,
        soft_wrap=True,
    )


class Drift:
    """Finds out whether the images of a prediction differ from those that the run was trained on."""

    def __init__(self, run: Run | ExportedModel, *, alone: bool) -> None:
        """`alone`: whether the scores are this run's own; averaged ones are less sure, and cannot be compared with its validation."""
        from imgstream.evaluation.drift import ProfileBuilder

        self._trained, self._spec, self._builder, self._alone = run.profile, run.spec, ProfileBuilder(), alone

    def see(self, batch: Scored) -> None:
        """Count a batch."""
        if self._trained is not None and len(batch.images):
            self._builder.add_images(batch.images, self._spec)
            if self._alone:
                self._builder.add_scores(batch.scores)

    def warnings(self, index: ImageIndex) -> list[str]:
        """What is different, one line each."""
        from imgstream.evaluation.drift import compare, sample_headers

        if self._trained is None:
            return []
        for header in sample_headers(index):
            self._builder.add_header(header)
        return compare(self._trained, self._builder.profile())


def _predict(
    store: PredictionStore,
    runs: list[Run | ExportedModel],
    index: ImageIndex,
    plan: Any,
    tta: str | None,
    pipeline: str,
    workers: int | None,
    engine: str,
    drift: Drift,
) -> Summary:
    from imgstream.prediction.job import predict_into
    from imgstream.prediction.scorer import Scorer
    from imgstream.progress import counting, error_console

    chosen = store.get("pipeline")
    if not plan.planned:
        return predict_into(store, None, index, plan)
    done = plan.rows - plan.planned
    if done:
        error_console().print(f"{done:,} of {quantity(plan.rows, 'image')} predicted before; {plan.planned:,} left", soft_wrap=True)
    if chosen is None or (pipeline != "auto" and pipeline != chosen[0] and not done):
        choice = options.choose(runs[0].stream(index, workers=workers), pipeline)
        chosen = [choice.pipeline, choice.why]
        store.set("pipeline", chosen)
    elif pipeline not in ("auto", chosen[0]):
        raise typer.BadParameter(
            f"{store.path} was begun with --pipeline {chosen[0]}, whose pixels differ by a little: --fresh begins anew"
        )
    scorer = Scorer(_members(store, runs, engine, done, plan.planned), store.get("batch_size"), tta=tta == "flip")
    try:
        with counting("Predicting", plan.rows) as progress:
            return predict_into(store, scorer, index, plan, workers=workers, pipeline=chosen[0], progress=progress, seen=drift.see)
    except KeyboardInterrupt:
        rows, good, bad = store.counts()
        error_console().print(
            f"{good + bad:,} of {quantity(rows, 'image')} predicted and kept; the same command goes on from there.", soft_wrap=True
        )
        raise


def _members(store: PredictionStore, runs: list[Run | ExportedModel], asked: str, done: int, planned: int) -> list[Member]:
    """The models, computed by the engine that the store was begun with, or by one that is selected now and recorded."""
    from imgstream.runs import Run

    recorded: list[str] | None = store.get("engine") or (["keras", "as before there were others"] if done else None)
    if recorded is not None and asked in ("auto", recorded[0]):
        name = recorded[0]
    elif recorded is not None and done:
        raise typer.BadParameter(
            f"{store.path} was begun with --engine {recorded[0]}, whose scores differ by a little: --fresh begins anew"
        )
    else:
        name, recorded = asked, None
    members: list[Member] = []
    for opened in runs:
        member = opened.member
        if isinstance(opened, Run):
            computing, chosen = options.choose_engine(opened.model, opened.spec, name, images=planned, batch_size=store.get("batch_size"))
            member, name, recorded = member._replace(engine=computing), chosen.name, recorded or list(chosen)  # one for all
        elif asked != "auto":
            raise typer.BadParameter(f"{opened.path} is an exported model, which its own runtime computes: leave out --engine")
        members.append(member)
    store.set("engine", recorded)
    return members


def _print(first: list[StoredPrediction], bad: Any, summary: Summary, used: tuple[list[str] | None, list[str] | None]) -> None:
    from imgstream.terminal.tables import prediction_table

    console = output_console()
    console.print(prediction_table(first, summary.rows))
    if bad:
        console.print(bad.table())
    text = f"{quantity(summary.rows, 'image')}: {summary.ok:,} predicted, {summary.bad:,} bad."
    if summary.reused:
        text += f" {summary.reused:,} of them from before, {summary.decoded:,} now."
    if summary.decoded:
        text += f" {summary.images_per_second:,.0f} images/s."
        for what, choice in zip(("Pipeline", "Engine"), used, strict=True):
            if choice is not None:
                text += f" {what}: {choice[0]} ({choice[1]})."
    console.print(text, soft_wrap=True)


def _thresholds(runs: list[Run | ExportedModel]) -> np.ndarray | None:
    """The mean thresholds of runs that give an image several labels, in the order of the first run's classes."""
    import numpy as np

    found = [
        opened.thresholds[[opened.class_names.index(name) for name in runs[0].class_names]]
        for opened in runs
        if opened.thresholds is not None and sorted(opened.class_names) == sorted(runs[0].class_names)
    ]
    return np.asarray(np.mean(found, axis=0), np.float32) if found else None


def _runs(text: str) -> list[Run | ExportedModel]:
    """The runs and exported models at one path, or at several separated by commas."""
    from imgstream.export import open_model

    paths = [] if os.path.exists(text) else [path for path in text.split(",") if path]
    return [open_model(path) for path in paths or [text]]


def _index(sources: list[str], **of_index: Any) -> ImageIndex:
    from imgstream.index import ImageIndex, kind_of

    if sources == ["-"]:  # a list from a program is taken as it is, one row for each path
        return options.open_images(ImageIndex.from_paths(_stdin_paths()), **of_index)
    if len(sources) > 1 and (others := {kind: source for source in sources if (kind := kind_of(source)) != "image"}):
        kind, source = others.popitem()
        if kind == "shards":
            raise typer.BadParameter(f"give one folder of shards, or a pattern in quotes such as 'shards/*.tar'; got {len(sources)} paths")
        raise typer.BadParameter(f"give one folder, or files; got the {kind} {source!r} among {len(sources)} paths")
    return options.open_images(sources[0] if len(sources) == 1 else sources, **of_index)


def _stdin_paths() -> Iterator[bytes]:
    """The lines of stdin as bytes, because names need not be UTF-8."""
    for line in sys.stdin.buffer:
        if path := line.rstrip(b"\r\n"):
            yield path
