"""imgstream embed."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgstream.cli import options
from imgstream.cli.clock import STARTED
from imgstream.cli.help import MODEL, OUTPUT
from imgstream.terminal.console import output_console
from imgstream.wording import quantity

if TYPE_CHECKING:
    from imgstream.spec import SampleSpec


def embed(
    network: Annotated[
        str, typer.Argument(metavar="RUN|MODEL", help="A run folder that train wrote, or a model: a name as in train --model, or a file.")
    ],
    directory: options.Images,
    output: Annotated[Path, typer.Option(*options.OUT, metavar="FILE.parquet", help="The features to write.", rich_help_panel=OUTPUT)],
    weights: Annotated[
        str | None,
        typer.Option("--weights", metavar="none|imagenet|FILE", help="The weights of a model given by name.", rich_help_panel=MODEL),
    ] = None,
    size: options.Size = None,
    levels: options.Levels = None,
    label_pattern: options.LabelPattern = None,
    exclude: options.Exclude = None,
    root: options.Root = None,
    columns: options.Columns = None,
    allow_outside: options.AllowOutside = False,
    pipeline: options.Pipeline = "auto",
    workers: options.Workers = None,
    engine: options.Engine = "auto",
    on: options.On = None,
    parts: options.Parts = None,
    as_json: options.Json = False,
) -> None:
    """Write the features of every image, the input of the model's last layer: one row for each file; a bad file's row says why it is bad.

    Examples:
        imgstream embed runs/pets photos/ -o features.parquet
        imgstream embed MobileNetV2 photos/ -o features.parquet --weights imagenet
        imgstream embed runs/pets archive/ -o features.parquet --on ray
        imgstream embed MobileNetV2 list.csv --columns path=img,label=species -o features.parquet --weights body.h5 --size 160
    """
    from imgstream.decode.depth import choose_levels
    from imgstream.embedding import FeaturesInfo, check_output, open_writer
    from imgstream.embedding import embed as embeddings
    from imgstream.export import EngineSelection
    from imgstream.prediction.job import batch_size_for
    from imgstream.progress import counting
    from imgstream.stream import Stream
    from imgstream.stream.pipeline_selection import PipelineSelection
    from imgstream.terminal.tables import Reasons, printable

    check_output(output)
    options.check_parts(on, parts)
    options.check_keeps_inputs(output, directory, exclude)
    model, spec, name = _network(network, weights, size, levels)
    index = options.open_images(directory, label_pattern, exclude=exclude, root=root, columns=columns, allow_outside=allow_outside)
    if levels is not None:
        spec = dataclasses.replace(spec, levels=choose_levels(levels, index))
    info = FeaturesInfo.of(model, spec, name)
    rows, bad = 0, Reasons()
    with contextlib.ExitStack() as stack:
        if on is not None:
            from imgstream.cluster.embedding import EmbeddingJob, embed_on

            unmeasured = "not measured on a cluster"
            chosen = PipelineSelection("tf" if pipeline == "tf" else "python", unmeasured if pipeline == "auto" else "as asked")
            computed = EngineSelection(*("keras", unmeasured) if engine == "auto" else (engine, "as asked"))
            job = EmbeddingJob.of(model, spec, pipeline=chosen.pipeline, engine=computed.name, workers=workers)
            found = embed_on(stack.enter_context(options.pool(on, parts, job, index)), job, index)
        else:
            chosen = options.choose(Stream(index, spec, batch_size=batch_size_for(spec.shape), workers=workers), pipeline)
            computing, computed = options.choose_engine(model, spec, engine, images=len(index), batch_size=batch_size_for(spec.shape))
            found = embeddings(computing, spec, index, workers=workers, pipeline=chosen.pipeline)
        done, began = stack.enter_context(counting("Computing features", len(index))), time.monotonic()
        writer = stack.enter_context(open_writer(output, info))
        for rows, row in enumerate(found, 1):
            writer.write(row)
            if row.error is not None:
                bad.add(row.path, row.error)
            done(rows)
    now = time.monotonic()
    rate = rows / (now - began)
    options.tell_changed(index)
    if as_json:
        print(
            json.dumps(
                {
                    "rows": rows,
                    "ok": rows - len(bad),
                    "bad": len(bad),
                    "dimensions": info.dimensions,
                    "seconds": round(now - STARTED, 3),
                    "images_per_second": round(rate, 1),
                }
            )
        )
        return
    console = output_console()
    if bad:
        console.print(bad.table())
    console.print(
        f"{quantity(rows, 'image')}: {rows - len(bad):,} with {info.dimensions:,} features each, {len(bad):,} bad. {rate:,.0f} images/s. "
        f"Pipeline: {chosen.pipeline} ({chosen.why}). Engine: {computed.name} ({computed.why}).",
        soft_wrap=True,
    )
    console.print(f"Features: {printable(str(output))}    Model: {printable(name)}", markup=False, soft_wrap=True)


def _network(network: str, weights: str | None, size: tuple[int, int] | None, levels: str | None) -> tuple[Any, SampleSpec, str]:
    """The model images → features, the spec of its samples, and its name."""
    from imgstream.models import build_model, features, infer_model, model_info
    from imgstream.models.hub import is_preset
    from imgstream.progress import error_console
    from imgstream.runs import load_run
    from imgstream.spec import SampleSpec
    from imgstream.terminal.tables import printable

    if os.path.isdir(network) and not is_preset(network):
        if weights is not None or size is not None or levels is not None:
            raise typer.BadParameter(
                f"{network!r} is a run, which has its own weights, size and levels: leave out --weights, --size and --levels"
            )
        run = load_run(network)
        return run.body, run.spec, network
    if weights is None and (inferred := infer_model(network)) not in (None, network):  # a file of weights from which the model is known
        network, weights = str(inferred), network
    info = model_info(network)
    if weights is None and not info.is_saved:
        raise typer.BadParameter(
            f"random weights give no useful features: give {info.name} --weights imagenet, a file, or none if so meant"
        )
    if info.scale_guessed:
        text = f"Nothing in {printable(network)} tells the scale of its pixels: {info.scale} is a guess"
        error_console().print(text, style="yellow", markup=False, soft_wrap=True)
    spec = SampleSpec(size=size or info.size, channels=info.channels or 3, scale=info.scale)
    return features(build_model(network, spec.shape, 1, weights or "none")), spec, info.name
